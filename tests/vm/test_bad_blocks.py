# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk with bad blocks: what can be read is read, what cannot is an error of the disk with its path, nothing is left
half done, and the agent goes on. The kernel's device mapper answers for the blocks."""

import errno
import os
import shutil
import time

import pytest

from blocks import blocks_of, free_blocks, inode_of, make_image, table
from machine import ANSWERED, BUILD
from wire import Failed

MIB = 1 << 20
SIZE = 160 * MIB
LARGE = 8 * MIB
PLACE = "/mnt/bad"
NOT_DONE, UNKNOWN = 1, 3
CRITICAL = 2
CROWD = 300
MODULES = ["dm_mod", "dm_flakey", "dm_delay", "vfat", "nls_ascii", "nls_cp437"]


@pytest.fixture(scope="module")
def vm(host):
    policy, allow = f"{host.dir}/files.policy", f"{host.dir}/dm.allow"
    with open(policy, "w") as file:
        file.write("allow host files.* disks.* copy.*\n")
    with open(allow, "w") as file:
        file.write("\n".join(MODULES) + "\n")
    machine = host.launch("guest", "--cmdline-add", "postern.files_roots=/mnt:/tmp",
                          "--add", f"{policy}:/etc/postern/policy.d/60-files.policy",
                          "--add", f"{allow}:/etc/postern/modules.d/dm.allow",
                          "--add", f"{BUILD}/tests/breaker:/bin/breaker", "--add", f"{shutil.which('busybox')}:/bin/sh",
                          *[word for module in MODULES for word in ("--add-module", module)])
    with machine.client() as client:
        for module in MODULES:
            client.call("modules.load", name=module)
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


@pytest.fixture(scope="module")
def content(host):
    path = f"{host.dir}/content"
    os.makedirs(f"{path}/crowd")
    for name, data in (("large", os.urandom(LARGE)), ("small", b"small"), ("other", b"other")):
        with open(f"{path}/{name}", "wb") as file:
            file.write(data)
    for i in range(CROWD):
        with open(f"{path}/crowd/{'x' * 100}{i}", "w"):
            pass
    return path


class Bad:
    """A disk of the guest behind the device mapper, mounted at PLACE."""

    def __init__(self, vm, client, image):
        self.vm, self.client, self.image = vm, client, image
        before = self.names()
        self.id = vm.host.json("disks", "add", vm.name, image)["id"]
        vm.host.until(lambda: self.names() - before)
        self.under, = self.names() - before
        self.node = self.map()
        self.mount()

    def names(self):
        return {one.name.decode() for one in self.client.call("disks.list_disks").disks}

    def map(self, broken=(), **options):
        """From now on these ranges of blocks are bad."""
        lines = table(f"/dev/{self.under}", SIZE, broken, **options)
        return self.vm.shell("breaker map bad " + " ".join(f"'{line}'" for line in lines)).strip()

    def map_all(self, line):
        self.vm.shell(f"breaker map bad '0 {SIZE // 512} {line}'")

    def delay(self):
        """Each read takes its time."""
        self.map_all(f"delay /dev/{self.under} 0 100")

    def mount(self):
        self.client.call("mounts.mount", source=self.node.encode(), target=PLACE.encode(), type="ext4",
                         create_target=True)

    def mount_anew(self, broken=()):
        """With these bad, and nothing of it in the kernel's memory."""
        self.vm.shell(f"umount {PLACE}")
        self.map(broken)
        self.mount()

    def forget(self):
        self.vm.shell("echo 3 > /proc/sys/vm/drop_caches")

    def was_read(self):
        """Bytes, by the kernel's count."""
        return int(self.vm.shell(f"cat /sys/class/block/{self.under}/stat").split()[2]) * 512

    def pull(self):
        self.vm.host.run("disks", "remove", self.vm.name, self.id)

    def look(self):
        return sorted(self.vm.shell(f"ls -A {PLACE}").split())

    def text(self, name):
        return self.vm.shell(f"cat {PLACE}/{name}")

    def close(self):
        self.vm.shell(f"umount -l {PLACE}")
        self.vm.host.until(lambda: self.vm.shell("breaker unmap bad && echo gone || true") == "gone\n")
        if [one for one in self.vm.host.json("disks", "list", self.vm.name)["disks"] if one.get("serial") == self.id]:
            self.pull()
            self.vm.host.until(lambda: self.under not in self.names())


@pytest.fixture
def image(content, tmp_path):
    path = str(tmp_path / "image")
    make_image(path, content, "160M")
    return path


@pytest.fixture
def bad(vm, client, image):
    disk = Bad(vm, client, image)
    yield disk
    assert not client.call("system.info").agent.stuck
    disk.close()


NAMES = ["crowd", "large", "lost+found", "other", "small"]


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def is_of_disk(refused, path, outcome=None, number=errno.EIO, code="UNAVAILABLE"):
    assert (refused.code, refused.error.sys_errno) == (code, number), refused
    assert path in refused.message
    if outcome is not None:
        assert refused.error.outcome == outcome
    return True


# ---- Blocks that cannot be read ----


def test_a_file_with_a_bad_block(vm, client, bad, content):
    blocks = blocks_of(bad.image, "/large")
    middle = len(blocks) // 2
    bad.mount_anew([(blocks[middle],) * 2])
    with open(f"{content}/large", "rb") as file:
        data = file.read()
    client.call("notifications.subscribe", topics=["notify.error"])
    for method, fields in (("files.read", {"path": b"/mnt/bad/large", "length": LARGE}),
                           ("files.get_footprint", {"path": b"/mnt/bad/large"}),
                           ("disks.read_file", {"disk": b"bad", "path": b"large", "length": LARGE}),
                           ("disks.get_file_footprint", {"disk": b"bad", "path": b"large"}),
                           ("disks.copy_file", {"source_disk": b"bad", "path": b"large", "target_disk": b"bad",
                                                "target_path": b"copy"})):
        assert is_of_disk(failure(client, method, **fields), "/mnt/bad/large"), method
        if method.startswith("disks."):
            _, told = client.notification("notify.error")
            assert (told.method, told.disk, told.path, told.level) == (method, b"bad", b"large", CRITICAL)
            assert told.sys_errno == errno.EIO and "/mnt/bad/large" in told.description
    assert bad.look() == NAMES
    # All but that block.
    for begin, end in ((0, middle), (middle + 1, len(blocks))):
        told = client.call("files.read", path=b"/mnt/bad/large", offset=begin * 4096, length=(end - begin) * 4096)
        assert b"".join(told.data) == data[begin * 4096:end * 4096]


def test_a_disk_with_a_bad_block_is_measured(client, bad):
    bad.mount_anew([(20000, 20000)])
    assert is_of_disk(failure(client, "disks.benchmark", disk=os.path.basename(bad.node).encode()), bad.node)


def test_a_folder_with_a_bad_block(client, bad):
    """What could be listed is, and what is missing is a problem."""
    blocks = blocks_of(bad.image, "/crowd")
    bad.mount_anew([(blocks[3],) * 2])
    for method, fields, folder in (("files.list", {"path": b"/mnt/bad/crowd"}, b""),
                                   ("files.list", {"path": b"/mnt/bad", "recursive": True}, b"crowd"),
                                   ("disks.list_files", {"disk": b"bad", "recursive": True}, b"crowd")):
        told = client.call(method, **fields)
        assert 0 < told.count - len(NAMES) < CROWD and len(told.files) == told.count
        assert [(one.path, one.sys_errno) for one in told.problems] == [(folder, errno.EIO)]
        assert not folder or {b"large", b"other"} <= {one.path for one in told.files}
    refused = failure(client, "files.remove", path=b"/mnt/bad/crowd", recursive=True)
    left = client.call("files.list", path=b"/mnt/bad/crowd").count
    assert is_of_disk(refused, "/mnt/bad/crowd", NOT_DONE if left == told.count - len(NAMES) else UNKNOWN)


def test_inodes_in_a_bad_block(client, bad):
    block, _ = inode_of(bad.image, f"/crowd/{'x' * 100}200")
    bad.mount_anew([(block, block)])
    told = client.call("files.list", path=b"/mnt/bad/crowd")
    assert {one.sys_errno for one in told.problems} == {errno.EIO}
    assert len(told.problems) == 4096 // 256 and told.count == CROWD - len(told.problems)
    path = f"/mnt/bad/crowd/{'x' * 100}200"
    for method in ("files.stat", "files.read", "files.get_footprint", "files.remove"):
        assert is_of_disk(failure(client, method, path=path.encode()), path), method


def test_a_damaged_inode(client, host, vm, content, tmp_path):
    """What the file system itself finds out by its checksum is a loss of data."""
    image = str(tmp_path / "image")
    make_image(image, content, "160M", "-O", "metadata_csum")
    block, offset = inode_of(image, "/other")
    with open(image, "r+b") as file:
        file.seek(block * 4096 + offset + 8)  # i_atime
        file.write(b"\xff\xff\xff")
    disk = Bad(vm, client, image)
    try:
        for method in ("files.stat", "files.read", "disks.read_file"):
            fields = {"disk": b"bad", "path": b"other"} if method == "disks.read_file" else {"path": b"/mnt/bad/other"}
            assert is_of_disk(failure(client, method, **fields), "/mnt/bad/other", number=errno.EBADMSG, code="DATA_LOSS")
        told = client.call("files.list", path=b"/mnt/bad")
        assert [(one.path, one.sys_errno) for one in told.problems] == [(b"other", errno.EBADMSG)]
    finally:
        disk.close()


def test_copies_from_bad_blocks(host, vm, bad, content, tmp_path):
    """What arrives is whole, and what does not is told: also what a folder did not tell."""
    large, crowd = blocks_of(bad.image, "/large"), blocks_of(bad.image, "/crowd")
    bad.mount_anew([(large[100],) * 2, (crowd[3],) * 2])
    for name in ("large", "crowd"):
        told = host.json("cp", "-r", f"guest:{PLACE}/{name}", str(tmp_path / name), code=ANSWERED)
        assert [(one["path"], one["errno"]) for one in told["problems"]] == [(f"{PLACE}/{name}", errno.EIO)], told
    assert not (tmp_path / "large").exists() and 0 < len(os.listdir(tmp_path / "crowd")) < CROWD
    told = host.json("cp", "-r", f"guest:{PLACE}", str(tmp_path / "all"), code=ANSWERED)
    assert {one["path"] for one in told["problems"]} == {f"{PLACE}/large", f"{PLACE}/crowd"}
    assert (tmp_path / "all/small").read_bytes() == b"small" and (tmp_path / "all/other").read_bytes() == b"other"
    assert sorted(os.listdir(tmp_path / "all")) == [name for name in NAMES if name != "large"]


# ---- Blocks that cannot be written ----


def test_writes_to_bad_blocks(host, vm, client, bad, tmp_path):
    """All that is free is bad."""
    bad.map(free_blocks(bad.image))
    data = os.urandom(256 << 10)
    vm.shell("echo source > /tmp/source")
    for method, fields, path in (
            ("files.replace", {"path": b"/mnt/bad/small", "data": data}, "small"),
            ("files.replace", {"path": b"/mnt/bad/new", "data": data}, "new"),
            ("files.write", {"path": b"/mnt/bad/new", "data": data, "create": True, "flush": True}, "new"),
            ("files.write", {"path": b"/mnt/bad/other", "data": data, "append": True, "flush": True}, "other"),
            ("disks.create_file", {"disk": b"bad", "path": b"new", "data": data}, "new"),
            ("disks.create_file", {"disk": b"bad", "path": b"small", "data": data, "replace": True}, "small"),
            ("disks.copy_file", {"source_disk": b"bad", "path": b"large", "target_disk": b"bad", "target_path": b"new"},
             "new")):
        assert is_of_disk(failure(client, method, **fields), f"{PLACE}/{path}", NOT_DONE), method
        assert bad.look() == NAMES and bad.text("small") == "small"
    assert is_of_disk(failure(client, "disks.benchmark", disk=b"bad", write=True), PLACE)
    (tmp_path / "file").write_bytes(data)
    for target in ("new", "small"):
        told = host.json("cp", "--sync", str(tmp_path / "file"), f"guest:{PLACE}/{target}", code=ANSWERED)
        assert [(one["path"], one["errno"]) for one in told["problems"]] == [(target, errno.EIO)], told
    # Who does not want to wait for the disk may ask later.
    host.run("cp", str(tmp_path / "file"), f"guest:{PLACE}/new")
    assert is_of_disk(failure(client, "files.flush", path=b"/mnt/bad/new"), f"{PLACE}/new")
    client.call("files.remove", path=b"/mnt/bad/new")
    assert bad.look() == NAMES
    bad.mount_anew()
    assert bad.look() == NAMES and (bad.text("small"), bad.text("other")) == ("small", "other")


def test_a_file_system_without_nameless_files(vm, client, bad):
    """As on a stick: what fails leaves nothing there either, and nothing is measured."""
    vm.shell(f"umount {PLACE}; busybox mkdosfs {bad.node}")
    client.call("mounts.mount", source=bad.node.encode(), target=PLACE.encode(), type="vfat")
    refused = failure(client, "disks.benchmark", disk=b"bad", write=True)
    assert refused.code == "UNIMPLEMENTED" and PLACE in refused.message and bad.look() == []
    client.call("disks.create_file", disk=b"bad", path=b"kept", data=b"kept")
    vm.shell("sync")
    bad.map_all(f"flakey /dev/{bad.under} 0 0 3600 1 error_writes")
    for method, fields in (("disks.create_file", {"disk": b"bad", "path": b"new", "data": b"x"}),
                           ("disks.create_file", {"disk": b"bad", "path": b"kept", "data": b"x", "replace": True}),
                           ("files.replace", {"path": b"/mnt/bad/kept", "data": b"x"}),
                           ("files.write", {"path": b"/mnt/bad/new", "data": b"x", "create": True, "flush": True})):
        assert is_of_disk(failure(client, method, **fields), PLACE, NOT_DONE)
        assert bad.look() == ["kept"] and bad.text("kept") == "kept"


def changes(client):
    return [failure(client, method, **fields) for method, fields in (
        ("files.write", {"path": b"/mnt/bad/new", "data": b"x", "create": True}),
        ("files.replace", {"path": b"/mnt/bad/small", "data": b"x"}),
        ("files.remove", {"path": b"/mnt/bad/small"}),
        ("files.mkdir", {"path": b"/mnt/bad/new"}),
        ("disks.create_file", {"disk": b"bad", "path": b"new", "data": b"x"}),
        ("disks.remove_file", {"disk": b"bad", "path": b"small"}),
        ("disks.benchmark", {"disk": b"bad", "write": True}))]


def test_a_disk_that_takes_nothing_more(vm, client, bad):
    """The kernel makes it read-only once its journal cannot be written."""
    vm.shell(f"cat {PLACE}/small; ls {PLACE}")
    bad.map_all(f"flakey /dev/{bad.under} 0 0 3600 1 error_writes")
    refused = failure(client, "files.replace", path=b"/mnt/bad/small", data=b"other text")
    assert is_of_disk(refused, "/mnt/bad/small", NOT_DONE) and bad.text("small") == "small"
    vm.shell(f"touch {PLACE}/small; sync")
    for refused in changes(client):
        assert (refused.code, refused.error.sys_errno) == ("FAILED_PRECONDITION", errno.EROFS), refused
    assert client.call("files.read", path=b"/mnt/bad/small").data == [b"small"]
    assert client.call("files.list", path=b"/mnt/bad").count == len(NAMES)
    bad.mount_anew()
    assert bad.look() == NAMES and bad.text("small") == "small"
    client.call("files.replace", path=b"/mnt/bad/small", data=b"new")
    assert bad.text("small") == "new"


def test_a_journal_that_cannot_be_written(vm, client, bad):
    """The bytes got to the disk and their name did not: what is left of it is in the kernel's memory alone."""
    journal = blocks_of(bad.image, "<8>")
    bad.map([(min(journal), max(journal))])
    for method, fields in (("files.replace", {"path": b"/mnt/bad/small", "data": b"new"}),
                           ("disks.create_file", {"disk": b"bad", "path": b"new", "data": b"new"})):
        refused = failure(client, method, **fields)
        assert refused.error.sys_errno in (errno.EIO, errno.EROFS) and refused.error.outcome == NOT_DONE, refused
        assert bad.text("small") == "small"
    bad.mount_anew()
    assert bad.look() == NAMES and bad.text("small") == "small"


# ---- Disks that come and go ----


def test_a_disk_that_fails_now_and_then(vm, client, bad):
    bad.map_all(f"flakey /dev/{bad.under} 0 1 1")
    seen = set()

    def read():
        bad.forget()
        try:
            told = client.call("files.read", path=b"/mnt/bad/small").data
            seen.add(b"".join(told))
        except Failed as failed:
            assert is_of_disk(failed, "/mnt/bad/small")
            seen.add(failed.error.sys_errno)
        return len(seen) == 2

    vm.host.until(read)
    assert seen == {b"small", errno.EIO}
    bad.map()
    assert client.call("files.read", path=b"/mnt/bad/small").data == [b"small"] and bad.look() == NAMES


def start_and_pull(client, bad, method, **fields):
    """The disk goes while it is at work: the error."""
    bad.delay()
    bad.forget()
    before = bad.was_read()
    id = client.start(method, **fields)
    bad.vm.host.until(lambda: bad.was_read() > before + MIB // 2)
    bad.pull()
    while (response := client.take_response(id)).more:
        pass
    assert response.HasField("error"), response
    return Failed(response.error)


def test_a_disk_is_pulled_while_a_file_is_read(vm, client, bad):
    refused = start_and_pull(client, bad, "disks.read_file", disk=b"bad", path=b"large", length=LARGE)
    assert is_of_disk(refused, "/mnt/bad/large")
    assert client.call("disks.list_disks").disks is not None


def test_a_disk_is_pulled_while_a_file_is_copied(vm, client, bad):
    vm.shell("mkdir -p /mnt/target && mount -t tmpfs none /mnt/target")
    try:
        refused = start_and_pull(client, bad, "disks.copy_file", source_disk=b"bad", path=b"large",
                                 target_disk=b"/mnt/target", target_path=b"copy")
        assert is_of_disk(refused, "/mnt/bad/large", NOT_DONE)
        assert vm.shell("ls -A /mnt/target") == ""
    finally:
        vm.shell("umount /mnt/target")


def test_a_disk_is_pulled_while_a_file_is_copied_to_it(vm, client, bad):
    vm.shell("mkdir -p /mnt/source && mount -t tmpfs none /mnt/source && "
             "dd if=/dev/urandom of=/mnt/source/file bs=1048576 count=8 2>/dev/null")
    try:
        bad.map_all(f"delay /dev/{bad.under} 0 0 /dev/{bad.under} 0 300")
        id = client.start("disks.copy_file", source_disk=b"/mnt/source", path=b"file", target_disk=b"bad")
        time.sleep(0.5)  # its bytes are in the kernel's memory by then, and are waited for
        bad.pull()
        response = client.take_response(id)
        assert response.HasField("error") and is_of_disk(Failed(response.error), "/mnt/bad/file", NOT_DONE), response
    finally:
        vm.shell("umount /mnt/source")
