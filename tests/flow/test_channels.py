# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tokens: once, in time, by whom they were given to; channels are counted and can be cut."""

import os
import socket
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from jobs import ALLOW_EXEC, PREAMBLE, Job, eventually, open_channel, read_all
from streams import unix_stream
from wire import Failed

NOBODY = 65534


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC + f"allow local:{NOBODY} system.ping\n") as running:
        yield running
        assert running.stop() == 0, running.read_log()


def granted(client, **fields):
    return client.call("exec.start", argv=[b"cat"], input="CHANNEL", output="CHANNEL", **fields)


def knock(agent, data):
    """What comes back before the connection is closed."""
    with unix_stream(agent.socket) as sock:
        sock.sendall(data)
        return read_all(sock)


def test_the_shipped_policy_denies(tmp_path):
    with Agent(policy=DEFAULT_POLICY) as agent, agent.client() as client:
        with pytest.raises(Failed) as failed:
            granted(client)
        assert failed.value.code == "PERMISSION_DENIED" and failed.value.error.rule == "no rule"
        assert not [name for name in agent.children().values() if name == "postern-job"]


def test_a_token_serves_once(agent, client):
    reply = granted(client)
    with open_channel(agent.socket, reply.stdio) as stream:
        assert knock(agent, PREAMBLE + reply.stdio.token) == b""
        stream.sendall(b"mine")
        assert stream.recv(10) == b"mine"


def test_a_token_of_somebody_else(agent, client):
    reply = granted(client)
    pid = os.fork()
    if pid == 0:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(0 if knock(agent, PREAMBLE + reply.stdio.token) == b"" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    # It was not used up by that.
    open_channel(agent.socket, reply.stdio).close()
    assert "granted to somebody else" in agent.read_log()


@pytest.mark.parametrize("data", [
    PREAMBLE + bytes(16), PREAMBLE + b"\xff" * 16, b"\x00PC\x02" + bytes(16), b"\x00" * 20, b"\x00PC\x01",
])
def test_wrong_preambles_are_closed_without_a_word(agent, data):
    with unix_stream(agent.socket) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""


def test_a_preamble_in_pieces(agent, client):
    reply = granted(client)
    with unix_stream(agent.socket) as sock:
        for byte in PREAMBLE + reply.stdio.token:
            sock.sendall(bytes([byte]))
            time.sleep(0.005)
        assert sock.recv(1) == b"\x01"


def test_bytes_behind_the_preamble_are_the_streams(agent, client):
    reply = granted(client)
    with unix_stream(agent.socket) as sock:
        sock.sendall(PREAMBLE + reply.stdio.token + b"early")
        assert sock.recv(1) == b"\x01"
        assert sock.recv(10) == b"early"


def test_half_close_both_ways(agent, client):
    reply = client.call("exec.start", argv=[b"sh", b"-c", b"exec >&-; cat >/dev/null; exit 3"], input="CHANNEL",
                        output="CHANNEL")
    with open_channel(agent.socket, reply.stdio) as stream:
        assert stream.recv(10) == b""
        stream.sendall(b"x" * 1000000)
        stream.shutdown(socket.SHUT_WR)
        assert client.call("exec.wait", job=reply.job).job.exit_code == 3


def test_list_and_kill(agent, client):
    reply = granted(client)
    before = {c.number: c for c in client.call("channels.list").channels}[reply.stdio.number]
    assert not before.open and before.method == "exec.start" and before.job == reply.job
    with open_channel(agent.socket, reply.stdio) as stream:
        stream.sendall(b"x" * 1000)
        assert eventually(lambda: sum(c.from_caller for c in client.call("channels.list").channels
                                      if c.number == reply.stdio.number and c.open) == 1000)
        client.call("channels.kill", number=reply.stdio.number)
        got = read_all(stream)
        assert got == b"x" * len(got)
    assert client.call("exec.wait", job=reply.job).job.signal == 9
    with pytest.raises(Failed) as failed:
        client.call("channels.kill", number=reply.stdio.number)
    assert failed.value.code == "NOT_FOUND"


def test_a_granted_channel_can_be_taken_back(agent, client):
    reply = granted(client)
    client.call("channels.kill", number=reply.stdio.number)
    assert knock(agent, PREAMBLE + reply.stdio.token) == b""
    assert client.call("exec.wait", job=reply.job).job.signal == 9


def test_a_late_token(agent, client):
    reply = granted(client)
    time.sleep(10.2)
    assert knock(agent, PREAMBLE + reply.stdio.token) == b""
    assert client.call("exec.wait", job=reply.job).job.signal == 9
    assert not client.call("channels.list").channels


def take_back_all(client):
    for channel in client.call("channels.list").channels:
        client.call("channels.kill", number=channel.number)
    assert eventually(lambda: not client.call("channels.list").channels)


def test_places_are_limited_and_come_back(agent, client):
    """Of the programs none runs any longer: it is their channels that are too many."""
    def start():
        reply = client.call("exec.start", argv=[b"true"], output="CHANNEL", errors="CHANNEL")
        client.call("exec.wait", job=reply.job)
        return reply

    take_back_all(client)
    replies = []
    with pytest.raises(Failed) as failed:
        while len(replies) < 100:
            replies.append(start())
    assert failed.value.code == "RESOURCE_EXHAUSTED" and len(replies) == 48
    assert len(client.call("channels.list").channels) == 96
    open_channel(agent.socket, replies[0].stdio).close()
    client.call("channels.kill", number=replies[0].errors.number)
    assert eventually(lambda: len(client.call("channels.list").channels) == 94)
    start()
    take_back_all(client)
    with Job(agent, client, "true") as job:
        assert job.finish()[2].exit_code == 0


def test_hundred_knocks(agent, client):
    """Guessing finds nothing, and locks nobody out."""
    for _ in range(100):
        assert knock(agent, PREAMBLE + os.urandom(16)) == b""
    assert client.call("system.ping", payload=b"x").payload == b"x"
