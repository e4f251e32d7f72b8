# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that is plugged into a running guest and taken out again: the guest has it, the host gets it back."""

import os
import shutil
import subprocess
import time

import pytest

from machine import POSTERN

MIB = 1 << 20


@pytest.fixture(scope="module")
def vm(host):
    policy = os.path.join(host.dir, "exec.policy")
    with open(policy, "w") as file:
        file.write("allow host exec.*\n")
    return host.launch("guest", "--virtio-mem", "256M", "--virtio-mem-block-size", "4M",
                       "--add", f"{policy}:/etc/postern/policy.d/60-exec.policy",
                       "--add", f"{shutil.which('busybox')}:/bin/busybox", witness=False)


def stats(vm):
    return vm.host.json("mem", "stats", "guest")


def run(vm, script):
    return subprocess.run([POSTERN, "exec", "guest", "--", "busybox", "sh", "-c", script], env=vm.host.env,
                          capture_output=True, timeout=60, check=True, stdin=subprocess.DEVNULL).stdout.decode()


def guest_memory(vm):
    return int(run(vm, "busybox grep MemTotal /proc/meminfo").split()[1]) << 10


def host_memory(vm):
    """What the VMM has in use of the guest's memory."""
    with open(f"/proc/{vm.host.info('guest')['vmm_pid']}/status") as file:
        return int(next(line for line in file if line.startswith("RssShmem")).split()[1]) << 10


def plug(vm, size):
    out, _ = vm.host.run("mem", "request-plugged", "guest", str(size))
    assert out == f"Resizing dynamically plugged memory to {size} bytes!\n"
    vm.host.until(lambda: stats(vm)["plugged_size"] == size)


def test_plugged_and_taken_out_again(vm):
    assert stats(vm) == {"block_size": 4 * MIB, "region_size": 256 * MIB, "usable_region_size": None,
                         "plugged_size": 0, "requested_size": 0}
    before = guest_memory(vm)
    info = vm.host.info("guest")
    assert (info["plug_bytes"], info["plugged_bytes"]) == (256 * MIB, 0)

    events = vm.host.start("events", "guest", "vm.memory")
    time.sleep(0.5)
    plug(vm, 128 * MIB)
    vm.host.until(lambda: guest_memory(vm) - before == 128 * MIB)
    lines = []
    while not lines or "128 MiB plugged" not in lines[-1]:  # told once a second, while it grows
        lines.append(events.stdout.readline())
        assert "vm.memory" in lines[-1] and len(lines) < 20, lines
    events.terminate()
    events.communicate(timeout=10)
    vm.host.until(lambda: vm.host.info("guest")["plugged_bytes"] == 128 * MIB)
    assert "Plugged memory:     128 MiB of 256 MiB\n" in vm.host.run("list", "guest")[0]
    # It is used, and the host pays for it.
    run(vm, "busybox mkdir -p /t && busybox mount -t tmpfs -o size=90% t /t && "
            "busybox dd if=/dev/urandom of=/t/x bs=1M count=180 2>&1")
    full = host_memory(vm)
    run(vm, "busybox rm /t/x && busybox umount /t")

    plug(vm, 0)
    vm.host.until(lambda: guest_memory(vm) == before)
    # Of what was written at most the guest's own memory can still be in use.
    vm.host.until(lambda: full - host_memory(vm) >= 64 * MIB)
    assert stats(vm)["requested_size"] == 0


def test_the_balloon_counts_as_ever(vm):
    """QEMU's own value is of the memory that is left; what is plugged is not among it."""
    plug(vm, 128 * MIB)
    vm.host.run("balloon", "guest", "8192")
    vm.host.until(lambda: vm.host.json("balloon-stats", "guest")["current-pages"] == 8192)
    told = vm.host.json("balloon-stats", "guest")
    assert told["requested-pages"] == 8192 and told["total-memory"] > told["free-memory"] > 0
    vm.host.run("balloon", "guest", "0")
    plug(vm, 0)


def test_a_balloon_that_finds_no_memory_is_stuck(vm):
    """What a file in memory takes the balloon cannot; once it is gone, it gets there."""
    total = guest_memory(vm)
    run(vm, f"busybox mount -t tmpfs -o size=90% t /t && "
            f"busybox dd if=/dev/urandom of=/t/x bs=1M count={total // MIB // 2} 2>&1")
    pages = total * 6 // 10 // 4096
    vm.host.run("balloon", "guest", str(pages))
    assert vm.host.info("guest")["problems"] == []
    vm.host.until(lambda: [problem["problem"] for problem in vm.host.info("guest")["problems"]] == ["balloon stuck"], 60)
    assert vm.host.json("balloon-stats", "guest")["current-pages"] < pages
    run(vm, "busybox rm /t/x")
    vm.host.until(lambda: vm.host.json("balloon-stats", "guest")["current-pages"] == pages, 60)
    vm.host.until(lambda: vm.host.info("guest")["problems"] == [])
    vm.host.run("balloon", "guest", "0")
    vm.host.until(lambda: vm.host.json("balloon-stats", "guest")["current-pages"] == 0)
    run(vm, "busybox umount /t")


def test_through_a_reboot(vm):
    """What was asked for is plugged again by the guest that boots next; vsock and its device work with it."""
    plug(vm, 128 * MIB)
    boot = vm.host.info("guest")["boot_id"]
    vm.host.run("call", "guest", "power.shutdown", '{"mode": "REBOOT"}')
    vm.host.until(lambda: vm.host.info("guest").get("boot_id") != boot
                  and vm.host.info("guest")["state"] == "ready", 300)
    vm.host.until(lambda: stats(vm)["plugged_size"] == 128 * MIB)
    data = "x" * 100000
    assert run(vm, f"echo {data} | busybox wc -c").strip() == "100001"
    plug(vm, 0)
