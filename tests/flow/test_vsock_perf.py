# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern vsock-perf against a guest's part of the tests' own, over a hybrid socket."""

import json
import os
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from fake_agent import FakeAgent
from machine import ABSENT, ANSWERED, DONE, PROTOCOL, REFUSED, TIMED_OUT, USAGE
from wire import BUILD, message, pb
from wire import errors as errors_pb

POSTERN = os.path.join(BUILD, "postern")
CONTROL, LATENCY, SINGLE, MULTI, BOTH = 8501, 8502, 8503, range(8504, 8509), 8509
PORTS = range(8501, 8510)
BLOCK = 4096


def recv_all(sock, n):
    out = bytearray()
    while len(out) < n:
        piece = sock.recv(min(n - len(out), 1 << 20))
        if not piece:
            raise ConnectionError("the host has ended it")
        out += piece
    return bytes(out)


class Guest:
    """The guest's part, by postern-protocol(7) alone; each step can be another."""

    def __init__(self, path):
        self.path = path
        self.streams = {}

    def dial(self, port, name=None):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(f"{self.path}_8500")
        sock.sendall(struct.pack(">I", port) if name is None else name)
        self.streams[port] = sock

    def connect(self):
        # In whatever order.
        for port in reversed(PORTS):
            self.dial(port)

    def latency(self, blocks):
        sock = self.streams[LATENCY]
        for i in range(blocks):
            block = recv_all(sock, BLOCK)
            if i < 100:
                assert block == b"DAVID%03d" % i * 512
            else:
                assert block == b"*" * BLOCK
            sock.sendall(block)

    def ready(self, *ports):
        for port in ports:
            self.streams[CONTROL].sendall(bytes([port - SINGLE + 123]))

    def there_and_back(self, port, size, times):
        for _ in range(times):
            recv_all(self.streams[port], size)
            self.streams[port].sendall(bytes(size))

    def both(self, size, times):
        for _ in range(times):
            writer = threading.Thread(target=self.streams[BOTH].sendall, args=(bytes(size),))
            writer.start()
            recv_all(self.streams[BOTH], size)
            writer.join()

    def run(self, size, round_trips, bidirectional, single, multi):
        self.connect()
        self.latency(100 + round_trips)
        self.ready(BOTH)
        self.both(size, bidirectional)
        self.ready(SINGLE)
        self.there_and_back(SINGLE, size, single)
        self.ready(*reversed(MULTI))
        threads = [threading.Thread(target=self.there_and_back, args=(port, size, multi)) for port in MULTI]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def close(self):
        for sock in self.streams.values():
            sock.close()


def wait_for_listener(path):
    deadline = time.monotonic() + 20
    while not os.path.exists(f"{path}_8500"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def perf(path, *words, code=DONE, guest=None):
    """The command, with a guest's part that runs meanwhile."""
    with subprocess.Popen([POSTERN, "vsock-perf", f"unix:{path}", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        ours = Guest(path)
        try:
            if guest:
                wait_for_listener(path)
                guest(ours)
            out, errors = process.communicate(timeout=60)
        finally:
            ours.close()
            process.kill()
    assert process.returncode == code, (process.returncode, out, errors)
    assert not os.path.exists(f"{path}_8500")
    return out, errors


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "vsock.sock")


QUICK = dict(size=4 << 20, round_trips=200, bidirectional=2, single=2, multi=2)


def with_agent(part, *words, code=DONE):
    """The command with an agent that does part(guest, what was asked for) once the channel is open."""
    asked = []

    def answer(peer, request):
        fields = message(request.method, "Request")()
        fields.ParseFromString(request.params)
        asked.append((request.method, fields))
        FakeAgent.grant(peer, request)

    def channel(sock):
        guest = Guest(agent.path)
        try:
            part(guest, asked[0][1])
            # The host closes it when it is through.
            assert sock.recv(1) == b""
        finally:
            guest.close()

    with FakeAgent(answer=answer, channel=channel, hybrid=True) as agent:
        done = subprocess.run([POSTERN, "vsock-perf", agent.address, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    assert asked[0][0] == "perf.vsock"
    return done.stdout, done.stderr


def asked_size(fields):
    return dict(size=fields.mebibytes << 20, round_trips=fields.round_trips, bidirectional=fields.bidirectional,
                single=fields.single, multi=fields.multi)


def good(guest, fields):
    assert fields.in_band and asked_size(fields) == QUICK
    guest.run(**QUICK)


LABELS = ["Round trip latency of 4096 bytes", "TX (guest -> host, unreliable) throughput of 4 MiB",
          "RX (host -> guest, unreliable) throughput of 4 MiB",
          "Single stream unidirectional round trip throughput of 4 MiB",
          "Multistream (5 connections) unidirectional round trip throughput of 4 MiB"]
ROWS = ["Min", "25th percentile", "50th percentile", "75th percentile", "99th percentile", "Max"]


def test_all_is_measured_and_shown():
    out, errors = with_agent(good, "--quick")
    assert errors == ""
    lines = out.splitlines()
    assert lines[2:5] == ["Microbenchmark Results", "-" * 24, "* Data corruption check: PASSED"]
    for i, label in enumerate(LABELS):
        head, *rows = lines[5 + 7 * i:12 + 7 * i]
        assert head == f"* {label}:"
        unit = r"\d+ns \(\d+\.\d{3}ms\)" if i == 0 else r"\d+\.\d\dMiB/s"
        for name, row in zip(ROWS, rows):
            assert re.fullmatch(rf"\t{name}: +{unit}", row), row
    assert len(lines) == 40


def test_as_json():
    out, _ = with_agent(good, "--quick", "--json")
    result = json.loads(out)
    assert result["data_corruption"] is True
    latency = result["round_trip_page"]
    assert latency["unit"] == "Nanoseconds" and 0 < latency["min"] <= latency["p_50th"] <= latency["max"]
    for name in ("tx_throughput", "rx_throughput", "single_stream_unidirectional", "multi_stream_unidirectional"):
        rate = result[name]
        assert rate["unit"] == "MebibytesPerSecond" and 0 < rate["min"] <= rate["p_50th"] <= rate["max"]


def test_the_usual_numbers_are_asked_for():
    def part(guest, fields):
        assert asked_size(fields) == dict(size=128 << 20, round_trips=10000, bidirectional=100, single=100, multi=50)
        guest.connect()
        guest.latency(3)
        guest.close()

    out, errors = with_agent(part, code=ABSENT)
    assert "Data corruption check: NOT RUN" in out and out.count("NOT RUN") == 6
    assert "the guest ended the connection" in errors


def test_an_agent_that_says_no():
    def answer(peer, request):
        peer.say(response=pb.Response(id=request.id, error=errors_pb.Error(code="PERMISSION_DENIED", message="no", rule="x:1")))

    with FakeAgent(answer=answer, hybrid=True) as agent:
        done = subprocess.run([POSTERN, "vsock-perf", agent.address, "--json"], capture_output=True, text=True)
    assert done.returncode == REFUSED and json.loads(done.stdout)["error"]["message"] == "no"
    assert not os.path.exists(f"{agent.path}_8500")


def test_nobody_is_asked_where_a_program_of_the_guest_comes(path):
    """It has its own numbers: it ends where it likes, and what was measured is shown."""
    def part(guest):
        guest.connect()
        guest.latency(10100)
        guest.ready(BOTH)
        guest.both(128 << 20, 1)
        guest.close()

    out, errors = perf(path, "--external", code=ABSENT, guest=part)
    assert "Data corruption check: PASSED" in out and out.count("NOT RUN") == 4
    assert "the guest ended the connection" in errors


def test_somebody_listens_already(path):
    taken = socket.socket(socket.AF_UNIX)
    taken.bind(f"{path}_8500")
    taken.listen(1)
    done = subprocess.run([POSTERN, "vsock-perf", f"unix:{path}", "--external"], capture_output=True, text=True)
    assert done.returncode == REFUSED and "Already a listener on port 8500" in done.stderr
    taken.close()


@pytest.mark.parametrize("words", [["--external", "--quick"], ["--patience", "0"], ["--patience", "1001"], ["-p", "x"]])
def test_bad_words(path, words):
    done = subprocess.run([POSTERN, "vsock-perf", f"unix:{path}", *words], capture_output=True, text=True)
    assert done.returncode == USAGE


# ---- a guest that means harm ----


def corrupt(guest, fields):
    guest.connect()
    for i in range(100 + fields.round_trips):
        block = bytearray(recv_all(guest.streams[LATENCY], BLOCK))
        block[17] ^= i == 50
        guest.streams[LATENCY].sendall(block)
    guest.latency = lambda blocks: None
    guest.connect = lambda: None
    guest.run(**QUICK)


def test_corrupt_data_is_failed():
    out, _ = with_agent(corrupt, "--quick", code=ANSWERED)
    assert "* Data corruption check: FAILED" in out and "NOT RUN" not in out


def dials(*names):
    def part(guest, fields):
        for i, name in enumerate(names):
            guest.dial(PORTS[i % 9], name)
        try:
            recv_all(guest.streams[PORTS[0]], 1)
        except (ConnectionError, TimeoutError):
            pass

    return part


IDS = [struct.pack(">I", port) for port in PORTS]
WRONG = {
    "another": dials(struct.pack(">I", 8510)),
    "below": dials(struct.pack(">I", 8500)),
    "far": dials(b"\xff\xff\xff\xff"),
    "twice": dials(IDS[0], IDS[0]),
    "lowest first": dials(struct.pack("<I", 8501)),
    "no number": dials(b"GET "),
}


@pytest.mark.parametrize("name", WRONG)
def test_streams_that_are_none(name):
    out, errors = with_agent(WRONG[name], "--quick", code=PROTOCOL)
    assert out == "" and "unexpected connection from guest port" in errors


def test_a_stream_that_ends_before_it_says_which_it_is():
    def part(guest, fields):
        guest.dial(8501, b"\0\0")
        guest.streams[8501].close()

    with_agent(part, "--quick", code=PROTOCOL)


def says(*ready):
    def part(guest, fields):
        guest.connect()
        guest.latency(100 + fields.round_trips)
        guest.streams[CONTROL].sendall(bytes(ready))
        try:
            recv_all(guest.streams[BOTH], 1 << 30)
        except (ConnectionError, TimeoutError):
            pass

    return part


@pytest.mark.parametrize("ready", [[123], [0], [255], [128], [130]])
def test_readiness_of_another_stream(ready):
    _, errors = with_agent(says(*ready), "--quick", code=PROTOCOL)
    assert f"unexpected magic number from guest: {ready[0]}" in errors


def test_an_echo_that_does_not_come():
    def part(guest, fields):
        guest.connect()
        recv_all(guest.streams[LATENCY], BLOCK)
        try:
            recv_all(guest.streams[LATENCY], 1)
        except ConnectionError:
            pass

    _, errors = with_agent(part, "--quick", code=TIMED_OUT)
    assert "timed out waiting 100ms for a packet that is echoed" in errors
    _, errors = with_agent(part, "--quick", "--patience", "3", code=TIMED_OUT)
    assert "timed out waiting 300ms" in errors


def test_more_than_was_to_come():
    """What is too much in one measurement is the next one's; the last one's nobody reads."""
    def part(guest, fields):
        guest.connect()
        guest.latency(100 + fields.round_trips)
        guest.streams[LATENCY].sendall(bytes(1000))
        guest.ready(BOTH)
        guest.both(QUICK["size"], 2)
        guest.ready(SINGLE)
        guest.streams[SINGLE].sendall(bytes(5000))
        guest.streams[SINGLE].close()

    _, errors = with_agent(part, "--quick", code=ABSENT)
    assert "the guest ended the connection" in errors
