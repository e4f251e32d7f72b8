# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a host meets that believes it talks to an agent: the answers are the test's own."""

import re
import shutil
import socket
import tempfile
import threading

from wire import Client, Closed, frame, message, pb

# Each of these would do something to a terminal: titles, cursor, colours, another direction, no width.
NASTY = "a\x1b]0;title\x07\x1b[31m\x9b2J\x7f\u202e\u2066\u200b\r\nb"

# Control characters but the newline, C1, and what changes direction or hides.
DANGEROUS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def fill(proto, text=NASTY, depth=0):
    """The message with every field set: numbers 7, each text the nasty one, lists of two."""
    for field in proto.DESCRIPTOR.fields:
        if depth > 4 or (field.containing_oneof and proto.WhichOneof(field.containing_oneof.name)):
            continue
        many = field.label == field.LABEL_REPEATED
        if field.message_type:
            for _ in range(2 if many else 1):
                fill(getattr(proto, field.name).add() if many else getattr(proto, field.name), text, depth + 1)
            continue
        if field.enum_type:
            value = field.enum_type.values[-1].number
        elif field.type == field.TYPE_STRING:
            value = text
        elif field.type == field.TYPE_BYTES:
            value = text.encode()
        else:
            value = field.type == field.TYPE_BOOL or 7
        if many:
            getattr(proto, field.name).extend([value, value])
        else:
            setattr(proto, field.name, value)
    return proto


class Peer(Client):
    """The agent's end of a connection."""

    def __init__(self, sock):
        super().__init__(sock, hello=False, timeout=10)

    def take(self):
        """The next ToAgent; Closed at the end."""
        while True:
            length = self.buffer[0] if self.buffer else 0
            if self.buffer and length < 0x80 and len(self.buffer) > length:
                head = 1
            elif len(self.buffer) > 1 and length >= 0x80 and len(self.buffer) > (
                    length := length & 0x7F | self.buffer[1] << 7) + 1:
                head = 2
            else:
                self.fill()
                continue
            out = pb.ToAgent()
            out.ParseFromString(self.buffer[head:head + length])
            self.buffer = self.buffer[head + length:]
            return out

    def say(self, **kind):
        self.send_raw(frame(pb.FromAgent(**kind).SerializeToString()))

    def reply(self, request, result, more=False):
        body = result if isinstance(result, bytes) else result.SerializeToString()
        self.say(response=pb.Response(id=request.id, result=body, more=more))


class FakeAgent:
    """Listens where `local:PATH` says, or with hybrid at `unix:PATH`, port 767. answer(peer, request) is called for each request; without one every
    reply is full of what a terminal must not see. channel(sock) gets the socket of each channel that was
    granted (see grant), after its welcome; welcome(sock) instead gets it before. path: where the agent was whose
    place it takes."""

    def __init__(self, answer=None, hello=None, channel=None, hybrid=False, path=None, welcome=None):
        self.hybrid = hybrid
        self.answer = answer or self.answer_nasty
        self.channel = channel
        self.welcome = welcome
        self.hello = hello or self.say_hello
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self.path = path or f"{self.dir}/agent.sock"
        self.address = f"{'unix' if hybrid else 'local'}:{self.path}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def say_hello(peer):
        peer.say(hello_reply=pb.HelloReply(major=1, minor=0, agent_version=NASTY, identity=NASTY,
                                           boot_id=bytes(16), max_frame=1 << 20))

    @staticmethod
    def answer_nasty(peer, request):
        peer.reply(request, fill(message(request.method, "Reply")()))

    def talk(self, peer):
        if not peer.take().HasField("hello"):
            return
        self.hello(peer)
        while True:
            out = peer.take()
            if out.HasField("request"):
                self.answer(peer, out.request)

    @staticmethod
    def grant(peer, request):
        """Answers with a channel."""
        reply = message(request.method, "Reply")()
        reply.channel.number = 1
        reply.channel.token = bytes(16)
        peer.reply(request, reply)

    def serve_one(self, sock):
        if self.hybrid:
            assert sock.recv(12, socket.MSG_WAITALL) == b"CONNECT 767\n"
            sock.sendall(b"OK 1\n")
        try:
            if (self.channel or self.welcome) and sock.recv(1, socket.MSG_PEEK) == b"\0":
                with sock:
                    sock.recv(20, socket.MSG_WAITALL)
                    if self.welcome:
                        self.welcome(sock)
                        return
                    sock.sendall(b"\1")
                    self.channel(sock)
                return
            with Peer(sock) as peer:
                self.talk(peer)
        except (Closed, OSError):
            pass

    def serve(self):
        open_now = []
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                break
            open_now.append(threading.Thread(target=self.serve_one, args=(sock,), daemon=True))
            open_now[-1].start()
        for thread in open_now:
            thread.join(15)
            assert not thread.is_alive()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(30)
        shutil.rmtree(self.dir)
        assert not self.thread.is_alive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
