# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk on its way to its place in the guest, away from it, and to a larger size, when QEMU, the guest or its agent
does not do its part: what was begun is undone, and what could not be undone is told. QEMU and the guest only talk
(fake_vmm.py)."""

import os
import threading

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, TIMED_OUT, wait_until

MIB = 1 << 20
SEEN = {"name": "vda", "serial": "disk8", "size": MIB}
MOUNT = ("--mount", "/mnt/data", "--type", "ext4")


class World:
    """A host with one guest, whose disks come and go."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.image = f"{folder}/image"
        fake_vmm.launch(host, folder, boot=0, hint=0.1)
        self.heard = len(fake_vmm.events(folder))

    def now(self, **how):
        fake_vmm.from_now_on(self.folder, **how)

    def events(self, mount=False):
        """What was done since the last look; not what was only looked at. mount: nor that the guest was asked to mount
        it, which is beside the plug: no order holds between the two, and where the plug fails it may not come to it."""
        events = fake_vmm.events(self.folder)
        new, self.heard = events[self.heard:], len(events)
        events = [e for e in new if not e.startswith(("CONNECT", "disks.list_disks"))]
        return [e for e in events if not mount or e != "mounts.mount /mnt/data"]

    def attach(self, *words, code=0):
        told = self.host.json("disks", "attach", "web", self.image, "--create", "1M", *words, code=code)
        return told if code == 0 else told["error"]["message"]

    def attached(self, *words):
        self.now(disks=[SEEN])
        self.attach(*words)
        self.events()

    def run(self, *words, code=0):
        told = self.host.json("disks", words[0], "web", self.image, *words[1:], code=code)
        return told if code == 0 else told["error"]["message"]

    def disks(self):
        return self.host.info("web")["disks"]

    def is_undone(self):
        """And the next attempt is as the first."""
        assert self.disks() == [] and not os.path.exists(self.image)
        self.now(disks=[SEEN])
        self.events()
        assert self.attach(*MOUNT)["id"] == "disk8"
        assert self.events(mount=True) == ["blockdev-add", "device_add"]
        self.run("detach")
        assert self.events() == ["mounts.unmount /mnt/data", "device_del", "blockdev-del"] and self.disks() == []
        return True


@pytest.fixture
def world(host, tmp_path):
    return World(host, tmp_path)


# ---- attach ----


@pytest.mark.parametrize("command,done", [
    ("blockdev-add", ["blockdev-add"]), ("device_add", ["blockdev-add", "device_add", "blockdev-del"])])
def test_qemu_refuses_a_disk(world, command, done):
    world.now(disks=[SEEN], fails={command: "no such luck"})
    assert "no such luck" in world.attach(*MOUNT, code=ANSWERED)
    assert world.events(mount=True) == done and world.is_undone()


@pytest.mark.parametrize("command", ["blockdev-add", "device_add"])
def test_qemu_does_not_answer(world, command):
    world.now(disks=[SEEN], hush=[command])
    assert f"QEMU has not answered {command} in time" in world.attach(*MOUNT, code=TIMED_OUT)
    # Sent behind it, should it be done in the end.
    wanted = ["blockdev-add", "device_add"][:1 + (command == "device_add")] + ["device_del", "blockdev-del"]
    seen = world.events(mount=True)
    wait_until(lambda: seen.extend(world.events()) or len(seen) >= len(wanted))
    assert seen[:len(wanted)] == wanted and world.is_undone()


def test_the_guest_does_not_see_it(world):
    world.now(disks=[{"name": "vdb", "serial": "another", "size": 7}])
    message = world.attach("--wait", "200ms", *MOUNT, code=TIMED_OUT)
    assert "did not see the disk disk8 in 200 ms" in message and "it sees vdb (7 bytes)" in message
    assert world.events(mount=True) == ["blockdev-add", "device_add", "device_del", "blockdev-del"] and world.is_undone()


def test_the_guest_sees_it_and_does_not_know_what_is_on_it(world):
    world.now(disks=[SEEN])
    assert "--type" in world.attach("--mount", "/mnt/data", code=2)
    assert world.events() == ["blockdev-add", "device_add", "device_del", "blockdev-del"] and world.is_undone()


def test_an_agent_that_cannot_say_what_it_sees(world):
    world.now(refuses={"disks.list_disks": "the guest forbids it"})
    assert "the guest forbids it" in world.attach(code=ANSWERED)
    assert world.events() == ["blockdev-add", "device_add", "device_del", "blockdev-del"]
    assert "the guest forbids it" in world.attach("--wait", "200ms", *MOUNT, code=ANSWERED), "nor what it sees instead"
    world.events()
    assert world.is_undone()


def test_a_disk_that_comes_late(world):
    """The guest waits for it, and is asked once."""
    threading.Timer(1, lambda: world.now(disks=[SEEN])).start()
    told = world.host.json("disks", "attach", "web", world.image, "--create", "1M", *MOUNT)
    assert (told["device"], told["size"], told["type"]) == ("/dev/vda", MIB, "ext4")
    assert world.events(mount=True) == ["blockdev-add", "device_add"]
    world.run("detach")


def test_a_mount_that_is_refused(world):
    world.now(disks=[SEEN], refuses={"mounts.mount": "wrong file system"})
    assert "wrong file system" in world.attach(*MOUNT, code=ANSWERED)
    assert world.events(mount=True) == ["blockdev-add", "device_add", "device_del", "blockdev-del"]
    assert world.is_undone()


@pytest.mark.parametrize("how,code", [("killed", TIMED_OUT), ("lost", ABSENT)])
def test_a_mount_that_nobody_answered_for(world, how, code):
    """The guest is asked whether it is mounted, over another connection where that one is gone."""
    world.now(disks=[SEEN], **{how: ["mounts.mount"]})
    world.attach(*MOUNT, code=code)
    assert world.events(mount=True) == ["blockdev-add", "device_add", "mounts.unmount /mnt/data", "device_del",
                                        "blockdev-del"]
    assert world.is_undone()


@pytest.mark.parametrize("how,said", [({"fails": {"device_del": "the bus is locked"}}, "the bus is locked"),
                                      ({"keeps": True}, "did not let the device go")])
def test_what_cannot_be_undone_is_told(world, how, said):
    world.now(disks=[SEEN], refuses={"mounts.mount": "wrong file system"}, **how)
    message = world.attach(*MOUNT, code=ANSWERED)
    assert "wrong file system" in message and "the disk disk8 is still plugged" in message and said in message
    assert os.path.exists(world.image), "QEMU has it open"
    assert [disk["state"] for disk in world.disks()] == ["plugged"]
    world.now(disks=[SEEN])
    world.run("detach")
    os.unlink(world.image)
    assert world.is_undone()


def test_the_image_of_another_stays(world):
    with open(world.image, "wb") as file:
        file.write(bytes(MIB))
    world.now(disks=[SEEN], fails={"device_add": "no such luck"})
    world.host.json("disks", "attach", "web", world.image, code=ANSWERED)
    assert os.path.getsize(world.image) == MIB and world.disks() == []


# ---- detach ----


def test_what_is_in_use_stays(world):
    world.attached(*MOUNT)
    world.now(disks=[SEEN], refuses={"mounts.unmount": "in use"})
    assert "in use" in world.run("detach", code=ANSWERED)
    assert world.events() == ["mounts.unmount /mnt/data"]
    assert [disk["state"] for disk in world.disks()] == ["plugged"]
    world.now(disks=[SEEN])
    world.run("detach")
    assert world.events() == ["mounts.unmount /mnt/data", "device_del", "blockdev-del"] and world.disks() == []


def test_qemu_refuses_to_pull(world):
    world.attached()
    world.now(disks=[SEEN], fails={"device_del": "the bus is locked"})
    assert "the bus is locked" in world.run("detach", code=ANSWERED)
    assert [disk["state"] for disk in world.disks()] == ["plugged"]
    world.now(disks=[SEEN])
    world.run("detach")
    assert world.events() == ["device_del", "device_del", "blockdev-del"] and world.disks() == []


def test_a_guest_that_lets_nothing_go(world):
    """It can be asked again; then QEMU says that it has asked already, or that there is no such device any more."""
    world.attached()
    world.now(disks=[SEEN], keeps=True)
    assert "did not let the device go" in world.run("detach", code=TIMED_OUT)
    assert [disk["state"] for disk in world.disks()] == ["plugged"] and world.host.info("web")["state"] == "ready"
    world.now(fails={"device_del": "Device 'disk8' not found"})
    world.run("detach")
    assert world.events() == ["device_del", "device_del", "blockdev-del"] and world.disks() == []


def test_a_back_end_that_stays(world):
    world.attached()
    world.now(fails={"blockdev-del": "it is in use"})
    assert "it is in use" in world.run("detach", code=ANSWERED)
    world.now(fails={"device_del": "Device 'disk8' not found"})
    world.run("detach")
    assert world.disks() == []


def test_qemu_does_not_answer_a_pull(world):
    world.attached()
    world.now(disks=[SEEN], hush=["device_del"])
    assert "in time" in world.run("detach", code=TIMED_OUT)
    assert [disk["state"] for disk in world.disks()] == ["plugged"]
    world.now(disks=[SEEN])
    world.run("detach")
    assert world.disks() == []


# ---- grow ----


def test_qemu_refuses_to_grow(world):
    world.attached(*MOUNT)
    world.now(disks=[SEEN], fails={"block_resize": "no room on the host"})
    assert "no room on the host" in world.run("grow", "2M", code=ANSWERED)
    assert world.events() == ["block_resize"]


def test_qemu_does_not_answer_that_it_grew(world):
    world.attached(*MOUNT)
    world.now(disks=[SEEN], hush=["block_resize"])
    assert "QEMU has not answered block_resize in time" in world.run("grow", "2M", code=TIMED_OUT)
    assert world.events() == ["block_resize"], "the guest is not asked for what may not be"
    # The next attempt goes on where that one ended.
    world.now(disks=[{**SEEN, "size": 2 * MIB}])
    world.run("grow", "2M")
    assert world.events() == ["disks.grow"]


def test_what_is_on_it_does_not_grow(world):
    world.attached(*MOUNT)
    world.now(disks=[{**SEEN, "size": 2 * MIB}], refuses={"disks.grow": "the table is damaged"})
    assert "the table is damaged" in world.run("grow", "2M", code=ANSWERED)
    assert [disk["state"] for disk in world.disks()] == ["plugged"]
