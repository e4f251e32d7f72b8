# SPDX-License-Identifier: LGPL-2.1-or-later
"""users.*, with users of this machine that are made for a test and go with it."""

import ctypes
import fcntl
import os
import pwd
import stat
import struct
import subprocess
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from wire import Failed

pytestmark = pytest.mark.xdist_group("users")

ONE = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB one@host"
TWO = b'restrict,command="/bin/true" ssh-rsa AAAAB3NzaC1yc2EAAA two'
USER = b"posterntest"


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=DEFAULT_POLICY + "allow local:0 users.*\n") as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def home():
    """A user's, with a password that nobody has."""
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", USER], check=True)
    try:
        yield pwd.getpwnam(USER.decode()).pw_dir
    finally:
        subprocess.run(["userdel", "-r", "-f", USER], check=True, capture_output=True)


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, user=USER, **fields)
    return failed.value


def shadow():
    with open("/etc/shadow") as file:
        return file.read()


def entry():
    return next(line for line in shadow().splitlines() if line.startswith(USER.decode() + ":")).split(":")


def test_logins_are_what_the_machine_has(client):
    logins = client.call("users.list").logins
    who = subprocess.run(["who"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [login.user.decode() for login in logins] == [line.split()[0] for line in who]


@pytest.fixture
def utmp():
    """The file of who is logged in, which a test may write."""
    before = open("/run/utmp", "rb").read() if os.path.exists("/run/utmp") else None
    yield "/run/utmp"
    if before is None:
        os.unlink("/run/utmp")
    else:
        with open("/run/utmp", "wb") as file:
            file.write(before)


def record(kind, name, line, host=b"", since=0):
    """utmp(5), of the C library for x86-64."""
    return struct.pack("<hxxi32s4s32s256shhiii36x", kind, 4711, line, b"", name, host, 0, 0, 0, since, 250000)


def test_logins_of_many_and_what_else_stands_there(client, utmp):
    user, boot, dead = 7, 2, 8
    with open(utmp, "wb") as file:
        file.write(record(boot, b"reboot", b"~"))
        for i in range(40):
            file.write(record(user, b"u%d" % i, b"pts/%d" % i, b"far.example" * (i % 2), since=1_000_000 + i))
            file.write(record(dead, b"gone", b"pts/99"))
        file.write(record(user, b"n" * 32, b"l" * 32, b"h" * 256))
        file.write(record(user, b"half", b"pts/1")[:200])
    logins = client.call("users.list").logins
    assert [login.user for login in logins] == [b"u%d" % i for i in range(40)] + [b"n" * 32]
    assert (logins[1].terminal, getattr(logins[1], "from"), logins[1].pid) == (b"pts/1", b"far.example", 4711)
    assert logins[1].since_ns == 1_000_001_250_000_000 and not logins[0].HasField("from")
    assert (logins[40].terminal, getattr(logins[40], "from")) == (b"l" * 32, b"h" * 256)


def test_somebody_who_keeps_the_logins_locked(client, utmp):
    """He is waited for a moment, and not longer."""
    with open(utmp, "w+b") as file:
        file.write(record(7, b"somebody", b"pts/1"))
        file.flush()
        fcntl.lockf(file, fcntl.LOCK_EX)
        start = time.monotonic()
        assert [login.user for login in client.call("users.list").logins] == [b"somebody"]
        assert time.monotonic() - start < 2


# ---- Passwords ----

def test_a_password(client, home):
    before, stats = shadow(), os.stat("/etc/shadow")
    client.call("users.set_password", user=USER, password=b"corr:ect hors\xc3\xa9")
    hashed = entry()[1]
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    assert crypt(b"corr:ect hors\xc3\xa9", hashed.encode()) == hashed.encode()
    now = os.stat("/etc/shadow")
    assert (now.st_mode, now.st_uid, now.st_gid) == (stats.st_mode, stats.st_uid, stats.st_gid)
    others = [line for line in before.splitlines() if not line.startswith(USER.decode() + ":")]
    assert [line for line in shadow().splitlines() if not line.startswith(USER.decode() + ":")] == others
    assert len(entry()) == 9


def test_a_hash_goes_in_as_it_is(client, home):
    client.call("users.set_password", user=USER, hash=b"$6$salt$hash./")
    assert entry()[1] == "$6$salt$hash./" and int(entry()[2]) > 19000
    client.call("users.set_password", user=USER, hash=b"!")
    assert entry()[1] == "!"


@pytest.mark.parametrize("fields", [{}, {"password": b"x", "hash": b"x"}, {"password": b""}, {"hash": b"a:b"},
                                    {"hash": b"a\nroot::0:0"}, {"password": b"a\0b"}, {"password": b"x" * 512},
                                    {"hash": b"x" * 384}, {"hash": b"\xff"}])
def test_what_is_no_password(client, home, fields):
    before = shadow()
    assert failure(client, "users.set_password", **fields).code == "INVALID_ARGUMENT"
    assert shadow() == before


def test_users_that_are_not_there(client):
    before = shadow()
    for user in (USER, b"root:x", b"", b"a\nb", b"root:"):
        with pytest.raises(Failed) as failed:
            client.call("users.set_password", user=user, hash=b"!")
        assert failed.value.code in ("NOT_FOUND", "INVALID_ARGUMENT") and failed.value.error.outcome == 1
        with pytest.raises(Failed) as failed:
            client.call("users.get_keys", user=user)
        assert failed.value.code in ("NOT_FOUND", "INVALID_ARGUMENT")
    assert shadow() == before


# ---- Keys ----

def test_the_first_keys_make_folder_and_file(client, home):
    assert not client.call("users.get_keys", user=USER).keys
    added = client.call("users.add_keys", user=USER, keys=[ONE, TWO, ONE])
    assert (added.added, added.keys) == (2, 2)
    user = pwd.getpwnam(USER.decode())
    for path, mode in ((f"{home}/.ssh", 0o700), (f"{home}/.ssh/authorized_keys", 0o600)):
        st = os.lstat(path)
        assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (mode, user.pw_uid, user.pw_gid)
    with open(f"{home}/.ssh/authorized_keys", "rb") as file:
        assert file.read() == ONE + b"\n" + TWO + b"\n"
    assert list(client.call("users.get_keys", user=USER).keys) == [ONE, TWO]
    assert os.listdir(f"{home}/.ssh") == ["authorized_keys"]


def write(home, text, mode=0o640):
    os.makedirs(f"{home}/.ssh", mode=0o755, exist_ok=True)
    path = f"{home}/.ssh/authorized_keys"
    with open(path, "wb") as file:
        file.write(text)
    os.chmod(path, mode)
    for name in (f"{home}/.ssh", path):
        os.chown(name, pwd.getpwnam(USER.decode()).pw_uid, 0)
    return path


def test_what_else_is_in_the_file_stays(client, home):
    path = write(home, b"# mine\n\n" + ONE)
    client.call("users.add_keys", user=USER, keys=[TWO])
    with open(path, "rb") as file:
        assert file.read() == b"# mine\n\n" + ONE + b"\n" + TWO + b"\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, "its group is not the user's to give"
    removed = client.call("users.remove_keys", user=USER, keys=[ONE, b"ssh-rsa other"])
    assert (removed.removed, removed.keys) == (1, 1)
    with open(path, "rb") as file:
        assert file.read() == b"# mine\n\n" + TWO + b"\n"
    assert client.call("users.replace_keys", user=USER, keys=[ONE]).keys == 1
    with open(path, "rb") as file:
        assert file.read() == ONE + b"\n"
    client.call("users.replace_keys", user=USER)
    assert os.stat(path).st_size == 0


@pytest.mark.parametrize("key", [b"", b"a\nb", b"a\rb", b"# x", b" ssh-rsa A", b"a\0b", b"x" * 16385])
def test_what_is_no_key(client, home, key):
    assert failure(client, "users.add_keys", keys=[ONE, key]).code == "INVALID_ARGUMENT"
    assert failure(client, "users.replace_keys", keys=[ONE, key]).code == "INVALID_ARGUMENT"
    assert not os.path.exists(f"{home}/.ssh/authorized_keys")


@pytest.fixture
def elsewhere(tmp_path):
    path = tmp_path / "elsewhere"
    path.mkdir()
    (path / "authorized_keys").write_bytes(ONE + b"\n")
    return path


def test_a_folder_that_is_a_link_is_not_followed(client, home, elsewhere):
    os.symlink(elsewhere, f"{home}/.ssh")
    for method, fields in (("get_keys", {}), ("add_keys", {"keys": [TWO]}), ("replace_keys", {"keys": [TWO]})):
        refused = failure(client, f"users.{method}", **fields)
        assert refused.code == "FAILED_PRECONDITION" and "not followed" in refused.message
    assert (elsewhere / "authorized_keys").read_bytes() == ONE + b"\n"


def test_a_file_that_is_a_link_is_not_followed(client, home, elsewhere):
    path = write(home, b"")
    os.unlink(path)
    os.symlink(elsewhere / "authorized_keys", path)
    for method in ("get_keys", "add_keys", "remove_keys", "replace_keys"):
        refused = failure(client, f"users.{method}", **({} if method == "get_keys" else {"keys": [ONE]}))
        assert refused.code == "FAILED_PRECONDITION" and "not followed" in refused.message
    assert os.path.islink(path) and (elsewhere / "authorized_keys").read_bytes() == ONE + b"\n"


def test_a_fifo_is_not_waited_for(client, home):
    path = write(home, b"")
    os.unlink(path)
    os.mkfifo(path)
    assert failure(client, "users.get_keys").code == "FAILED_PRECONDITION"


def test_somebody_elses_folder(client, home):
    os.mkdir(f"{home}/.ssh", 0o755)
    assert "is not posterntest's" in failure(client, "users.add_keys", keys=[ONE]).message


def test_a_home_that_is_not_there(client, home):
    subprocess.run(["usermod", "-d", "/nowhere/home", USER], check=True)
    try:
        refused = failure(client, "users.add_keys", keys=[ONE])
        assert refused.code == "FAILED_PRECONDITION" and "has no home" in refused.message
    finally:
        subprocess.run(["usermod", "-d", home, USER], check=True)
    assert not os.path.exists("/nowhere")


def test_a_home_of_root_is_not_written_to(client, home):
    """With the user's own rights, whatever passwd says of him."""
    subprocess.run(["usermod", "-d", "/etc", USER], check=True)
    try:
        assert failure(client, "users.add_keys", keys=[ONE]).error.sys_errno == 13
    finally:
        subprocess.run(["usermod", "-d", home, USER], check=True)
    assert not os.path.exists("/etc/.ssh")
