# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern property and heartbeat on the host, posternd property and heartbeat in the guest."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time

import pytest

from agent import Agent
from fake_agent import DANGEROUS, FakeAgent
from users import as_user
from wire import BUILD, message

POSTERN = os.path.join(BUILD, "postern")
CTL = os.path.join(BUILD, "postern-ctl")
ALICE = 61001
NASTY = b"a\x1b]0;title\x07\x9b2J\r\nb"


@pytest.fixture(autouse=True)
def empty(agent):
    yield
    with agent.client() as client:
        for found in client.call("properties.list", keys_only=True).properties:
            client.call("properties.remove", key=found.key)
        for program in client.call("heartbeat.list").programs:
            client.call("heartbeat.end", name=program.name, uid=program.uid)


def run(*command, code=0, input=b"", user=None):
    done = subprocess.run(command, capture_output=True, timeout=60, input=input, user=user)
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr.decode()


@pytest.fixture
def postern(agent):
    def postern(*words, code=0, **how):
        verbs = 1 if words[0] == "heartbeat" else 2
        return run(POSTERN, *words[:verbs], f"local:{agent.socket}", *words[verbs:], code=code, **how)
    return postern


@pytest.fixture
def posternd(agent):
    def posternd(*words, code=0, **how):
        return run(CTL, "--config", f"{agent.dir}/postern.conf", *words, code=code, **how)
    return posternd


@contextlib.contextmanager
def running(*command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# ---- Both sides ----

def test_from_host_to_guest_and_back(postern, posternd):
    postern("property", "set", "app/mode", "fast")
    assert posternd("property", "get", "app/mode") == b"fast"
    posternd("property", "set", "app/state", "ready")
    assert postern("property", "get", "app/state") == b"ready"
    assert posternd("property", "list") == b"app/mode fast\napp/state ready\n"
    assert posternd("property", "list", "app/s") == b"app/state ready\n"
    table = postern("property", "list").decode().splitlines()
    assert table[0].split() == ["Key", "Set", "by", "Time", "left", "Flags", "Value"]
    assert [line.split() for line in table[1:]] == [
        ["app/mode", "local:0", "-", "-", "fast"], ["app/state", "local:0", "-", "-", "ready"]]
    posternd("property", "remove", "app/mode")
    postern("property", "remove", "app/state")
    assert posternd("property", "list") == b""


def test_any_bytes(postern, posternd):
    value = bytes(range(256)) * 128
    postern("property", "set", "a", input=value)
    assert posternd("property", "get", "a") == postern("property", "get", "a") == value
    posternd("property", "set", "b", input=value)
    assert postern("property", "get", "b") == value
    posternd("property", "set", "b", "")
    assert postern("property", "get", "b") == b""
    assert "32768" in postern("property", "set", "a", code=1, input=value + b"x")
    assert "32768" in posternd("property", "set", "a", code=1, input=value + b"x")


def test_json(postern):
    assert json.loads(postern("property", "set", "a", "1", "--json"))["revision"] > 0
    assert json.loads(postern("property", "get", "a", "--json"))["property"]["value"] == "1"
    postern("property", "set", "a", "2", "--ttl", "1h", "--world-readable", "true")
    found, = json.loads(postern("property", "list", "--json"))["properties"]
    assert found["world_readable"] and 0 < int(found["ttl_left_ms"]) <= 3600000 and found["value"] == "2"
    assert re.search(r"a +local:0 +3[56]\d\d\.\d s +world +2", postern("property", "list").decode())
    postern("property", "set", "a", "2", "--world-readable", "false")
    assert not json.loads(postern("property", "get", "a", "--json"))["property"]["world_readable"]
    assert json.loads(postern("property", "remove", "a", "--json")) == {}
    assert json.loads(postern("heartbeat", "--json"))["programs"] == []


def test_more_than_an_answer_holds(postern, posternd):
    for i in range(12):
        posternd("property", "set", f"k{i:02}", input=b"x" * 32768)
    expected = [f"k{i:02}" for i in range(12)]
    assert [line.split()[0] for line in posternd("property", "list").decode().splitlines()] == expected
    assert [found["key"] for found in json.loads(postern("property", "list", "--json"))["properties"]] == expected


@pytest.mark.parametrize("words, code", [
    (("property", "get", "none"), 1), (("property", "remove", "none"), 1), (("property", "set", "..", "x"), 1),
    (("property", "get"), 2), (("property", "set"), 2), (("property", "set", "a", "b", "c"), 2),
    (("property", "set", "a", "b", "--ttl", "x"), 2), (("property", "set", "a", "b", "--ttl", "0"), 2),
    (("property", "set", "a", "b", "--world-readable", "maybe"), 2), (("property", "watch", "a", "b"), 2),
    (("property", "set", "a", "b", "--read-only-guest", "true"), 1), (("heartbeat", "x"), 2),
    (("heartbeat", "--count", "3"), 2), (("heartbeat", "--watch", "--interval", "0.5"), 2)])
def test_wrong_words_on_the_host(postern, words, code):
    postern(*words, code=code)


@pytest.mark.parametrize("words, code", [
    (("property",), 2), (("property", "fetch"), 2), (("property", "get"), 2), (("property", "get", "a", "b"), 2),
    (("property", "get", "none"), 1), (("property", "remove", "none"), 1), (("property", "remove"), 2),
    (("property", "set"), 2), (("property", "set", "a", "b", "c"), 2), (("property", "set", "..", "x"), 1),
    (("property", "set", "--ttl", "x", "a", "b"), 2), (("property", "set", "--world-readable", "x", "a", "b"), 2),
    (("property", "watch", "a", "b"), 2), (("property", "list", "a", "b"), 2),
    (("heartbeat",), 2), (("heartbeat", "a", "b"), 2), (("heartbeat", "--deadline", "x", "a"), 2),
    (("heartbeat", "new"), 1), (("heartbeat", "--end", "--deadline", "1", "a"), 2), (("heartbeat", "--end", "none"), 1),
    (("heartbeat", "--deadline", "0.01", "a"), 1), (("heartbeat", "--deadline", "5", "a b"), 1)])
def test_wrong_words_in_the_guest(posternd, words, code):
    posternd(*words, code=code)


def test_nobody_is_there(agent, tmp_path):
    (tmp_path / "conf").write_text(f"socket = {tmp_path}/none\n")
    run(CTL, "-c", f"{tmp_path}/conf", "property", "list", code=4)
    run(CTL, "-c", f"{tmp_path}/conf", "property", "watch", code=4)
    run(CTL, "-c", f"{tmp_path}/conf", "heartbeat", "a", code=4)
    run(POSTERN, "property", "list", f"local:{tmp_path}/none", code=4)


def test_a_user_of_the_guest(posternd, postern, agent):
    """Who runs the command is who asks: the kernel says so."""
    mine = f"user/{ALICE}/a"
    posternd("property", "set", mine, "--ttl", "60", "--read-only-host", "true", "1", user=ALICE)
    posternd("property", "set", "root/a", "2")
    posternd("property", "set", "--world-readable", "true", "all/a", "3")
    assert posternd("property", "list", user=ALICE) == f"all/a 3\n{mine} 1\n".encode()
    assert "no such property" in posternd("property", "get", "root/a", user=ALICE, code=1)
    assert "user/1000/name" in posternd("property", "set", "root/a", "x", user=ALICE, code=1)
    posternd("heartbeat", "--deadline", "60", "web", user=ALICE)
    assert f"web {ALICE} alive" in " ".join(postern("heartbeat").decode().split())
    posternd("heartbeat", "--end", "web", user=ALICE)
    assert "ro-host" in postern("property", "list", mine).decode()


def test_nothing_is_done_to_a_terminal(agent, posternd):
    with agent.client() as client:
        client.call("properties.set", key="a", value=NASTY)
    script = ["script", "-qec"]
    for command in (f"{CTL} --config {agent.dir}/postern.conf property get a",
                    f"{POSTERN} property get local:{agent.socket} a",
                    f"{POSTERN} property list local:{agent.socket}",
                    f"{POSTERN} property watch local:{agent.socket} --count 1",
                    f"{CTL} --config {agent.dir}/postern.conf property list"):
        shown = subprocess.run([*script, command, "/dev/null"], capture_output=True, timeout=60, check=True).stdout
        assert b"title" in shown or b"base64" in shown
        for bad in (b"\x1b]", b"\x07", b"\x9b"):
            assert bad not in shown, command


def list_of(pages):
    """postern property list of an agent that answers with these pages, then with the last one."""
    pages = list(pages)

    def answer(peer, request):
        peer.reply(request, pages.pop(0) if len(pages) > 1 else pages[0])

    with FakeAgent(answer) as fake:
        done = subprocess.run([POSTERN, "property", "list", fake.address], capture_output=True, timeout=60)
    assert not DANGEROUS.search((done.stdout + done.stderr).decode())
    return done


def page(*keys, more=False):
    return message("properties.list", "Reply")(
        properties=[{"key": key, "value": NASTY, "set_by": NASTY.decode("latin-1")} for key in keys], more=more)


def test_what_a_hostile_guest_lists():
    done = list_of([page("a", "b\x1b[31m", more=True), page("c")])
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 4
    done = list_of([page("a", more=True), page("a", more=True)])
    assert done.returncode == 6 and b"in no order, or without an end" in done.stderr
    assert list_of([page("b", "a")]).returncode == 6
    endless = (page(f"{i:03}", more=True) for i in range(100))
    assert list_of(endless).returncode == 6
    assert list_of([page(more=True)]).returncode == 6


# ---- Watching ----

@pytest.mark.parametrize("side", ["host", "guest"])
def test_watching(agent, side):
    with agent.client() as client:
        client.call("properties.set", key="app/a", value=b"1")
        client.call("properties.set", key="other", value=b"1")
        command = ([POSTERN, "property", "watch", f"local:{agent.socket}", "app/"] if side == "host" else
                   [CTL, "--config", f"{agent.dir}/postern.conf", "property", "watch", "app/"])
        with running(*command) as process:
            first = process.stdout.readline()
            client.call("properties.set", key="other", value=b"2")
            client.call("properties.set", key="app/a", value=b"2")
            client.call("properties.set", key="app/b", value=bytes(1000))
            client.call("properties.remove", key="app/a")
            lines = [first] + [process.stdout.readline() for _ in range(3)]
        if side == "host":
            assert [" ".join(line.split()[2:]) for line in lines] == [
                "app/a = 1 by local:0 [snapshot]", "app/a = 2 by local:0", "app/b, 1000 bytes by local:0",
                "app/a removed by local:0"]
        else:
            assert lines == ["app/a 1\n", "app/a 2\n", "app/b (1000 bytes)\n", "app/a (gone)\n"]


def test_watching_ends_by_count_and_with_the_agent(agent, postern):
    with agent.client() as client:
        client.call("properties.set", key="a")
    assert len(postern("property", "watch", "--count", "1").splitlines()) == 1
    assert postern("property", "watch", "none", "--for", "200ms") == b""
    with Agent() as other, running(CTL, "--config", f"{other.dir}/postern.conf", "property", "watch") as process:
        time.sleep(0.3)
        assert other.stop() == 0
        assert process.wait(10) in (3, 4)


# ---- Signs of life ----

def test_heartbeats_of_a_script(agent, postern, posternd):
    posternd("heartbeat", "--deadline", "60.5", "backup")
    posternd("heartbeat", "backup")
    row = postern("heartbeat").decode().splitlines()[1].split()
    assert row[:3] == ["backup", "0", "alive"] and row[-3:] == ["60.5", "s", "0"]
    posternd("heartbeat", "--deadline", "0.3", "backup")
    with running(POSTERN, "heartbeat", f"local:{agent.socket}", "--watch") as process:
        assert "backup of user 0 is late" in process.stdout.readline()
        posternd("heartbeat", "--deadline", "60", "backup")
        assert "backup of user 0 is there again" in process.stdout.readline()
    assert "late" not in postern("heartbeat").decode()
    posternd("heartbeat", "--end", "backup")
    assert len(postern("heartbeat").splitlines()) == 1


def test_a_program_that_holds_its_connection(agent, postern):
    with as_user(agent, ALICE) as program:
        program.call("heartbeat.beat", name="web", deadline_ms=60000)
    deadline = time.monotonic() + 10
    while "gone" not in postern("heartbeat").decode():
        assert time.monotonic() < deadline
    assert b"is gone" in postern("heartbeat", "--watch", "--count", "1")


def test_the_agents_sign_of_life():
    with Agent() as agent, running(POSTERN, "heartbeat", f"local:{agent.socket}", "-w", "-i", "1s") as process:
        for _ in range(2):
            assert re.search(r"notify.heartbeat.agent +up \d+ s, 0 programs, 0 missed", process.stdout.readline())
        os.kill(agent.process.pid, signal.SIGSTOP)
        frozen = [*agent.children(), agent.process.pid]
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            begun = time.monotonic()
            assert process.wait(15) == 5
            assert 1.5 < time.monotonic() - begun < 10
            assert "no sign of life of the agent for 3.0 s" in process.stderr.read()
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
