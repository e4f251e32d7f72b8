# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk of the host at its place in the guest as one transaction: attached, detached, grown; and what is left
when it does not come to that."""

import os
import subprocess

import pytest

from machine import ANSWERED, TIMED_OUT, USAGE

MIB = 1 << 20
LIBFDISK = [f"/usr/lib/x86_64-linux-gnu/{name}" for name in ("libfdisk.so.1", "libuuid.so.1")]


@pytest.fixture(scope="module")
def vm(host):
    machine = host.launch("guest", "--add-module", "ext4", "--add-module", "xfs", "--add-module", "btrfs",
                          *[word for file in LIBFDISK for word in ("--add", f"{file}:{file}")])
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


@pytest.fixture
def image(tmp_path):
    return str(tmp_path / "image")


def disks(vm):
    return vm.host.info("guest")["disks"]


def refused(vm, *words, code=ANSWERED):
    return vm.host.json("disks", *words, code=code)["error"]["message"]


def attach(vm, image, *words):
    return vm.host.json("disks", "attach", "guest", image, *words)


def test_from_nothing_to_a_mounted_disk_and_back(vm, image):
    told = attach(vm, image, "--create", "64M", "--mkfs", "ext4", "--mount", "/mnt/data")
    assert (told["mounted_at"], told["type"], told["size"]) == ("/mnt/data", "ext4", 64 * MIB)
    assert [disk["path"] for disk in disks(vm)] == [image]
    vm.witness("write", "/mnt/data/file", "kept")
    assert vm.host.json("disks", "detach", "guest", image)["id"] == told["id"]
    assert disks(vm) == []
    out = vm.host.run("disks", "attach", "guest", image, "--mount", "/mnt/again", "--type", "ext4")[0]
    assert "mounted at /mnt/again (ext4)" in out
    assert vm.witness("read", "/mnt/again/file").strip() == "kept"
    vm.host.run("disks", "detach", "guest", told["id"])
    assert disks(vm) == []


def test_a_partition(vm, image):
    subprocess.run(["mkfs.ext4", "-q", "-E", "offset=1048576", image, "30M"], check=True)
    os.truncate(image, 40 * MIB)
    subprocess.run(["sfdisk", "-q", image], input="2048,61440,L\n", text=True, check=True)
    told = attach(vm, image, "--mount", "/mnt/part", "--partition", "1", "--type", "ext4")
    assert told["device"].endswith("1") and told["size"] == 30 * MIB
    vm.host.run("disks", "detach", "guest", image)
    late = refused(vm, "attach", "guest", image, "--partition", "2", "--wait", "300ms", code=TIMED_OUT)
    assert "partition 2" in late and "it sees" in late and f"{told['device'][5:]} ({30 * MIB} bytes)" in late
    assert disks(vm) == []


def test_what_is_in_use_stays(vm, image):
    told = attach(vm, image, "--create", "32M", "--mkfs", "ext4", "--mount", "/mnt/busy")
    pid, fd = vm.witness("hold", "/mnt/busy").split()
    error = vm.host.json("disks", "detach", "guest", image, code=ANSWERED)["error"]
    assert [holder["pid"] for holder in error["details"]["holders"]] == [int(pid)]
    assert [disk["id"] for disk in disks(vm)] == [told["id"]] and vm.witness("exists", "/mnt/busy/lost+found")
    vm.witness("release", fd)
    vm.host.run("disks", "detach", "guest", image)


def test_a_step_that_fails_leaves_nothing(vm, image):
    message = refused(vm, "attach", "guest", image, "--create", "32M", "--mount", "/mnt/none", "--type", "ext4")
    assert disks(vm) == [] and not os.path.exists(image), message
    with open(image, "wb") as file:
        file.write(b"precious")
        file.truncate(32 * MIB)
    message = refused(vm, "attach", "guest", image, "--mkfs", "ext4", code=USAGE)
    assert "not empty" in message and "--force" in message and disks(vm) == []
    message = refused(vm, "attach", "guest", image, "--mount", "/mnt/none", code=USAGE)
    assert "--type" in message and disks(vm) == [] and os.path.exists(image)
    assert "absolute" in refused(vm, "attach", "guest", image, "--mount", "none", code=USAGE)
    assert "mkfs.none" in refused(vm, "attach", "guest", image, "--mkfs", "none", "--force", code=USAGE)
    assert "has letters" in refused(vm, "attach", "guest", image, "--mkfs", "../sh", "--force", code=USAGE)
    assert "no such disk" in refused(vm, "detach", "guest", image)


# ---- Grown ----

def size_of(vm, path):
    mount, = vm.host.json("call", "guest", "mounts.list", f'{{"target": "{path}", "usage": true}}')["mounts"]
    return mount["usage"]["total"]


@pytest.mark.parametrize("type,size,check", [("ext4", 32, ["fsck.ext4", "-fn"]), ("xfs", 320, ["true"]),
                                             ("btrfs", 128, ["btrfs", "check", "--readonly"])])
def test_a_whole_disk_grows_in_use(vm, image, type, size, check):
    attach(vm, image, "--create", f"{size}M", "--mkfs", type, "--mount", "/mnt/grow")
    vm.witness("write", "/mnt/grow/file", "kept")
    before = size_of(vm, "/mnt/grow")
    told = vm.host.json("disks", "grow", "guest", image, f"{2 * size}M")
    assert told["size"] == 2 * size * MIB == os.path.getsize(image) and told["type"] == type
    assert told["filesystem_size"] > 1.8 * told["filesystem_before"] > 0
    assert size_of(vm, "/mnt/grow") == told["filesystem_size"] > before
    assert vm.witness("read", "/mnt/grow/file").strip() == "kept"
    again = vm.host.json("disks", "grow", "guest", image, f"{2 * size}M")
    assert again["filesystem_size"] == again["filesystem_before"], "nothing is left to do"
    assert "no smaller" in refused(vm, "grow", "guest", image, f"{size}M", code=USAGE)
    vm.host.run("disks", "detach", "guest", image)
    subprocess.run([*check, image], check=True, capture_output=True)


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_partition_grows_in_use(vm, image, label):
    subprocess.run(["mkfs.ext4", "-q", "-E", "offset=1048576", image, "30M"], check=True)
    os.truncate(image, 33 * MIB)
    subprocess.run(["sfdisk", "-q", image], input=f"label: {label}\n2048,61440,L\n", text=True, check=True)
    attach(vm, image, "--mount", "/mnt/part", "--partition", "1", "--type", "ext4")
    out = vm.host.run("disks", "grow", "guest", image, "64M")[0]
    assert "has 6" in out and "Its file system (ext4) has" in out
    assert size_of(vm, "/mnt/part") > 50 * MIB
    vm.host.run("disks", "detach", "guest", image)
    table = subprocess.run(["sfdisk", "-d", image], capture_output=True, text=True, check=True)
    assert table.stderr == "" and f"label: {label}" in table.stdout
    sectors = int(table.stdout.split("size=")[1].split(",")[0])
    assert 62 * 2048 <= sectors <= 63 * 2048


def test_what_cannot_grow(vm, image):
    attach(vm, image, "--create", "32M")
    assert "is not mounted" in refused(vm, "grow", "guest", image, "64M")
    assert "part3: no disk" in refused(vm, "grow", "guest", image, "64M", "--partition", "3")
    vm.host.run("disks", "detach", "guest", image)
    subprocess.run(["sfdisk", "-q", image], input="2048,2048,L\n,2048,L\n", text=True, check=True)
    attach(vm, image)
    assert "say which" in refused(vm, "grow", "guest", image, "64M")
    part = vm.host.json("disks", "grow", "guest", image, "64M", "--partition", "1")
    assert part["size"] == MIB and "type" not in part, "another one is behind it"
    vm.host.run("disks", "detach", "guest", image)
