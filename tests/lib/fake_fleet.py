# SPDX-License-Identifier: LGPL-2.1-or-later
"""As many guests as a client wants, behind one hybrid socket: the agents only talk."""

import asyncio
import contextlib
import threading

from wire import frame, message, pb


def varint_frame(data):
    """(the first frame's body, the rest), or None while it is not whole."""
    length = shift = 0
    for at, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = at + 1 + length
            return (data[at + 1:end], data[end:]) if len(data) >= end else None
    return None


class Fleet:
    def __init__(self, path):
        self.path = path
        self.most = self.now = self.requests = 0

    async def serve(self, reader, writer):
        self.now += 1
        self.most = max(self.most, self.now)
        with contextlib.suppress(ConnectionError):
            line = await reader.readline()
            assert line == b"CONNECT 767\n", line
            writer.write(b"OK 1073741824\n")
            data = b""
            while more := await reader.read(65536):
                data += more
                while found := varint_frame(data):
                    body, data = found
                    writer.write(frame(self.answer(pb.ToAgent.FromString(body)).SerializeToString()))
        writer.close()
        self.now -= 1

    def answer(self, said):
        if said.HasField("hello"):
            return pb.FromAgent(hello_reply=pb.HelloReply(
                major=1, minor=0, agent_version="1", identity="host", boot_id=bytes(16), max_frame=1 << 20))
        self.requests += 1
        reply = message(said.request.method, "Reply")(load1=0.5, time_ns=self.requests)
        return pb.FromAgent(response=pb.Response(id=said.request.id, result=reply.SerializeToString()))


@contextlib.contextmanager
def fleet(path):
    """Serves the socket in a thread of its own."""
    guests, loop = Fleet(path), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_unix_server(guests.serve, path, backlog=1024))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end():
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    try:
        yield guests
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
