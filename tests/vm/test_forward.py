# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of a real guest without network, from the host: over a real vsock, past a reboot."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from jobs import read_all
from machine import POSTERN, REFUSED

POLICY = "allow host exec.* forward.*\n"
REBOOT = 2


@pytest.fixture(scope="module")
def vm(host):
    policy = os.path.join(host.dir, "forward.policy")
    with open(policy, "w") as file:
        file.write(POLICY)
    return host.launch("guest", "--add", f"{policy}:/etc/postern/policy.d/60-forward.policy",
                       "--add", f"{shutil.which('busybox')}:/bin/busybox", witness=False)


@pytest.fixture
def run(host, vm):
    """A program in the guest; its output."""

    def run(*argv, **kwargs):
        done = subprocess.run([POSTERN, "exec", "guest", "--", "/bin/busybox", *argv], env=host.env,
                              capture_output=True, timeout=120, **kwargs)
        assert done.returncode == 0, done
        return done.stdout

    return run


def echo_server(host, run, port):
    subprocess.run([POSTERN, "exec", "guest", "--detach", "--", "/bin/busybox", "nc", "-ll", "-p", str(port), "-e",
                    "/bin/busybox", "cat"], env=host.env, check=True, timeout=60, capture_output=True)
    run("sh", "-c", f"until busybox nc 127.0.0.1 {port} </dev/null 2>/dev/null; do busybox sleep 0.1; done")


class Forward:
    def __init__(self, host, *specs):
        self.process = host.start("forward", "guest", "--json", *specs)
        self.listening = [self.expect("listening") for _ in specs]

    def expect(self, event):
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            told = json.loads(line)
            if told["event"] == event:
                return told

    def connect(self, i):
        return socket.create_connection(("127.0.0.1", int(self.listening[i]["from"].rsplit(":", 1)[1])), timeout=60)

    def counts(self, i):
        self.process.send_signal(signal.SIGUSR1)
        return self.expect("counts")["forwards"][i]

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=30)


def echoed(sock, data):
    """What comes back of it, to its end."""
    sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    got = read_all(sock)
    sender.join()
    return got


def test_the_shipped_policy_denies(host):
    host.launch("shipped", witness=False)
    _, errors = host.run("forward", "shipped", "8080:80", code=REFUSED)
    assert "no rule" in errors, errors
    host.run("stop", "shipped")


def test_both_directions_and_a_reboot(host, vm, run):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        echo_server(host, run, 7000)
        forward = Forward(host, "tcp:0=tcp:7000", f"guest:tcp:9000=tcp:{server.getsockname()[1]}", "tcp:0=tcp:7001")
        try:
            in_both_directions(forward, server, run)
            with vm.client() as client:
                assert client.call("power.shutdown", mode=REBOOT).by == "postern-init"
            forward.expect("lost")
            # Whoever comes now waits for the guest.
            with forward.connect(0) as early:
                forward.expect("again")
                # Nothing listens in it yet.
                try:
                    assert early.recv(1) == b""
                except ConnectionResetError:
                    pass
            echo_server(host, run, 7000)
            in_both_directions(forward, server, run)
        finally:
            forward.end()


def in_both_directions(forward, server, run):
    data = os.urandom(2 << 20)
    with forward.connect(0) as sock:
        assert hashlib.sha256(echoed(sock, data)).digest() == hashlib.sha256(data).digest()
    answer = []

    def serve():
        conn, _ = server.accept()
        with conn:
            answer.append(conn.recv(100))
            conn.sendall(b"from the host\n")

    thread = threading.Thread(target=serve)
    thread.start()
    assert run("nc", "127.0.0.1", "9000", input=b"from the guest\n") == b"from the host\n"
    thread.join()
    assert answer == [b"from the guest\n"]
    with forward.connect(2) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert forward.counts(2)["failed"] >= 1
