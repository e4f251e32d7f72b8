# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disk below /var/lib/postern: full, and frozen."""

import os
import subprocess
import time

import pytest

from machine import BUILD, Host, wait_until
from wire import Failed

STATE = "/var/lib/postern"


@pytest.fixture(scope="module")
def vm():
    """A small guest with a small disk, whose agent writes its history every second."""
    host = Host()
    image = f"{host.dir}/disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image, "8M"], check=True)
    release, = os.listdir(f"{BUILD}/guest/lib/modules")
    machine = host.launch("state", "--kernel", f"{BUILD}/guest/boot/vmlinuz-{release}", "--modules",
                          f"{BUILD}/guest/lib/modules/{release}", "--image", image,
                          "--cmdline-add", "postern.sample_interval=1 postern.save_interval=1", "--add-module", "btrfs")
    with machine.client() as client:
        client.call("mounts.mount", source=b"/dev/vda", target=STATE.encode(), type="ext4", create_target=True)
    yield machine
    host.close()


def inode(vm):
    try:
        return vm.witness("exists", f"{STATE}/load").split()[0]
    except FileNotFoundError:
        return None


def is_written(vm):
    """Each writing makes a new file: two of them, so that the second began after now."""
    for _ in range(2):
        before = inode(vm)
        wait_until(lambda: inode(vm) not in (None, before))
    return True


def stuck(client):
    return client.call("system.info").agent.stuck


def workers(client):
    return [p for p in client.call("system.info").agent.processes if p.role == "worker" and not p.spare]


def test_an_added_module_brings_what_it_asks_for(client):
    """Its soft dependencies are in the image too. Which of them libkmod loads with it is libkmod's choice."""
    assert client.call("modules.load", name="btrfs").loaded_now
    for name in ("btrfs", "blake2b_generic", "xxhash_generic"):
        assert client.call("modules.info", name=name).module.name.decode() == name


def test_a_full_disk(vm, client):
    assert is_written(vm)
    # A writing that had begun still comes through, and leaves the space of the one before it to the next.
    fills, before = [], None
    while not fills or inode(vm) != before:
        assert len(fills) < 10, "there was space for it"
        fills.append(f"{STATE}/fill{len(fills)}")
        vm.witness("fill", fills[-1])
        before = inode(vm)
        time.sleep(4)
    assert not stuck(client) and len(workers(client)) <= 1
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True,
                    options=[dict(key="size", value=b"1" * 2000)])
    assert failed.value.code in ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True)
    assert failed.value.code == "RESOURCE_EXHAUSTED" and "undone" in failed.value.message
    assert " /mnt/kept " not in vm.witness("mounts") and not client.call("shares.list").shares
    client.call("shares.mount", target=b"/mnt/now", type="tmpfs")
    client.call("shares.unmount", target=b"/mnt/now")
    for fill in fills:
        vm.witness("unlink", fill)
    assert is_written(vm)
    with pytest.raises(FileNotFoundError):
        # Only the next writing's, and that is gone within the second.
        for _ in range(20):
            vm.witness("exists", f"{STATE}/.load.new")


def test_a_frozen_disk(vm, client):
    client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True)
    assert is_written(vm)
    vm.witness("freeze", STATE)
    try:
        points = len(client.call("system_load.historical").points)
        # The writer is given time, killed, and listed when that does not end it.
        wait_until(lambda: stuck(client), timeout=40, step=0.5)
        one, = stuck(client)
        device = client.call("mounts.list", target=STATE.encode()).mounts[0]
        assert one.device == f"{device.major}:{device.minor}" and not one.HasField("method")
        status = vm.witness("read", f"/proc/{one.pid}/status")
        assert "State:\tD" in status and "postern-worker" in status
        # Nobody joins it, and everything else is answered as ever.
        time.sleep(4)
        assert [s.pid for s in stuck(client)] == [one.pid] and len(workers(client)) <= 1
        start = time.monotonic()
        client.call("system.ping", payload=b"p")
        client.call("system_load.current")
        assert len(client.call("system_load.historical").points) > points
        assert any(m.state == 2 for m in client.call("mounts.list", usage=True).mounts if m.target == STATE.encode())
        client.call("shares.mount", target=b"/mnt/now", type="tmpfs")
        client.call("shares.unmount", target=b"/mnt/now")
        with pytest.raises(Failed) as failed:
            client.call("shares.mount", target=b"/mnt/more", type="tmpfs", persistent=True)
        assert failed.value.code == "UNAVAILABLE" and STATE in failed.value.message
        assert " /mnt/more " not in vm.witness("mounts")
        with pytest.raises(Failed) as failed:
            client.call("shares.unmount", target=b"/mnt/kept")
        assert failed.value.code == "UNAVAILABLE"
        assert " /mnt/kept " in vm.witness("mounts")
        assert time.monotonic() - start < 10
        assert len(stuck(client)) == 1
    finally:
        vm.witness("thaw", STATE)
    wait_until(lambda: not stuck(client))
    assert is_written(vm)
    client.call("shares.unmount", target=b"/mnt/kept")
    assert client.call("mounts.list", target=STATE.encode(), usage=True).mounts[0].state == 1
