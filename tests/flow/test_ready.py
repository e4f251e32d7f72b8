# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a launch learns that the agent is there: it is told, and asks then. Supervisor and command line are
real; QEMU, the vsock device and the guest only talk (fake_vmm.py)."""

import json
import os
import signal
import socket
import time

import pytest

import fake_vmm
from machine import ABSENT, TIMED_OUT, USAGE
from wire import frame, pb

ASKED = "CONNECT 767 "


@pytest.fixture
def boot(host, tmp_path):
    def start(*options, code=0, **guest):
        since = time.monotonic()
        out = fake_vmm.launch(host, tmp_path, *options, code=code, **guest)
        return time.monotonic() - since, out
    start.events = lambda: fake_vmm.events(tmp_path)
    start.log = lambda: open(host.file("web", "supervisor.log")).read()
    return start


def test_the_agent_says_that_it_is_ready_and_is_asked_once(boot):
    took, _ = boot(boot=0.3, hint=0.5)
    # Without the hint it would be asked after 20 s.
    assert 0.5 <= took < 10
    assert boot.events() == ["qemu tcg", "hint", ASKED + "answered"]
    assert "the agent answered, having said that it was ready" in boot.log()


def test_a_silent_agent_is_asked_in_the_end(boot):
    took, _ = boot("-t", "4", boot=0.2)
    assert 2 <= took < 4
    assert boot.events() == ["qemu tcg", ASKED + "answered"]
    assert "the agent has not said that it is ready: asking for it" in boot.log()
    assert "the agent answered, having said nothing" in boot.log()


def test_a_hint_alone_proves_nothing(boot):
    took, (_, err) = boot("-t", "4", hint=0.1, code=TIMED_OUT)
    assert took >= 4 and "no agent answered within 4 s" in err
    # The hint is asked about at once, after one second and after two more.
    assert boot.events() == ["qemu tcg", "hint"] + [ASKED + "refused"] * 3


def test_a_hint_that_comes_early_is_asked_about_again(boot):
    took, _ = boot(hint=0.2, boot=0.7)
    assert 0.7 <= took < 10
    assert boot.events() == ["qemu tcg", "hint", ASKED + "refused", ASKED + "answered"]


def seen(host):
    """What the supervisor knows of the machine: who asks for one alone asks its agent too."""
    machine, = host.json("list")["guests"]
    return machine


def say_ready(host):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(host.file("web", "vsock.sock_7670"))
        sock.sendall(frame(pb.Ready(agent_version="1").SerializeToString()))


def test_many_hints_are_one_question_a_second(host, boot, tmp_path):
    boot("-d")
    for _ in range(20):
        say_ready(host)
        time.sleep(0.05)
    host.until(lambda: boot.events().count(ASKED + "refused") >= 1)
    assert boot.events().count(ASKED + "refused") <= 3


def test_what_is_no_hint_is_not_asked_about(host, boot):
    boot("-d")
    for junk in (b"\x00", b"\xff" * 100, frame(b"\xff\xff"), b"\x05ab"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(host.file("web", "vsock.sock_7670"))
            sock.sendall(junk)
            sock.shutdown(socket.SHUT_WR)
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
    assert boot.events() == ["qemu tcg"]
    assert boot.log().count("a readiness message that is none was dropped") == 4


def test_a_guest_that_boots_again_is_waited_for_in_the_same_way(host, boot):
    boot(boot=0, hint=0.3)
    before = seen(host)
    os.kill(before["vmm_pid"], signal.SIGUSR1)
    host.until(lambda: seen(host).get("boot_id") != before["boot_id"], 10)
    assert seen(host)["state"] == "ready"
    assert boot.events() == ["qemu tcg", "hint", ASKED + "answered"] + ["hint", ASKED + "answered"]
    assert "the agent answered after the guest's new boot, having said that it was ready" in boot.log()


def test_each_state_is_told_once(host, boot):
    boot("-d", boot=0.8, hint=0.8)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(host.file("web", "control.sock"))
        lines = sock.makefile("rw")
        lines.write('{"command": "events"}\n')
        lines.flush()
        assert '"state":"booting"' in lines.readline()
        event = json.loads(lines.readline())["event"]
        assert event["name"] == "state" and event["state"] == "ready"


def test_a_vmm_that_fails_is_told(boot):
    _, (_, err) = boot(exit=1, code=1)
    assert "the VMM did not start" in err and "no such acceleration" in err


# ---- What is told of the machine itself ----

@pytest.fixture
def follow(host):
    """postern events in the background, once it has told what there was: its first line."""
    started = []

    def start(*words):
        started.append(host.start("events", "web", "--snapshot", *words))
        return started[-1], started[-1].stdout.readline()
    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_machine_tells_its_own_events(host, boot, follow):
    boot("-d", boot=0)
    (with_json, line), (as_text, _) = follow("vm.*", "--json"), follow("vm.*")
    say_ready(host)
    host.until(lambda: host.info("web")["state"] == "ready")
    os.kill(host.info("web")["vsockd_pid"], signal.SIGKILL)
    host.until(lambda: host.info("web")["problems"])
    host.run("stop", "-f", "web")
    out, err = with_json.communicate(timeout=10)
    # The machine's end is the end of that, and no failure.
    assert with_json.returncode == 0 and err == ""
    events = [json.loads(line) for line in [line, *out.splitlines()]]
    assert [(e["topic"], e["payload"], e["snapshot"]) for e in events] == [
        ("vm.state", {"state": "booting"}, True), ("vm.state", {"state": "ready"}, False),
        ("vm.problem", {"problem": "channel lost", "help": "the VM must be restarted"}, False),
        ("vm.state", {"state": "stopping"}, False), ("vm.state", {"state": "ended"}, False)]
    times = [e["time_ns"] for e in events]
    assert times == sorted(times) and abs(times[-1] / 1e9 - time.time()) < 10
    out, err = as_text.communicate(timeout=10)
    assert [line.split(maxsplit=2)[1:] for line in out.splitlines()] == [
        ["vm.state", "ready"], ["vm.problem", "channel lost: the VM must be restarted"],
        ["vm.state", "stopping"], ["vm.state", "ended"]]


def test_a_machine_that_runs_on_tells_what_it_lacks_when_asked(host, boot, follow):
    boot("-d")
    os.kill(host.info("web")["vsockd_pid"], signal.SIGKILL)
    host.until(lambda: host.info("web")["problems"])
    out, _ = host.run("events", "web", "vm.problem", "--snapshot", "--count", "1")
    assert "channel lost: the VM must be restarted [snapshot]" in out
    assert host.run("events", "web", "vm.*", "--for", "200ms")[0] == ""


def test_a_reset_is_told(host, boot, follow):
    boot(boot=0, hint=0.1)
    events, _ = follow("vm.reset", "vm.state", "--count", "4")
    os.kill(host.info("web")["vmm_pid"], signal.SIGUSR1)
    out, _ = events.communicate(timeout=10)
    assert [line.split()[1] for line in out.splitlines()] == ["vm.reset", "vm.state", "vm.state"]


def test_a_machine_whose_supervisor_is_killed(host, boot, follow):
    boot(boot=0, hint=0.1)
    events, _ = follow("vm.*")
    os.kill(host.supervisor("web"), signal.SIGKILL)
    _, err = events.communicate(timeout=10)
    assert events.returncode == ABSENT and "the supervisor of the VM ended" in err
    host.run("events", "web", "vm.*", code=ABSENT)


def test_topics_of_a_machine_that_are_none(host, boot):
    boot(boot=0, hint=0.1)
    for words in (["web", "vm.nonsense"], ["local:", "vm.*"], ["unix:/x", "vm.state"]):
        host.run("events", *words, code=USAGE)
    host.run("events", "nobody", "vm.*", code=ABSENT)
