# SPDX-License-Identifier: LGPL-2.1-or-later
"""heartbeat.*: programs of the guest that promise signs of life, and notify.heartbeat.*."""

import os
import signal
import time

import pytest

from agent import Agent
from users import as_user
from wire import Failed

ALICE = 61001
ALIVE, LATE, GONE = 1, 2, 3


@pytest.fixture
def watching(agent):
    with agent.client() as client:
        client.call("notifications.subscribe", topics=["notify.heartbeat.*"])
        yield client


@pytest.fixture(autouse=True)
def nobody(agent):
    yield
    with agent.client() as client:
        for program in client.call("heartbeat.list").programs:
            client.call("heartbeat.end", name=program.name, uid=program.uid)


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def programs(client):
    return {program.name: program for program in client.call("heartbeat.list").programs}


def silence(client, seconds):
    """Nothing is told meanwhile."""
    with pytest.raises(TimeoutError):
        client.notification(timeout=seconds)
    client.sock.settimeout(20)


def test_who_keeps_the_promise_is_alive(client, watching):
    before = time.time_ns()
    assert client.call("heartbeat.beat", name="web", deadline_ms=1000).deadline_ms == 1000
    for _ in range(6):
        time.sleep(0.2)
        assert client.call("heartbeat.beat", name="web").deadline_ms == 1000
    program = programs(client)["web"]
    assert (program.uid, program.state, program.deadline_ms, program.beats, program.missed, program.detached) == (
        0, ALIVE, 1000, 7, 0, False)
    assert before < program.last_beat_ns <= time.time_ns() and program.last_beat_ago_ms < 1000
    client.call("heartbeat.end", name="web")
    assert programs(client) == {}
    silence(watching, 1.2)


def test_who_is_late_is_told_once_and_so_is_his_return(client, watching):
    client.call("heartbeat.beat", name="web", deadline_ms=150)
    begun = time.monotonic()
    _, missed = watching.notification("notify.heartbeat.missed")
    assert 0.1 < time.monotonic() - begun < 2
    assert (missed.program.name, missed.program.state, missed.program.missed) == ("web", LATE, 1)
    assert missed.program.last_beat_ago_ms >= 150
    silence(watching, 0.5)
    assert programs(client)["web"].state == LATE
    client.call("heartbeat.beat", name="web", deadline_ms=60000)
    _, back = watching.notification("notify.heartbeat.recovered")
    assert (back.program.name, back.program.state) == ("web", ALIVE) and back.silent_ms >= 600
    silence(watching, 0.3)
    assert programs(client)["web"].missed == 1


def test_who_leaves_without_a_word_is_missed(client, agent, watching):
    with agent.client() as program:
        program.call("heartbeat.beat", name="one", deadline_ms=60000)
        program.call("heartbeat.beat", name="two", deadline_ms=60000)
        program.call("heartbeat.beat", name="kept", deadline_ms=60000, detached=True)
        program.call("heartbeat.end", name="two")
    _, missed = watching.notification("notify.heartbeat.missed")
    assert (missed.program.name, missed.program.state) == ("one", GONE)
    silence(watching, 0.3)
    assert {name: program.state for name, program in programs(client).items()} == {"one": GONE, "kept": ALIVE}
    with agent.client() as program:
        program.call("heartbeat.beat", name="one")
        assert watching.notification("notify.heartbeat.recovered")[1].program.name == "one"
    assert watching.notification("notify.heartbeat.missed")[1].program.missed == 2


def test_who_was_late_and_leaves_is_not_missed_twice(client, agent, watching):
    with agent.client() as program:
        program.call("heartbeat.beat", name="web", deadline_ms=100)
        watching.notification("notify.heartbeat.missed")
    silence(watching, 0.3)
    assert programs(client)["web"].missed == 1


def test_the_connection_that_beat_last_counts(agent, watching):
    with agent.client() as second:
        with agent.client() as first:
            first.call("heartbeat.beat", name="web", deadline_ms=60000)
            second.call("heartbeat.beat", name="web")
        silence(watching, 0.3)
    assert watching.notification("notify.heartbeat.missed")[1].program.state == GONE


def test_a_detached_one_has_only_its_deadline(agent, watching):
    with agent.client() as program:
        program.call("heartbeat.beat", name="cron", deadline_ms=1200, detached=True)
    with agent.client() as program:
        time.sleep(0.5)
        program.call("heartbeat.beat", name="cron")
    _, missed = watching.notification("notify.heartbeat.missed")
    assert (missed.program.state, missed.program.beats, missed.program.detached) == (LATE, 2, True)


def test_a_name_is_its_users(client, agent, watching):
    with as_user(agent, ALICE) as alice:
        alice.call("notifications.subscribe", topics=["notify.heartbeat.*"])
        client.call("heartbeat.beat", name="web", deadline_ms=60000)
        alice.call("heartbeat.beat", name="web", deadline_ms=100)
        _, missed = watching.notification("notify.heartbeat.missed")
        assert missed.program.uid == ALICE
        assert alice.notification("notify.heartbeat.missed")[1].program.uid == ALICE
        assert [(p.name, p.uid) for p in alice.call("heartbeat.list").programs] == [("web", ALICE)]
        assert len(client.call("heartbeat.list").programs) == 2
        failed = failure(alice, "heartbeat.end", name="web", uid=0)
        assert failed.code == "PERMISSION_DENIED" and failed.error.outcome == 1
        # Of root's he is not told.
        client.call("heartbeat.beat", name="web", deadline_ms=100)
        assert watching.notification("notify.heartbeat.missed")[1].program.uid == 0
        silence(alice, 0.2)
        client.call("heartbeat.end", name="web", uid=ALICE)
        assert programs(alice) == {}


@pytest.mark.parametrize("fields", [
    {}, {"name": ""}, {"name": "a b"}, {"name": "a/b"}, {"name": "x" * 65}, {"name": "."}, {"name": "new"},
    {"name": "new", "deadline_ms": 0}, {"name": "new", "deadline_ms": 99}, {"name": "new", "deadline_ms": 86400001}])
def test_what_is_no_beat(client, fields):
    failed = failure(client, "heartbeat.beat", **fields)
    assert failed.code == "INVALID_ARGUMENT" and failed.error.outcome == 1
    assert programs(client) == {}


def test_who_never_promised_cannot_end(client):
    assert failure(client, "heartbeat.end", name="none").code == "NOT_FOUND"
    assert failure(client, "heartbeat.end", name="").code == "INVALID_ARGUMENT"


def test_who_is_missed_is_there_for_who_comes_later(client, agent):
    client.call("heartbeat.beat", name="well", deadline_ms=60000)
    client.call("heartbeat.beat", name="late", deadline_ms=100)
    time.sleep(0.3)
    with agent.client() as later:
        later.call("notifications.subscribe", topics=["notify.heartbeat.missed"], snapshot=True)
        event, missed = later.notification()
        assert event.snapshot and missed.program.name == "late"
        silence(later, 0.2)


def test_the_agents_own(agent, client):
    client.call("heartbeat.beat", name="web", deadline_ms=60000)
    with agent.client() as quick, agent.client() as slow, agent.client() as none:
        quick.call("notifications.subscribe", topics=["notify.heartbeat.agent"], interval_ms=1000)
        slow.call("notifications.subscribe", topics=["notify.heartbeat.agent"], interval_ms=3000)
        none.call("notifications.subscribe", topics=["notify.heartbeat.*"])
        begun = time.monotonic()
        bodies = [quick.notification("notify.heartbeat.agent")[1] for _ in range(4)]
        assert 2.8 < time.monotonic() - begun < 8
        assert 2700 < bodies[3].uptime_ms - bodies[0].uptime_ms < 8000
        assert (bodies[0].programs, bodies[0].missed) == (1, 0)
        slow.notification("notify.heartbeat.agent")
        slow.notification("notify.heartbeat.agent")
        silence(slow, 0.5)
        silence(none, 0.1)


def test_too_many(client, agent):
    for i in range(16):
        client.call("heartbeat.beat", name=f"p{i}", deadline_ms=60000)
    failed = failure(client, "heartbeat.beat", name="more", deadline_ms=60000)
    assert failed.code == "RESOURCE_EXHAUSTED" and failed.error.outcome == 1
    # One that is missed makes room.
    client.call("heartbeat.beat", name="p3", deadline_ms=100)
    time.sleep(0.3)
    client.call("heartbeat.beat", name="more", deadline_ms=60000)
    assert len(programs(client)) == 16 and "p3" not in programs(client)
    # All other users together leave room for root: of four, three have all that they may have.
    held = [as_user(agent, ALICE + i) for i in range(4)]
    refused = 0
    for i, user in enumerate(held):
        for j in range(16):
            try:
                user.call("heartbeat.beat", name=f"u{j}", deadline_ms=60000)
            except Failed as failure_:
                assert failure_.code == "RESOURCE_EXHAUSTED"
                refused += 1
        user.close()
    assert refused == 16
    client.call("heartbeat.end", name="more")
    client.call("heartbeat.beat", name="more", deadline_ms=60000)


def test_a_flood_of_returns(agent, watching):
    """What is told of a program costs it what a change of a property does."""
    uid, refused = ALICE + 10, 0
    with as_user(agent, uid) as user:
        for i in range(100):
            try:
                user.call("heartbeat.beat", name="a", deadline_ms=60000)
                user.call("heartbeat.end", name="a")
            except Failed as failed:
                assert failed.code == "RESOURCE_EXHAUSTED" and failed.error.outcome == 1
                refused += 1
    assert refused > 20


def test_after_a_restart_they_begin_again():
    with Agent() as agent:
        with agent.client() as client:
            client.call("heartbeat.beat", name="web", deadline_ms=60000, detached=True)
        assert agent.stop() == 0
        agent.start()
        with agent.client() as client:
            assert programs(client) == {}
            assert failure(client, "heartbeat.beat", name="web").code == "INVALID_ARGUMENT"
            watcher = next(pid for pid, name in agent.children().items() if "watch" in name)
            # Who was late only since the agent could not look is seen to be well again.
            client.call("notifications.subscribe", topics=["notify.heartbeat.*"])
            client.call("heartbeat.beat", name="web", deadline_ms=300)
            os.kill(watcher, signal.SIGSTOP)
            time.sleep(0.5)
            id = client.start("heartbeat.beat", name="web")
            os.kill(watcher, signal.SIGCONT)
            client.finish(id, "heartbeat.beat")
            assert programs(client)["web"].state == ALIVE


def test_what_a_program_is_connected_for_costs_its_session():
    """No process stands ready for who may not use it."""
    with Agent() as agent, as_user(agent, ALICE) as user:
        def workers():
            return sum("worker" in name or "job" in name for name in agent.children().values())

        def wait_for(condition):
            deadline = time.monotonic() + 10
            while not condition():
                assert time.monotonic() < deadline
                time.sleep(0.02)

        user.call("heartbeat.beat", name="web", deadline_ms=60000)
        time.sleep(0.3)
        assert workers() == 0
        with agent.client():
            wait_for(lambda: workers() == 1)
        wait_for(lambda: workers() == 0)
        user.call("heartbeat.beat", name="web")
