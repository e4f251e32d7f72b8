# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers are forked of a process that stands ready: each has what its row gives, and no more."""

import os
import signal
import time

import pytest

from agent import Agent
from jobs import ALLOW_EXEC, eventually, open_channel
from wire import Failed

RECEIVE = 1 << 1 | 1 << 2 | 1 << 3  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER: the row of copy.receive


@pytest.fixture
def agent():
    with Agent(policy=ALLOW_EXEC) as agent:
        yield agent


@pytest.fixture
def client(agent):
    with agent.client() as client:
        yield client


def workers(client, spare=False):
    return [p.pid for p in client.call("system.info").agent.processes
            if p.role == "worker" and p.spare == spare and p.pid]


def zygote(client):
    """The one that stays: another may just be going, which the agent had started for itself alone."""
    def settled():
        first = workers(client, spare=True)
        time.sleep(0.1)
        return first if len(first) == 1 and workers(client, spare=True) == first else None

    pid, = eventually(settled)
    return pid


def copying(agent, client, folder):
    """A worker that waits for what is copied, and its channel."""
    before = workers(client)
    channel = open_channel(agent.socket, client.call("copy.receive", path=str(folder).encode()).channel)
    pid, = set(workers(client)) - set(before)
    return pid, channel


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def is_gone(pid):
    try:
        return status_of(pid)["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_each_has_what_its_row_gives(agent, client, tmp_path):
    first = zygote(client)
    pid, channel = copying(agent, client, tmp_path)
    status = status_of(pid)
    for key in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[key], 16) == RECEIVE, key
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and status["Groups"].strip() == ""
    assert int(status["PPid"]) == agent.process.pid
    open_files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert len(open_files) == 6, open_files  # standard ones, the broker's, the folder, the channel
    assert workers(client, spare=True) == [first] and int(status_of(first)["CapEff"], 16) == 0
    channel.close()
    assert eventually(lambda: is_gone(pid))


def test_a_crash_takes_the_zygote_along_and_nobody_else(agent, client, tmp_path):
    first = zygote(client)
    crashing, channel = copying(agent, client, tmp_path)
    other, others = copying(agent, client, tmp_path)
    os.kill(crashing, signal.SIGSEGV)
    with channel:
        assert channel.recv(1) == b""
    assert eventually(lambda: is_gone(first) and workers(client, spare=True) not in ([], [first]))
    assert not is_gone(other)
    others.close()
    assert eventually(lambda: is_gone(other))


def test_what_the_agent_ends_takes_no_zygote_along(agent, client, tmp_path):
    first = zygote(client)
    pid, channel = copying(agent, client, tmp_path)
    number, = [c.number for c in client.call("channels.list").channels]
    client.call("channels.kill", number=number)
    assert eventually(lambda: is_gone(pid))
    channel.close()
    client.call("system.ping")
    assert zygote(client) == first


def test_they_end_with_the_broker(agent, client, tmp_path):
    first = zygote(client)
    pid, channel = copying(agent, client, tmp_path)
    os.kill(pid, signal.SIGSTOP)
    agent.process.kill()
    agent.process.wait()
    assert eventually(lambda: is_gone(pid) and is_gone(first))
    channel.close()


def test_nobody_connected_no_zygote(agent, tmp_path):
    with agent.client() as client:
        first = zygote(client)
        pid, channel = copying(agent, client, tmp_path)
    assert eventually(lambda: is_gone(first))
    # What was forked of it goes on.
    assert not is_gone(pid)
    channel.close()
    assert eventually(lambda: is_gone(pid))
    assert "postern-worker" not in agent.children().values()


def test_one_that_does_not_fork_is_replaced(agent, client, tmp_path):
    first = zygote(client)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(Failed) as failed:
        client.call("copy.receive", timeout_ms=300, path=str(tmp_path).encode())
    assert failed.value.code == "DEADLINE_EXCEEDED" and "nothing was changed" in failed.value.message
    pid, channel = copying(agent, client, tmp_path)
    assert eventually(lambda: set(workers(client, spare=True)) - {first})
    # What it was asked for then, nobody waits for.
    os.kill(first, signal.SIGCONT)
    assert eventually(lambda: is_gone(first))
    assert workers(client) == [pid]
    channel.close()
