# SPDX-License-Identifier: LGPL-2.1-or-later
"""system.restored, without what would change this machine's clock and machine id: those are tested in a guest."""

import os
import subprocess
import time

import pytest

from agent import Agent
from machine import wait_until
from wire import BUILD, Failed


@pytest.fixture(scope="module")
def agent():
    with Agent(policy="allow local:0 *\n") as running:
        yield running
        assert running.stop() == 0, running.read_log()


def test_another_generation_for_all(agent, client):
    client.call("notifications.subscribe", topics=["notify.system.*"])
    before = client.call("system.info").generation
    with agent.client() as other:
        reply = other.call("system.restored", entropy=os.urandom(64))
    assert reply.generation not in (0, before) and not reply.HasField("adjusted_ns") and not reply.machine_id
    _, told = client.notification("notify.system.restored")
    assert told.generation == reply.generation
    # Also of a connection that was there before, of a new one, and of the next agent of this boot.
    assert client.call("system.info").generation == reply.generation
    with agent.client() as new:
        assert new.hello_reply.generation == reply.generation


def test_the_next_agent_knows_it():
    with Agent(policy="allow local:0 *\n") as agent:
        with agent.client() as client:
            generation = client.call("system.restored", entropy=os.urandom(64)).generation
        assert agent.stop() == 0
        agent.start()
        with agent.client() as client:
            assert client.hello_reply.generation == generation


@pytest.mark.parametrize("entropy", [b"", b"x" * 31, b"x" * 4097])
def test_how_much_is_mixed_in(client, entropy):
    before = client.call("system.info").generation
    with pytest.raises(Failed) as failed:
        client.call("system.restored", entropy=entropy)
    assert failed.value.code == "INVALID_ARGUMENT" and failed.value.error.outcome == 1
    assert client.call("system.info").generation == before


def test_hooks(agent, client):
    path = f"{agent.dir}/hooks.d/restored/10-a"
    os.makedirs(os.path.dirname(path))
    for line, problem in ((f"echo $1 >{agent.dir}/said", ""), ("exit 5", "restored/10-a: it ended with exit code 5")):
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\n{line}\n")
        os.chmod(path, 0o755)
        reply = client.call("system.restored", entropy=os.urandom(32))
        assert reply.generation and problem in reply.hook_problem and bool(reply.hook_problem) == bool(problem)
    with open(f"{agent.dir}/said") as file:
        assert file.read() == "restored\n"


def test_for_a_person():
    """Without the right to set the clock: that of this machine stays as it is."""
    with Agent(policy="allow local:0 system.*\n") as agent, agent.client() as client:
        before = client.call("system.info").generation
        done = subprocess.run([os.path.join(BUILD, "postern"), "restored", f"local:{agent.socket}"],
                              capture_output=True, text=True)
        assert (done.stdout, done.returncode) == ("The guest is of another generation now\n", 0), done
        assert client.call("system.info").generation != before


def test_events_are_shown_with_what_they_say(agent, client):
    with subprocess.Popen([os.path.join(BUILD, "postern"), "events", f"local:{agent.socket}", "-n", "1",
                           "notify.system.*"], stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: client.call("system.info").agent.connections >= 2)
        generation = None
        while process.poll() is None:
            generation = client.call("system.restored", entropy=os.urandom(32)).generation or generation
            time.sleep(0.2)
        line = process.stdout.read()
    assert "notify.system.restored" in line and '"generation":' in line and "missed" not in line
