# SPDX-License-Identifier: LGPL-2.1-or-later
"""A person at a terminal, with postern on it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")


class Terminal:
    """postern at a terminal of its own."""

    def __init__(self, machine, *words, rows=31, columns=101):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.environ["TERM"] = "vt100"
                os.execv(POSTERN, ["postern", words[0], machine, *words[1:]])
            finally:
                os._exit(127)
        self.resize(rows, columns)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data):
        os.write(self.fd, data)

    def expect(self, data, seconds=20):
        until = time.monotonic() + seconds
        while data not in self.seen:
            left = until - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (data, self.seen)
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                piece = b""
            assert piece, (data, self.seen)
            self.seen += piece
        before, _, self.seen = self.seen.partition(data)
        return before

    def mode(self):
        return termios.tcgetattr(self.fd)

    def is_raw(self):
        return not self.mode()[3] & termios.ICANON

    def end(self, seconds=20):
        """Its exit code."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.01)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    pass
        raise TimeoutError(self.seen)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
