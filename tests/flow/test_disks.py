# SPDX-License-Identifier: LGPL-2.1-or-later
"""disks.*: what the kernel has, and files on loop devices that are made for a test."""

import hashlib
import os
import subprocess
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from disk import disk
from quarantine import Quarantine
from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")

NOT_DONE = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return os.path.realpath(tmp_path_factory.mktemp("disks"))


@pytest.fixture(scope="module")
def agent(folder):
    os.mkdir(f"{folder}/media")
    os.mkdir(f"{folder}/repository")
    with Agent(policy=DEFAULT_POLICY + "allow local:0 disks.*\n", disks_folders=f"/nowhere:{folder}/media",
               disks_repository=f"{folder}/repository") as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        assert "Sanitizer" not in running.read_log() and "runtime error" not in running.read_log()


@pytest.fixture
def repository(folder):
    path = f"{folder}/repository"
    yield path
    subprocess.run(["find", path, "-mindepth", "1", "-delete"], check=True)


@pytest.fixture
def stick(folder):
    """A disk as a user's stick: mounted below the folder of the setting."""
    with disk(f"{folder}/media", name="stick") as path:
        yield path
    os.rmdir(path)


def put(path, data=b"some bytes"):
    with open(path, "wb") as file:
        file.write(data)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def loop_of(path):
    """The device that is mounted there: its node's name."""
    out = subprocess.run(["findmnt", "-no", "SOURCE", path], capture_output=True, text=True, check=True).stdout
    return os.path.basename(out.strip())


def find(client, name):
    return next(one for one in client.call("disks.list_disks").disks if one.name == name.encode())


def sysfs(name, attribute):
    with open(f"/sys/class/block/{name}/{attribute}") as file:
        return file.read().strip()


# ---- Which there are ----


def test_disks_are_those_of_the_kernel(client):
    told = client.call("disks.list_disks").disks
    names = {one.name.decode() for one in told}
    expected = {name for name in os.listdir("/sys/class/block")
                if int(sysfs(name, "size")) > 0 or not name.startswith(("loop", "ram", "zram", "nbd"))}
    # Other tests come and go with loop devices.
    assert {n for n in names if "loop" not in n} == {n for n in expected if "loop" not in n}
    for one in told:
        name = one.name.decode()
        if "loop" in name:
            continue
        assert one.size == int(sysfs(name, "size")) * 512
        assert f"{one.major}:{one.minor}" == sysfs(name, "dev")
        assert (one.read_only, one.HasField("partition")) == (
            sysfs(name, "ro") == "1", os.path.exists(f"/sys/class/block/{name}/partition"))
        assert one.id and one.bus
    assert len({one.id for one in told}) == len(told)


def test_a_loop_device_with_a_file_system(client, stick):
    one = find(client, loop_of(stick))
    assert (one.size, one.bus, one.block_size, one.filesystem) == (16 << 20, b"loop", 512, b"ext4")
    assert list(one.mounted_at) == [stick.encode()] and not one.read_only and not one.removable
    assert one.alias == f"{stick}.img".encode()
    subprocess.run(["mount", "-o", "remount,ro", stick], check=True)
    assert not find(client, loop_of(stick)).read_only, "the mount is, not the disk"


def test_nothing_is_told_from_memory_that_has_changed(client, tmp_path):
    """An agent keeps what it has read of the disks as long as the kernel tells of no change."""
    def find_all(client):
        return {one.name.decode(): one for one in client.call("disks.list_disks").disks}

    for i in range(10):
        image = tmp_path / f"image{i}"
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        find_all(client)
        loop = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True,
                              check=True).stdout.strip()
        name = os.path.basename(loop)
        try:
            one = find_all(client)[name]
            assert (one.alias, one.read_only, one.size) == (os.fsencode(image), False, 1 << 20)
            subprocess.run(["blockdev", "--setro", loop], check=True)
            assert find_all(client)[name].read_only
            subprocess.run(["blockdev", "--setrw", loop], check=True)
            assert not find_all(client)[name].read_only
            with open(image, "r+b") as file:
                file.truncate(2 << 20)
            subprocess.run(["losetup", "-c", loop], check=True)
            assert find_all(client)[name].size == 2 << 20
        finally:
            subprocess.run(["losetup", "-d", loop], check=True)
        assert name not in find_all(client)


def test_partitions(client, tmp_path):
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["sfdisk", "-q", image], input=b"label: gpt\nsize=2M, name=first\nsize=2M\n", check=True)
    loop = subprocess.run(["losetup", "-fP", "--show", image], capture_output=True, text=True, check=True)
    name = os.path.basename(loop.stdout.strip())
    try:
        if not os.path.exists(f"/sys/class/block/{name}p1"):
            subprocess.run(["partx", "-a", f"/dev/{name}"], check=True)
        whole, first = find(client, name), find(client, f"{name}p1")
        assert list(whole.partitions) == [f"{name}p{i}".encode() for i in (1, 2)]
        assert (first.partition, first.parent, first.size) == (1, name.encode(), 2 << 20)
        assert first.id == whole.id + b"-part1" and first.block_size == whole.block_size
    finally:
        subprocess.run(["losetup", "-d", f"/dev/{name}"], check=True)


def test_statistics_are_those_of_the_kernel(client, stick):
    put(f"{stick}/file", os.urandom(1 << 20))
    os.sync()
    name = loop_of(stick).encode()
    one = next(s for s in client.call("disks.stats").disks if s.name == name)
    with open(f"/sys/class/block/{name.decode()}/stat") as file:
        n = [int(word) for word in file.read().split()]
    assert one.written_bytes == n[6] * 512 >= 1 << 20
    assert (one.reads, one.read_bytes, one.writes, one.in_flight) == (n[0], n[2] * 512, n[4], 0)
    assert one.HasField("discards") == (len(n) > 11) and one.HasField("flushes") == (len(n) > 15)


def test_what_comes_and_goes_is_told(client, folder):
    client.call("notifications.subscribe", topics=["notify.disks.*"])
    with disk(f"{folder}/media", name="new") as path:
        name = loop_of(path).encode()
        for state in (3,):
            told = until(client, name, state)
            assert told.mounted_at == path.encode()
    assert until(client, name, 4).mounted_at == path.encode()
    os.rmdir(path)


def until(client, name, state):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        _, told = client.notification("notify.disks.state")
        if (told.disk, told.state) == (name, state):
            return told
    raise TimeoutError(state)


# ---- Files on them ----


def names_of(path):
    """Every way to name a disk that is mounted there."""
    device = loop_of(path)
    uuid = subprocess.run(["blkid", "-p", "-o", "value", "-s", "UUID", f"/dev/{device}"], capture_output=True,
                          text=True, check=True).stdout.strip()
    return [device, f"/dev/{device}", uuid, "MY-LABEL", path, os.path.basename(path)]


def test_a_disk_has_many_names(client, stick):
    put(f"{stick}/file")
    subprocess.run(["e2label", f"/dev/{loop_of(stick)}", "MY-LABEL"], check=True)
    os.sync()
    for name in names_of(stick):
        for path in (b"file", b"/file", b"//file"):
            assert b"".join(client.call("disks.read_file", disk=name.encode(), path=path).data) == b"some bytes", name
        told = {entry.path for entry in client.call("disks.list_files", disk=name.encode()).files}
        assert told == {b"file", b"lost+found"}


def test_which_are_failure(client, folder, stick, tmp_path):
    missing = failure(client, "disks.list_files", disk=b"nobody")
    assert missing.code == "NOT_FOUND" and "disks.list_disks" in missing.message
    with disk(tmp_path, name="elsewhere") as path:
        refused = failure(client, "disks.list_files", disk=loop_of(path).encode())
        assert refused.code == "FAILED_PRECONDITION" and "below none of" in refused.message
        assert failure(client, "disks.list_files", disk=path.encode()).code == "NOT_FOUND"
    os.mkdir(f"{folder}/media/sub")
    with disk(f"{folder}/media/sub", name="stick") as path:
        refused = failure(client, "disks.list_files", disk=b"stick")
        assert refused.code == "FAILED_PRECONDITION" and "several disks" in refused.message
        client.call("disks.list_files", disk=path.encode())
    subprocess.run(["rm", "-r", f"{folder}/media/sub"], check=True)
    for fields in ({}, {"disk": b""}, {"disk": b"a\0b"}, {"disk": b"stick", "path": b"../x"},
                   {"disk": b"stick", "path": b"a\0b"}):
        assert failure(client, "disks.list_files", **fields).code == "INVALID_ARGUMENT"
    with Agent() as other, other.client() as shipped:
        refused = failure(shipped, "disks.list_files", disk=b"__repository__")
        assert refused.code == "NOT_FOUND" and "disks_repository" in refused.message
        for method in ("copy_file", "create_file", "remove_file"):
            assert failure(shipped, f"disks.{method}").code == "PERMISSION_DENIED"


def test_a_file_goes_to_the_repository(client, stick, repository):
    data = os.urandom(3 << 20)
    os.mkdir(f"{stick}/folder")
    put(f"{stick}/folder/file", data)
    os.chmod(f"{stick}/folder/file", 0o4755)
    client.call("notifications.subscribe", topics=["notify.disks.new_file"])
    copied = client.call("disks.copy_file", source_disk=b"stick", path=b"folder/file", target_disk=b"__repository__",
                         target_path=b"arrived", verify=True)
    expected = hashlib.sha256(data).hexdigest()
    assert (copied.footprint, copied.algorithm, copied.size) == (expected, "sha256", len(data))
    assert get(f"{repository}/arrived") == data and os.listdir(repository) == ["arrived"]
    assert os.stat(f"{repository}/arrived").st_mode & 0o7777 == 0o755
    _, told = client.notification("notify.disks.new_file")
    assert (told.disk, told.path, told.size) == (b"__repository__", b"arrived", len(data))
    assert told.source_footprint == told.footprint == expected
    again = dict(source_disk=b"stick", path=b"folder/file", target_disk=b"__repository__", target_path=b"arrived")
    refused = failure(client, "disks.copy_file", **again)
    assert (refused.code, refused.error.outcome) == ("ALREADY_EXISTS", NOT_DONE)
    assert client.call("disks.copy_file", replace=True, algorithm="md5", **again).footprint == hashlib.md5(
        data).hexdigest()
    told = client.call("disks.get_file_footprint", disk=b"__repository__", path=b"arrived", algorithm="md5")
    assert told.footprint == hashlib.md5(data).hexdigest()


def test_create_and_remove(client, stick):
    client.call("notifications.subscribe", topics=["notify.disks.new_file"])
    made = client.call("disks.create_file", disk=b"stick", path=b"new", data=b"hello")
    assert made.footprint == hashlib.sha256(b"hello").hexdigest() and get(f"{stick}/new") == b"hello"
    _, told = client.notification("notify.disks.new_file")
    assert (told.path, told.footprint, told.source_footprint) == (b"new", made.footprint, "")
    assert failure(client, "disks.create_file", disk=b"stick", path=b"new", data=b"x").code == "ALREADY_EXISTS"
    client.call("disks.create_file", disk=b"stick", path=b"new", data=b"other", replace=True)
    assert get(f"{stick}/new") == b"other"
    assert failure(client, "disks.create_file", disk=b"stick", path=b"a/new", data=b"x").code == "NOT_FOUND"
    for path in (b"", b"/"):
        assert failure(client, "disks.create_file", disk=b"stick", path=path, data=b"x").code == "INVALID_ARGUMENT"
        assert failure(client, "disks.remove_file", disk=b"stick", path=path).code == "INVALID_ARGUMENT"
    assert client.call("disks.remove_file", disk=b"stick", path=b"new").removed == 1
    assert failure(client, "disks.remove_file", disk=b"stick", path=b"new").code == "NOT_FOUND"
    assert sorted(os.listdir(stick)) == ["lost+found"]


def test_errors_are_told(client, stick):
    client.call("notifications.subscribe", topics=["notify.error"])
    missing = failure(client, "disks.get_file_footprint", disk=b"stick", path=b"missing")
    assert (missing.code, missing.error.sys_errno) == ("NOT_FOUND", 2)
    failure(client, "disks.read_file", disk=b"stick", path=b"../x")  # its caller's affair
    failure(client, "disks.create_file", disk=b"stick", path=b"no/where", data=b"x")
    for method, path in (("disks.get_file_footprint", b"missing"), ("disks.create_file", b"no/where")):
        _, told = client.notification("notify.error")
        assert (told.module, told.method, told.disk, told.path) == ("disks", method, b"stick", path)
        assert told.level == 1 and told.sys_errno == 2 and "o such f" in told.description
        assert abs(told.time_ns / 1e9 - time.time()) < 60


def test_what_is_on_a_disk_cannot_lead_away(client, stick, repository):
    """A stick that somebody prepared."""
    os.symlink("/etc", f"{stick}/etc")
    os.symlink("/etc/passwd", f"{stick}/passwd")
    os.mkfifo(f"{stick}/fifo")
    put(f"{stick}/file")
    copy = {"source_disk": b"stick", "target_disk": b"__repository__"}
    for path in (b"etc/passwd", b"passwd", b"fifo"):
        assert failure(client, "disks.read_file", disk=b"stick", path=path).code == "INVALID_ARGUMENT"
        assert failure(client, "disks.get_file_footprint", disk=b"stick", path=path).code == "INVALID_ARGUMENT"
        assert failure(client, "disks.copy_file", path=path, target_path=b"x", **copy).code == "INVALID_ARGUMENT"
    for path in (b"etc/new", b"passwd", b"fifo"):
        refused = failure(client, "disks.create_file", disk=b"stick", path=path, data=b"x", replace=True)
        assert (refused.code, refused.error.outcome) == ("INVALID_ARGUMENT", NOT_DONE)
    assert failure(client, "disks.copy_file", path=b"file", target_path=b"../x", **copy).code == "INVALID_ARGUMENT"
    told = client.call("disks.list_files", disk=b"stick", recursive=True)
    assert {e.path for e in told.files} == {b"etc", b"passwd", b"fifo", b"file", b"lost+found"}
    assert os.listdir(repository) == [] and not os.path.exists("/etc/new")


def test_a_disk_that_fills(client, stick, repository):
    put(f"{repository}/large", bytes(30 << 20))
    refused = failure(client, "disks.copy_file", source_disk=b"__repository__", path=b"large", target_disk=b"stick")
    assert (refused.code, refused.error.sys_errno, refused.error.outcome) == ("RESOURCE_EXHAUSTED", 28, NOT_DONE)
    assert os.listdir(stick) == ["lost+found"]
    subprocess.run(["mount", "-o", "remount,ro", stick], check=True)
    refused = failure(client, "disks.create_file", disk=b"stick", path=b"x", data=b"x")
    assert (refused.code, refused.error.sys_errno) == ("FAILED_PRECONDITION", 30)


def test_a_disk_that_does_not_respond(agent, client, stick, repository):
    client.call("notifications.subscribe", topics=["notify.error"])
    put(f"{stick}/file")
    quarantine = Quarantine(agent)
    quarantine(stick)
    try:
        for method in ("list_files", "read_file", "get_file_footprint", "remove_file"):
            assert failure(client, f"disks.{method}", disk=b"stick", path=b"file").code == "UNAVAILABLE"
            assert client.notification("notify.error")[1].level == 2
        assert find(client, loop_of(stick)).mounted_at, "told without being touched"
    finally:
        quarantine()
    assert client.call("disks.remove_file", disk=b"stick", path=b"file").removed == 1


def test_shares_are_disks_too(client, folder):
    """What is mounted by a tag."""
    path = f"{folder}/media/share"
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "my-tag", path], check=True)
    try:
        client.call("disks.create_file", disk=b"my-tag", path=b"file", data=b"x")
        assert [e.path for e in client.call("disks.list_files", disk=b"share").files] == [b"file"]
    finally:
        subprocess.run(["umount", path], check=True)
        os.rmdir(path)
