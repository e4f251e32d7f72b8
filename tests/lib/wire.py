# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Postern client that shares no code with the project: sockets, varints, and what stock protoc
makes of the .proto files."""

import importlib
import os
import socket
import sys
import time

from streams import hybrid_stream, unix_stream

BUILD = os.environ.get("POSTERN_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
sys.path.insert(0, os.path.join(BUILD, "py"))


def messages_of(name):
    """What protoc made of a .proto."""
    return importlib.import_module(name + "_pb2")


pb = messages_of("envelope")
errors = messages_of("error")


def camel(text):
    return "".join(part.capitalize() for part in text.split("_"))


def message(method, kind):
    """The request or reply class of a method: mounts.list -> MountsListRequest."""
    service, rpc = method.split(".")
    return getattr(messages_of(service), camel(service) + camel(rpc) + kind)


def payload(topic):
    """The class of a topic's payload: notify.mounts.mount -> NotifyMountsMount."""
    return getattr(messages_of("notifications"), "".join(camel(part) for part in topic.split(".")))


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def frame(body):
    return varint(len(body)) + body


class Closed(Exception):
    """The agent ended the connection; goodbye is its Goodbye, or None."""

    def __init__(self, goodbye=None):
        super().__init__(str(goodbye))
        self.goodbye = goodbye


class Failed(Exception):
    """The agent answered with an error."""

    def __init__(self, error):
        super().__init__(f"{errors.Code.Name(error.code)}: {error.message}")
        self.error = error
        self.code = errors.Code.Name(error.code)
        self.message = error.message


class Client:
    def __init__(self, sock, hello=True, timeout=20, **fields):
        self.sock = sock
        self.sock.settimeout(timeout)
        self.buffer = b""
        self.next_id = 0
        self.responses = []
        self.notifications = []
        self.rides = {}  # frames of channels, by number
        self.goodbye = None
        if hello:
            self.hello_reply = self.hello(**fields)

    @classmethod
    def unix(cls, path, timeout=20, **kwargs):
        return cls(unix_stream(path, timeout), timeout=timeout, **kwargs)

    @classmethod
    def hybrid(cls, path, port=767, timeout=20, **kwargs):
        return cls(hybrid_stream(path, port, timeout), timeout=timeout, **kwargs)

    @classmethod
    def vsock(cls, cid, port=767, local_port=None, timeout=20, **kwargs):
        """Through the kernel's own AF_VSOCK: only inside test guests."""
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if local_port is not None:
            sock.bind((socket.VMADDR_CID_ANY, local_port))
        sock.connect((cid, port))
        return cls(sock, timeout=timeout, **kwargs)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, to_agent):
        self.send_raw(frame(to_agent.SerializeToString()))

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(self.goodbye)
        self.buffer += data

    def receive(self):
        """The next FromAgent message."""
        while True:
            length = shift = 0
            for i, byte in enumerate(self.buffer[:5]):
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    if len(self.buffer) - i - 1 < length:
                        break
                    body = self.buffer[i + 1 : i + 1 + length]
                    self.buffer = self.buffer[i + 1 + length :]
                    out = pb.FromAgent()
                    out.ParseFromString(body)
                    if out.HasField("goodbye"):
                        self.goodbye = out.goodbye
                    return out
            self.fill()

    def hello(self, major=1, minor=0, **fields):
        self.send(pb.ToAgent(hello=pb.Hello(major=major, minor=minor, client="tests", **fields)))
        out = self.receive()
        if out.HasField("goodbye"):
            raise Closed(out.goodbye)
        return out.hello_reply

    def start(self, method, request=None, timeout_ms=0, id=None, **fields):
        if id is None:
            self.next_id += 1
            id = self.next_id
        if request is None:
            request = message(method, "Request")(**fields).SerializeToString()
        elif not isinstance(request, bytes):
            request = request.SerializeToString()
        self.send(pb.ToAgent(request=pb.Request(id=id, method=method, params=request, timeout_ms=timeout_ms)))
        return id

    def cancel(self, id):
        self.send(pb.ToAgent(cancel=pb.Cancel(id=id)))

    def dispatch(self):
        """Receives one message and files it."""
        out = self.receive()
        if out.HasField("response"):
            self.responses.append(out.response)
        elif out.HasField("notification"):
            self.notifications.append(out.notification)
        elif out.HasField("channel"):
            self.rides.setdefault(out.channel.channel, []).append(out.channel)
        elif out.HasField("goodbye"):
            raise Closed(out.goodbye)

    def take_response(self, id):
        while True:
            for i, response in enumerate(self.responses):
                if response.id == id:
                    return self.responses.pop(i)
            self.dispatch()

    def finish(self, id, method):
        """All parts of an answer, merged."""
        reply = message(method, "Reply")()
        while True:
            response = self.take_response(id)
            if response.HasField("error"):
                raise Failed(response.error)
            reply.MergeFromString(response.result)
            if not response.more:
                return reply

    def call(self, method, **fields):
        timeout_ms = fields.pop("timeout_ms", 0)
        return self.finish(self.start(method, timeout_ms=timeout_ms, **fields), method)

    def notification(self, topic=None, timeout=20):
        """The next notification (of the topic), with its payload decoded."""
        self.sock.settimeout(timeout)
        end = time.monotonic() + timeout
        while True:
            for i, got in enumerate(self.notifications):
                if topic is None or got.topic == topic:
                    self.notifications.pop(i)
                    body = payload(got.topic)()
                    body.ParseFromString(got.payload)
                    return got, body
            if time.monotonic() > end:
                raise TimeoutError(topic)
            self.dispatch()
