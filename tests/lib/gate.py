# SPDX-License-Identifier: LGPL-2.1-or-later
"""A socket before an agent's, behind which a channel stops after so many bytes until it is told to go on."""

import os
import shutil
import socket
import tempfile
import threading

from streams import unix_stream


class Gate:
    def __init__(self, path, limit):
        self.path = path
        self.limit = limit  # bytes of all channels, in both directions
        self.passed = 0
        self.more = threading.Condition()
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self.socket = os.path.join(self.dir, "gate.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(8)
        self.threads = []
        self.start(self.serve)

    def start(self, *call):
        self.threads.append(threading.Thread(target=call[0], args=call[1:], daemon=True))
        self.threads[-1].start()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.start(self.connect, near)

    def connect(self, near):
        try:
            is_channel = near.recv(1, socket.MSG_PEEK) == b"\0"
            far = unix_stream(self.path, 60)
        except OSError:
            near.close()
            return
        self.start(self.pump, near, far, is_channel)
        self.start(self.pump, far, near, is_channel)

    def pump(self, source, sink, is_channel):
        try:
            while piece := source.recv(65536):
                if is_channel:
                    with self.more:
                        self.passed += len(piece)
                        self.more.wait_for(lambda: self.passed <= self.limit)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def let(self, more=1 << 60):
        """So many bytes more, or all."""
        with self.more:
            self.limit += more
            self.more.notify_all()

    def close(self):
        self.let()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
