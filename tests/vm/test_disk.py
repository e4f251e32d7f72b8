# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system on a device: what the kernel itself can hold a file system with."""

import os
import subprocess

import pytest

from machine import wait_until
from wire import Failed

SWAP = 256 * 1024


@pytest.fixture(scope="module")
def disk(host):
    """ext4 with a swap file and a file for a loop device."""
    content = f"{host.dir}/content"
    os.mkdir(content)
    with open(f"{content}/swap", "wb") as file:
        file.write(os.urandom(SWAP))  # without holes, which the kernel refuses
    subprocess.run(["mkswap", f"{content}/swap"], check=True, capture_output=True)
    with open(f"{content}/file", "wb") as file:
        file.truncate(65536)
    image = f"{host.dir}/disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", content, image, "4M"], check=True, capture_output=True)
    return image


@pytest.fixture(scope="module")
def vm(host, disk):
    machine = host.launch("disk", "--add", f"{disk}:/disk.img")
    with machine.client() as client:
        client.call("modules.load", name="loop")
    yield machine
    machine.stop()


@pytest.fixture
def mounted(client, vm):
    device = vm.witness("loop", "/disk.img")
    client.call("mounts.mount", source=device.encode(), target=b"/mnt/disk", type="ext4", create_target=True)
    yield b"/mnt/disk"
    client.call("mounts.unmount", target=b"/mnt/disk")
    vm.witness("unloop", device)


def refused(client, target):
    with pytest.raises(Failed) as failed:
        client.call("mounts.unmount", target=target)
    assert failed.value.code == "FAILED_PRECONDITION"
    [holder] = failed.value.error.details.holders
    [use] = holder.uses
    return holder, use, str(failed.value)


def test_swap_holds_a_file_system(client, vm, mounted):
    assert client.call("system_load.current").swap.total == 0
    vm.witness("swapon", "/mnt/disk/swap")
    holder, use, words = refused(client, mounted)
    swap = client.call("system_load.current").swap
    vm.witness("swapoff", "/mnt/disk/swap")
    # But for the first page, which says what it is.
    assert swap.total == swap.free == SWAP - 4096
    assert (holder.pid, use.kind, use.path) == (0, 8, b"/mnt/disk/swap")
    assert "swaps to /mnt/disk/swap" in words


def test_a_disk_has_rates(client, vm, mounted):
    # Somebody who wants samples each second has them taken.
    client.call("notifications.subscribe", topics=["notify.system_load"], interval_ms=1000)
    name = client.call("mounts.list", target=mounted).mounts[0].source.decode().removeprefix("/dev/")

    def written():
        vm.witness("write", "/mnt/disk/file-of-mine", "x" * 500)
        vm.witness("sync")
        load = client.call("system_load.current")
        return [disk for disk in load.disks if disk.name.decode() == name and disk.write_bytes_per_s > 0]

    wait_until(written)
    disk, = written()
    assert disk.writes_per_s > 0 and 0 <= disk.busy_percent <= 200
    # Blocks of the file system, each a request or a part of one.
    assert disk.write_bytes_per_s >= 512 * disk.writes_per_s
    vm.witness("unlink", "/mnt/disk/file-of-mine")


def test_a_loop_device_holds_a_file_system(client, vm, mounted):
    device = vm.witness("loop", "/mnt/disk/file")
    holder, use, words = refused(client, mounted)
    vm.witness("unloop", device)
    assert (holder.pid, use.kind, use.path) == (0, 7, b"/mnt/disk/file")
    assert "loop device on /mnt/disk/file" in words
