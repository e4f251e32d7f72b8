# SPDX-License-Identifier: LGPL-2.1-or-later
"""Channels inside the frames of a connection, for callers who have no other."""

import hashlib
import os
import random
import select

import pytest

from agent import Agent
from jobs import ALLOW_EXEC, eventually, open_channel
from wire import Closed, Failed, pb

WINDOW = 256 << 10


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


class Ride:
    """A channel in a client's frames, with the caller's half of the bookkeeping."""

    def __init__(self, client, channel, credit=WINDOW):
        self.client = client
        reply = client.call("channels.open", token=channel.token, credit=credit)
        assert reply.channel == channel.number
        self.number = reply.channel
        self.room = reply.credit  # bytes that we may send
        self.given = credit  # bytes that the agent may send
        self.data = b""
        self.ended = self.closed = False

    def say(self, **fields):
        self.client.send(pb.ToAgent(channel=pb.ChannelData(channel=self.number, **fields)))

    def take(self):
        """What has come, or the next that comes."""
        while not self.client.rides.get(self.number):
            self.client.dispatch()
        for frame in self.client.rides.pop(self.number):
            assert len(frame.data) <= self.given, "more than its credit"
            self.given -= len(frame.data)
            self.data += frame.data
            self.room += frame.credit
            self.ended |= frame.end
            self.closed |= frame.closed

    def give(self, credit):
        self.given += credit
        self.say(credit=credit)

    def send(self, data):
        while data:
            while self.room == 0:
                self.take()
            piece = data[:min(self.room, 50000)]
            self.room -= len(piece)
            self.say(data=piece)
            data = data[len(piece):]


def start(client, *argv, **fields):
    fields.setdefault("input", "CHANNEL")
    fields.setdefault("output", "CHANNEL")
    return client.call("exec.start", argv=[word.encode() for word in argv], **fields)


def test_a_program_on_one_connection(client):
    reply = start(client, "sh", "-c", "cat; exit 7")
    ride = Ride(client, reply.stdio)
    ride.send(b"one and the same")
    while ride.data != b"one and the same":
        ride.take()
    assert client.call("system.ping", payload=b"beside it").payload == b"beside it"
    ride.say(end=True)
    while not ride.closed:
        ride.take()
    assert ride.ended
    assert client.call("exec.wait", job=reply.job).job.exit_code == 7


def test_much_both_ways_within_credit(client):
    ride = Ride(client, start(client, "cat").stdio, credit=10000)
    data = os.urandom(3 << 20)
    sent = 0
    while len(ride.data) < len(data):
        while ride.room > 0 and sent < len(data):
            piece = data[sent:sent + min(ride.room, 30000)]
            ride.room -= len(piece)
            sent += len(piece)
            ride.say(data=piece, end=sent == len(data))
        ride.take()
        if ride.given < 5000:
            ride.give(20000)
    assert hashlib.sha256(ride.data).digest() == hashlib.sha256(data).digest()
    while not ride.closed:
        ride.take()


def test_a_caller_without_credit_gets_nothing(agent, client):
    """And what it sends is held by the channel, not by the agent."""
    ride = Ride(client, start(client, "sh", "-c", "head -c 10M /dev/zero").stdio, credit=0)
    assert client.call("system.ping").payload == b""
    assert not client.rides.get(ride.number)
    ride.give(1000)
    while len(ride.data) < 1000:
        ride.take()
    assert client.call("system.ping").payload == b""
    assert not client.rides.get(ride.number)
    ride.say(closed=True)
    with agent.client() as other:
        eventually(lambda: not [c for c in other.call("channels.list").channels if c.number == ride.number])


def test_who_does_not_read_cannot_be_filled(client):
    """A program that reads nothing: credit ends, and more than that ends the connection."""
    ride = Ride(client, start(client, "sleep", "1000").stdio)
    data = bytes(30000)
    with pytest.raises(Closed) as closed:
        for _ in range(200):
            ride.say(data=data)
            while select.select([client.sock], [], [], 0.001)[0]:
                client.dispatch()
        while True:
            client.dispatch()
    assert closed.value.goodbye.reason == 1 and "credit" in closed.value.goodbye.message


def test_bytes_behind_the_end(client):
    ride = Ride(client, start(client, "sleep", "1000").stdio)
    ride.say(end=True)
    ride.say(data=b"x")
    with pytest.raises(Closed) as closed:
        while True:
            client.dispatch()
    assert "behind its end" in closed.value.goodbye.message


def test_tokens_that_are_none(agent, client):
    reply = start(client, "cat")
    for token in b"", b"x" * 15, b"x" * 17:
        with pytest.raises(Failed) as failed:
            client.call("channels.open", token=token)
        assert failed.value.code == "INVALID_ARGUMENT"
    with pytest.raises(Failed) as failed:
        client.call("channels.open", token=bytes(16))
    assert failed.value.code == "NOT_FOUND"
    Ride(client, reply.stdio)
    # Once.
    with pytest.raises(Failed) as failed:
        client.call("channels.open", token=reply.stdio.token)
    assert failed.value.code == "NOT_FOUND"
    with pytest.raises(ConnectionError):
        open_channel(agent.socket, reply.stdio)


def test_at_most_eight(client):
    rides = [Ride(client, start(client, "cat").stdio) for _ in range(8)]
    reply = start(client, "cat")
    with pytest.raises(Failed) as failed:
        client.call("channels.open", token=reply.stdio.token)
    assert failed.value.code == "RESOURCE_EXHAUSTED"
    rides[0].say(closed=True)
    last = Ride(client, reply.stdio)
    for ride in [*rides[1:], last]:
        ride.send(b"%d" % ride.number)
    for ride in [*rides[1:], last]:
        while not ride.data:
            ride.take()
        assert ride.data == b"%d" % ride.number


def test_they_end_with_the_connection(agent):
    with agent.client() as client, agent.client() as other:
        numbers = [Ride(client, start(client, "cat").stdio).number for _ in range(3)]
        listed = {c.number for c in other.call("channels.list").channels if c.open}
        assert listed >= set(numbers)
        client.close()
        eventually(lambda: not {c.number for c in other.call("channels.list").channels} & set(numbers))


def test_a_channel_that_is_cut(client):
    ride = Ride(client, start(client, "cat", on_disconnect="KEEP").stdio)
    client.call("channels.kill", number=ride.number)
    while not ride.closed:
        ride.take()
    # Late frames of it are nobody's.
    ride.say(data=b"late")
    assert client.call("system.ping").payload == b""


def test_a_copy_in_frames(client, tmp_path):
    """Any channel can ride: here the records of a file."""
    data = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(data)
    ride = Ride(client, client.call("copy.send", paths=[f"{tmp_path}/file".encode()]).channel, credit=4 << 20)
    while data[-1000:] not in ride.data:
        ride.take()
    ride.say(closed=True)


def test_small_frames(agent):
    with agent.client(max_frame=4096) as client:
        ride = Ride(client, start(client, "head", "-c", "100000", "/dev/zero").stdio)
        sizes = []
        while not ride.ended:
            while not client.rides.get(ride.number):
                client.dispatch()
            sizes += [len(frame.data) for frame in client.rides[ride.number]]
            ride.take()
        assert len(ride.data) == 100000 and max(sizes) <= 4096


def test_random_frames(agent):
    seed = int(os.environ.get("POSTERN_SEED") or random.randrange(1 << 32))
    print("seed", seed)
    dice = random.Random(seed)
    for _ in range(20):
        with agent.client() as client:
            rides = [Ride(client, start(client, "cat").stdio, credit=dice.randrange(10000)) for _ in range(3)]
            try:
                for _ in range(dice.randrange(60)):
                    number = dice.choice(rides).number if dice.random() < 0.9 else dice.randrange(1 << 64)
                    fields = {"data": dice.randbytes(dice.randrange(3000)), "end": dice.random() < 0.1,
                              "closed": dice.random() < 0.05, "credit": dice.randrange(1 << 32)}
                    chosen = {key: value for key, value in fields.items() if dice.random() < 0.5}
                    client.send(pb.ToAgent(channel=pb.ChannelData(channel=number, **chosen)))
                client.call("system.ping")
            except (Closed, ConnectionError):
                pass
    with agent.client() as client:
        assert client.call("system.ping").payload == b""


def test_what_was_said_before_the_end_still_comes(client):
    """The program is gone, and its caller still sends: bytes for nobody, but its own are there."""
    ride = Ride(client, start(client, "head", "-c", "100000", "/dev/zero").stdio, credit=10)
    while len(ride.data) < 10:
        ride.take()
    ride.send(b"to nobody")
    client.call("system.ping")
    ride.send(b"and again")
    ride.give(200000)
    while not ride.closed:
        ride.take()
    assert len(ride.data) == 100000 and ride.ended
