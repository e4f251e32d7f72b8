# SPDX-License-Identifier: LGPL-2.1-or-later
"""What qemu-ga can do and the agent too, side by side in one guest, over the same vsock."""

import statistics
import time

import guest
from channels import Qga, timed
from round_trips import PAYLOAD, Loop, agent, check_echo, compare, daemon, qga, request

TURNS, TRIPS = 6, 50
CHANGES = 10  # of each, in a round
PIECE = 4096  # bytes of a file
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4Sk3Z0f6nqcKqYx0Zb3mJrXb6H5o0iTz8wqFz0bench bench"

# A command that only looks, the method with the same facts, and its fields.
READING = [
    ("guest-get-time", "time.get", {}),
    ("guest-get-timezone", "time.zone", {}),
    ("guest-get-host-name", "identity.get", {}),
    ("guest-get-osinfo", "identity.get", {}),
    ("guest-get-users", "users.list", {}),
    ("guest-get-vcpus", "cpus.list", {}),
    ("guest-get-memory-blocks", "memory.blocks", {}),
    ("guest-get-memory-block-info", "memory.blocks", {}),
    ("guest-network-get-interfaces", "network.interfaces", {}),
    ("guest-get-disks", "disks.list_disks", {}),
    ("guest-get-diskstats", "disks.stats", {}),
    ("guest-fsfreeze-status", "filesystems.status", {}),
]
# The same; but these need a capability to look, and so a process that has it.
READING_AS_WORKER = [
    ("guest-ssh-get-authorized-keys", "users.get_keys", {"username": "root"}, {"user": b"root"}),
    ("guest-file-read", "files.read", {"count": PIECE}, {"path": guest.FILE.encode(), "length": PIECE}),
]


def figure(command):
    """guest-get-time: the name of its figures."""
    return "qga_" + command.removeprefix("guest-").replace("-", "_")


def add_ratio(results, command):
    results.ratio(f"{figure(command)}_ratio", f"{figure(command)}_ours_p50_us", f"{figure(command)}_p50_us")


def compare_with(results, vm, command, method, arguments, fields, undo=b""):
    compare(results, vm.vsock, [
        Loop(f"{figure(command)}_ours_p50_us", request=request(method, **fields), **agent()),
        Loop(f"{figure(command)}_p50_us", request=qga(command, **arguments), undo=undo, **daemon()),
    ], TURNS, TRIPS)
    add_ratio(results, command)


def open_by_qga(vm):
    """A handle, which outlives the connection."""
    connection = Qga(vm)
    handle = connection.call("guest-file-open", path=guest.FILE, mode="r")
    connection.close()
    return handle


def measure_floor(results, vm):
    """What no program on this vsock can be below: an echo beside the least that qemu-ga answers."""
    compare(results, vm.vsock, [
        Loop("echo_beside_qga_p50_us", guest.ECHO_PORT, "exact", PAYLOAD, check=check_echo),
        Loop("qga_least_p50_us", request=qga("guest-get-host-name"), **daemon()),
    ], TURNS, TRIPS)
    results.ratio("echo_over_qga_least_ratio", "echo_beside_qga_p50_us", "qga_least_p50_us")


def measure_reading(results, vm):
    measure_floor(results, vm)
    for command, method, fields in READING:
        compare_with(results, vm, command, method, {}, fields)
    for command, method, arguments, fields in READING_AS_WORKER:
        undo = b""
        if command == "guest-file-read":
            handle = open_by_qga(vm)
            arguments = {"handle": handle, **arguments}
            undo = qga("guest-file-seek", handle=handle, offset=0, whence=0)
        compare_with(results, vm, command, method, arguments, fields, undo)


# ---- What changes something ----------------------------------------------------------------------


def changes(client, connection):
    """The name of each, what is asked of qemu-ga, what of the agent, and how many workers that takes."""
    now = time.time_ns()
    key = KEY.encode()

    def freeze():
        assert client.call("filesystems.freeze").frozen
        assert client.call("filesystems.thaw").thawed

    def freeze_by_qga():
        assert connection.call("guest-fsfreeze-freeze") > 0
        assert connection.call("guest-fsfreeze-thaw") > 0

    def keys():
        assert client.call("users.add_keys", user=b"root", keys=[key]).added == 1
        assert client.call("users.remove_keys", user=b"root", keys=[key]).removed == 1

    def keys_by_qga():
        connection.call("guest-ssh-add-authorized-keys", username="root", keys=[KEY])
        connection.call("guest-ssh-remove-authorized-keys", username="root", keys=[KEY])

    return [
        ("guest-set-time", lambda: connection.call("guest-set-time", time=now),
         lambda: client.call("time.set", time_ns=now), 1),
        ("guest-fsfreeze", freeze_by_qga, freeze, 2),
        ("guest-fstrim", lambda: connection.call("guest-fstrim"), lambda: client.call("filesystems.trim"), 1),
        ("guest-set-vcpus", lambda: connection.call("guest-set-vcpus", vcpus=[{"logical-id": 0, "online": True}]),
         lambda: client.call("cpus.set", online=[0]), 1),
        ("guest-ssh-keys", keys_by_qga, keys, 2),
    ]


def turns(*calls):
    """The p50 of each, in microseconds, taken in turn and in either order."""
    times = [[] for _ in calls]
    for call in calls:
        call()  # warms up
    for number in range(CHANGES):
        for at in range(len(calls)) if number % 2 == 0 else reversed(range(len(calls))):
            times[at].append(timed(calls[at]))
    return [statistics.median(values) for values in times]


def measure_changing(results, vm):
    """A spare worker's price is that of a call to one that has next to nothing to do, without the price of a
    call that a session answers."""
    with vm.client(timeout=60) as client:
        connection = Qga(vm)
        least, ping = turns(lambda: client.call("files.set_mode", path=guest.FILE.encode(), mode=0o644),
                            lambda: client.call("system.ping"))
        results.add("spare_worker_us", least - ping)
        for command, theirs, ours, workers in changes(client, connection):
            name = figure(command)
            times = turns(ours, theirs)
            results.add(f"{name}_ours_p50_us", times[0])
            results.add(f"{name}_p50_us", times[1])
            add_ratio(results, command)
            results.add(f"{name}_bound_ratio", times[0] / (times[1] + workers * (least - ping)))
        connection.close()
