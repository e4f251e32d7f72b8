# SPDX-License-Identifier: LGPL-2.1-or-later
"""Channels and programs of an agent, driven by hand."""

import os
import socket
import time

from streams import unix_stream
from wire import messages_of

exec_pb = messages_of("exec")

PREAMBLE = b"\x00PC\x01"

ALLOW_EXEC = "allow local:0 *\n"


def open_channel(path, channel, timeout=20):
    """The stream that a grant stands for, after its welcome."""
    sock = unix_stream(path, timeout)
    sock.sendall(PREAMBLE + channel.token)
    welcome = sock.recv(1)
    if welcome != b"\x01":
        sock.close()
        raise ConnectionRefusedError(f"channel {channel.number}: {welcome}")
    return sock


def read_all(sock):
    out = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            return out
        out += piece


def has_loop(pid):
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventpoll]"
                   for fd in os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return False


def job_processes(agent):
    """Those that look after a program; the one that they are forked of has no loop."""
    return [pid for pid, name in agent.children().items() if name == "postern-job" and has_loop(pid)]


class Job:
    """A program, with its channels as sockets."""

    def __init__(self, agent, client, *argv, channels=True, **fields):
        if channels and "terminal" not in fields:
            for name in ("input", "output", "errors"):
                fields.setdefault(name, "CHANNEL")
        self.agent = agent
        self.client = client
        self.reply = client.call("exec.start", argv=[a if isinstance(a, bytes) else a.encode() for a in argv],
                                 **fields)
        self.number = self.reply.job
        self.stdio = self.errors = None
        if self.reply.HasField("stdio"):
            self.stdio = open_channel(agent.socket, self.reply.stdio)
        if self.reply.HasField("errors"):
            self.errors = open_channel(agent.socket, self.reply.errors)

    def wait(self, **kwargs):
        return self.client.call("exec.wait", job=self.number, **kwargs).job

    def signal(self, number, **fields):
        self.client.call("exec.signal", job=self.number, signal=number, **fields)

    def finish(self, data=b""):
        """Input to its end, then all output: (output, errors, record)."""
        if self.stdio:
            if data:
                self.stdio.sendall(data)
            self.stdio.shutdown(socket.SHUT_WR)
        output = read_all(self.stdio) if self.stdio else b""
        errors = read_all(self.errors) if self.errors else b""
        return output, errors, self.wait()

    def close(self):
        for sock in (self.stdio, self.errors):
            if sock:
                sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def eventually(check, seconds=10):
    """What check() returns once it is true."""
    until = time.monotonic() + seconds
    while True:
        value = check()
        if value or time.monotonic() > until:
            return value
        time.sleep(0.01)
