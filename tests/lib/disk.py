# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems on loop devices of this machine, small and soon gone."""

import contextlib
import os
import subprocess

FITHAW = 0xC0045878  # ioctl(), as Linux numbers it on x86-64


def thaw(path):
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["fsfreeze", "--unfreeze", path], check=True, capture_output=True)


@contextlib.contextmanager
def disk(folder, name="disk", kind="ext4", megabytes=16, options="loop"):
    """A new file system, mounted at folder/name; it is taken away again whatever became of it."""
    image, path = f"{folder}/{name}.img", os.path.join(os.path.realpath(folder), name)
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs." + kind, "-q", image], check=True, capture_output=True)
    os.makedirs(path)
    subprocess.run(["mount", "-o", options, image, path], check=True)
    try:
        yield path
    finally:
        thaw(path)
        subprocess.run(["umount", "-l", path], check=True)
        os.unlink(image)
