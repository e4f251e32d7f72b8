# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks that are plugged into the guest: when they are there, what is on them, and whether it is whole."""

import json
import os
import subprocess
import tempfile

import wire
from channels import channel, run_for_output, timed

FILES, FOLDERS = 10000, 100
BIG_BYTES = 256 << 20
LISTS, FOOTPRINTS, PLUGS = 4, 1, 3  # in a round
FIELDS = r"%P %y %s %m %U %G %T@\n"  # what an entry of disks.list_files has, as find(1) writes it
TREE = "/mnt/bench"


def make_image(path, megabytes, fill=None):
    with tempfile.TemporaryDirectory(prefix="postern-test-") as tree:
        if fill:
            fill(tree)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path, f"{megabytes}M"], check=True)


def fill(tree):
    for folder in range(FOLDERS):
        os.makedirs(f"{tree}/files/{folder:02}")
        for number in range(FILES // FOLDERS):
            with open(f"{tree}/files/{folder:02}/a-file-{number:04}", "w") as file:
                file.write("x" * number)
    with open(f"{tree}/big", "wb") as file:
        for _ in range(BIG_BYTES >> 20):
            file.write(os.urandom(1 << 20))


def in_the_guest(vm, client, *argv):
    """What a program says, and its microseconds from fork to wait, by the guest's own clock."""
    *lines, spent = run_for_output(vm, client, "/usr/bin/forkexec", "1", *argv).decode().splitlines()
    return lines, float(spent)


# ---- What is on it -------------------------------------------------------------------------------


def list_files(client):
    """The bytes of all parts of an answer, to be decoded later."""
    id = client.start("disks.list_files", disk=b"bench", path=b"files", recursive=True)
    parts = []
    while not parts or parts[-1].more:
        parts.append(client.take_response(id))
    return parts


def check_list(parts):
    reply = wire.message("disks.list_files", "Reply")()
    for part in parts:
        assert part.WhichOneof("outcome") == "result", part
        reply.MergeFromString(part.result)
    assert reply.count == len(reply.files) == FILES + FOLDERS and not reply.problems


def measure_list(results, vm, client):
    answers = []
    for number in range(LISTS + 1):
        ours = timed(lambda: answers.append(list_files(client)))
        _, find = in_the_guest(vm, client, "/usr/bin/find", f"{TREE}/files", "-mindepth", "1",
                               "-fprintf", "/dev/null", FIELDS)
        check_list(answers.pop())
        if number:  # the first one warms up
            results.add("list_files_ms", ours / 1e3)
            results.add("find_ms", find / 1e3)
            results.ratio("list_files_over_find_ratio", "list_files_ms", "find_ms")


def measure_footprint(results, vm, client):
    answers = []
    in_the_guest(vm, client, "/bin/dd", f"if={TREE}/big", "of=/dev/null", "bs=1M", "status=none")  # warms up
    for _ in range(FOOTPRINTS):
        ours = timed(lambda: answers.append(client.call(
            "disks.get_file_footprint", disk=b"bench", path=b"big", timeout_ms=300000)))
        lines, theirs = in_the_guest(vm, client, "/usr/bin/sha256sum", f"{TREE}/big")
        reply = answers.pop()
        assert reply.size == BIG_BYTES and reply.footprint == lines[0].split()[0]
        results.add("footprint_ms", ours / 1e3)
        results.add("sha256sum_ms", theirs / 1e3)
        results.ratio("footprint_over_sha256sum_ratio", "footprint_ms", "sha256sum_ms")


# ---- When it is there ----------------------------------------------------------------------------


class KernelEvents:
    """The guest kernel's own word of block devices, as soon as it says it: udevadm(8) prints each."""

    def __init__(self, vm, client):
        self.client = client
        reply = client.call("exec.start", output="CHANNEL",
                            argv=[b"/usr/bin/udevadm", b"monitor", b"--kernel", b"--subsystem-match=block"])
        self.job = reply.job
        self.lines = channel(vm, reply.stdio.token).makefile("rb")
        self.wait_for(b"KERNEL - ")

    def wait_for(self, words):
        while words not in self.lines.readline():
            pass

    def close(self):
        self.client.call("exec.signal", job=self.job, signal=15)
        self.lines.close()


def measure_plug(results, vm, client, image):
    host = vm.host

    def detect():
        plugging = host.start("disks", "add", vm.name, image, "--json")
        events.wait_for(b" add ")
        return plugging

    for _ in range(PLUGS):
        # An image is told from others by its file: the first one is gone before the second comes.
        events, added = KernelEvents(vm, client), []
        results.add("disk_detected_ms", timed(lambda: added.append(detect())) / 1e3)
        out, error = added[0].communicate(timeout=60)
        assert added[0].returncode == 0, error
        host.run("disks", "remove", vm.name, json.loads(out)["id"])
        events.wait_for(b" remove ")
        events.close()
        results.add("disk_mounted_ms", timed(lambda: host.run(
            "disks", "attach", vm.name, image, "--mount", "/mnt/plugged", "--type", "ext4")) / 1e3)
        host.run("disks", "detach", vm.name, image)
        results.ratio("disk_mounted_over_detected_ratio", "disk_mounted_ms", "disk_detected_ms")


def measure(results, vm, rounds, say):
    images = [f"{vm.host.dir}/{name}.img" for name in ("files", "plugged")]
    make_image(images[0], (BIG_BYTES >> 20) + 100, fill)
    make_image(images[1], 64)
    vm.host.run("disks", "attach", vm.name, images[0], "--mount", TREE, "--type", "ext4")
    with vm.client(timeout=320) as client:
        for number in range(rounds):
            say(f"disks, round {number + 1} of {rounds}")
            measure_footprint(results, vm, client)
            measure_list(results, vm, client)
            measure_plug(results, vm, client, images[1])
    vm.host.run("disks", "detach", vm.name, images[0])
    for image in images:
        os.unlink(image)
