# SPDX-License-Identifier: LGPL-2.1-or-later
"""A 9p share: QEMU's own device, in a guest whose kernel has 9p."""

import os

import pytest

from machine import ANSWERED, BUILD, USAGE, Host
from streams import hybrid_stream
from watching import MODIFIED, WRITTEN, Watch
from wire import Failed

GENERIC = f"{BUILD}/generic"


@pytest.fixture(scope="module")
def host():
    """Guests of the distribution's generic kernel, on a host that has no virtiofsd."""
    machines = Host()
    machines.env["POSTERN_GUEST_DIR"] = GENERIC
    machines.env["POSTERN_VIRTIOFSD"] = ""
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def folders(host):
    for name in ("rw, or so", "ro"):
        os.mkdir(f"{host.dir}/{name}")
        with open(f"{host.dir}/{name}/from-host", "w") as file:
            file.write("hello")
    return f"{host.dir}/rw, or so", f"{host.dir}/ro"


@pytest.fixture(scope="module")
def vm(host, folders):
    release, = os.listdir(f"{GENERIC}/lib/modules")
    policy = f"{host.dir}/files.policy"
    with open(policy, "w") as file:
        file.write("allow host files.* disks.*\n")
    return host.launch("nine", "--cmdline-add", "postern.files_roots=/mnt",
                       "--add", f"{policy}:/etc/postern/policy.d/60-files.policy", "--kernel", f"{GENERIC}/boot/vmlinuz-{release}", "--modules",
                       f"{GENERIC}/lib/modules/{release}", "--share", f"{folders[0]}:/mnt/rw:9p",
                       "--share", f"{folders[1]}:/mnt/ro:9p:ro")


def test_read_and_write(host, vm, folders):
    assert vm.witness("read", "/mnt/rw/from-host") == "hello"
    vm.witness("write", "/mnt/rw/from-guest", "world")
    with open(f"{folders[0]}/from-guest") as file:
        assert file.read() == "world"
    shares = {s["target"]: s for s in host.json("shares", "list", "nine")["shares"]}
    assert {s["type"] for s in shares.values()} == {"9p"} and len(shares) == 2
    line, = [line for line in vm.witness("mounts").splitlines() if " /mnt/rw " in line]
    assert " 9p rw," in line and {"nosuid", "nodev", "trans=virtio"} <= set(line.split()[3].split(","))


def test_read_only_is_the_hosts_word(vm, folders):
    assert vm.witness("read", "/mnt/ro/from-host") == "hello"
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/ro/new", "x")
    # Whatever the guest makes of it: mounted for writing, QEMU refuses still.
    with vm.client() as client:
        tag = next(s.source for s in client.call("shares.list").shares if s.target == b"/mnt/ro")
        client.call("shares.unmount", target=b"/mnt/ro")
        client.call("shares.mount", target=b"/mnt/ro", source=tag, type="9p")
    assert vm.witness("read", "/mnt/ro/from-host") == "hello"
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/ro/new", "x")
    assert not os.path.exists(f"{folders[1]}/new")


def open_channel(vm, channel):
    sock = hybrid_stream(vm.vsock, 767)
    sock.sendall(b"\0PC\1" + channel.token)
    assert sock.recv(1) == b"\1"
    return sock


def test_what_the_host_changes(vm, client, folders):
    """Watchers in the guest hear of it once it is told."""
    path = f"{folders[0]}/touched"
    with open(path, "w") as file:
        file.write("old")
    assert vm.witness("read", "/mnt/rw/touched") == "old"
    with Watch(client, lambda channel: open_channel(vm, channel), "/mnt/rw") as watch:
        with open(path, "w") as file:
            file.write("new and longer")
        os.utime(path, ns=(1_700_000_000_000_000_000, 1_700_000_001_000_000_000))
        told = client.call("files.touched", paths=[b"/mnt/rw/touched", b"/mnt/rw", b"/mnt/rw/none"]).files
        assert told[0].modified and told[0].written and not told[0].HasField("message"), told
        assert told[1].attributes and not told[1].HasField("message") and told[2].sys_errno == 2
        watch.until(lambda: watch.has("/mnt/rw/touched", MODIFIED, WRITTEN))
        assert os.stat(path).st_mtime_ns == 1_700_000_001_000_000_000, "it is the host's"
    assert vm.witness("read", "/mnt/rw/touched") == "new and longer"
    told, = client.call("files.touched", paths=[b"/mnt/ro/from-host"]).files
    assert told.sys_errno in (1, 13, 30) and not told.modified


def test_files_without_a_name(client, folders):
    """9p has none: nothing is measured under a name that somebody could see, and what is copied there is whole or
    gone all the same."""
    before = sorted(os.listdir(folders[0]))
    with pytest.raises(Failed) as failed:
        client.call("disks.benchmark", disk=b"/mnt/rw", write=True, size=1 << 20)
    assert failed.value.code == "UNIMPLEMENTED" and "/mnt/rw" in failed.value.message
    assert sorted(os.listdir(folders[0])) == before
    client.call("disks.create_file", disk=b"/mnt/rw", path=b"made", data=b"made")
    client.call("disks.copy_file", source_disk=b"/mnt/rw", path=b"made", target_disk=b"/mnt/rw", target_path=b"copied")
    with open(f"{folders[0]}/copied") as file:
        assert file.read() == "made"
    assert sorted(os.listdir(folders[0])) == sorted([*before, "made", "copied"])


def test_unmount_and_mount_again(host, vm):
    tag = next(s["source"] for s in host.json("shares", "list", "nine")["shares"] if s["target"] == "/mnt/rw")
    host.run("shares", "remove", "nine", "/mnt/rw")
    assert " /mnt/rw " not in vm.witness("mounts")
    # The device is there still: its tag is all that it takes.
    host.run("shares", "add", "nine", "--type", "9p", tag, "/mnt/again", "--option", "msize=65536")
    assert vm.witness("read", "/mnt/again/from-host") == "hello"
    assert "msize=65536" in vm.witness("mounts")
    host.run("shares", "remove", "nine", "/mnt/again")
    host.run("shares", "add", "nine", "--type", "9p", tag, "/mnt/rw", "--read-only")
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/rw/new", "x")
    host.run("shares", "remove", "nine", "/mnt/rw")


def test_forced_unmount(host, vm):
    """MNT_FORCE is what makes the kernel give up what waits for the other side: whoever holds the mount stays, but
    nothing works for him any more."""
    tag = next(s["source"] for s in host.json("shares", "list", "nine")["shares"] if s["target"] == "/mnt/ro")
    with vm.client() as client:
        # A tag is mounted once at a time.
        client.call("shares.unmount", target=b"/mnt/ro")
        client.call("mounts.mount", target=b"/mnt/forced", source=tag.encode(), type="9p", create_target=True)
        for mode, still_reads in ((1, True), (2, False)):
            pid, fd = vm.witness("hold", "/mnt/forced/from-host").split()
            with pytest.raises(Failed) as failed:
                client.call("mounts.unmount", target=b"/mnt/forced", mode=mode)
            assert failed.value.code == "FAILED_PRECONDITION" and failed.value.error.sys_errno == 16
            assert [holder.pid for holder in failed.value.error.details.holders] == [int(pid)]
            vm.witness("release", fd)
            if still_reads:
                assert vm.witness("read", "/mnt/forced/from-host") == "hello"
            else:
                with pytest.raises(OSError):
                    vm.witness("read", "/mnt/forced/from-host")
        client.call("mounts.unmount", target=b"/mnt/forced", mode=2)
        client.call("shares.mount", target=b"/mnt/ro", source=tag.encode(), type="9p")
    assert " /mnt/forced " not in vm.witness("mounts")
    assert vm.witness("read", "/mnt/ro/from-host") == "hello"


def test_it_cannot_be_plugged(host, vm, folders):
    _, err = host.run("shares", "add", "nine", "--type", "9p", folders[0], "/mnt/x", code=USAGE)
    assert "QEMU cannot plug a 9p device" in err and "--share" in err
    _, err = host.run("shares", "add", "nine", folders[0], "/mnt/x", code=4)
    assert "virtiofsd is not installed" in err and ":9p" in err


def test_a_tag_that_is_not_there(host, vm):
    with vm.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("shares.mount", target=b"/mnt/x", source=b"nobody", type="9p", wait_ms=200)
    assert failed.value.code == "NOT_FOUND" and "no device offers the tag nobody" in failed.value.message
    _, err = host.run("shares", "add", "nine", "--type", "9p", "nobody", "/mnt/x", code=ANSWERED)
    assert "nobody" in err


def test_more_module_than_the_small_guest_has(vm):
    """A type whose module is not in the image: the error says how it gets there."""
    with vm.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("shares.mount", target=b"/mnt/x", source=b"192.0.2.1:/", type="ceph", secret=b"a2V5")
    assert failed.value.code == "NOT_FOUND"
    assert "no module ceph fits the running kernel" in failed.value.message
    assert "--add-module ceph" in failed.value.message
