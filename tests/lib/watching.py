# SPDX-License-Identifier: LGPL-2.1-or-later
"""A watch of files (files.watch), as its caller sees it."""

import contextlib
import os
import time

from wire import messages_of

pb = messages_of("files")
CREATED, MODIFIED, WRITTEN, ATTRIBUTES, REMOVED, AWAY, HERE = range(1, 8)


class Watch:
    """A watch that is open, and all that it has told."""

    def __init__(self, client, open_channel, path, recursive=True, **fields):
        reply = client.call("files.watch", path=os.fsencode(path), recursive=recursive, **fields)
        self.folders = reply.folders
        self.sock = open_channel(reply.channel)
        self.buffer = b""
        self.records = []
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def take(self):
        """The records that are whole."""
        at = 0
        while True:
            length = shift = 0
            start = at
            while at < len(self.buffer):
                byte = self.buffer[at]
                length |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if not byte & 0x80:
                    break
            else:
                at = start
                break
            if len(self.buffer) < at + length:
                at = start
                break
            record = pb.FilesWatchRecord()
            record.ParseFromString(self.buffer[at:at + length])
            assert record.WhichOneof("kind")
            self.records.append(record)
            at += length
        self.buffer = self.buffer[at:]

    def read(self, timeout=0.0):
        self.sock.settimeout(max(timeout, 0.001))
        with contextlib.suppress(TimeoutError, BlockingIOError):
            data = self.sock.recv(1 << 16)
            self.closed |= not data
            self.buffer += data
            self.take()

    def until(self, condition, timeout=15):
        """Waits for what is to be told; condition() is given nothing."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end and not self.closed, self.told()
            self.read(0.2)
        return True

    def told(self):
        """{path: kinds} of all changes so far."""
        out = {}
        for record in self.records:
            if record.HasField("change"):
                out.setdefault(record.change.path, set()).update(record.change.kinds)
        return out

    def of_kind(self, kind):
        return [getattr(record, kind) for record in self.records if record.WhichOneof("kind") == kind]

    def has(self, path, *kinds):
        told = self.told()
        return os.fsencode(path) in told and set(kinds) <= told[os.fsencode(path)]

    def forget(self, quiet=0.25):
        """What comes from here on."""
        end = time.monotonic() + quiet
        while time.monotonic() < end:
            self.read(0.05)
        self.records.clear()

    def ended(self):
        self.until(lambda: self.of_kind("end"))
        while not self.closed:
            self.read(5)
        return self.records[-1].end.reason
