#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of Postern in a real guest; tests/bench/README.md says how each is measured.

usage: bench.py [--build DIR] [--rounds N] [PART...]     parts: speed channels disks counterparts memory boot
                                                      vsockd (default: all)
"""

import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../lib"]

PARTS = ("speed", "channels", "disks", "counterparts", "memory", "boot", "vsockd")
IDLE_SECONDS = 30
READINGS = 5  # of memory, and minutes of wake-ups
WAKEUP_SECONDS = 60
SAMPLER_WAKEUPS = 6  # of postern-watch in 60 s, by sample_interval
CONNECTIONS = 10
BOOTS = 5


def say(text):
    print(f"bench: {text}", flush=True)


# ---- round trips ---------------------------------------------------------------------------------


def groups():
    """What is compared with each other, with the turns of a round and the trips of a turn. Two at a
    time: a third would fill the emulator's caches with its own code between the two."""
    agent, daemon = round_trips.agent(), round_trips.daemon()
    mount = round_trips.request("mounts.mount", target=b"/mnt/bench", type="tmpfs", create_target=True)
    unmount = round_trips.request("mounts.unmount", target=b"/mnt/bench")
    ping = round_trips.request("system.ping", payload=round_trips.PAYLOAD)
    return [
        ([round_trips.Loop("raw_p50_us", guest.ECHO_PORT, "exact", round_trips.PAYLOAD, check=round_trips.check_echo),
          round_trips.Loop("ping_p50_us", request=ping, **agent)], 40, 100),
        ([round_trips.Loop("ping_beside_qga_p50_us", request=ping, **agent),
          round_trips.Loop("qga_ping_p50_us", request=round_trips.qga("guest-ping"), **daemon)], 40, 50),
        ([round_trips.Loop("mounts_list_p50_us", request=round_trips.request("mounts.list"), **agent),
          round_trips.Loop("qga_fsinfo_p50_us", request=round_trips.qga("guest-get-fsinfo"), **daemon)], 40, 50),
        ([round_trips.Loop("mounts_mount_p50_us", request=mount, undo=unmount, **agent)], 6, 5),
    ]


def measure_speed(results, uds, rounds):
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for programs, turns, trips in groups():
            round_trips.compare(results, uds, programs, turns, trips)
        results.ratio("ping_over_raw_ratio", "ping_p50_us", "raw_p50_us")
        results.ratio("qga_ping_over_ping_ratio", "qga_ping_p50_us", "ping_beside_qga_p50_us")
        results.ratio("mounts_list_over_qga_fsinfo_ratio", "mounts_list_p50_us", "qga_fsinfo_p50_us")
        results.ratio("mounts_list_over_raw_ratio", "mounts_list_p50_us", "raw_p50_us")
        results.ratio("mounts_mount_over_raw_ratio", "mounts_mount_p50_us", "raw_p50_us")


# ---- memory and wake-ups -------------------------------------------------------------------------


def agent_only(found):
    return [process for process in found if process[1].startswith("postern")]


def measure_idle(results, uds, when):
    say(f"{IDLE_SECONDS} s idle, then memory ({when})")
    time.sleep(IDLE_SECONDS)
    for number in range(READINGS):
        time.sleep(1 if number else 0)
        found = guest.processes(uds)
        ours, theirs = agent_only(found), [process for process in found if process[1] == "qemu-ga"]
        assert len(theirs) == 1 and len(ours) >= 2, found
        for column, name in ((2, "pss"), (3, "private_dirty")):
            results.add(f"{when}_{name}_kib", sum(process[column] for process in ours))
            results.add(f"{when}_qga_{name}_kib", theirs[0][column])
            results.ratio(f"{when}_{name}_over_qga_ratio", f"{when}_{name}_kib", f"{when}_qga_{name}_kib")
    for pid, command, pss, dirty, *_ in sorted(found):
        say(f"  {command} (pid {pid}): Pss {pss} KiB, Private_Dirty {dirty} KiB")
    results.add(f"{when}_processes", len(ours))


def measure_wakeups(results, uds):
    say(f"wake-ups in {WAKEUP_SECONDS} s without a connection")
    before = {process[0]: process for process in agent_only(guest.processes(uds))}
    time.sleep(WAKEUP_SECONDS)
    after = {process[0]: process for process in agent_only(guest.processes(uds))}
    assert before.keys() == after.keys(), "a process of the idle agent came or went"
    wakeups = preemptions = 0
    for pid, process in sorted(after.items()):
        # It goes to sleep as often as it is woken. A preemption is another's wish, not its own.
        sleeps, taken = process[4] - before[pid][4], process[5] - before[pid][5]
        say(f"  {process[1]} (pid {pid}): slept {sleeps} times, preempted {taken} times")
        wakeups += sleeps
        preemptions += taken
    results.add("idle_wakeups", wakeups)
    results.add("idle_preemptions", preemptions)
    results.add("idle_wakeups_besides_sampler", wakeups - SAMPLER_WAKEUPS)


def measure_connections(results, vm):
    say(f"Pss with 1 and with {1 + CONNECTIONS} open connections")
    clients = [vm.client(timeout=60)]
    clients[0].call("system.ping")
    time.sleep(3)  # spares are made anew a moment after they were taken
    before = sum(process[2] for process in agent_only(guest.processes(vm.vsock)))
    clients += [vm.client(timeout=60) for _ in range(CONNECTIONS)]
    for client in clients:
        client.call("system.ping")
    time.sleep(3)
    after = sum(process[2] for process in agent_only(guest.processes(vm.vsock)))
    for client in clients:
        client.close()
    results.add("connection_pss_kib", (after - before) / CONNECTIONS)


def in_the_systemd_guest(results, host, parts, rounds):
    image = f"{host.dir}/bench.img"
    say("making the image and booting the systemd guest")
    debian.make_image(image, guest.add_to)
    vm = host.launch("bench", *debian.launch_options(image, fast=False), "--cid", str(guest.CID), witness=False)
    guest.wait_for(vm.vsock)
    if "memory" in parts:
        measure_idle(results, vm.vsock, "idle")
        for _ in range(READINGS):
            measure_wakeups(results, vm.vsock)
    if "speed" in parts:
        measure_speed(results, vm.vsock, rounds)
    if "counterparts" in parts:
        for number in range(rounds):
            say(f"counterparts of qemu-ga's commands, round {number + 1} of {rounds}")
            counterparts.measure_reading(results, vm)
            counterparts.measure_changing(results, vm)
    if "disks" in parts:
        disks.measure(results, vm, rounds, say)
    if "channels" in parts:
        for number in range(rounds):
            say(f"channels, round {number + 1} of {rounds}")
            channels.measure_exec(results, vm)
            channels.measure_keys(results, vm)
            channels.measure_copy(results, vm)
            channels.measure_copy_cpu(results, vm)
            channels.measure_forward(results, vm)
        channels.measure_copy_memory(results, vm)
    if "memory" in parts:
        if "speed" in parts:
            measure_idle(results, vm.vsock, "used")
        for _ in range(READINGS):
            measure_connections(results, vm)
    vm.stop()
    os.unlink(image)


# ---- launch to ready -----------------------------------------------------------------------------


def pack_bare_init(path):
    """An initramfs with one program."""
    folder = f"{guest.BENCH}/bare"
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["cp", f"{guest.BENCH}/init", f"{folder}/init"], check=True)
    with open(path, "wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=folder, input=b"init\n", stdout=file,
                       check=True)


def bare_boot(host, initrd, number):
    """From the start of QEMU to the line that init writes; the options are those of the other boot."""
    name = f"bare{number}"
    host.run("launch", name, "--detach", "--initrd", initrd, "--cmdline-add", "console=ttyS0 quiet panic=-1 no_timer_check")
    console = host.file(name, "console.log")
    deadline = time.monotonic() + 60
    while b"bare init" not in (open(console, "rb").read() if os.path.exists(console) else b""):
        assert time.monotonic() < deadline, "the bare kernel did not start init"
        time.sleep(0.005)
    end = time.clock_gettime(time.CLOCK_BOOTTIME)
    pid, = (pid for command, pids in host.children(name).items() if command.startswith("qemu") for pid in pids)
    with open(f"/proc/{pid}/stat") as file:
        start = int(file.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    host.run("stop", "-f", name)
    return end - start


def measure_boot(results, host):
    initrd = f"{host.dir}/bare.cpio"
    pack_bare_init(initrd)
    host.run("launch", "warm")  # fills the cache: the initramfs is packed once for a build
    host.run("stop", "warm")
    for number in range(BOOTS):
        say(f"boot {number + 1} of {BOOTS}")
        start = time.monotonic()
        host.run("launch", f"ready{number}")
        results.add("launch_to_ready_s", time.monotonic() - start)
        host.run("stop", "-f", f"ready{number}")
        results.add("bare_boot_s", bare_boot(host, initrd, number))
        results.ratio("ready_over_bare_boot_ratio", "launch_to_ready_s", "bare_boot_s")


# ---- all -----------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="Figures of Postern in a real guest.")
    parser.add_argument("--build", default=os.path.abspath(f"{HERE}/../../build"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if set(parts) - set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    os.environ["POSTERN_BUILD"] = options.build = os.path.abspath(options.build)

    global channels, counterparts, debian, disks, guest, round_trips
    import channels
    import counterparts
    import debian
    import disks
    import guest
    import round_trips
    from machine import Host
    from peer import measure_vsockd
    from results import Results

    results = Results()
    host = Host()
    try:
        if "boot" in parts:
            measure_boot(results, host)
        if "vsockd" in parts:
            measure_vsockd(results, host, say)
        if {"speed", "channels", "disks", "counterparts", "memory"} & set(parts):
            in_the_systemd_guest(results, host, parts, options.rounds)
    finally:
        host.close()
        if results.samples:
            results.write(f"{options.build}/bench/results.json")
            print(results.table(), flush=True)


if __name__ == "__main__":
    main()
