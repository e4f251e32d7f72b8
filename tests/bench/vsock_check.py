#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks a vsock back-end with a real guest that runs vsock_server on ports 1001 to 1004.

usage: vsock_check.py UDS [NAME...]

Every byte that crosses is compared. Prints one line a check; exit status 1 when one failed.
"""

import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

from streams import hybrid_stream, unix_stream  # noqa: E402

ECHO, SINK, SOURCE, DIAL = 1001, 1002, 1003, 1004
uds = None


def dial(port, timeout=60):
    return hybrid_stream(uds, port, timeout)


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


def check_sums():
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


def check_duplex():
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


def check_crowd():
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


def check_many():
    """300 short connections, one after the other, then 60 at once."""
    for i in range(300):
        sock = dial(ECHO)
        sock.sendall(b"%d" % i)
        assert read_exact(sock, len(str(i))) == b"%d" % i
        sock.close()
    crowd = [unix_stream(uds) for _ in range(60)]
    for sock in crowd:
        sock.sendall(b"CONNECT %d\n" % ECHO)
    for sock in crowd:
        assert sock.recv(3) == b"OK "
        sock.close()


def check_refusals():
    """A port without a listener is the end at once; the back-end lives on."""
    start = time.monotonic()
    try:
        dial(4)
        raise AssertionError("connected to nobody")
    except ConnectionError:
        pass
    assert time.monotonic() - start < 1.5
    dial(ECHO).close()


def check_guest_dials():
    """The guest connects to the host."""
    path = uds + "_7001"
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


def check_slow_reader():
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


def main():
    global uds
    uds = sys.argv[1]
    checks = {name[6:]: fn for name, fn in globals().items() if name.startswith("check_")}
    failed = 0
    for name in sys.argv[2:] or checks:
        start = time.monotonic()
        try:
            checks[name]()
            print(f"ok      {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
