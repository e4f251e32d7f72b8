# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files and disks of a guest that are pulled, full, damaged, or do not answer: each time an error that says so,
nothing half done, and an agent that goes on."""

import errno
import os
import shutil
import subprocess
import time

import pytest

from machine import halted
from streams import hybrid_stream
from watching import MODIFIED, WRITTEN, Watch
from wire import Failed, message

MIB = 1 << 20
DEVICE = 5
READY, ERROR = 3, 4


@pytest.fixture(scope="module")
def vm(host):
    policy = os.path.join(host.dir, "files.policy")
    with open(policy, "w") as file:
        file.write("allow host files.* disks.*\n")
    machine = host.launch("guest", "--cmdline-add", "postern.files_roots=/mnt:/tmp",
                          "--add", f"{policy}:/etc/postern/policy.d/60-files.policy",
                          "--add", f"{shutil.which('busybox')}:/bin/sh")
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def open_channel(vm, channel):
    """A channel over the guest's vsock."""
    sock = hybrid_stream(vm.vsock, 767)
    sock.sendall(b"\0PC\1" + channel.token)
    assert sock.recv(1) == b"\1"
    return sock


@pytest.fixture
def stick(host, vm, client, tmp_path):
    """A disk that is plugged while the guest runs, with a file system, mounted: (its number on the host, its disk)."""
    content = tmp_path / "content"
    content.mkdir()
    (content / "large").write_bytes(os.urandom(24 * MIB))
    (content / "small").write_bytes(b"small")
    image = tmp_path / "image"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", content, image, "200M"], check=True, capture_output=True)
    before = {one.name for one in client.call("disks.list_disks").disks}
    id = host.json("disks", "add", vm.name, str(image))["id"]

    def plugged():
        return [one for one in client.call("disks.list_disks").disks if one.name not in before]

    host.until(lambda: plugged())
    one, = plugged()
    client.call("mounts.mount", source=b"/dev/" + one.name, target=b"/mnt/stick", type="ext4", create_target=True)
    yield id, one
    vm.shell("umount -l /mnt/stick || true")
    if [one for one in host.json("disks", "list", vm.name)["disks"] if one.get("serial") == id]:
        host.run("disks", "remove", vm.name, id)
        host.until(lambda: not plugged())


@pytest.fixture
def share(host, vm):
    """A folder of the host in the guest."""
    path = f"{host.dir}/share-{time.monotonic_ns()}"
    os.mkdir(path)
    host.run("shares", "add", vm.name, path, "/mnt/share")
    yield path
    host.run("shares", "remove", vm.name, "/mnt/share")


# ---- disks as they are ----


def test_a_disk_is_told_as_the_guest_has_it(vm, client, stick):
    id, one = stick
    name = one.name.decode()
    device = vm.shell(f"cd /sys/class/block/{name}/device && pwd -P").strip()
    assert one.bus == b"virtio" and one.serial.decode() == id and id in one.id.decode()
    assert one.pci_address.decode() == os.path.basename(os.path.dirname(device))
    assert one.size == 200 * MIB == int(vm.shell(f"cat /sys/class/block/{name}/size")) * 512
    told, = [d for d in client.call("disks.list_disks").disks if d.name == one.name]
    assert list(told.mounted_at) == [b"/mnt/stick"] and told.filesystem == b"ext4"


def test_components_of_a_guest(vm, client):
    told = {one.id.decode(): one for one in client.call("components.discover").components}
    loaded = {line.split()[0] for line in vm.shell("cat /proc/modules").splitlines()}
    assert {id.split("/")[1] for id in told if id.startswith("module/")} == loaded and "vsock" in loaded
    devices = set(vm.shell("ls /sys/bus/virtio/devices").split())
    assert {id.split("/")[1] for id in told if id.startswith("device/")} == devices
    vsock, = [one for one in told.values() if (one.type, one.label) == (DEVICE, b"vsock")]
    assert vsock.state == READY and vsock.description == b"driver vmw_vsock_virtio_transport"
    # One is started for a request about modules, and ends with it.
    assert told["agent/postern-kmod"].instances <= 1 and told["agent/postern-watch"].state == READY


# ---- disks that are pulled ----


def test_a_disk_is_measured_and_pulled(host, vm, client, stick):
    id, one = stick
    call = client.start("disks.benchmark", disk=one.name, duration_ms=60000)
    assert client.receive().response.more
    host.run("disks", "remove", vm.name, id)
    while (response := client.receive().response).more:
        pass
    assert response.id == call and response.HasField("error"), response
    assert response.error.sys_errno in (errno.ENODEV, errno.EIO) and "/dev/" + one.name.decode() in response.error.message
    assert client.call("disks.list_disks").disks is not None
    assert not client.call("system.info").agent.stuck


def test_a_disk_is_read_and_pulled(host, vm, client, stick):
    """What is in the guest's memory can still be read; what is not, is an error of the disk."""
    id, _ = stick
    assert client.call("disks.read_file", disk=b"stick", path=b"small").data == [b"small"]
    vm.shell("echo 3 > /proc/sys/vm/drop_caches")
    host.run("disks", "remove", vm.name, id)
    for method, fields in (("disks.get_file_footprint", {"path": b"large"}),
                           ("disks.copy_file", {"path": b"large", "target_disk": b"stick", "target_path": b"copy"})):
        name = {"source_disk": b"stick"} if method == "disks.copy_file" else {"disk": b"stick"}
        refused = failure(client, method, **name, **fields)
        assert refused.code in ("UNAVAILABLE", "FAILED_PRECONDITION", "NOT_FOUND"), refused
        assert method != "disks.copy_file" or refused.error.outcome == 1
    assert client.call("system.ping") is not None
    assert not client.call("system.info").agent.stuck


def test_a_disk_that_is_watched_and_pulled(host, vm, client, stick):
    """The file system stays mounted without its disk; a watch ends when it is unmounted."""
    id, _ = stick
    with Watch(client, lambda channel: open_channel(vm, channel), "/mnt/stick") as watch:
        host.run("disks", "remove", vm.name, id)
        vm.shell("umount -l /mnt/stick")
        assert watch.ended() in (1, 2)


# ---- disks that take no more ----


def test_a_full_disk(vm, client, stick):
    vm.shell("dd if=/dev/zero of=/mnt/stick/fill bs=1048576 2>/dev/null; sync; "
             "dd if=/dev/zero of=/mnt/stick/rest bs=1024 2>/dev/null || true")
    for method, fields in (
            ("disks.create_file", {"disk": b"stick", "path": b"new", "data": bytes(256 << 10)}),
            ("disks.copy_file", {"source_disk": b"stick", "path": b"large", "target_disk": b"stick",
                                 "target_path": b"new"}),
            ("files.replace", {"path": b"/mnt/stick/new", "data": bytes(256 << 10)}),
            ("files.write", {"path": b"/mnt/stick/new", "data": bytes(256 << 10), "create": True}),
            ("disks.benchmark", {"disk": b"stick", "write": True})):
        refused = failure(client, method, **fields)
        assert refused.code == "RESOURCE_EXHAUSTED" and refused.error.sys_errno == errno.ENOSPC, method
        assert method == "disks.benchmark" or refused.error.outcome == 1
    assert sorted(vm.shell("ls -A /mnt/stick").split()) == ["fill", "large", "lost+found", "rest", "small"]


def test_a_disk_that_is_read_only(vm, client, stick):
    vm.shell("mount -o remount,ro /mnt/stick")
    for method, fields in (
            ("disks.create_file", {"disk": b"stick", "path": b"new", "data": b"x"}),
            ("disks.remove_file", {"disk": b"stick", "path": b"small"}),
            ("files.write", {"path": b"/mnt/stick/small", "data": b"x"}),
            ("files.mkdir", {"path": b"/mnt/stick/new"}),
            ("files.set_mode", {"path": b"/mnt/stick/small", "mode": 0o600}),
            ("disks.benchmark", {"disk": b"stick", "write": True})):
        refused = failure(client, method, **fields)
        assert (refused.code, refused.error.sys_errno) == ("FAILED_PRECONDITION", errno.EROFS), method
    told, = client.call("files.touched", paths=[b"/mnt/stick/small"]).files
    assert told.sys_errno == errno.EROFS and not told.modified


# ---- what is no file ----


def test_what_is_no_file(vm, client):
    vm.shell("mkdir -p /tmp/odd && cd /tmp/odd && mkfifo fifo && mknod disk b 7 0 && mknod null c 1 3 && ln -s /etc link")
    try:
        for name in (b"fifo", b"disk", b"null", b"link"):
            path = b"/tmp/odd/" + name
            for method, fields in (("files.read", {"path": path}), ("files.write", {"path": path, "data": b"x"}),
                                   ("files.get_footprint", {"path": path}), ("files.watch", {"path": path})):
                begun = time.monotonic()
                assert failure(client, method, **fields).code == "INVALID_ARGUMENT", (method, name)
                assert time.monotonic() - begun < 10
            told, = client.call("files.touched", paths=[path]).files
            assert told.message and not told.written and not told.modified
    finally:
        vm.shell("rm -rf /tmp/odd")


def test_more_folders_than_watches(vm, client):
    """What the kernel gives to root is left to others by a quarter; the error says what to do."""
    setting = "/proc/sys/fs/inotify/max_user_watches"
    before = vm.shell(f"cat {setting}").strip()
    vm.shell("mkdir -p /tmp/many && cd /tmp/many && i=0; while [ $i -lt 100 ]; do mkdir $i; i=$((i+1)); done")
    try:
        vm.shell(f"echo 80 > {setting}")
        refused = failure(client, "files.watch", path=b"/tmp/many", recursive=True)
        assert (refused.code, refused.error.sys_errno) == ("RESOURCE_EXHAUSTED", errno.ENOSPC)
        assert "fs.inotify.max_user_watches" in refused.message and "60 folders" in refused.message
        # Folders that come while it is watched are told.
        with Watch(client, lambda channel: open_channel(vm, channel), "/tmp/many/1") as watch:
            vm.shell("cd /tmp/many/1 && i=0; while [ $i -lt 70 ]; do mkdir $i; i=$((i+1)); done")
            watch.until(lambda: watch.of_kind("problem"))
            assert all(problem.sys_errno == errno.ENOSPC for problem in watch.of_kind("problem"))
    finally:
        vm.shell(f"echo {before} > {setting}")
        vm.shell("rm -rf /tmp/many")
    assert not client.call("channels.list").channels


# ---- shares ----


def test_what_the_host_changes_in_a_share(vm, client, share):
    """The guest does not see it until it is told, and then it sees what the host has by now."""
    with open(f"{share}/file", "w") as file:
        file.write("old")
    vm.shell("cat /mnt/share/file; stat /mnt/share/file")
    with Watch(client, lambda channel: open_channel(vm, channel), "/mnt/share") as watch:
        with open(f"{share}/file", "w") as file:
            file.write("new and longer")
        os.utime(f"{share}/file", ns=(1_700_000_000_123_456_789, 1_700_000_001_123_456_789))
        told, = client.call("files.touched", paths=[b"/mnt/share/file"]).files
        assert told.modified and told.written and not told.HasField("message")
        watch.until(lambda: watch.has("/mnt/share/file", MODIFIED, WRITTEN))
        # The guest knew an old time a moment ago, and has not set it.
        assert os.stat(f"{share}/file").st_mtime_ns == 1_700_000_001_123_456_789
        assert open(f"{share}/file").read() == "new and longer" == vm.shell("cat /mnt/share/file")
        with open(f"{share}/came", "w") as file:
            file.write("x")
        client.call("files.touched", paths=[b"/mnt/share/came"])
        watch.until(lambda: watch.has("/mnt/share/came", MODIFIED, WRITTEN))


def with_children(pids):
    """These processes, and those that they have started: who answers for a share may be one of them."""
    found = list(pids)
    for pid in found:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            found += map(int, file.read().split())
    return found


def test_a_share_that_does_not_answer(host, vm, client, share):
    """As a file of FUSE whose server hangs: the first look is cut, further ones do not wait."""
    with open(f"{share}/file", "w") as file:
        file.write("x")
    with halted(*with_children(host.children(vm.name)["virtiofsd"])):
        refused = failure(client, "files.read", path=b"/mnt/share/file", timeout_ms=1000)
        assert refused.code == "DEADLINE_EXCEEDED"
        host.until(lambda: client.call("system.info").agent.stuck)
        begun = time.monotonic()
        for method, fields in (("files.watch", {"path": b"/mnt/share"}), ("files.read", {"path": b"/mnt/share/file"})):
            refused = failure(client, method, **fields)
            assert refused.code == "UNAVAILABLE" and "does not respond" in refused.message
        told, = client.call("files.touched", paths=[b"/mnt/share/file"]).files
        assert told.sys_errno == errno.EHOSTDOWN
        components = client.call("components.discover").components
        one, = [one for one in components if one.id == b"share//mnt/share"]
        assert one.state == ERROR and b"does not respond" in one.description
        assert time.monotonic() - begun < 10
    host.until(lambda: not client.call("system.info").agent.stuck)
    assert client.call("files.read", path=b"/mnt/share/file").data == [b"x"]


def test_many_files(vm, client):
    """One folder is one watch, whatever is in it; a listing comes in parts."""
    vm.shell("mount -t tmpfs none /tmp && mkdir /tmp/crowd && cd /tmp/crowd && "
             "i=0; while [ $i -lt 20 ]; do j=0; s=; while [ $j -lt 1000 ]; do s=\"$s $i-$j\"; j=$((j+1)); done; "
             "touch $s; i=$((i+1)); done", timeout=300)
    try:
        with Watch(client, lambda channel: open_channel(vm, channel), "/tmp/crowd") as watch:
            assert watch.folders == 1
            parts = 0
            id = client.start("files.list", path=b"/tmp/crowd", timeout_ms=120000)
            while (response := client.receive().response).more:
                parts += 1
            last = message("files.list", "Reply")()
            last.ParseFromString(response.result)
            assert response.id == id and last.count == 20000 and parts > 2
            vm.shell("echo x > /tmp/crowd/7-7")
            watch.until(lambda: watch.has("/tmp/crowd/7-7", WRITTEN))
    finally:
        vm.shell("umount /tmp")
