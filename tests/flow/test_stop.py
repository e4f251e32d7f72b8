# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a stop takes, and what callers still get: SIGTERM as a service manager sends it."""

import contextlib
import os
import signal
import time

import pytest

from agent import Agent
from wire import Closed, Failed, pb


@pytest.fixture
def agent():
    with Agent() as running:
        yield running


def terminate(agent):
    agent.process.send_signal(signal.SIGTERM)
    return time.monotonic()


def seconds_to_end(agent, since):
    assert agent.process.wait(10) == 0, agent.read_log()
    return time.monotonic() - since


def goodbye(client):
    with pytest.raises(Closed) as closed:
        while True:
            client.dispatch()
    return closed.value.goodbye


def test_without_callers(agent):
    assert seconds_to_end(agent, terminate(agent)) < 0.5


def test_with_a_caller_that_leaves(agent):
    client = agent.client()
    start = terminate(agent)
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    client.close()
    assert seconds_to_end(agent, start) < 0.5


def test_with_callers_that_do_not_notice(agent):
    """A goodbye is on its way to each; nobody's reaction is waited for."""
    clients = [agent.client() for _ in range(8)]
    clients[0].call("notifications.subscribe", topics=["notify.*"])
    assert seconds_to_end(agent, terminate(agent)) < 0.7
    for client in clients:
        assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING


def test_a_change_under_way_is_answered_first(agent):
    client = agent.client()
    id = client.start("mounts.mount", type="ext4", source=b"/dev/none", target=b"/mnt", wait_ms=700)
    client.call("system.ping")
    time.sleep(0.2)
    start = terminate(agent)
    with pytest.raises(Failed) as failed:
        client.finish(id, "mounts.mount")
    assert failed.value.code == "NOT_FOUND" and "waited for" in failed.value.message
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    assert 0.2 < seconds_to_end(agent, start) < 1.2


def test_nothing_new_is_begun(agent):
    client = agent.client()
    id = client.start("mounts.mount", type="ext4", source=b"/dev/none", target=b"/mnt", wait_ms=700)
    client.call("system.ping")
    start = terminate(agent)
    time.sleep(0.1)
    late = client.start("system.ping")
    with pytest.raises(Failed):
        client.finish(id, "mounts.mount")
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    assert not [response for response in client.responses if response.id == late]
    assert seconds_to_end(agent, start) < 1.2


def test_a_change_that_takes_too_long_is_not_waited_for(agent):
    client = agent.client()
    client.start("mounts.mount", type="ext4", source=b"/dev/none", target=b"/mnt", wait_ms=9000,
                 timeout_ms=20000)
    client.call("system.ping")
    start = terminate(agent)
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    assert 1 < seconds_to_end(agent, start) < 3


def test_a_change_whose_caller_has_left_is_let_end(agent):
    client = agent.client()
    client.start("mounts.mount", type="ext4", source=b"/dev/none", target=b"/mnt", wait_ms=700)
    client.call("system.ping")
    client.close()
    time.sleep(0.2)
    assert 0.2 < seconds_to_end(agent, terminate(agent)) < 1.2


def test_a_slow_reader_gets_the_rest_of_its_answer(agent):
    client = agent.client()
    payload = os.urandom(700_000)
    id = client.start("system.ping", payload=payload)
    time.sleep(0.3)
    terminate(agent)
    time.sleep(0.3)
    assert client.finish(id, "system.ping").payload == payload
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING


def test_a_reader_that_has_stopped_is_not_waited_for_long(agent):
    client = agent.client()
    client.start("system.ping", payload=bytes(900_000))
    time.sleep(0.3)
    assert seconds_to_end(agent, terminate(agent)) < 2.5


def test_a_second_signal_changes_nothing(agent):
    client = agent.client()
    start = terminate(agent)
    agent.process.send_signal(signal.SIGTERM)
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    assert seconds_to_end(agent, start) < 0.7


def test_a_signal_to_everybody(agent):
    """A process 1 that brings the guest down signals all processes: callers still get a goodbye."""
    client = agent.client()
    for pid in agent.children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    start = terminate(agent)
    assert goodbye(client).reason == pb.GOODBYE_REASON_STOPPING
    assert seconds_to_end(agent, start) < 0.7
