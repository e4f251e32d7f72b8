# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern-vsockd under a real guest's load: every byte that crosses is compared."""

import os
import random
import socket
import threading
import time

import pytest

from machine import BUILD
from streams import hybrid_stream, unix_stream

ECHO, SINK, SOURCE, DIAL = 1001, 1002, 1003, 1004


@pytest.fixture(scope="module")
def vm(host):
    machine = host.launch("load", "--add", f"{BUILD}/bench/vsock_server:/etc/postern/start.d/vsock_server",
                          witness=False)

    def listens():
        try:
            hybrid_stream(machine.vsock, ECHO, 5).close()
            return True
        except ConnectionError:
            return False

    host.until(listens)
    yield machine
    # Whatever was done to it, the device is there, and the agent behind it too.
    with machine.client() as client:
        client.call("system.ping")
    machine.stop()


@pytest.fixture
def dial(vm):
    return lambda port, timeout=60: hybrid_stream(vm.vsock, port, timeout)


def read_exact(sock, count):
    data = bytearray()
    while len(data) < count:
        more = sock.recv(min(65536, count - len(data)))
        if not more:
            raise ConnectionError(f"end after {len(data)} of {count} bytes")
        data += more
    return bytes(data)


def read_to_end(sock):
    data = bytearray()
    while more := sock.recv(65536):
        data += more
    return bytes(data)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def pattern(seed, count):
    out = bytearray()
    for i in range((count + 7) // 8):
        x = (i * 0x9E3779B97F4A7C15 + seed) & 0xFFFFFFFFFFFFFFFF
        out += (x ^ x >> 29).to_bytes(8, "little")
    return bytes(out[:count])


def echo_all(sock, data, rng):
    """Writes all of data in random pieces while reading it back; both at their own pace."""
    failed = []

    def write():
        at = 0
        try:
            while at < len(data):
                piece = data[at : at + rng.choice((1, 7, 100, 4096, 5000, 65536, 200000))]
                sock.sendall(piece)
                at += len(piece)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    got = read_to_end(sock)
    writer.join()
    assert not failed, failed
    assert got == data, f"{len(got)} of {len(data)} bytes, or other ones"


def test_sums(dial):
    """One way each, against sums and patterns made by the other side."""
    for size in (0, 1, 4095, 4096, 4097, 65536, 1000003):
        data = os.urandom(size)
        sock = dial(SINK)
        sock.sendall(b"0 1\n" + data)
        sock.shutdown(socket.SHUT_WR)
        count, total = read_to_end(sock).split()
        assert int(count) == size and int(total, 16) == fnv(data), (size, count, total)
    for size in (1, 4097, 1000003):
        sock = dial(SOURCE)
        sock.sendall(b"%d 3000 99\n" % size)
        assert read_to_end(sock) == pattern(99, size), size


def test_duplex(dial):
    """Eight connections, each full of data both ways at once, ended by a half-close."""
    errors = []

    def one(seed):
        try:
            rng = random.Random(seed)
            echo_all(dial(ECHO), rng.randbytes(1500000 + seed), rng)
        except Exception as error:  # reported below, with the connection's number
            errors.append((seed, error))

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_crowd(dial):
    """100 connections; one never reads, the others go on."""
    crowd = [dial(ECHO) for _ in range(100)]
    stuck = crowd[0]
    stuck.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            sent += stuck.send(b"s" * 65536)
        except BlockingIOError:
            time.sleep(0.05)
    assert sent > 200000, sent
    for turn in range(3):
        for i, sock in enumerate(crowd[1:]):
            sock.sendall(b"%03d" % i * 1000)
        for i, sock in enumerate(crowd[1:]):
            assert read_exact(sock, 3000) == b"%03d" % i * 1000, (turn, i)
    stuck.setblocking(True)
    stuck.settimeout(30)
    assert read_exact(stuck, sent) == b"s" * sent
    for sock in crowd:
        sock.close()


def test_many(vm, dial):
    """300 short connections, one after the other, then 60 at once."""
    for i in range(300):
        sock = dial(ECHO)
        sock.sendall(b"%d" % i)
        assert read_exact(sock, len(str(i))) == b"%d" % i
        sock.close()
    crowd = [unix_stream(vm.vsock) for _ in range(60)]
    for sock in crowd:
        sock.sendall(b"CONNECT %d\n" % ECHO)
    for sock in crowd:
        assert sock.recv(3) == b"OK "
        sock.close()


def test_refusals(dial):
    """A port without a listener is the end at once; the back-end lives on."""
    start = time.monotonic()
    with pytest.raises(ConnectionError):
        dial(4)
    assert time.monotonic() - start < 1.5
    dial(ECHO).close()


def test_guest_dials(vm, dial):
    """The guest connects to the host."""
    path = f"{vm.vsock}_7001"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    try:
        listener.listen()
        listener.settimeout(10)
        order = dial(DIAL)
        order.sendall(b"7001\n")
        sock, _ = listener.accept()
        sock.settimeout(30)
        rng = random.Random(5)
        echo_all(sock, rng.randbytes(700000), rng)
        order.close()
        order = dial(DIAL)
        order.sendall(b"7002\n")  # nobody there
        assert read_to_end(order) == b""
    finally:
        listener.close()
        os.unlink(path)


def test_slow_reader(dial):
    """A client that reads with pauses gets every byte, also those sent before the guest closed."""
    sock = dial(SOURCE)
    sock.sendall(b"2000000 65536 7\n")
    want = pattern(7, 2000000)
    got = bytearray()
    while more := sock.recv(100000):
        got += more
        time.sleep(0.05 if len(got) < 1400000 else 0)
        if len(got) == len(more):
            time.sleep(3)  # longer than any timeout of the back-end
    assert bytes(got) == want, len(got)
