# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether there are virtual machines at all."""

import os
import shutil

import pytest


def skip_without(items):
    """Skips the tests where QEMU cannot be installed, and never in CI."""
    if shutil.which("qemu-system-x86_64"):
        return
    if os.environ.get("CI"):
        raise pytest.UsageError("QEMU is missing: packaging/setup test installs it")
    for item in items:
        item.add_marker(pytest.mark.skip(reason="QEMU CANNOT BE INSTALLED HERE: no virtual machine was tested"))
