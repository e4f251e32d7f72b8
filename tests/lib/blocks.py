# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems whose blocks are known, and device-mapper tables that break some of them (tests/vm/breaker.c)."""

import re
import subprocess

BLOCK = 4096
SECTORS = BLOCK // 512


def make_image(path, content, size, *options):
    """ext4 with this folder's content; blocks of BLOCK bytes."""
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), "-m", "0", *options, "-d", content, path, size],
                   check=True, capture_output=True)


def debugfs(image, request):
    return subprocess.run(["debugfs", "-R", request, image], check=True, capture_output=True, text=True).stdout


def blocks_of(image, path):
    """Which blocks a file or folder has, in order; "<8>": the journal."""
    return [int(word) for word in debugfs(image, f"blocks {path}").split()]


def inode_of(image, path):
    """(block, byte in it) where its inode is."""
    found = re.search(r"located at block (\d+), offset 0x([0-9a-f]+)", debugfs(image, f"imap {path}"))
    return int(found[1]), int(found[2], 16)


def free_blocks(image):
    """Ranges: [(first, last), ...]."""
    groups = subprocess.run(["dumpe2fs", image], check=True, capture_output=True, text=True).stdout
    ranges = [part for line in re.findall(r"^  Free blocks: (.*)$", groups, re.M) for part in line.split(", ") if part]
    return [(int(first), int(last or first)) for first, _, last in (part.partition("-") for part in ranges)]


def table(device, bytes, broken=(), broken_as="error"):
    """Lines of a table which is the device, but for some ranges of blocks."""
    lines, at, end = [], 0, bytes // 512
    for first, last in sorted(broken):
        start, stop = first * SECTORS, (last + 1) * SECTORS
        if start > at:
            lines.append(f"{at} {start - at} linear {device} {at}")
        lines.append(f"{start} {stop - start} {broken_as}")
        at = stop
    if at < end:
        lines.append(f"{at} {end - at} linear {device} {at}")
    return lines
