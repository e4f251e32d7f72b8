# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent's service placed into a systemd guest that does not run, and a disk that boots by itself."""

import os

import debian
from machine import Machine, wait_until


def test_an_image_that_is_being_built():
    """Without a running systemd the files are placed and linked all the same, and removed again."""
    with debian.filled_tree() as tree:
        units = f"{tree}/etc/systemd/system"
        out = debian.chroot(tree, "posternd", "install", "--no-start").stdout
        assert "the agent is enabled (systemd)" in out and "daemon-reload" not in out
        assert os.path.islink(f"{units}/sysinit.target.wants/posternd.service")
        debian.chroot(tree, "posternd", "uninstall")
        assert not [name for name in os.listdir(units) if name.startswith("postern")]
        assert not os.path.lexists(f"{units}/sysinit.target.wants/posternd.service")


def test_a_disk_with_its_own_boot_loader(host):
    """Nothing of the guest is given from outside, and the service was placed while nothing ran."""
    disk = f"{host.dir}/boot.img"
    debian.make_disk(disk)
    host.run("launch", "disk", "--image", disk, "--memory", "512M", "--timeout", "300", timeout=400)
    info = host.info("disk")
    assert info["state"] == "ready" and "kernel" not in info
    machine = Machine(host, "disk")
    with machine.client(timeout=60) as client:
        assert client.call("system.info").init == "systemd"
        reply = client.call("power.shutdown", mode=3)
        assert reply.by == "systemd" and reply.mode == 3
    wait_until(lambda: "System halted" in machine.console(), timeout=200, step=0.2)
    assert host.info("disk")["status"] == "running"
    machine.stop("-f")
