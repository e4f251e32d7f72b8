# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processors, memory and the network of a guest, looked at and changed: what the agent says is compared with what
the guest's own files say."""

import contextlib
import json
import os
import shutil

import pytest

from wire import Failed

MIB = 1 << 20
CPU = "/sys/devices/system/cpu"
BLOCKS = "/sys/devices/system/memory"


@pytest.fixture(scope="module")
def vm(host):
    policy = os.path.join(host.dir, "hardware.policy")
    with open(policy, "w") as file:
        file.write("allow host cpus.* memory.* network.*\n")
    machine = host.launch("guest", "--cpus", "3", "--virtio-mem", "256M",
                          "--add", f"{policy}:/etc/postern/policy.d/60-hardware.policy",
                          "--add", f"{shutil.which('busybox')}:/bin/sh")
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


# ---- Processors ----

def online(vm):
    return vm.witness("read", f"{CPU}/online").strip()


def test_processors(vm, client):
    told = client.call("cpus.list").cpus
    assert [cpu.id for cpu in told] == [0, 1, 2] and all(cpu.online for cpu in told)
    assert [cpu.can_offline for cpu in told] == [vm.host.json("call", "guest", "cpus.list")["cpus"][0]["can_offline"],
                                                 True, True]
    assert len({(cpu.package, cpu.core) for cpu in told}) == 3


def test_processors_out_of_use_and_back(vm, client):
    told = client.call("cpus.set", offline=[1, 2])
    assert online(vm) == "0" and not told.problems
    assert [(cpu.online, cpu.can_offline) for cpu in told.cpus][1:] == [(False, True)] * 2
    assert not told.cpus[0].can_offline, "the last one"
    told = client.call("cpus.set", online=[1], offline=[2])
    assert online(vm) == "0-1" and [cpu.online for cpu in told.cpus] == [True, True, False]
    client.call("cpus.set", online=[2])
    assert online(vm) == "0-2"
    assert not client.call("cpus.set", online=[0, 2]).problems, "as they are already"


@pytest.mark.parametrize("fields,code", [({}, "INVALID_ARGUMENT"), ({"offline": [0, 1, 2]}, "FAILED_PRECONDITION"),
                                         ({"offline": [3]}, "NOT_FOUND"), ({"online": [1], "offline": [1]},
                                                                           "INVALID_ARGUMENT"),
                                         ({"offline": [1, 1]}, "INVALID_ARGUMENT"),
                                         ({"offline": [1, 99]}, "NOT_FOUND")])
def test_processors_that_stay(vm, client, fields, code):
    refused = failure(client, "cpus.set", **fields)
    assert refused.code == code and refused.error.outcome == 1
    assert online(vm) == "0-2"


# ---- Memory ----

def guest_blocks(vm):
    found = vm.shell(f"cd {BLOCKS}; for b in memory[0-9]*; do read s < $b/state; echo $b $s; done").split()
    return dict(zip((int(name[6:]) for name in found[::2]), found[1::2]))


def plug(vm, size):
    vm.host.run("mem", "request-plugged", "guest", size)
    vm.host.until(lambda: vm.host.json("mem", "stats", "guest")["plugged_size"] == int(size[:-1]) * MIB)


def test_blocks_of_memory(vm, client):
    told = client.call("memory.blocks")
    assert told.block_size == int(vm.witness("read", f"{BLOCKS}/block_size_bytes"), 16) == 128 * MIB
    assert {b.id: "online" if b.online else "offline" for b in told.blocks} == guest_blocks(vm)
    assert [b.id for b in told.blocks] == sorted(b.id for b in told.blocks)
    assert told.blocks[0].address == 0 and told.blocks[0].node == 0 and told.blocks[1].address == 128 * MIB


def test_a_plugged_block_out_of_use_and_back(vm, client):
    before = {b.id for b in client.call("memory.blocks").blocks}
    plug(vm, "128M")
    try:
        vm.host.until(lambda: len(client.call("memory.blocks").blocks) > len(before))
        new, = [b for b in client.call("memory.blocks").blocks if b.id not in before]
        assert new.online and new.removable and list(new.zones) == ["Movable"]
        told = client.call("memory.set_blocks", offline=[new.id])
        assert not told.problems and not told.blocks[0].online and guest_blocks(vm)[new.id] == "offline"
        told = client.call("memory.set_blocks", online=[new.id], movable=True)
        assert not told.problems and list(told.blocks[0].zones) == ["Movable"]
        assert guest_blocks(vm)[new.id] == "online"
    finally:
        plug(vm, "0M")


def test_a_block_that_cannot_be_moved(vm, client):
    """The kernel itself is in the first one."""
    told = client.call("memory.set_blocks", offline=[0])
    assert [(p.id, p.sys_errno, bool(p.message)) for p in told.problems] == [(0, p.sys_errno, True)
                                                                             for p in told.problems]
    assert told.problems[0].sys_errno in (16, 22) and told.blocks[0].online
    assert guest_blocks(vm)[0] == "online"


@pytest.mark.parametrize("fields,code", [({}, "INVALID_ARGUMENT"), ({"offline": [999]}, "NOT_FOUND"),
                                         ({"online": [0, 0]}, "INVALID_ARGUMENT")])
def test_no_such_blocks(vm, client, fields, code):
    refused = failure(client, "memory.set_blocks", **fields)
    assert refused.code == code and refused.error.outcome == 1


def test_a_kernel_that_finds_memory_by_itself(vm, client):
    with pytest.raises(OSError):
        vm.witness("exists", f"{BLOCKS}/probe")
    refused = failure(client, "memory.probe", address=1 << 32)
    assert refused.code == "UNIMPLEMENTED" and "by itself" in refused.message


@pytest.fixture
def disk(vm, tmp_path):
    """A disk that was read, and is in memory therefore."""
    image = tmp_path / "image"
    image.write_bytes(b"")
    os.truncate(image, 64 * MIB)
    id = vm.host.json("disks", "add", "guest", str(image), "--read-only")["id"]
    vm.host.until(lambda: vm.shell("ls /sys/block").count("vd") == 1)
    # It is forgotten when the last one closes it.
    _, fd = vm.witness("hold", "/dev/vda").split()
    vm.shell("cat /dev/vda > /dev/null")
    yield
    vm.witness("release", fd)
    vm.host.run("disks", "remove", "guest", id)


def dropped(vm):
    return int(vm.shell("grep drop_pagecache /proc/vmstat").split()[1])


def test_so_much_and_no_more_then_all(vm, client, disk):
    before = dropped(vm)
    rises = []
    while sum(rises) <= 8 * MIB:  # the kernel may give up less than was asked for
        told = client.call("memory.reclaim", bytes=16 * MIB)
        rises.append(told.after.free - told.before.free)
        assert rises[-1] < 40 * MIB and len(rises) <= 3 and dropped(vm) == before, rises
    assert told.before.total == told.after.total > told.before.available > 0
    told = client.call("memory.reclaim", drop_caches=True, compact=True)
    assert told.after.free - told.before.free > 20 * MIB and dropped(vm) == before + 1
    assert told.after.largest_free >= 4096 and told.after.cached > 0 and told.after.reclaimable > 0


def test_nothing_to_reclaim(vm, client):
    assert failure(client, "memory.reclaim").code == "INVALID_ARGUMENT"


@contextlib.contextmanager
def tight(vm):
    """A program that is slowed down for want of memory, while all others sleep."""
    vm.shell("cd /sys/fs/cgroup && echo +memory > cgroup.subtree_control && mkdir tight && "
             "echo 2M > tight/memory.high && "
             "(echo 0 > tight/cgroup.procs; dd if=/dev/zero of=/tight bs=64k count=512) > /dev/null 2>&1 &")
    yield
    vm.shell("cd /sys/fs/cgroup; echo max > tight/memory.high; while ! rmdir tight; do :; done 2> /dev/null; "
             "rm -f /tight")


def test_pressure_is_told(vm):
    """Whoever wants to is told. The descriptors are the broker's, so the watcher without rights is."""
    with vm.client() as client:
        client.call("notifications.subscribe", topics=["notify.memory.*"])
        with tight(vm):
            levels = set()
            while levels != {1, 2}:
                _, told = client.notification("notify.memory.pressure")
                levels.add(told.level)
                assert told.available > 0 and told.HasField("some_percent") and told.HasField("full_percent")


def test_the_balloon_follows_pressure(vm):
    """What is taken while the guest goes without is given back when its programs wait."""
    auto = vm.host.start("balloon", "guest", "--auto", "--host-low", "100", "--floor", "192M", "--json")
    try:
        taken = json.loads(auto.stdout.readline())
        assert (taken["reason"], taken["left"]) == ("host", 240 * MIB)
        with tight(vm):
            while (told := json.loads(auto.stdout.readline()))["reason"] == "host":
                taken = told
        assert told["reason"] == "pressure" and told["left"] > taken["left"]
        vm.host.until(lambda: balloon(vm) == (256 * MIB - told["left"]) // 4096)
    finally:
        auto.terminate()
        auto.wait()
    assert auto.returncode == 0
    vm.host.run("balloon", "guest", "0")


def balloon(vm):
    return vm.host.json("balloon-stats", "guest")["current-pages"]


# ---- The network ----

def test_name_servers(vm, client):
    """/etc/resolv.conf, whole, with what else it says."""
    assert client.call("network.dns").owner == 1
    vm.witness("write", "/etc/resolv.conf", "#_mine")
    vm.shell("for line in '' 'domain old' 'nameserver 192.0.2.1' 'options rotate'; do echo $line; done >> /etc/resolv.conf")
    told = client.call("network.set_dns", servers=["192.0.2.53", "2001:db8::53"], search=["example.org", "lan"])
    assert (list(told.before.servers), list(told.before.search)) == (["192.0.2.1"], ["old"])
    assert (list(told.dns.servers), list(told.dns.search)) == (["192.0.2.53", "2001:db8::53"], ["example.org", "lan"])
    lines = ["nameserver 192.0.2.53", "nameserver 2001:db8::53", "search example.org lan", "#_mine", "options rotate"]
    assert vm.witness("read", "/etc/resolv.conf").splitlines() == lines
    for fields in ({"servers": ["x"]}, {"servers": ["192.0.2.1\nx"]}, {"search": ["a b"]}, {"search": [""]},
                   {"search": ["a\nnameserver 1.1.1.1"]}):
        assert failure(client, "network.set_dns", **fields).code == "INVALID_ARGUMENT"
    assert vm.witness("read", "/etc/resolv.conf").splitlines() == lines
    told = client.call("network.set_dns")
    assert not told.dns.servers and vm.witness("read", "/etc/resolv.conf").splitlines() == ["#_mine", "options rotate"]


def test_name_servers_that_another_program_sets(vm, client):
    vm.shell("rm /etc/resolv.conf; ln -s /run/other.conf /etc/resolv.conf; echo nameserver 192.0.2.7 > /run/other.conf")
    told = client.call("network.dns")
    assert (told.owner, told.file, list(told.servers)) == (3, b"/run/other.conf", ["192.0.2.7"])
    refused = failure(client, "network.set_dns", servers=["192.0.2.53"])
    assert refused.code == "FAILED_PRECONDITION" and "/run/other.conf" in refused.message
    assert vm.witness("read", "/run/other.conf") == "nameserver 192.0.2.7\n" and refused.error.outcome == 1
    vm.shell("rm /etc/resolv.conf /run/other.conf")
