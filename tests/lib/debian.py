# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian guest with systemd and the agent installed as an administrator would."""

import os
import shutil
import subprocess

from wire import BUILD

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(BUILD)
TREE = f"{BUILD}/debian/root"

WITNESS = """[Unit]
DefaultDependencies=no
After=systemd-modules-load.service
[Service]
ExecStart=/usr/bin/witness
Restart=always
[Install]
WantedBy=sysinit.target
"""


def chroot(*command):
    return subprocess.run(["chroot", TREE, *command], check=True, capture_output=True, text=True,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def make_image(path, extra=None):
    """Installs the agent into the tree and writes it as an ext4 image. extra(tree) may add to it.
    What `posternd install` printed."""
    subprocess.run(["make", "-s", "install-agent", f"DESTDIR={TREE}", f"B={BUILD}"], cwd=ROOT, check=True,
                   capture_output=True)
    chroot("systemd-sysusers")
    shutil.copy(f"{BUILD}/tests/witness", f"{TREE}/usr/bin/witness")
    with open(f"{TREE}/etc/systemd/system/witness.service", "w") as unit:
        unit.write(WITNESS)
    chroot("systemctl", "enable", "witness.service")
    printed = chroot("posternd", "install", "--no-start").stdout
    if extra:
        extra(TREE)
    if os.path.exists(path):
        os.unlink(path)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", TREE, path, "1200M"], check=True)
    return printed


def launch_options(image):
    return ["--kernel", f"{BUILD}/debian/vmlinuz", "--initrd", f"{BUILD}/debian/initrd", "--image", image,
            "--memory", "512M", "--timeout", "120",
            "--cmdline-add", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0"]
