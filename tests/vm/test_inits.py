# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small guests with different programs as process 1: how each is asked to bring the guest down.
systemd has test_systemd.py, sysvinit and openrc-init have test_openrc.py."""

import shutil

import pytest

import qemu
from machine import Machine, wait_until
from wire import Failed

POWER_OFF, REBOOT, HALT = 1, 2, 3

BASICS = """#!/usr/bin/busybox sh
b=/usr/bin/busybox
$b mkdir -p /proc /sys /dev /run /tmp
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
$b mount -t tmpfs tmpfs /run
/usr/libexec/postern/postern-kmod --boot
"""

INITTAB = """::sysinit:/etc/basics
::respawn:/usr/sbin/posternd
::shutdown:/usr/bin/busybox echo busybox brings it down
"""

# Not a kind of process 1 that anybody knows.
STRANGE = BASICS + """/usr/sbin/posternd &
while :; do $b sleep 1000; done
"""


@pytest.fixture
def launch(host, tmp_path):
    def start(name, cmdline, **files):
        adds = ["--add", f"{shutil.which('busybox')}:/usr/bin/busybox"]
        for place, text in files.items():
            path = tmp_path / place
            path.write_text(text)
            path.chmod(0o755)
            adds += ["--add", f"{path}:/etc/{place}"]
        host.run("launch", name, *qemu.ROOMY, *adds, "-a", cmdline)
        return Machine(host, name)
    return start


def shut_down(vm, mode, by):
    with vm.client() as client:
        assert client.call("system.info").init == by
        assert client.call("power.shutdown", mode=mode).by == by


def wait_reboot(host, vm, by):
    before = host.info(vm.name)["boot_id"]
    shut_down(vm, REBOOT, by)
    host.until(lambda: host.info(vm.name).get("boot_id") != before and host.info(vm.name)["state"] == "ready", 100)


def wait_halt(host, vm, by):
    shut_down(vm, HALT, by)
    wait_until(lambda: "System halted" in vm.console(), timeout=100)
    # The machine stands still; it does not end.
    assert host.info(vm.name)["status"] == "running"
    vm.stop("-f")


def wait_power_off(host, vm, by):
    shut_down(vm, POWER_OFF, by)
    host.until(lambda: host.info(vm.name)["status"] == "stopped", 100)
    assert host.info(vm.name)["reason"] == "Clean shutdown"


def test_postern_init(host):
    host.run("launch", "own", *qemu.ROOMY)
    vm = Machine(host, "own")
    wait_reboot(host, vm, "postern-init")
    wait_halt(host, vm, "postern-init")
    host.run("launch", "own")
    wait_power_off(host, vm, "postern-init")


def test_busybox(host, launch):
    cmdline = "rdinit=/usr/bin/busybox -- init"
    vm = launch("busybox", cmdline, basics=BASICS, inittab=INITTAB)
    wait_reboot(host, vm, "busybox")
    wait_halt(host, vm, "busybox")
    assert "busybox brings it down" in vm.console()
    vm = launch("busybox", cmdline, basics=BASICS, inittab=INITTAB)
    wait_power_off(host, vm, "busybox")


def test_an_unknown_process_1_is_not_asked(host, launch):
    vm = launch("strange", "rdinit=/etc/strange", strange=STRANGE)
    with vm.client() as client:
        assert client.call("system.info").init == "other"
        method, = [m for m in client.call("system.methods").methods if m.name == "power.shutdown"]
        assert method.availability != 1 and "process 1" in method.reason
        with pytest.raises(Failed) as failed:
            client.call("power.shutdown")
        assert failed.value.code == "UNIMPLEMENTED" and "process 1" in failed.value.message
        client.call("system.ping")
    # The power button is pressed instead, and here nobody hears it.
    out, _ = host.run("stop", "strange")
    assert out.startswith("Guest forced to stop in ")
