# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is about the guest as a whole: its file systems frozen with the root among them, its clock, zone, names and
users, its sleep."""

import json
import subprocess
import time

import pytest

import debian
from machine import Host, Machine, wait_until
from wire import Failed

POLICY = "allow host *\n"


def add_to(tree):
    debian.write(f"{tree}/etc/postern/policy.d/60-all.policy", POLICY)
    with open(f"{tree}/etc/postern/postern.conf", "a") as file:
        file.write("renew_machine_id = yes\n")
    debian.chroot(tree, "useradd", "-m", "-s", "/bin/sh", "guest")
    debian.write(f"{tree}/etc/machine-id", "00112233445566778899aabbccddeeff\n")


@pytest.fixture(scope="module")
def vm():
    host = Host()
    path = f"{host.dir}/disk.img"
    debian.make_image(path, add_to)
    host.run("launch", "whole", "--cid", "3", "--detach", *debian.launch_options(path), timeout=400)
    machine = Machine(host, "whole")
    host.until(lambda: host.info("whole")["state"] == "ready", 300)
    yield machine
    host.close()


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


def postern(vm, *words, **kwargs):
    return subprocess.run([vm.host.postern, *words], env=vm.host.env, capture_output=True, text=True, timeout=120,
                          **kwargs)


def refused(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def targets(filesystems):
    return [one.target for one in filesystems]


def awake(vm):
    return vm.boot_id() is not None


# ---- Frozen, with the root among it ----

def test_all_of_it_is_frozen_and_thawed_over_another_connection(vm, client):
    client.call("filesystems.freeze", lease_ms=60000)
    with vm.client(timeout=60) as other:
        status = other.call("filesystems.status")
        assert targets(status.frozen) == [b"/"] and 50000 < status.left_ms < 60000
        assert other.call("mounts.list", usage=True).mounts
        assert other.call("logs.read", lines=1).HasField("channel")
        assert "frozen" in refused(other, "exec.start", argv=[b"true"]).message
        assert "frozen" in refused(other, "users.set_password", user=b"guest", hash=b"!").message
        assert targets(other.call("filesystems.thaw").thawed) == [b"/"]
    vm.shell("touch /written && sync", timeout=20)


def test_a_lease_ends_with_the_root_frozen(vm, client):
    client.call("filesystems.freeze", lease_ms=500)
    vm.shell("touch /written && sync", timeout=20)
    assert not client.call("filesystems.status").HasField("lease")


def test_an_agent_that_is_killed_thaws_when_it_is_there_again(vm):
    with vm.client(timeout=60) as client:
        client.call("filesystems.freeze", lease_ms=600000)
        vm.shell("kill -9 $(pidof posternd)")
    vm.shell("touch /written && sync", timeout=60)
    wait_until(lambda: vm.boot_id(), timeout=60)
    with vm.client(timeout=60) as client:
        wait_until(lambda: not client.call("filesystems.status").HasField("lease"))


def test_a_backup_by_the_command_line(vm):
    done = postern(vm, "fs", "freeze", "whole", "--", "sh", "-c", "echo copying")
    assert done.returncode == 0 and "copying" in done.stdout and "Frozen for at most 60 s: /\n" in done.stdout, done


# ---- Time ----

def guest_time(client):
    return client.call("time.get").time_ns / 1e9


def test_a_step_and_back(client, vm):
    generation = client.call("system.info").generation
    before = guest_time(client)
    reply = client.call("time.set", adjust_ns=3600 * 10**9)
    assert reply.hardware_set and 3590 < guest_time(client) - before < 3660
    assert abs(int(vm.shell("cat /sys/class/rtc/rtc0/since_epoch")) - guest_time(client)) < 3
    done = json.loads(postern(vm, "time", "sync", "whole", "--json").stdout)
    assert 3500e9 < done["before"]["offset_ns"] < 3700e9 and abs(done["after"]["offset_ns"]) < 2e9
    assert abs(guest_time(client) - time.time()) < 3
    with vm.client(timeout=60) as new:  # a jump of the clocks is another generation
        assert new.hello_reply.generation != generation


def test_a_slew(client):
    reply = client.call("time.set", adjust_ns=500_000_000, mode=2)
    assert reply.adjusted_ns == 500_000_000 and not reply.hardware_set
    assert 0 < client.call("time.get").slew_left_ns <= 500_000_000
    client.call("time.set", adjust_ns=0, mode=2)
    assert client.call("time.get").slew_left_ns == 0


def test_from_the_machines_own_clock(client):
    client.call("time.set", adjust_ns=-100 * 10**9, set_hardware=False)
    client.call("time.set", from_hardware=True)
    assert abs(guest_time(client) - time.time()) < 4


def test_what_the_kernel_takes_not(client):
    assert refused(client, "time.set", time_ns=1).code == "INVALID_ARGUMENT"
    assert abs(guest_time(client) - time.time()) < 5


def test_zones(client, vm):
    for zone, abbreviation in ((b"Europe/Berlin", ("CET", "CEST")), (b"America/St_Johns", ("NST", "NDT")),
                               (b"Etc/UTC", ("UTC",))):
        reply = client.call("time.set_zone", zone=zone)
        assert reply.zone.zone == zone and reply.zone.abbreviation in abbreviation
        assert client.call("time.zone") == reply.zone
    assert vm.shell("readlink /etc/localtime").strip() == "../usr/share/zoneinfo/Etc/UTC"
    assert refused(client, "time.set_zone", zone=b"Mars/Base").code == "NOT_FOUND"
    assert "UTC+00:00" in postern(vm, "time", "zone", "whole").stdout


# ---- Memory ----

def test_pressure_is_told(vm):
    """Under the shipped unit, where the watcher has no right of its own."""
    with vm.client(timeout=60) as client:
        client.call("notifications.subscribe", topics=["notify.memory.pressure"])
        vm.shell("cd /sys/fs/cgroup && echo +memory >cgroup.subtree_control && mkdir tight && echo 2M >tight/memory.high && "
                 "(echo 0 >tight/cgroup.procs; dd if=/dev/zero of=/dev/shm/tight bs=64k count=512) >/dev/null 2>&1 &")
        try:
            levels = set()
            while levels != {1, 2}:
                _, told = client.notification("notify.memory.pressure")
                levels.add(told.level)
                assert told.available > 0 and told.HasField("some_percent") and told.HasField("full_percent")
        finally:
            vm.shell("cd /sys/fs/cgroup; echo max >tight/memory.high; while ! rmdir tight; do :; done 2>/dev/null; "
                     "rm -f /dev/shm/tight")


# ---- Names ----

def test_host_name(client, vm):
    before = client.call("identity.get").host_name
    assert client.call("identity.set_host_name", host_name=b"postern-one.test").before == before
    assert vm.shell("hostname").strip() == "postern-one.test"
    assert vm.shell("cat /etc/hostname").strip() == "postern-one.test"
    client.call("identity.set_host_name", host_name=b"for-now", transient=True)
    told = client.call("identity.get")
    assert (told.host_name, told.static_host_name) == (b"for-now", b"postern-one.test")
    assert client.call("system.info").host_name == b"for-now"


def test_restored(client, vm):
    before = client.call("identity.get").machine_id
    assert before == b"00112233445566778899aabbccddeeff"
    generation = client.call("system.info").generation
    done = json.loads(postern(vm, "restored", "whole", "--json").stdout)
    assert done["machine_id"] == client.call("identity.get").machine_id.decode() != before.decode()
    assert client.call("system.info").generation == int(done["generation"]) != generation
    assert vm.shell("stat -c %a:%u /etc/machine-id").strip() in ("444:0", "644:0")
    assert "adjusted_ns" in done


# ---- Users ----

def test_a_password_with_which_one_can_log_in(client, vm):
    client.call("users.set_password", user=b"guest", password="pässword: x".encode())
    check = "perl -e 'my @e = getpwnam(\"guest\"); exit(crypt(\"%s\", $e[1]) ne $e[1])'"
    vm.shell(check % "pässword: x")
    vm.shell(check % "other", status=1)
    assert vm.shell("stat -c %a:%U:%G /etc/shadow").strip() == "640:root:shadow"


# ---- Hooks before the end ----

def test_a_hook_keeps_the_guest_up(vm, client):
    vm.shell("mkdir -p /etc/postern/hooks.d/shutdown; cd /etc/postern/hooks.d/shutdown; "
             "printf '#!/bin/sh\\necho $1 >/hooked\\nexit 1\\n' >a; chmod 755 a")
    refusal = refused(client, "power.shutdown")
    assert refusal.code == "FAILED_PRECONDITION" and refusal.error.outcome == 1
    assert "shutdown/a" in refusal.message and "the guest stays up" in refusal.message
    assert vm.shell("cat /hooked; rm /etc/postern/hooks.d/shutdown/a").strip() == "shutdown"
    time.sleep(1)
    assert client.call("system.ping", payload=b"x").payload == b"x"


# ---- More room ----

def test_disks_that_do_not_grow(vm, client):
    """By a file system that is not one of those that can, and by what is no disk."""
    image = f"{vm.host.dir}/ext2"
    id = vm.host.json("disks", "attach", "whole", image, "--create", "16M", "--mkfs", "ext2")["id"]
    vm.shell("mkdir -p /mnt/ext2 && mount -t ext2 /dev/vdb /mnt/ext2")
    refusal = refused(client, "disks.grow", disk=id.encode())
    assert refusal.code == "UNIMPLEMENTED" and "ext2 does not grow" in refusal.message
    vm.host.run("disks", "detach", "whole", id)
    assert refused(client, "disks.grow", disk=b"none").code == "NOT_FOUND"
    assert refused(client, "disks.grow").code == "INVALID_ARGUMENT"
    assert refused(client, "disks.grow", disk=b"vda", partition=2).code == "NOT_FOUND"


# ---- Asleep ----

def add_hook(vm, event, name, line):
    path = f"/etc/postern/hooks.d/{event}/{name}"
    vm.shell(f"mkdir -p $(dirname {path}); printf '#!/bin/sh\\n{line}\\n' >{path}; chmod 755 {path}")


def hook_sleep(vm):
    vm.shell("rm -f /hooked")
    for event in ("suspend", "resume"):
        add_hook(vm, event, "a", "echo $1 >>/hooked")


def slept(client):
    told = client.call("time.get")
    return (told.boottime_ns - told.monotonic_ns) / 1e9


@pytest.fixture(scope="module")
def on_disk(vm):
    """Where its memory goes to: what its kernel is told to find it there."""
    offset = vm.shell("dd if=/dev/zero of=/swap bs=1M count=512 2>/dev/null && chmod 600 /swap && "
                      "mkswap -q /swap && swapon /swap && filefrag -v /swap | awk '$1 == \"0:\" {print $4 + 0}'",
                      timeout=60).strip()
    vm.shell(f"echo {offset} >/sys/power/resume_offset; cat /sys/block/vda/dev >/sys/power/resume; "
             "echo kept >/dev/shm/kept")
    yield "resume=/dev/vda", f"resume_offset={offset}"
    vm.shell("swapoff /swap", timeout=60)


def go_on(vm, on_disk, boot):
    """The next machine with its disk is the one that fell asleep, and says once more that it is ready."""
    vm.host.run("launch", "whole", "--cid", "3", *debian.launch_options(f"{vm.host.dir}/disk.img", *on_disk),
                timeout=400)
    assert vm.host.info("whole")["status"] == "running" and vm.boot_id() == boot
    with open(vm.host.file("whole", "supervisor.log")) as log:
        assert "asking for it" not in log.read()
    assert vm.shell("cat /dev/shm/kept") == "kept\n"


def test_asleep_on_disk(vm, client, on_disk):
    hook_sleep(vm)
    boot, before = vm.boot_id(), slept(client)
    assert vm.host.json("suspend", "whole", "--mode", "disk", "--timeout", "200", timeout=300)["state"] == "ended"
    go_on(vm, on_disk, boot)
    with vm.client(timeout=60) as again:
        assert slept(again) > before
    wait_until(lambda: vm.shell("cat /hooked").split() == ["suspend", "resume"], timeout=30)


def test_asleep_in_both(vm, on_disk):
    """In its memory, and on the disk should the power fail."""
    boot = vm.boot_id()
    out = vm.host.json("suspend", "whole", "--mode", "hybrid", "--timeout", "200", timeout=300)
    assert (out["mode"], out["by"], out["state"]) == ("HYBRID", "systemd", "asleep")
    assert vm.host.info("whole")["status"] == "asleep" and not awake(vm)
    vm.host.run("stop", "whole", "--force")
    go_on(vm, on_disk, boot)


def test_asleep_and_awake(vm, client):
    """In its memory, brought to sleep by process 1, with the administrator's programs before and after."""
    hook_sleep(vm)
    before, boot = slept(client), vm.boot_id()
    out = vm.host.json("suspend", "whole")
    assert (out["mode"], out["by"], out["state"]) == ("RAM", "systemd", "asleep")
    assert vm.host.info("whole")["status"] == "asleep" and not awake(vm)
    assert "sleeps" in vm.host.json("pause", "whole", code=1)["error"]["message"]
    time.sleep(1.5)
    vm.host.run("resume", "whole")
    vm.host.until(lambda: awake(vm), 60)
    assert vm.boot_id() == boot
    vm.host.until(lambda: vm.host.info("whole")["status"] == "running", 100)
    with vm.client(timeout=60) as again:
        assert slept(again) > before + 1
        assert abs(again.call("time.get").time_ns / 1e9 - time.time()) < 5
    wait_until(lambda: vm.shell("cat /hooked").split() == ["suspend", "resume"], timeout=30)


def test_a_hook_keeps_it_awake(vm, client):
    add_hook(vm, "suspend", "b", "exit 1")
    add_hook(vm, "resume", "b", "echo undone >/undone")
    refusal = refused(client, "power.suspend")
    assert refusal.code == "FAILED_PRECONDITION" and "stays awake" in refusal.message
    assert "suspend/b" in refusal.message and vm.shell("cat /undone") == "undone\n"
    vm.shell("rm /etc/postern/hooks.d/suspend/b")


def test_a_sleep_that_the_kernel_has_not(vm, client):
    vm.shell("mount --bind /dev/null /sys/power/state")
    refusal = refused(client, "power.suspend", mode=2)
    vm.shell("umount /sys/power/state")
    assert refusal.code == "FAILED_PRECONDITION" and "/sys/power" in refusal.message
