# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an agent's processes believe about devices that somebody hangs on."""

import contextlib
import os
import struct


# struct quarantine: two numbers, what is frozen (two times eight bytes and a name of 64), then the devices.
PLACES = 8 + 80


def descriptors(pid, name):
    """Those of a process that lead to what is called so; others come and go meanwhile, as it may itself."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if name in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    yield f"/proc/{pid}/fd/{fd}"


def is_writable(pid, fd):
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        flags = next(line for line in file if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE == os.O_RDWR


class Quarantine:
    """quarantine(path): every process of the agent believes that somebody hangs on its device; quarantine():
    nobody does."""

    def __init__(self, agent):
        self.path, = [path for path in descriptors(agent.process.pid, "memfd:quarantine")
                      if is_writable(agent.process.pid, os.path.basename(path))]

    def __call__(self, place=None, writes_only=False):
        device = os.lstat(place).st_dev if place else 0
        with open(self.path, "r+b", buffering=0) as file:
            file.write(struct.pack("=II", bool(place), 0))
            file.seek(PLACES)
            file.write(struct.pack("=QQ", device, writes_only))
