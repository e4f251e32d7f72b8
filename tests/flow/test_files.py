# SPDX-License-Identifier: LGPL-2.1-or-later
"""files.*: beneath the folders that the setting names, and nowhere else, whoever swaps what meanwhile."""

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import threading

import pytest

from agent import DEFAULT_POLICY, Agent
from disk import disk
from quarantine import Quarantine
from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")

REGULAR, FOLDER, LINK, FIFO, SOCKET, CHARACTER, _, NOT_RESPONDING = range(1, 9)
NOT_DONE, DONE, UNKNOWN = 1, 2, 3


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return [os.path.realpath(tmp_path_factory.mktemp("root")), os.path.realpath(tmp_path_factory.mktemp("other"))]


@pytest.fixture(scope="module")
def agent(roots):
    with Agent(policy=DEFAULT_POLICY + "allow local:0 files.*\n", files_roots=":".join(roots)) as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        assert "Sanitizer" not in running.read_log() and "runtime error" not in running.read_log()


@pytest.fixture
def root(roots):
    """An empty folder beneath the first one."""
    path = os.path.join(roots[0], "test")
    os.mkdir(path)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def put(path, data=b"some bytes"):
    with open(path, "wb") as file:
        file.write(data)
    return os.fsencode(path)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def raw(path):
    return os.fsencode(path)


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def read(client, path, **fields):
    reply = client.call("files.read", path=raw(path), **fields)
    return b"".join(reply.data), reply.end


def names(reply):
    return sorted(entry.path for entry in reply.files)


# ---- Where files may be ----


def test_none_as_shipped(tmp_path):
    put(tmp_path / "file")
    with Agent() as agent, agent.client() as client:
        refused = failure(client, "files.read", path=raw(tmp_path / "file"))
    assert refused.code == "PERMISSION_DENIED" and "it names none" in refused.message


def test_changing_is_not_allowed_as_shipped(roots):
    with Agent(files_roots=roots[0]) as agent, agent.client() as client:
        assert not client.call("files.list", path=raw(roots[0])).files
        for method in ("write", "replace", "truncate", "flush", "temporary", "mkdir", "remove", "rename", "set_mode",
                       "set_owner"):
            assert failure(client, f"files.{method}", path=raw(roots[0] + "/x")).code == "PERMISSION_DENIED"


@pytest.mark.parametrize("value", ["relative", "/a:b", "/a:", "/a/../b", "/a/."])
def test_a_setting_that_is_none(value):
    agent = Agent(files_roots=value)
    try:
        with pytest.raises(RuntimeError, match="files_roots"):
            agent.start()
    finally:
        agent.close()


def test_beneath_and_nowhere_else(client, root, roots, tmp_path):
    put(f"{root}/file")
    secret = put(tmp_path / "secret")
    for path in (secret, raw(roots[0] + "x/file"), b"/", b"/etc/passwd", raw(os.path.dirname(roots[0]))):
        assert failure(client, "files.stat", path=path).code == "PERMISSION_DENIED"
    for path in (raw(f"{root}/../../secret"), raw(f"{root}/./file"), b"relative", b"", b"/a\0b"):
        assert failure(client, "files.stat", path=path).code == "INVALID_ARGUMENT"
    assert client.call("files.stat", path=raw(f"{root}//file/")).file.size == 10


def test_links_are_followed_only_when_asked_and_never_out(client, root, tmp_path):
    put(f"{root}/file", b"inside")
    secret = put(tmp_path / "secret")
    os.mkdir(f"{root}/folder")
    put(f"{root}/folder/deep", b"deep")
    links = {"file-link": "file", "folder-link": "folder", "up": "folder/../file", "absolute": f"{root}/file",
             "out": os.path.relpath(secret.decode(), root), "circle": "circle", "magic": "/proc/self/root/etc/passwd"}
    for name, target in links.items():
        os.symlink(target, f"{root}/{name}")
    for name in ("file-link", "folder-link/deep", "out", "absolute", "circle", "magic"):
        refused = failure(client, "files.read", path=raw(f"{root}/{name}"))
        assert (refused.code, refused.error.sys_errno) == ("INVALID_ARGUMENT", 40), name
    assert read(client, f"{root}/file-link", follow_links=True)[0] == b"inside"
    assert read(client, f"{root}/folder-link/deep", follow_links=True)[0] == b"deep"
    assert read(client, f"{root}/up", follow_links=True)[0] == b"inside"
    for name in ("out", "absolute", "magic"):
        refused = failure(client, "files.read", path=raw(f"{root}/{name}"), follow_links=True)
        assert refused.code == "INVALID_ARGUMENT" and "leads out of" in refused.message
    assert failure(client, "files.read", path=raw(f"{root}/circle"), follow_links=True).error.sys_errno == 40
    told = client.call("files.stat", path=raw(f"{root}/out")).file
    assert (told.type, told.target) == (LINK, links["out"].encode())
    assert client.call("files.stat", path=raw(f"{root}/file-link"), follow_links=True).file.type == REGULAR


class Swapper:
    """Swaps two names, again and again, as fast as it can."""

    def __init__(self, one, other):
        script = ("import ctypes,sys\nlibc=ctypes.CDLL(None)\na,b=(x.encode() for x in sys.argv[1:])\n"
                  "print(flush=True)\nwhile True: libc.renameat2(-100,a,-100,b,2)\n")
        self.process = subprocess.Popen(["/usr/bin/python3", "-c", script, one, other], stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_a_folder_that_is_swapped_for_a_link(client, root, tmp_path):
    """Nothing outside is read or written, whoever wins."""
    outside = tmp_path / "outside"
    outside.mkdir()
    put(outside / "file", b"outside")
    os.mkdir(f"{root}/folder")
    put(f"{root}/folder/file", b"inside")
    os.symlink(outside, f"{root}/link")
    seen = {"inside": 0, "refused": 0}
    with Swapper(f"{root}/folder", f"{root}/link"):
        for i in range(150):
            try:
                if i % 3 == 2:
                    client.call("files.replace", path=raw(f"{root}/folder/file"), data=b"inside")
                elif i % 3 == 1:
                    client.call("files.write", path=raw(f"{root}/folder/new{i}"), data=b"x", create=True)
                else:
                    assert read(client, f"{root}/folder/file", follow_links=i % 2 == 1)[0] == b"inside"
                seen["inside"] += 1
            except Failed as failed:
                assert failed.code == "INVALID_ARGUMENT", failed
                seen["refused"] += 1
    assert os.listdir(outside) == ["file"] and get(outside / "file") == b"outside"
    assert seen["inside"] > 0 and seen["refused"] > 0, seen


def test_changes_one_after_another(client, root):
    """One that is answered is over, also where its process takes a while to end."""
    put(f"{root}/file", b"")
    for i in range(100):
        client.call("files.write", path=raw(f"{root}/file"), offset=i, data=b"x")
    assert get(f"{root}/file") == b"x" * 100


def test_what_is_no_file_is_never_opened(client, root):
    os.mkfifo(f"{root}/fifo")
    os.mknod(f"{root}/device", stat.S_IFCHR | 0o600, os.makedev(10, 130))  # a watchdog's
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{root}/socket")
    os.mkdir(f"{root}/folder")
    for name in ("fifo", "device", "socket"):
        path = raw(f"{root}/{name}")
        for method in ("files.read", "files.get_footprint", "files.truncate", "files.flush", "files.list"):
            refused = failure(client, method, path=path)
            assert (refused.code, refused.error.sys_errno) == ("INVALID_ARGUMENT", 95), (method, name)
        for fields in ({"create": True}, {}, {"append": True}):
            refused = failure(client, "files.write", path=path, data=b"x", **fields)
            assert (refused.code, refused.error.outcome) == ("INVALID_ARGUMENT", NOT_DONE)
        refused = failure(client, "files.replace", path=path, data=b"x")
        assert (refused.code, refused.error.outcome) == ("INVALID_ARGUMENT", NOT_DONE)
    listener.close()
    told = {entry.path: entry for entry in client.call("files.list", path=raw(root)).files}
    assert {name: entry.type for name, entry in told.items()} == {
        b"fifo": FIFO, b"device": CHARACTER, b"socket": SOCKET, b"folder": FOLDER}
    assert (told[b"device"].major, told[b"device"].minor) == (10, 130)
    for name in ("fifo", "device", "socket"):
        assert client.call("files.remove", path=raw(f"{root}/{name}")).removed == 1
    assert failure(client, "files.read", path=raw(f"{root}/folder")).error.sys_errno == 21
    assert failure(client, "files.list", path=put(f"{root}/file")).error.sys_errno == 20


def test_a_fifo_that_is_swapped_in(client, root):
    put(f"{root}/file", b"inside")
    os.mkfifo(f"{root}/fifo")
    with Swapper(f"{root}/file", f"{root}/fifo"):
        for _ in range(60):
            try:
                assert read(client, f"{root}/file", timeout_ms=5000)[0] == b"inside"
            except Failed as failed:
                assert failed.error.sys_errno == 95, failed


def test_the_kernels_own_files_are_not_written():
    with Agent(policy="allow local:0 files.*\n", files_roots="/proc/sys:/sys") as agent, agent.client() as client:
        path = b"/proc/sys/kernel/hostname"
        assert read(client, path.decode())[0].strip() == os.uname().nodename.encode()
        for method, fields in (("write", {"data": b"x"}), ("truncate", {})):
            refused = failure(client, f"files.{method}", path=path, **fields)
            assert refused.code == "INVALID_ARGUMENT" and "the kernel's own" in refused.message


# ---- Looking ----


def test_all_that_is_known_of_one(client, root):
    path = put(f"{root}/file")
    os.chmod(path, 0o4751)
    os.chown(path, 1234, 2345)
    os.chmod(path, 0o4751)
    st, told = os.stat(path), client.call("files.stat", path=path).file
    assert (told.path, told.type, told.size, told.mode, told.uid, told.gid) == (path, REGULAR, 10, 0o4751, 1234, 2345)
    assert (told.modified_ns, told.changed_ns, told.accessed_ns) == (st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns)
    assert (told.inode, told.links, told.allocated) == (st.st_ino, 1, st.st_blocks * 512)
    assert client.call("files.stat", path=raw(root)).file.type == FOLDER
    missing = failure(client, "files.stat", path=raw(f"{root}/missing"))
    assert (missing.code, missing.error.sys_errno) == ("NOT_FOUND", 2)
    assert not missing.error.HasField("outcome")


ODD = [b"a\nb", b"\xff\xfe\x80", b"n" * 255, b"-rf", b" ", b"\x1b[31mred", "ü".encode()]


def test_names_of_any_bytes(client, root):
    for name in ODD:
        path = raw(root) + b"/" + name
        client.call("files.write", path=path, data=name, create=True)
        client.call("files.replace", path=path, data=name * 2)
        assert b"".join(client.call("files.read", path=path).data) == name * 2
    assert names(client.call("files.list", path=raw(root))) == sorted(ODD) == sorted(os.listdir(raw(root)))
    assert failure(client, "files.write", path=raw(root) + b"/" + b"n" * 256, create=True).error.sys_errno == 36
    assert failure(client, "files.stat", path=raw(root) + b"/a" * 3000).code == "INVALID_ARGUMENT"


def test_a_tree(client, root):
    os.makedirs(f"{root}/a/b/c")
    os.symlink("a", f"{root}/link")
    os.symlink("/", f"{root}/all")
    for name in ("one", "a/two", "a/b/three", "a/b/c/four"):
        put(f"{root}/{name}")
    assert names(client.call("files.list", path=raw(root))) == [b"a", b"all", b"link", b"one"]
    everything = client.call("files.list", path=raw(root), recursive=True)
    found = subprocess.run(["find", root, "-mindepth", "1", "-printf", r"%P\0%s\0%m\0%U\0%G\0%T@\0%y\0"],
                           capture_output=True, check=True).stdout.split(b"\0")[:-1]
    kinds = {REGULAR: b"f", FOLDER: b"d", LINK: b"l"}
    told = {e.path: (b"%o" % e.mode, b"%d" % e.uid, b"%d" % e.gid, e.modified_ns, kinds[e.type])
            for e in everything.files}
    assert everything.count == len(everything.files) == len(found) // 7 == 9
    for i in range(0, len(found), 7):
        path, size, mode, uid, gid, when, kind = found[i : i + 7]
        seconds, _, fraction = when.partition(b".")
        assert told[path] == (mode, uid, gid, int(seconds) * 10**9 + int(fraction[:9]), kind)
        assert kind != b"f" or next(e for e in everything.files if e.path == path).size == int(size)
    below = client.call("files.list", path=raw(f"{root}/link"), follow_links=True, recursive=True)
    assert names(below) == [b"b", b"b/c", b"b/c/four", b"b/three", b"two"]
    assert failure(client, "files.list", path=raw(f"{root}/missing")).code == "NOT_FOUND"


@pytest.fixture
def memory(root):
    """A file system in memory: many files cost little there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=200k", "none", root], check=True)
    yield root
    subprocess.run(["umount", root], check=True)


def test_a_hundred_thousand_entries(agent, client, memory):
    """In parts that fit the caller, and in little memory."""
    for i in range(100):
        os.mkdir(f"{memory}/{i}")
        for j in range(999):
            os.close(os.open(f"{memory}/{i}/a-name-of-some-length-{j}", os.O_CREAT | os.O_WRONLY, 0o600))
    reply = client.call("files.list", path=raw(memory), recursive=True)
    assert reply.count == len(reply.files) == len({entry.path for entry in reply.files}) == 100000
    with agent.client(max_frame=4096) as small:
        reply = small.call("files.list", path=raw(f"{memory}/7"))
        assert len(reply.files) == 999
    assert client.call("files.remove", path=raw(f"{memory}/7"), recursive=True).removed == 1000


def test_a_listing_of_what_changes(client, root):
    for i in range(300):
        os.mkdir(f"{root}/{i}")
        put(f"{root}/{i}/file")
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for i in range(300):
                with contextlib.suppress(OSError):
                    os.rename(f"{root}/{i}/file", f"{root}/{i}/other")
                    os.symlink("/", f"{root}/{i}/file")
                    os.unlink(f"{root}/{i}/file")
                    os.rename(f"{root}/{i}/other", f"{root}/{i}/file")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            reply = client.call("files.list", path=raw(root), recursive=True)
            assert not reply.problems and 300 <= reply.count <= 1200
            assert all(e.path.count(b"/") < 2 for e in reply.files), "followed a link"
    finally:
        stop.set()
        thread.join()


def test_a_deep_tree_ends_somewhere(client, root):
    fd = os.open(root, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    reply = client.call("files.list", path=raw(root), recursive=True)
    assert [problem.sys_errno for problem in reply.problems] == [36] and 128 <= reply.count < 200
    refused = failure(client, "files.remove", path=raw(f"{root}/d"), recursive=True)
    assert (refused.error.sys_errno, refused.error.outcome) == (36, NOT_DONE)


# ---- Reading ----


def test_pieces(client, root):
    data = os.urandom(3 << 20)
    path = put(f"{root}/file", data)
    assert read(client, f"{root}/file") == (data[: 1 << 20], False)
    assert read(client, f"{root}/file", length=64 << 20) == (data, True)
    assert read(client, f"{root}/file", offset=1000, length=2) == (data[1000:1002], False)
    assert read(client, f"{root}/file", offset=len(data) - 5, length=10) == (data[-5:], True)
    assert read(client, f"{root}/file", offset=1 << 40) == (b"", True)
    assert read(client, f"{root}/file", length=0) == (b"", False)
    for fields in ({"length": (64 << 20) + 1}, {"offset": (1 << 63) - 1}):
        assert failure(client, "files.read", path=path, **fields).code == "INVALID_ARGUMENT"
    with open(f"{root}/hole", "wb") as file:
        file.truncate(1 << 40)
    assert read(client, f"{root}/hole", offset=1 << 39, length=10) == (bytes(10), False)


@pytest.mark.parametrize("name", ["sha256", "sha512", "sha384", "sha1", "md5", "rmd160"])
@pytest.mark.parametrize("size", [0, 300001, 5000001])
def test_footprints(client, root, name, size):
    """Large ones by the guest's own libcrypto."""
    data = os.urandom(size)
    told = client.call("files.get_footprint", path=put(f"{root}/file", data), algorithm=name)
    expected = hashlib.new({"rmd160": "ripemd160"}.get(name, name), data).hexdigest()
    assert (told.footprint, told.algorithm, told.size) == (expected, name, size)


def test_the_footprint_of_none_is_an_error(client, root):
    assert failure(client, "files.get_footprint", path=raw(f"{root}/missing")).code == "NOT_FOUND"
    path = put(f"{root}/empty", b"")
    assert client.call("files.get_footprint", path=path).footprint == hashlib.sha256().hexdigest()
    refused = failure(client, "files.get_footprint", path=path, algorithm="crc32")
    assert refused.code == "INVALID_ARGUMENT" and "sha256, sha512" in refused.message


# ---- Writing ----


def test_write_at_an_offset(client, root):
    path = f"{root}/file"
    assert failure(client, "files.write", path=raw(path), data=b"x").code == "NOT_FOUND"
    made = client.call("files.write", path=raw(path), data=b"hello", create=True, mode=0o666, flush=True)
    assert (made.created, made.offset, made.size) == (True, 0, 5)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666 and get(path) == b"hello"
    changed = client.call("files.write", path=raw(path), data=b"J", offset=0, create=True, mode=0o600)
    assert (changed.created, changed.size) == (False, 5) and get(path) == b"Jello"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666, "only of one that is made"
    added = client.call("files.write", path=raw(path), data=b" world", append=True)
    assert (added.offset, added.size) == (5, 11) and get(path) == b"Jello world"
    assert client.call("files.write", path=raw(path), data=b"!", offset=13).size == 14
    assert get(path) == b"Jello world\0\0!"
    client.call("files.truncate", path=raw(path), size=5)
    assert get(path) == b"Jello"
    client.call("files.flush", path=raw(path))
    client.call("files.flush", path=raw(root))
    refused = failure(client, "files.write", path=raw(path), data=b"x", create=True, exclusive=True)
    assert (refused.code, refused.error.outcome) == ("ALREADY_EXISTS", NOT_DONE)
    for fields in ({"append": True, "offset": 1}, {"exclusive": True}, {"offset": (1 << 64) - 1}, {"mode": 0o10000}):
        assert failure(client, "files.write", path=raw(path), data=b"x", **fields).code == "INVALID_ARGUMENT"
    assert failure(client, "files.write", path=raw(root), data=b"x").error.sys_errno == 21
    assert get(path) == b"Jello"


def test_no_link_is_written_through(client, root, tmp_path):
    outside = put(tmp_path / "outside", b"outside")
    os.symlink(outside, f"{root}/link")
    os.symlink(tmp_path / "missing", f"{root}/dangling")
    for name in ("link", "dangling"):
        for follow in (False, True):
            refused = failure(client, "files.write", path=raw(f"{root}/{name}"), data=b"x", create=True,
                              follow_links=follow)
            assert (refused.code, refused.error.outcome) == ("INVALID_ARGUMENT", NOT_DONE)
    client.call("files.replace", path=raw(f"{root}/link"), data=b"now a file")
    assert get(f"{root}/link") == b"now a file" and not os.path.islink(f"{root}/link")
    assert get(outside) == b"outside" and not os.path.lexists(tmp_path / "missing")


def test_replace_keeps_what_a_file_was(client, root):
    path = f"{root}/file"
    client.call("files.replace", path=raw(path), data=b"one", mode=0o640)
    assert get(path) == b"one" and stat.S_IMODE(os.stat(path).st_mode) == 0o640
    os.chown(path, 1234, 2345)
    holder = open(path, "rb")
    client.call("files.replace", path=raw(path), data=b"two", mode=0o777)
    st = os.stat(path)
    assert (get(path), st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (b"two", 1234, 2345, 0o640)
    assert holder.read() == b"one"
    holder.close()
    assert os.listdir(root) == ["file"]
    refused = failure(client, "files.replace", path=raw(f"{root}"), data=b"x")
    assert (refused.error.sys_errno, refused.error.outcome) == (21, NOT_DONE)


def test_a_temporary_file(client, root):
    one = client.call("files.temporary", path=raw(root)).path
    other = client.call("files.temporary", path=raw(root), prefix=b"up load.", mode=0o644).path
    assert os.path.basename(one).startswith(b".postern-") and os.path.basename(other).startswith(b"up load.")
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (one, other)] == [0o600, 0o644]
    for prefix in (b"a/b", b"p" * 65, b""):
        assert failure(client, "files.temporary", path=raw(root), prefix=prefix).code == "INVALID_ARGUMENT"
    client.call("files.write", path=one, data=b"whole")
    client.call("files.rename", path=one, target=raw(f"{root}/final"))
    assert get(f"{root}/final") == b"whole"
    assert failure(client, "files.temporary", path=one).code == "NOT_FOUND"


def test_folders(client, root):
    client.call("files.mkdir", path=raw(f"{root}/a"), mode=0o1777)
    assert stat.S_IMODE(os.stat(f"{root}/a").st_mode) == 0o1777
    assert failure(client, "files.mkdir", path=raw(f"{root}/a")).code == "ALREADY_EXISTS"
    assert failure(client, "files.mkdir", path=raw(f"{root}/x/y")).code == "NOT_FOUND"
    client.call("files.mkdir", path=raw(f"{root}/x/y/z"), parents=True)
    client.call("files.mkdir", path=raw(f"{root}/x/y/z"), parents=True)
    assert os.path.isdir(f"{root}/x/y/z") and os.path.isdir(root)
    put(f"{root}/file")
    for path in (f"{root}/file", f"{root}/file/below"):
        assert failure(client, "files.mkdir", path=raw(path), parents=True).code in ("INVALID_ARGUMENT",
                                                                                     "ALREADY_EXISTS")


def test_remove(client, root, roots, tmp_path):
    outside = put(tmp_path / "outside")
    os.makedirs(f"{root}/tree/a/b")
    for name in ("tree/one", "tree/a/two", "tree/a/b/three"):
        put(f"{root}/{name}")
    os.symlink(outside, f"{root}/tree/link")
    os.symlink(tmp_path, f"{root}/tree/folder-link")
    refused = failure(client, "files.remove", path=raw(f"{root}/tree"))
    assert (refused.code, refused.error.outcome) == ("FAILED_PRECONDITION", NOT_DONE)
    assert client.call("files.remove", path=raw(f"{root}/tree/folder-link")).removed == 1
    os.symlink(tmp_path, f"{root}/tree/folder-link")
    assert client.call("files.remove", path=raw(f"{root}/tree"), recursive=True).removed == 8
    assert os.listdir(root) == [] and get(outside) == b"some bytes"
    assert failure(client, "files.remove", path=raw(f"{root}/tree")).code == "NOT_FOUND"
    os.mkdir(f"{root}/empty")
    assert client.call("files.remove", path=raw(f"{root}/empty")).removed == 1
    for recursive in (False, True):
        assert failure(client, "files.remove", path=raw(roots[1]), recursive=recursive).error.sys_errno == 16


def test_nothing_mounted_is_removed(client, root):
    os.mkdir(f"{root}/tree")
    put(f"{root}/tree/file")
    os.mkdir(f"{root}/tree/mount")
    subprocess.run(["mount", "-t", "tmpfs", "none", f"{root}/tree/mount"], check=True)
    try:
        put(f"{root}/tree/mount/kept")
        refused = failure(client, "files.remove", path=raw(f"{root}/tree"), recursive=True)
        assert (refused.code, refused.error.outcome) == ("FAILED_PRECONDITION", NOT_DONE)
        assert os.path.exists(f"{root}/tree/file") and os.path.exists(f"{root}/tree/mount/kept")
        assert b"mount/kept" in names(client.call("files.list", path=raw(f"{root}/tree"), recursive=True))
    finally:
        subprocess.run(["umount", f"{root}/tree/mount"], check=True)


def test_rename(client, root, roots):
    one, other = put(f"{root}/one", b"1"), put(f"{root}/other", b"2")
    refused = failure(client, "files.rename", path=one, target=other)
    assert (refused.code, refused.error.outcome) == ("ALREADY_EXISTS", NOT_DONE)
    client.call("files.rename", path=one, target=other, replace=True)
    assert get(other) == b"1" and not os.path.exists(one)
    client.call("files.rename", path=other, target=raw(f"{roots[1]}/there"))
    assert os.listdir(roots[1]) == ["there"]
    os.unlink(f"{roots[1]}/there")
    put(f"{root}/one")
    assert failure(client, "files.rename", path=one, target=b"/tmp/x").code == "PERMISSION_DENIED"
    assert failure(client, "files.rename", path=other, target=one).code == "NOT_FOUND"
    assert failure(client, "files.rename", path=raw(roots[0]), target=raw(f"{root}/x")).error.sys_errno == 16


def test_mode_and_owner(client, root):
    path = put(f"{root}/file")
    client.call("files.set_owner", path=path, uid=1234, gid=2345)
    client.call("files.set_mode", path=path, mode=0o6755)
    st = os.stat(path)
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (1234, 2345, 0o6755)
    client.call("files.set_owner", path=path, gid=7)
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (1234, 7)
    os.symlink("file", f"{root}/link")
    client.call("files.set_owner", path=raw(f"{root}/link"), uid=99)
    assert (os.lstat(f"{root}/link").st_uid, os.stat(path).st_uid) == (99, 1234)
    assert failure(client, "files.set_mode", path=raw(f"{root}/link"), mode=0o600).error.sys_errno == 40
    client.call("files.set_mode", path=raw(f"{root}/link"), mode=0o600, follow_links=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.mkfifo(f"{root}/fifo")
    client.call("files.set_mode", path=raw(f"{root}/fifo"), mode=0o666)
    assert stat.S_IMODE(os.stat(f"{root}/fifo").st_mode) == 0o666
    for method, fields in (("set_owner", {}), ("set_owner", {"uid": 0xFFFFFFFF}), ("set_mode", {}),
                           ("set_mode", {"mode": 0o10000})):
        assert failure(client, f"files.{method}", path=path, **fields).code == "INVALID_ARGUMENT"


# ---- Disks that are full, read-only, gone ----


@pytest.fixture
def ext4(root):
    with disk(root) as path:
        yield path


def test_a_full_disk_leaves_what_was_there(client, ext4):
    put(f"{ext4}/kept", b"kept")
    put(f"{ext4}/long", bytes(64 << 10))
    chunk, size = bytes(900 << 10), 0
    with pytest.raises(Failed) as failed:
        while size < 64 << 20:
            size = client.call("files.write", path=raw(f"{ext4}/filler"), data=chunk, append=True, create=True).size
    assert (failed.value.code, failed.value.error.outcome) == ("RESOURCE_EXHAUSTED", NOT_DONE)
    assert os.stat(f"{ext4}/filler").st_size == size, "what did not fit is taken off again"
    with open(f"{ext4}/rest", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    before = sorted(os.listdir(ext4))
    for method, fields in (("files.replace", {}), ("files.write", {"append": True})):
        refused = failure(client, method, path=raw(f"{ext4}/kept"), data=chunk, **fields)
        assert (refused.error.sys_errno, refused.error.outcome) == (28, NOT_DONE)
        assert get(f"{ext4}/kept") == b"kept"
    refused = failure(client, "files.write", path=raw(f"{ext4}/new"), data=chunk, create=True)
    assert (refused.error.sys_errno, refused.error.outcome) == (28, NOT_DONE)
    refused = failure(client, "files.write", path=raw(f"{ext4}/long"), data=chunk, offset=4096)
    assert (refused.error.sys_errno, refused.error.outcome) == (28, UNKNOWN) and "bytes were written" in refused.message
    assert sorted(os.listdir(ext4)) == before


def test_a_disk_that_is_read_only(client, ext4):
    path = put(f"{ext4}/file", b"kept")
    subprocess.run(["mount", "-o", "remount,ro", ext4], check=True)
    assert read(client, f"{ext4}/file")[0] == b"kept"
    calls = (("write", {"data": b"x"}), ("replace", {"data": b"x"}), ("truncate", {}), ("remove", {}),
             ("set_mode", {"mode": 0}), ("set_owner", {"uid": 1}), ("rename", {"target": raw(f"{ext4}/x")}))
    for method, fields in calls:
        refused = failure(client, f"files.{method}", path=path, **fields)
        got = (refused.code, refused.error.sys_errno, refused.error.outcome)
        assert got == ("FAILED_PRECONDITION", 30, NOT_DONE), method
    for method in ("mkdir", "temporary"):
        target = f"{ext4}/x" if method == "mkdir" else ext4
        assert failure(client, f"files.{method}", path=raw(target)).error.sys_errno == 30
    assert get(path) == b"kept"


def test_one_file_system_and_another(client, ext4, root):
    put(f"{root}/file")
    refused = failure(client, "files.rename", path=raw(f"{root}/file"), target=raw(f"{ext4}/file"))
    assert (refused.code, refused.error.sys_errno, refused.error.outcome) == ("INVALID_ARGUMENT", 18, NOT_DONE)
    assert "another file system" in refused.message


def test_what_somebody_hangs_on_is_not_touched(agent, client, ext4, root):
    put(f"{ext4}/file")
    quarantine = Quarantine(agent)
    quarantine(ext4)
    try:
        for path in (ext4, f"{ext4}/file"):
            assert failure(client, "files.stat", path=raw(path)).code == "UNAVAILABLE"
        for method, fields in (("list", {}), ("read", {}), ("write", {"data": b"x"}), ("remove", {})):
            assert failure(client, f"files.{method}", path=raw(f"{ext4}/file"), **fields).code == "UNAVAILABLE"
        told = {e.path: e.type for e in client.call("files.list", path=raw(root), recursive=True).files}
        assert told[raw(os.path.basename(ext4))] == NOT_RESPONDING and b"disk/file" not in told
        quarantine(ext4, writes_only=True)
        assert read(client, f"{ext4}/file")[0] == b"some bytes"
        assert failure(client, "files.write", path=raw(f"{ext4}/file"), data=b"x").code == "UNAVAILABLE"
    finally:
        quarantine()
    assert client.call("files.write", path=raw(f"{ext4}/file"), data=b"x").size == 10


def test_reading_goes_on_while_frozen(client, ext4):
    put(f"{ext4}/file")
    subprocess.run(["fsfreeze", "--freeze", ext4], check=True)
    try:
        assert read(client, f"{ext4}/file")[0] == b"some bytes"
        assert b"file" in names(client.call("files.list", path=raw(ext4)))
        late = failure(client, "files.write", path=raw(f"{ext4}/file"), data=b"x", timeout_ms=200)
        assert (late.code, late.error.outcome) == ("DEADLINE_EXCEEDED", UNKNOWN)
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", ext4], check=True)
