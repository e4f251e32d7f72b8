# SPDX-License-Identifier: LGPL-2.1-or-later
"""In which order files of tests with virtual machines run, and whether there are any machines at all."""

import os
import shutil

import pytest

# For a guest that boots again. QEMU emulates, and keeps what it has translated of the last boot until it is
# written over, bit by bit: a kernel that unpacks itself over its forerunner's code takes up to two minutes. It
# chooses its place by chance, which the more memory there is, the more seldom is that one. Only what a guest
# touches costs its host anything.
ROOMY = ("--memory", "3G")

# Files run side by side, and the longest are not to be the last ones.
LONGEST = [f"test_{name}.py" for name in (
    "servers", "systemd", "nested", "machine", "openrc", "shares", "own_disk", "state_disk", "inits", "reboot",
    "openrc_init", "persistence")]


def prepare(items):
    """Sorts the tests; skips them where QEMU cannot be installed, and never in CI."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if shutil.which("qemu-system-x86_64"):
        return
    if os.environ.get("CI"):
        raise pytest.UsageError("QEMU is missing: packaging/setup test installs it")
    for item in items:
        item.add_marker(pytest.mark.skip(reason="QEMU CANNOT BE INSTALLED HERE: no virtual machine was tested"))
