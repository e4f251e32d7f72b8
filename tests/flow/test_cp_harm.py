# SPDX-License-Identifier: LGPL-2.1-or-later
"""The copy protocol with a sender or a receiver that means harm: to the agent, to the host, and to another guest."""

import json
import os
import random
import signal
import socket
import subprocess
import time

import pytest

from copying import DONE, data, end, folder, good_agent, link, no_parts, record, records, says_done, whole, write, xxh64
from fake_agent import DANGEROUS, NASTY, FakeAgent
from jobs import eventually, open_channel
from machine import ABSENT, PROTOCOL
from wire import BUILD, frame

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def agent():
    with good_agent() as running:
        yield running


# ---- a sender, before the agent ----


def attack(agent, tmp_path, sent):
    """A sender's bytes to the agent: what is in the folder afterwards, and whether it says that all is well."""
    into = tmp_path / "into"
    into.mkdir()
    answer = b""
    with agent.client() as client:
        reply = client.call("copy.receive", path=str(into).encode(), into_folder=True)
        with open_channel(agent.socket, reply.channel) as stream:
            try:
                stream.sendall(sent)
                stream.shutdown(socket.SHUT_WR)
                while piece := stream.recv(65536):
                    answer += piece
            except (BrokenPipeError, ConnectionResetError):
                pass
    return sorted(os.listdir(into)), says_done(answer)


def test_a_sender_by_hand(agent, tmp_path):
    """What the bad ones below are made of is good."""
    long = b"0123456789" * 7
    sent = (whole(b"a", b"") + whole(b"b", b"x") + whole(b"c", long) + folder(b"d", whole(b"e")) +
            record(file={"name": b"f", "size": 9, "mode": 0o600}) + data(b"xy", 1) + data(b"z", 7) +
            end((1, b"xy"), (7, b"z")) + DONE)
    assert attack(agent, tmp_path, sent) == (["a", "b", "c", "d", "f"], True)
    into = tmp_path / "into"
    assert (into / "c").read_bytes() == long and (into / "f").read_bytes() == b"\0xy\0\0\0\0z\0"
    assert (into / "d" / "e").read_bytes() == b"evil"


# Each is followed by all that makes it whole, so that nothing but the fault itself is in the way.
X_END = end((0, b"x")) + DONE
BAD = {
    "slash": whole(b"../x") + DONE,
    "dots": folder(b"..", whole(b"x")) + DONE,
    "dot": folder(b".", whole(b"x")) + DONE,
    "dots as a file": whole(b"..") + DONE,
    "empty": whole(b"") + DONE,
    "nul": whole(b"a\0b") + DONE,
    "absolute": whole(b"/etc/postern-evil") + DONE,
    "long": whole(b"x" * 256) + DONE,
    "link at the top": link(b"l", b"x") + DONE,
    "slash in a link's name": folder(b"d", link(b"../l", b"x")) + DONE,
    "leave at the top": record(leave={}) + whole(b"a") + DONE,
    "data without a file": data(b"x") + DONE,
    "from without a file": record(**{"from": {"offset": 0}}) + whole(b"a") + DONE,
    "end without a file": end() + whole(b"a") + DONE,
    "two files at once": record(file={"name": b"a", "size": 1}) + whole(b"b", b"x") + DONE,
    "a folder in a file": record(file={"name": b"a", "size": 1}) + folder(b"d") + data(b"x") + X_END,
    "data beyond the size": record(file={"name": b"a", "size": 1}) + data(b"xx") + end((0, b"xx")) + DONE,
    "data far out": record(file={"name": b"a", "size": 1}) + data(b"x", 1 << 62) + end((1 << 62, b"x")) + DONE,
    "data again": record(file={"name": b"a", "size": 9}) + 2 * data(b"x") + end((0, b"x"), (0, b"x")) + DONE,
    "too much data": record(file={"name": b"a", "size": 1 << 40}) + record(data={"offset": 0, "length": 1 << 30}) +
    b"x" * (2 << 20),
    "no length": record(file={"name": b"a", "size": 1 << 40}) + record(data={"offset": 0}) + end() + DONE,
    "from beyond the size": record(file={"name": b"a", "size": 1}) + record(**{"from": {"offset": 2}}) + end() + DONE,
    "no digest": record(file={"name": b"a", "size": 0}) + record(end={}) + DONE,
    "half a digest": record(file={"name": b"a", "size": 0}) + record(end={"digest": xxh64(b"")[:4]}) + DONE,
    "no end": record(file={"name": b"a", "size": 1}) + data(b"x") + DONE,
    "cut": record(file={"name": b"a", "size": 1}) + data(b"x"),
    "done in a folder": record(folder={"name": b"d"}) + DONE,
    "what only a receiver says": record(have={"bytes": 0}) + whole(b"a") + DONE,
    "a frame of nothing": b"\x00" + whole(b"a") + DONE,
    "a huge frame": b"\xff\xff\xff\xff\x0f" + whole(b"a") + DONE,
    "no record": frame(b"\xff\xff") + whole(b"a") + DONE,
    "an empty record": frame(b"\x62\x00") + whole(b"a") + DONE,
    "deep": record(folder={"name": b"d"}) * 200 + record(leave={}) * 200 + DONE,
}


@pytest.mark.parametrize("name", BAD)
def test_a_sender_that_means_harm(agent, tmp_path, name):
    found, done = attack(agent, tmp_path, BAD[name])
    assert not done and found in ([], ["d"]), found
    assert os.listdir(tmp_path) == ["into"] and not os.path.exists("/etc/postern-evil")


# What cannot be written is left out, and the rest comes.
LEFT_OUT = {
    "size of 2^63": record(file={"name": b"a", "size": 1 << 63}) + end(),
    "wrong digest": record(file={"name": b"a", "size": 1}) + data(b"x") + end((0, b"y")),
    "broken": record(file={"name": b"a", "size": 1}) + data(b"x") + record(end={"broken": True}),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_cannot_take_its_place(agent, tmp_path, name):
    assert attack(agent, tmp_path, LEFT_OUT[name] + whole(b"b") + DONE) == (["b"], True)


def test_a_link_and_then_a_file_through_it(agent, tmp_path):
    sent = folder(b"t", link(b"l", b"x"), folder(b"l", whole(b"f"))) + DONE
    assert attack(agent, tmp_path, sent) == (["t"], True)
    assert os.listdir(tmp_path / "into" / "t") == ["l"] and os.readlink(tmp_path / "into" / "t" / "l") == "x"


def test_links_that_lead_out_together(agent, tmp_path):
    """Each stays inside by itself; the way of one through the other would not."""
    sent = folder(b"t", link(b"s", b"."), link(b"e", b"s/s/s/../../x"), link(b"f", b"s/.."), link(b"ok", b"s/s/x"),
                  folder(b"d", link(b"up", b"../s"), link(b"e", b"../../x"), link(b"f", b".././s/.."))) + DONE
    assert attack(agent, tmp_path, sent) == (["t"], True)
    assert sorted(os.listdir(tmp_path / "into" / "t")) == ["d", "ok", "s"]
    assert os.listdir(tmp_path / "into" / "t" / "d") == ["up"]


def test_random_bytes(agent, tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for i in range(30):
        sent = bytearray(BAD[rng.choice(list(BAD))] + whole(b"a", b"abcd") + DONE)
        for _ in range(rng.randrange(1, 4)):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
        place = tmp_path / str(i)
        place.mkdir()
        attack(agent, place, bytes(sent))
        assert os.listdir(place) == ["into"]


# ---- a sender, before the host and before another guest ----


@pytest.fixture(params=["host", "guest"])
def hostile(request, agent, tmp_path):
    """hostile(sent, ...): what `postern cp` makes of a guest that sends this, as its standard error, and with
    --json its output. The target is this machine's, or a guest's that means no harm."""
    def channel(sent, sock):
        try:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass

    def cp(sent, *words, source="/etc/hostname", target="into/", code=PROTOCOL):
        into = tmp_path / "into"
        into.mkdir(exist_ok=True)
        there = f"[local:{agent.socket}]:" if cp.between else ""
        with FakeAgent(FakeAgent.grant, channel=lambda sock: channel(sent, sock)) as guest:
            done = subprocess.run([POSTERN, "cp", *words, f"[{guest.address}]:{source}", f"{there}{tmp_path}/{target}"],
                                  capture_output=True, timeout=60)
        assert done.returncode == code, done
        assert eventually(lambda: not agent_has_channels(agent))
        said = done.stderr.decode()
        if code == PROTOCOL and cp.between:
            assert f"{guest.address}: the guest broke" in said
        return said + done.stdout.decode()

    cp.between = request.param == "guest"
    return cp


def agent_has_channels(agent):
    with agent.client() as client:
        return bool(client.call("channels.list").channels)


def test_a_guest_that_means_no_harm(hostile, tmp_path):
    hostile(whole(b"hostname", b"me") + DONE, code=0)
    assert (tmp_path / "into" / "hostname").read_bytes() == b"me"
    hostile(whole(b"hostname", b"you") + DONE, target="new", code=0)
    assert (tmp_path / "new").read_bytes() == b"you"
    hostile(folder(b"etc", whole(b"x")) + DONE, "-r", source="/etc/", code=0)
    assert os.listdir(tmp_path / "into" / "etc") == ["x"]
    hostile(folder(b"root", whole(b"x")) + DONE, "-r", source="/", code=0)
    assert os.listdir(tmp_path / "into" / "root") == ["x"]


# (words, source, target, records): the name that was asked for is "hostname".
HOSTILE = {
    "another name": ([], "into/", whole(b".bashrc") + DONE),
    "one more": ([], "into/", whole(b"hostname") + whole(b".bashrc") + DONE),
    "one more with a new name": ([], "new", whole(b"hostname") + whole(b"x") + DONE),
    "twice": ([], "into/", whole(b"hostname") * 2 + DONE),
    "the start of the name": ([], "into/", whole(b"host") + DONE),
    "more than the name": ([], "into/", whole(b"hostname2") + DONE),
    "a folder for a file": ([], "into/", folder(b"hostname", whole(b"x")) + DONE),
    "a folder for a file with a new name": ([], "new", folder(b"hostname", whole(b"x")) + DONE),
    "a folder that was not asked for": (["-r"], "into/", folder(b".ssh", whole(b"authorized_keys")) + DONE),
    "a link": ([], "into/", link(b"hostname", b"/etc/passwd") + DONE),
    "a link with a new name": ([], "new", link(b"hostname", b"/etc/passwd") + DONE),
    "a link where a folder may be": (["-r"], "into/", link(b"hostname", b"x") + DONE),
    "dots": (["-r"], "into/", folder(b"..", whole(b"evil")) + DONE),
    "dots with a new name": (["-r"], "new", folder(b"..", whole(b"evil")) + DONE),
    "dots below": (["-r"], "into/", folder(b"hostname", folder(b"..", whole(b"evil"))) + DONE),
    "nothing at all": ([], "into/", DONE),
    "data beyond the size": ([], "into/", record(file={"name": b"hostname", "size": 1}) + data(b"xx") +
                             end((0, b"xx")) + DONE),
    "a huge piece": ([], "into/", record(file={"name": b"hostname", "size": 1 << 40}) +
                     record(data={"offset": 0, "length": 0xFFFFFFFF}) + b"x" * (2 << 20)),
    "a huge frame": ([], "into/", b"\xff\xff\xff\xff\x0f" + bytes(1 << 20)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_guest_that_means_harm(hostile, tmp_path, name):
    words, target, sent = HOSTILE[name]
    assert "protocol" in hostile(sent, *words, target=target)
    left = [os.path.relpath(os.path.join(at, each), tmp_path) for at, _, files in os.walk(tmp_path) for each in files]
    # What was asked for has come before the fault, or nothing has.
    good = {"one more": ["into/hostname"], "twice": ["into/hostname"], "one more with a new name": ["new"]}
    assert left == good.get(name, []) or (hostile.between and left == [])


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("deep", "cut")])
def test_one_that_means_harm_to_another(agent, tmp_path, name):
    """The host is the first to see what the other guest would refuse."""
    into = tmp_path / "into"
    into.mkdir()
    with FakeAgent(FakeAgent.grant, channel=lambda sock: (sock.sendall(BAD[name]), sock.recv(1 << 20))) as guest:
        done = subprocess.run([POSTERN, "cp", "-r", *(f"[{guest.address}]:/{each}" for each in "abd"),
                               f"[local:{agent.socket}]:{into}/"], capture_output=True, timeout=60)
    assert done.returncode == PROTOCOL and guest.address.encode() in done.stderr, done
    assert eventually(lambda: not agent_has_channels(agent))
    assert os.listdir(into) in ([], ["d"]) and os.listdir(tmp_path) == ["into"]


def test_sizes_without_end(hostile, tmp_path):
    """Neither takes any place on the disk."""
    most = (1 << 64) - 1
    sent = record(plan={"files": most, "bytes": most}) + record(file={"name": b"hostname", "size": most}) + end() + DONE
    said = hostile(sent, code=1)
    assert "hostname" in said and os.listdir(tmp_path / "into") == []


def test_another_digest(hostile, tmp_path):
    """Whoever receives compares, and whoever passes on does not hide it."""
    sent = record(file={"name": b"hostname", "size": 1}) + data(b"x") + end((0, b"y")) + DONE
    assert "digests differ" in hostile(sent, code=1) and os.listdir(tmp_path / "into") == []


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
def test_what_a_guest_says_of_problems_is_escaped(hostile, tmp_path, words):
    sent = record(problem={"path": NASTY.encode(), "sys_errno": 5, "message": NASTY}) + DONE
    said = hostile(sent, *words, code=1)
    assert not DANGEROUS.search(said), repr(said)
    assert "title" in said


# ---- a receiver, before the host and before another guest ----


@pytest.fixture(params=["host", "guest"])
def received(request, agent, tmp_path):
    """received(channel, ...): a copy of 9 MiB to a guest that does this at its channel: the finished process."""
    def cp(channel, *words, code=PROTOCOL):
        there = f"[local:{agent.socket}]:" if cp.between else ""
        source = write(tmp_path / "big", b"x" * (9 << 20))
        with FakeAgent(FakeAgent.grant, channel=channel) as guest:
            done = subprocess.run([POSTERN, "cp", *words, f"{there}{source}", f"[{guest.address}]:/tmp/"],
                                  capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done
        if code and code != 1 and cp.between:
            assert f"{guest.address}: " in done.stderr
        assert eventually(lambda: not agent_has_channels(agent))
        return done

    cp.between = request.param == "guest"
    return cp


def receive(sock, **answers):
    """A receiver that answers these bytes in the place of what a good one says (None: nothing, and it goes)."""
    answers = {"file": record(have={"bytes": 0}), "done": record(done={"files": 1}), **answers}
    for said in records(sock):
        kind = said.WhichOneof("kind")
        if kind in answers and answers[kind] is None:
            return
        sock.sendall(answers.get(kind, b""))
        if kind == "done":
            return


def test_a_receiver_that_means_no_harm(received):
    out = json.loads(received(receive, "--json", code=0).stdout)
    assert (out["files"], out["bytes"], out["problems"]) == (1, 9 << 20, [])


def test_one_that_has_all_but_a_piece(received):
    """The host takes a receiver's word, and the sender compares."""
    part = b"x" * 1000
    out = json.loads(received(lambda sock: receive(sock, file=record(have={"bytes": 1000, "digest": xxh64(part)})),
                              "--json", code=0).stdout)
    assert (out["resumed"], out["bytes"]) == (1000, (9 << 20) - 1000)
    out = json.loads(received(lambda sock: receive(sock, file=record(have={"bytes": 1000, "digest": xxh64(b"")})),
                              "--json", code=0).stdout)
    assert (out["resumed"], out["bytes"]) == (0, 9 << 20)


NO_ANSWER = {
    "done before the end": {"file": record(done={"files": 1})},
    "more files than were sent": {"done": record(done={"files": 2})},
    "files without end": {"done": record(done={"files": (1 << 64) - 1})},
    "more than the file": {"file": record(have={"bytes": (9 << 20) + 1, "digest": bytes(8)})},
    "have twice": {"file": 2 * record(have={"bytes": 0})},
    "have for nothing": {"plan": record(have={"bytes": 0})},
    "what only a sender says": {"file": whole(b"x")},
    "a huge frame": {"file": b"\xff\xff\xff\xff\x0f" + bytes(1 << 16)},
    "no record": {"file": frame(b"\xff\xff")},
    "an empty record": {"file": frame(b"\x62\x00")},
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_a_receiver_that_means_harm(received, name):
    assert "protocol" in received(lambda sock: receive(sock, **NO_ANSWER[name])).stderr


@pytest.mark.parametrize("at", ["plan", "file", "end", "done"])
def test_a_receiver_that_goes(received, at):
    assert "goes on" in received(lambda sock: receive(sock, **{at: None}), code=ABSENT).stderr


def test_problems_without_end(received):
    """They are told, and what is kept of them for --json is bounded."""
    many = record(problem={"path": b"p" * 8000, "sys_errno": 5, "message": "m" * 50000}) * 2000
    out = json.loads(received(lambda sock: receive(sock, done=many + record(done={})), "--json", code=1).stdout)
    assert len(out["problems"]) == 2000 and all(len(each["message"]) < 1000 for each in out["problems"])
    assert all(len(each["path"]) < 5000 for each in out["problems"])


# ---- the host between two ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("idle", ["sender", "receiver", "both"])
def test_a_signal_ends_it_at_once(agent, tmp_path, idle, number):
    """Whoever does not move, the host holds little for him, and goes when it is told to."""
    def wait(sock):
        while not stop:
            time.sleep(0.01)

    stop = []
    source = write(tmp_path / "big", b"x" * (9 << 20))
    (tmp_path / "into").mkdir()
    guest = f"[local:{agent.socket}]:"
    with FakeAgent(FakeAgent.grant, channel=wait) as one, FakeAgent(FakeAgent.grant, channel=wait) as two:
        line = {"sender": [f"[{one.address}]:/x", f"{guest}{tmp_path}/into/"],
                "receiver": [f"{guest}{source}", f"[{one.address}]:/tmp/"],
                "both": [f"[{one.address}]:/x", f"[{two.address}]:/tmp/"]}[idle]
        running = subprocess.Popen([POSTERN, "cp", *line], stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        assert running.poll() is None
        with open(f"/proc/{running.pid}/status") as file:
            memory, = [int(row.split()[1]) for row in file if row.startswith("VmHWM")]
        with open(f"/proc/{running.pid}/maps") as file:
            assert memory < 12 << 10 or "libasan" in file.read()
        began = time.monotonic()
        running.send_signal(number)
        assert running.wait(5) == 128 + number and time.monotonic() - began < 1
        assert "interrupted" in running.stderr.read()
        running.stderr.close()
        stop.append(True)
    assert os.listdir(tmp_path / "into") == [] and no_parts(tmp_path)


def test_two_that_lie_together(tmp_path):
    """Numbers that only they know are none that the host adds up beyond its own."""
    half = (1 << 63) - 1
    one = record(file={"name": b"x", "size": half, "may_resume": True})
    have = record(have={"bytes": half, "digest": bytes(8)})
    rest = record(**{"from": {"offset": half}}) + end()

    def send(sock):
        sock.sendall(record(folder={"name": b"d"}))
        for _ in range(3):
            sock.sendall(one)
            if len(sock.recv(len(have), socket.MSG_WAITALL)) < len(have):
                return
            sock.sendall(rest)
        sock.recv(1)

    with FakeAgent(FakeAgent.grant, channel=send) as sender:
        with FakeAgent(FakeAgent.grant, channel=lambda sock: receive(sock, file=have)) as receiver:
            done = subprocess.run([POSTERN, "cp", "-r", f"[{sender.address}]:/d", f"[{receiver.address}]:/tmp/"],
                                  capture_output=True, text=True, timeout=60)
    assert done.returncode == PROTOCOL and done.stderr.startswith(f"postern: {sender.address}: "), done
