# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the host does when a guest's agent or a VMM does not do its part. Supervisor and command line are
real; QEMU, the vsock device and the guest only talk (fake_vmm.py)."""

import os
import signal
import threading
import time

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, TIMED_OUT, USAGE


@pytest.fixture
def launch(host, tmp_path):
    def start(**guest):
        fake_vmm.launch(host, tmp_path, boot=0, hint=0.1, **guest)
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
                               "shares.unmount /mnt/data", "device_del", "chardev-remove"]
    assert host.info("web")["shares"] == []
    host.until(lambda: "sleep" not in host.children("web"))  # the virtiofsd of fake_vmm


def test_a_mount_that_was_made_but_not_recorded_is_undone(host, launch, tmp_path):
    launch(mount="killed")
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data", code=TIMED_OUT)
    assert launch.events()[2:] == ["mounts.list /mnt/data", "shares.unmount /mnt/data", "mounts.unmount /mnt/data",
                                   "device_del", "chardev-remove"]


def test_what_another_one_mounted_there_stays(host, launch, tmp_path):
    launch(mount="killed")
    host.run("shares", "add", "web", str(tmp_path), "/taken", code=TIMED_OUT)
    assert launch.events()[2:] == ["mounts.list /taken", "device_del", "chardev-remove"]


# ---- A disk ----

def test_a_disk_is_plugged_and_pulled(host, launch, tmp_path):
    launch()
    (tmp_path / "disk").write_bytes(bytes(512))
    disk = host.json("disks", "add", "web", f"{tmp_path}/disk")["id"]
    assert [plugged["id"] for plugged in host.info("web")["disks"]] == [disk]
    host.run("disks", "remove", "web", disk)
    assert launch.events() == ["blockdev-add", "device_add", "device_del", "blockdev-del"] and host.info("web")["disks"] == []


# ---- A balloon that is followed ----

def test_bounds_that_cannot_be(host, launch):
    launch()
    for words in (["16M"], ["--floor", "200M", "--ceiling", "100M"], ["--ceiling", "1G"], ["--host-low", "101"]):
        host.run("balloon", "web", "--auto", *words, code=USAGE)
    assert "PAGES, SIZE or --auto" in host.run("balloon", "web", code=USAGE)[1]
    host.run("balloon", "nobody", "--auto", code=ABSENT)
    assert launch.events() == []


# ---- Pause ----

def test_a_machine_is_paused_and_goes_on(host, launch):
    launch()
    host.run("pause", "web")
    assert host.info("web")["status"] == "paused"
    host.run("resume", "web")
    assert host.info("web")["state"] == "ready" and launch.events() == ["stop", "cont"]


def test_a_guest_that_fell_asleep_is_woken(host, launch):
    launch()
    os.kill(host.info("web")["vmm_pid"], signal.SIGRTMIN)
    host.until(lambda: host.info("web")["status"] == "asleep", 5)
    assert host.run("list")[0].splitlines()[1].split()[1] == "Asleep"
    for words in (["pause", "web"], ["snapshot", "web", f"{host.dir}/snapshot"]):
        assert "the guest sleeps" in host.json(*words, code=ANSWERED)["error"]["message"]
    host.run("resume", "web")
    host.until(lambda: host.info("web")["state"] == "ready", 5)
    assert launch.events() == ["system_wakeup"]
    host.run("resume", "web")
    assert launch.events() == ["system_wakeup"], "it is awake"


def test_a_sleep_is_waited_for(host, launch):
    launch()
    late = host.json("suspend", "web", "--timeout", "100ms", code=TIMED_OUT)
    assert "did not fall asleep" in late["error"]["message"]
    timer = threading.Timer(0.3, os.kill, (host.info("web")["vmm_pid"], signal.SIGRTMIN))
    timer.start()
    assert "The guest web sleeps; resume wakes it" in host.run("suspend", "web")[0]
    timer.join()


def test_a_guest_that_will_not_sleep(host, launch):
    launch()
    assert "--mode: ram, disk or hybrid" in host.run("suspend", "web", "--mode", "deep", code=USAGE)[1]
    host.run("suspend", "nobody", code=ABSENT)


@pytest.mark.parametrize("off,said", [(-3600, "3600.0 s behind"), (7, "7.0 s ahead"), (0.5, "")])
def test_a_clock_that_stood_still_is_set(host, launch, off, said):
    launch(clock=off)
    host.run("pause", "web")
    out, _ = host.run("resume", "web")
    assert (f"Its clock was {said}" in out) == bool(said)
    assert launch.events() == ["stop", "cont"] + ["time.set"] * bool(said)
    host.run("pause", "web")
    host.run("resume", "web", "--no-clock")
    assert launch.events()[-2:] == ["stop", "cont"]


def test_qemu_keeps_no_snapshot(host, launch, tmp_path):
    launch()
    _, err = host.run("snapshot", "web", f"{tmp_path}/kept", code=ANSWERED)
    assert "QEMU cannot keep a machine's state in files" in err
    assert not os.path.exists(f"{tmp_path}/kept") and launch.events() == []


# ---- A VMM that does not answer ----

def test_a_monitor_that_does_not_answer_fails_the_command_and_not_the_machine(host, launch, tmp_path):
    launch(silent=["qom-get", "balloon", "device_add", "device_del", "chardev-remove"])
    stats = host.start("balloon-stats", "web")
    add = host.start("shares", "add", "web", str(tmp_path), "/mnt/data")
    balloon = host.start("balloon", "web", "32M")
    for command, what in (stats, "qom-get"), (balloon, "balloon"), (add, "device_add"):
        _, err = command.communicate(timeout=30)
        assert command.returncode == TIMED_OUT and f"QEMU has not answered {what} in time" in err, err
    info = host.info("web")
    assert info["state"] == "ready" and info["shares"] == []
    assert [problem["problem"] for problem in info["problems"]] == ["the VMM does not answer"]
    os.kill(info["vmm_pid"], signal.SIGUSR2)
    host.until(lambda: not host.info("web")["problems"])
    # What the late command has made goes, its other half once the guest has let it; and the next command is
    # answered as ever.
    host.until(lambda: launch.events() == ["device_add", "device_del", "chardev-remove", "chardev-remove"])
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data")
    # Whether QEMU would take it up in the end nobody could say.
    stats = host.json("balloon-stats", "web")
    assert stats["requested-pages"] is None and stats["current-pages"] == 8192
    host.run("balloon", "web", "0")
    assert host.json("balloon-stats", "web")["requested-pages"] == 0


def test_a_stopped_vmm_is_ended_by_force(host, launch):
    launch()
    os.kill(host.info("web")["vmm_pid"], signal.SIGSTOP)
    host.run("stop", "-f", "web")
    assert host.info("web")["status"] == "stopped"


# ---- A balloon that does not get there ----

def test_a_stuck_balloon_is_a_problem_until_it_moves(host, launch):
    launch(driver=0)
    host.run("balloon", "web", "64M")
    asked = time.monotonic()
    assert host.info("web")["problems"] == []
    host.until(lambda: host.info("web")["problems"], 30)
    assert 9 < time.monotonic() - asked < 25
    out, _ = host.run("list", "web")
    assert "1 problem detected:\n* balloon stuck: the guest needs its memory, or lacks the driver" in out
    assert host.info("web")["state"] == "ready"
    # Where it is, it has nowhere to go.
    host.run("balloon", "web", "0")
    host.until(lambda: not host.info("web")["problems"])


def test_a_balloon_that_was_refused_is_no_problem(host, launch):
    launch(refuses=256 << 20)
    _, err = host.run("balloon", "web", "64M", code=ANSWERED)
    assert "not now" in err
    time.sleep(13)
    assert host.info("web")["problems"] == []


def test_what_was_refused_is_not_what_is_requested(host, launch):
    launch(refuses=192 << 20)
    for size, code, pages in (("80M", ANSWERED, 0), ("64M", 0, 16384), ("80M", ANSWERED, 16384)):
        host.run("balloon", "web", size, code=code)
        stats = host.json("balloon-stats", "web")
        assert (stats["requested-pages"], stats["current-pages"]) == (pages, pages)


# ---- What the agent alone can tell ----

@pytest.mark.parametrize("off,words", [(-3600.3, "3600 s behind this host's"), (7.3, "7 s ahead of this host's")])
def test_a_clock_that_is_off(host, launch, off, words):
    launch(clock=off)
    out, _ = host.run("list", "web")
    assert f"1 problem detected:\n* clock off: it is {words}; postern time sync web\n" in out
    assert [problem["problem"] for problem in host.info("web")["problems"]] == ["clock off"]


@pytest.mark.parametrize("off", [0, 4.5, None])
def test_a_clock_that_agrees_or_is_not_told(host, launch, off):
    launch(**({} if off is None else {"clock": off}))
    assert host.info("web")["problems"] == []
