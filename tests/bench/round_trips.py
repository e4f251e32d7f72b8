# SPDX-License-Identifier: LGPL-2.1-or-later
"""Round trips of two or more programs in turn, each on one connection of its own."""

import json
import statistics
import subprocess

import guest
import wire

PAYLOAD = b"0123456789abcdef" * 4


class Loop:
    """One compared program: what is sent to it, and what its answers must be."""

    def __init__(self, name, port, mode, request, prelude=b"", undo=b"", check=None):
        self.name = name
        self.words = [str(port), mode, prelude.hex() or "-", request.hex()]
        self.words += [undo.hex()] if undo else []
        self.check = check

    def start(self, uds):
        self.process = subprocess.Popen([f"{guest.BENCH}/roundtrip", uds, *self.words],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def turn(self, count):
        """The times of so many round trips, in microseconds."""
        self.process.stdin.write(b"%d\n" % count)
        self.process.stdin.flush()
        times = [float(word) for word in self.process.stdout.readline().split()]
        assert len(times) == count, f"{self.name}: {len(times)} of {count} round trips"
        return times

    def finish(self):
        answers, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.name
        self.check(answers)


def compare(results, uds, programs, turns, trips):
    """One round: the p50 of each program, whose connections are open side by side. They take turns of a
    few trips, in either order, so that whatever else the machine does hits all of them."""
    times = {program: [] for program in programs}
    for program in programs:
        program.start(uds)
        program.turn(trips)  # warms up
    for number in range(turns):
        for program in programs if number % 2 == 0 else programs[::-1]:
            times[program] += program.turn(trips)
    for program in programs:
        program.finish()
        results.add(program.name, statistics.median(times[program]))


def frames(data):
    """The FromAgent messages of a stream, which must end with one."""
    while data:
        length = shift = at = 0
        while True:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if byte < 0x80:
                break
        assert len(data) >= at + length, "a frame is cut"
        yield wire.pb.FromAgent.FromString(data[at:at + length])
        data = data[at + length:]


def check_frames(data):
    seen = 0
    for message in frames(data):
        response = message.response
        assert response.id == 1 and response.WhichOneof("outcome") == "result" and not response.more, message
        seen += 1
    assert seen


def check_lines(data):
    lines = data.splitlines()
    assert lines and all("return" in json.loads(line) for line in lines), lines[:1]


def check_echo(data):
    assert data and data == PAYLOAD * (len(data) // len(PAYLOAD))


def request(method, **fields):
    params = wire.message(method, "Request")(**fields).SerializeToString()
    to_agent = wire.pb.ToAgent(request=wire.pb.Request(id=1, method=method, params=params))
    return wire.frame(to_agent.SerializeToString())


def qga(command, **arguments):
    """Padded to the payload's size: white space is JSON's own."""
    words = {"execute": command, **({"arguments": arguments} if arguments else {})}
    return json.dumps(words).encode().ljust(len(PAYLOAD) - 1) + b"\n"


def agent():
    """What every Loop of a method has."""
    hello = wire.frame(wire.pb.ToAgent(hello=wire.pb.Hello(major=1, client="bench")).SerializeToString())
    return dict(port=767, mode="frame", prelude=hello, check=check_frames)


def daemon():
    """What every Loop of a command of qemu-ga has."""
    return dict(port=guest.QGA_PORT, mode="line", check=check_lines)
