# SPDX-License-Identifier: LGPL-2.1-or-later
"""vsh and vshd as others have them: frames of a 32-bit length, messages by stock protoc."""

import fcntl
import os
import select
import socket
import struct
import subprocess
import termios
import threading
import time

from streams import unix_stream
from wire import messages_of

vsh_pb = messages_of("vsh_peer")

FRAME_MAX = 4096
DATA_MAX = 4000


class Ended(Exception):
    """The other side has closed the connection."""


class Peer:
    """Either end of a connection."""

    def __init__(self, sock, timeout=20):
        self.sock = sock
        self.sock.settimeout(timeout)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, message):
        body = message.SerializeToString()
        assert len(body) <= FRAME_MAX
        self.send_raw(struct.pack("<I", len(body)) + body)

    def exactly(self, length):
        out = b""
        while len(out) < length:
            try:
                piece = self.sock.recv(length - len(out))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Ended(out)
            out += piece
        return out

    def receive(self, kind):
        length, = struct.unpack("<I", self.exactly(4))
        assert length <= FRAME_MAX, length
        return kind.FromString(self.exactly(length))

    def expect_end(self):
        """Nothing more comes, and the connection is closed."""
        try:
            rest = self.exactly(1)
        except Ended:
            return
        raise AssertionError(f"{rest} instead of the end")


class Client(Peer):
    """vsh."""

    def setup(self, *argv, **fields):
        """The server's answer to a request."""
        self.send(vsh_pb.SetupConnectionRequest(argv=argv, **fields))
        return self.receive(vsh_pb.SetupConnectionResponse)

    def start(self, *argv, **fields):
        """A program that runs: its pid."""
        answer = self.setup(*argv, **fields)
        assert (answer.status, answer.description) == (vsh_pb.READY, "vsh ready"), answer
        return answer.pid

    def data(self, data, stream=vsh_pb.STDIN_STREAM):
        """Bytes for the program, as many messages as it takes."""
        for at in range(0, len(data), DATA_MAX):
            self.send(vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(
                stream=stream, data=data[at : at + DATA_MAX])))

    def end_of_input(self):
        self.send(vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM)))

    def resize(self, rows, cols):
        self.send(vsh_pb.GuestMessage(resize_message=vsh_pb.WindowResizeMessage(rows=rows, cols=cols)))

    def signal(self, number):
        self.send(vsh_pb.GuestMessage(signal=number))

    def next(self):
        return self.receive(vsh_pb.HostMessage)

    def until(self, words, seconds=20):
        """Output of the program until these have come."""
        out, by = b"", time.monotonic() + seconds
        while words not in out:
            message = self.next()
            assert message.WhichOneof("msg") == "data_message", (out, message)
            out += message.data_message.data
            assert time.monotonic() < by, out
        return out

    def finish(self):
        """All that comes: output, errors, which of them ended before the program, its code."""
        out = {vsh_pb.STDOUT_STREAM: b"", vsh_pb.STDERR_STREAM: b""}
        ended = []
        while True:
            message = self.next()
            if message.WhichOneof("msg") == "status_message":
                status = message.status_message
                assert (status.status, status.description) == (vsh_pb.EXITED, "target process has exited")
                return out[vsh_pb.STDOUT_STREAM], out[vsh_pb.STDERR_STREAM], ended, status.code
            data = message.data_message
            assert len(data.data) <= DATA_MAX
            assert data.stream not in ended, "bytes behind the end of a stream"
            out[data.stream] += data.data
            if not data.data:
                ended.append(data.stream)



class Server(Peer):
    """vshd, driven by hand: one connection that a client has opened."""

    def take_request(self):
        return self.receive(vsh_pb.SetupConnectionRequest)

    def answer(self, status=vsh_pb.READY, description="vsh ready", pid=42):
        self.send(vsh_pb.SetupConnectionResponse(status=status, description=description, pid=pid))

    def next(self):
        return self.receive(vsh_pb.GuestMessage)

    def data(self, data, stream=vsh_pb.STDOUT_STREAM):
        for at in range(0, len(data), DATA_MAX):
            self.send(vsh_pb.HostMessage(data_message=vsh_pb.DataMessage(
                stream=stream, data=data[at : at + DATA_MAX])))

    def status(self, status=vsh_pb.EXITED, description="target process has exited", code=0):
        self.send(vsh_pb.HostMessage(status_message=vsh_pb.ConnectionStatusMessage(
            status=status, description=description, code=code)))

    def run(self):
        """A small vshd: does what it is asked for, as far as the tests need it."""
        request = self.take_request()
        try:
            run = Program(request)
        except OSError as error:
            self.answer(vsh_pb.FAILED, str(error), 0)
            return
        self.answer(pid=run.process.pid)
        streams = dict(run.streams)
        while streams:
            # What it writes fits: a pipe that can be written to has room for more than a message.
            takes = run.process.stdin is None or run.process.stdin.closed or select.select([], [run.input], [], 0)[1]
            ready = select.select([self.sock, *streams] if takes else streams, [], [], None if takes else 0.01)[0]
            for fd in [fd for fd in ready if fd is not self.sock]:
                try:
                    data = os.read(fd, DATA_MAX)
                except OSError:
                    data = b""
                self.send(vsh_pb.HostMessage(data_message=vsh_pb.DataMessage(stream=streams[fd], data=data)))
                if not data:
                    del streams[fd]
            if self.sock in ready:
                run.take(self.next())
        code = run.process.wait()
        self.status(code=abs(code))


class Program:
    def __init__(self, request):
        env = {**os.environ, **request.env}
        self.terminal = not request.nopty
        argv = list(request.argv) or ["-sh"]
        how = {"env": env, "cwd": request.cwd or "/", "executable": None if request.argv else "/bin/sh"}
        if self.terminal:
            self.input, slave = os.openpty()
            self.resize(request.window_rows, request.window_cols)
            self.process = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **how)
            os.close(slave)
            self.streams = {self.input: vsh_pb.STDOUT_STREAM}
            return
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, **how)
        self.input = self.process.stdin.fileno()
        self.streams = {self.process.stdout.fileno(): vsh_pb.STDOUT_STREAM,
                        self.process.stderr.fileno(): vsh_pb.STDERR_STREAM}

    def resize(self, rows, cols):
        fcntl.ioctl(self.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def take(self, message):
        kind = message.WhichOneof("msg")
        if kind == "data_message" and message.data_message.data:
            os.write(self.input, message.data_message.data)
        elif kind == "data_message" and self.terminal:
            os.write(self.input, b"\x04")
        elif kind == "data_message":
            self.process.stdin.close()
        elif kind == "resize_message":
            self.resize(message.resize_message.rows, message.resize_message.cols)
        elif kind == "signal":
            os.kill(self.process.pid, message.signal)


class Guest:
    """A machine's hybrid socket. serve(sock) is called for each connection to the port, in a thread of its own;
    whoever asks for another port is turned away."""

    def __init__(self, path, serve, port=9001):
        self.path = path
        self.serve = serve
        self.port = port
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.errors = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(sock,), daemon=True).start()

    def take(self, sock):
        with sock:
            line = b""
            while not line.endswith(b"\n"):
                line += sock.recv(1)
            if line != b"CONNECT %d\n" % self.port:
                return
            sock.sendall(b"OK 1073741824\n")
            try:
                self.serve(sock)
            except (Ended, OSError):
                pass
            except BaseException as error:
                self.errors.append(error)
                raise

    def close(self):
        # A thread that waits in accept() keeps the socket.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        assert not self.errors, self.errors


def copy(source, sink):
    """One way, to its end; then neither goes on."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def relay_to(path):
    """Serves a connection by another one's other side."""
    def serve(near):
        with unix_stream(path) as far:
            near.settimeout(None)
            far.settimeout(None)
            back = threading.Thread(target=copy, args=(far, near), daemon=True)
            back.start()
            copy(near, far)
            back.join()

    return serve
