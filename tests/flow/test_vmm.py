# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the host does when a guest's agent or a VMM does not do its part. Supervisor and command line are
real; QEMU, the vsock device and the guest only talk (fake_vmm.py)."""

import pytest

import fake_vmm
from machine import ABSENT, TIMED_OUT, Host


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


@pytest.fixture
def launch(host, tmp_path):
    (tmp_path / "kernel").touch()

    def start(**guest):
        fake_vmm.install(tmp_path, {"tcg": {"boot": 0, "hint": 0.1, **guest}}, host)
        host.run("launch", "web", "--kernel", f"{tmp_path}/kernel", "--initrd", f"{tmp_path}/kernel")
    start.events = lambda: [event for event in fake_vmm.events(tmp_path)
                            if event.split()[0] not in ("qemu", "hint", "CONNECT")]
    return start


# ---- A share, both halves or none ----

def test_a_share_is_plugged_and_mounted(host, launch, tmp_path):
    launch()
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data")
    assert launch.events() == ["device_add", "shares.mount /mnt/data"]
    assert [share["state"] for share in host.info("web")["shares"]] == ["plugged"]
    assert "sleep" in host.children("web")


def test_a_mount_that_nobody_answered_for_is_undone(host, launch, tmp_path):
    launch(mount="lost")
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data", code=ABSENT)
    # The guest lets go of a device only once it is not mounted.
    assert launch.events() == ["device_add", "shares.mount /mnt/data", "mounts.list /mnt/data",
                               "shares.unmount /mnt/data", "device_del"]
    assert host.info("web")["shares"] == []
    host.until(lambda: "sleep" not in host.children("web"))  # the virtiofsd of fake_vmm


def test_a_mount_that_was_made_but_not_recorded_is_undone(host, launch, tmp_path):
    launch(mount="killed")
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data", code=TIMED_OUT)
    assert launch.events()[2:] == ["mounts.list /mnt/data", "shares.unmount /mnt/data", "mounts.unmount /mnt/data",
                                   "device_del"]


def test_what_another_one_mounted_there_stays(host, launch, tmp_path):
    launch(mount="killed")
    host.run("shares", "add", "web", str(tmp_path), "/taken", code=TIMED_OUT)
    assert launch.events()[2:] == ["mounts.list /taken", "device_del"]
