# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders of the host in the guest: hot-plug, mount, holders, and everything that can go wrong."""

import os
import time

import pytest

from machine import ANSWERED, wait_until
from wire import Failed


@pytest.fixture
def folder(host):
    path = f"{host.dir}/folder-{time.monotonic_ns()}"
    os.mkdir(path)
    with open(f"{path}/from-host", "w") as file:
        file.write("hello")
    return path


def virtiofsd(host):
    return [line for line in host.processes() if "virtiofsd" in line.split()[0]]


def test_add_read_write_remove(host, vm, folder):
    before = len(virtiofsd(host))
    added = host.json("shares", "add", vm.name, folder, "/mnt/share")
    assert vm.witness("read", "/mnt/share/from-host") == "hello"
    vm.witness("write", "/mnt/share/from-guest", "world")
    assert open(f"{folder}/from-guest").read() == "world"
    assert len(virtiofsd(host)) > before
    listed = host.json("shares", "list", vm.name)["shares"]
    assert [(s["target"], s["source"], s["type"], s["state"]) for s in listed] == [
        ("/mnt/share", added["tag"], "virtiofs", "SHARE_MOUNTED")]
    host.run("shares", "remove", vm.name, "/mnt/share")
    assert "/mnt/share" not in vm.witness("mounts")
    wait_until(lambda: len(virtiofsd(host)) == before)
    assert not host.json("shares", "list", vm.name)["shares"]


def test_many_shares_one_after_another(host, vm, folder):
    # More often than there are ports, so that each is really given back.
    for i in range(10):
        host.run("shares", "add", vm.name, folder, f"/mnt/n{i}")
        host.run("shares", "remove", vm.name, f"/mnt/n{i}")
    wait_until(lambda: not virtiofsd(host))


def test_read_only(host, vm, folder):
    host.run("shares", "add", vm.name, folder, "/mnt/ro", "--read-only")
    assert vm.witness("read", "/mnt/ro/from-host") == "hello"
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/ro/new", "x")
    assert not os.path.exists(f"{folder}/new")
    host.run("shares", "remove", vm.name, "/mnt/ro")


def test_a_busy_share_is_not_removed(host, vm, folder):
    host.run("shares", "add", vm.name, folder, "/mnt/busy")
    pid, fd = vm.witness("hold", "/mnt/busy/from-host").split()
    _, err = host.run("shares", "remove", vm.name, "/mnt/busy", code=ANSWERED)
    assert f"witness (pid {pid}) has open /mnt/busy/from-host" in err
    assert vm.witness("read", "/mnt/busy/from-host") == "hello"
    vm.witness("release", fd)
    host.run("shares", "remove", vm.name, "/mnt/busy")


@pytest.mark.parametrize("arguments,code", [
    (["/no/such/folder", "/mnt/x"], 2),
    (["FOLDER", "relative"], 2),
    (["FOLDER", "/proc"], 1),
])
def test_a_failed_add_leaves_nothing(host, vm, folder, arguments, code):
    words = [folder if word == "FOLDER" else word for word in arguments]
    host.run("shares", "add", vm.name, *words, code=code)
    wait_until(lambda: not virtiofsd(host))
    assert not host.json("shares", "list", vm.name)["shares"]
    # The port and the tag are free again.
    host.run("shares", "add", vm.name, folder, "/mnt/after")
    host.run("shares", "remove", vm.name, "/mnt/after")


def test_missing_tag(vm, client):
    with pytest.raises(Failed) as failed:
        client.call("mounts.mount", target=b"/mnt/none", type="virtiofs", source=b"nobody", create_target=True,
                    wait_ms=300)
    assert failed.value.code == "NOT_FOUND" and "no device offers the tag nobody" in failed.value.message


def test_a_dead_virtiofsd(host, vm, folder):
    """The file system does not answer any more: everything else goes on, and it can be taken away."""
    tag = host.json("shares", "add", vm.name, folder, "/mnt/dead")["tag"]
    with vm.client() as client:
        twin = client.call("mounts.mount", target=b"/mnt/twin", type="virtiofs", source=tag.encode(), create_target=True)
    for pid in host.children(vm.name)["virtiofsd"]:
        os.kill(pid, 9)
    wait_until(lambda: any("dead" in problem for problem in [p["problem"] for p in host.info(vm.name)["problems"]]))
    with vm.client() as client:
        start = time.monotonic()
        entry = client.call("mounts.list", usage=True, target=b"/mnt/dead").mounts[0]
        assert entry.state == 2  # NOT_RESPONDING
        assert time.monotonic() - start < 8
        # Nobody touches it again, by whatever name: one question a device.
        entries = {m.target: m for m in client.call("mounts.list", usage=True).mounts}
        assert (entries[b"/mnt/twin"].major, entries[b"/mnt/twin"].minor) == (twin.mount.major, twin.mount.minor)
        assert (twin.mount.major, twin.mount.minor) == (entry.major, entry.minor)
        assert entries[b"/mnt/twin"].state == entries[b"/mnt/dead"].state == 2
        assert len(client.call("system.info").agent.stuck) == 1
        start = time.monotonic()
        assert client.call("mounts.list", usage=True, target=b"/mnt/dead").mounts[0].state == 2
        assert time.monotonic() - start < 4
        assert client.call("system.info").agent.stuck
        with pytest.raises(Failed) as failed:
            client.call("mounts.unmount", target=b"/mnt/dead")
        assert failed.value.code == "UNAVAILABLE" and "lazy" in failed.value.message
        assert client.call("system.ping", payload=b"p").payload == b"p"
        client.call("mounts.unmount", target=b"/mnt/dead", mode=3)
        client.call("mounts.unmount", target=b"/mnt/twin", mode=3)
    assert "/mnt/dead" not in vm.witness("mounts")
    host.start("shares", "remove", vm.name, "/mnt/dead", "--lazy").communicate(timeout=60)


def test_below_a_dead_virtiofsd(host, folder):
    """A look-up alone hangs there: the first one says where, and is the last one."""
    vm = host.launch("below")
    host.run("shares", "add", vm.name, folder, "/mnt/gone")
    pid, = host.children(vm.name)["virtiofsd"]
    os.kill(pid, 9)
    wait_until(lambda: any("dead" in problem["problem"] for problem in host.info(vm.name)["problems"]))
    with vm.client() as client:
        entry = client.call("mounts.list", target=b"/mnt/gone").mounts[0]
        stuck = {process.pid for process in client.call("system.info").agent.stuck}
        with pytest.raises(Failed) as failed:
            client.call("mounts.mount", target=b"/mnt/gone/below", type="tmpfs", create_target=True, timeout_ms=1000)
        assert failed.value.code == "DEADLINE_EXCEEDED" and failed.value.error.outcome == 1
        one, = [p for p in client.call("system.info").agent.stuck if p.pid not in stuck]
        assert (one.device, one.method) == (f"{entry.major}:{entry.minor}", "mounts.mount")
        start = time.monotonic()
        # One that waited would take its 30 s.
        for _ in range(3):
            for fields in (dict(target=b"/mnt/gone/below", type="tmpfs", create_target=True),
                           dict(target=b"/mnt/gone/from-host/x", type="tmpfs"),
                           dict(target=b"/mnt/over", type="overlay", create_target=True,
                                options=[dict(key="lowerdir", value=b"/run:/mnt/gone")])):
                with pytest.raises(Failed) as failed:
                    client.call("mounts.mount", **fields)
                assert failed.value.code == "UNAVAILABLE" and "/mnt/gone does not respond" in failed.value.message
        assert client.call("mounts.list", usage=True, target=b"/mnt/gone").mounts[0].state == 2
        assert time.monotonic() - start < 20
        assert len(client.call("system.info").agent.stuck) == len(stuck) + 1
        client.call("mounts.mount", target=b"/mnt/elsewhere", type="tmpfs", create_target=True)
        client.call("mounts.unmount", target=b"/mnt/elsewhere")
        client.call("mounts.unmount", target=b"/mnt/gone", mode=3)
        # The device goes too, and the kernel may then never mount another one: tried once, not again and again.
        host.start("shares", "remove", vm.name, "/mnt/gone", "--lazy").communicate(timeout=60)
        for _ in range(3):
            with pytest.raises(Failed) as failed:
                client.call("mounts.mount", target=b"/mnt/next", type="virtiofs", source=b"none", create_target=True,
                            timeout_ms=1000)
        assert failed.value.code in ("NOT_FOUND", "UNAVAILABLE")
        assert len(client.call("system.info").agent.stuck) <= len(stuck) + 2
    vm.stop("-f")
