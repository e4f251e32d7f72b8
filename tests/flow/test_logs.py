# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern logs: this machine's kernel through a real agent, and a guest that means harm."""

import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from agent import Agent
from fake_agent import DANGEROUS, NASTY, FakeAgent
from jobs import eventually, open_channel, read_all
from machine import ABSENT, ANSWERED, DONE, PROTOCOL, REFUSED, USAGE
from wire import BUILD, Failed, frame, message, messages_of, varint

POSTERN = os.path.join(BUILD, "postern")
pb = messages_of("logs")


def records(data):
    """The records of a channel."""
    out = []
    while data:
        length = shift = at = 0
        while True:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80:
                break
        assert len(data) >= at + length
        record = pb.LogRecord()
        record.ParseFromString(data[at:at + length])
        out.append(record)
        data = data[at + length:]
    return out


def read_with_reply(agent, client, **fields):
    """All entries, as the end counts them, and the answer that came first."""
    reply = client.call("logs.read", **fields)
    with open_channel(agent.socket, reply.channel) as sock:
        *entries, end = records(read_all(sock))
    assert end.HasField("end") and end.end.entries == len(entries)
    return reply, [record.entry for record in entries]


def read(agent, client, **fields):
    return read_with_reply(agent, client, **fields)[1]


def ours(tag, *texts):
    """Lines of a program in the kernel's log, as any process that may writes them."""
    for text in texts:
        with open("/dev/kmsg", "wb", buffering=0) as kmsg:
            kmsg.write(b"<30>%s[7]: %s\n" % (tag.encode(), text.encode()))


@pytest.fixture
def tag(request):
    """A name that no other line has."""
    return f"postern-test-{os.getpid()}-{time.monotonic_ns()}"


def test_the_kernel_says(agent, client):
    reply, entries = read_with_reply(agent, client, sources=["KERNEL"])
    assert list(reply.sources) == [pb.KERNEL] and not reply.HasField("note")
    assert reply.hostname.decode() == socket.gethostname()
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip().replace("-", "")
    assert reply.boot_id.hex() == boot
    for entry in entries:
        assert entry.source == pb.KERNEL and entry.priority <= 7 and not entry.HasField("boot_id")
    now = time.time() * 1e6
    assert all(entry.realtime_us < now + 1e6 for entry in entries)


def test_lines_of_a_program(agent, client, tag):
    ours(tag, "one", "two", "three\tand\x01")
    entries = read(agent, client, identifiers=[tag.encode()])
    assert [e.message for e in entries] == [b"one", b"two", b"three\tand\x01"]
    assert {(e.priority, e.facility, e.pid) for e in entries} == {(6, 3, 7)}
    assert abs(entries[-1].realtime_us / 1e6 - time.time()) < 60
    # The last of those that pass, and what is behind one of them.
    assert [e.message for e in read(agent, client, identifiers=[tag.encode()], lines=2)] == [b"two", entries[2].message]
    assert not read(agent, client, identifiers=[tag.encode()], lines=0)
    behind = read(agent, client, identifiers=[tag.encode()], cursor=entries[0].cursor)
    assert [e.message for e in behind] == [b"two", entries[2].message]
    assert [e.message for e in read(agent, client, identifiers=[tag.encode()], text=b"Tw")] == []
    assert [e.message for e in read(agent, client, identifiers=[tag.encode()], text=b"tw")] == [b"two"]
    assert not read(agent, client, identifiers=[tag.encode()], priority=5)
    assert not read(agent, client, identifiers=[tag.encode()], until_us=entries[0].realtime_us - 60_000_000)


def test_following_sees_what_comes(agent, client, tag):
    ours(tag, "before")
    reply = client.call("logs.read", follow=True, identifiers=[tag.encode()])
    assert reply.cursor
    with open_channel(agent.socket, reply.channel) as sock:
        assert [r.entry.message for r in records(sock.recv(65536))] == [b"before"]
        for text in ("a", "b"):
            ours(tag, text)
            assert [r.entry.message for r in records(sock.recv(65536))] == [text.encode()]
        listed = {c.number: c for c in client.call("channels.list").channels}
        assert listed[reply.channel.number].method == "logs.read"
        # Its worker does nothing while nothing comes.
        pid = reader(agent)
        before = ticks(pid)
        time.sleep(0.5)
        assert ticks(pid) == before
    # Who leaves ends it.
    assert eventually(lambda: pid not in agent.children())


def reader(agent):
    """The agent's process that has the kernel's log open, or None; one that nobody came to has it for 10 s."""
    for pid, name in agent.children().items():
        with contextlib.suppress(OSError):
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/kmsg" for fd in os.listdir(f"/proc/{pid}/fd")):
                return pid
    return None


def ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[11:13]


def capabilities(pid):
    with open(f"/proc/{pid}/status") as file:
        lines = dict(line.split(":\t") for line in file.read().splitlines() if ":\t" in line)
    return int(lines["CapPrm"], 16), int(lines["CapEff"], 16)


def test_the_right_to_open_the_log_is_given_up(agent, client, tag):
    reply = client.call("logs.read", follow=True, identifiers=[tag.encode()])
    with open_channel(agent.socket, reply.channel):
        pid = reader(agent)
        # CAP_DAC_READ_SEARCH, for the journal's files.
        assert capabilities(pid) == (1 << 2, 1 << 2)
    assert eventually(lambda: pid not in agent.children())


def test_a_channel_that_is_cut(agent, client, tag):
    reply = client.call("logs.read", follow=True, identifiers=[tag.encode()])
    with open_channel(agent.socket, reply.channel) as sock:
        client.call("channels.kill", number=reply.channel.number)
        assert read_all(sock) == b""


def test_who_says_something_on_the_channel_ends_it(agent, client, tag):
    reply = client.call("logs.read", follow=True, identifiers=[tag.encode()])
    with open_channel(agent.socket, reply.channel) as sock:
        sock.sendall(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""
    assert eventually(lambda: not reader(agent))


BAD = {
    "sources": dict(sources=[0]),
    "lines": dict(lines=100001),
    "priority": dict(priority=8),
    "boot": dict(boot=1),
    "boot and all": dict(boot=-1, all_boots=True),
    "cursor": dict(cursor="nonsense"),
    "cursor and lines": dict(cursor=f"{'0' * 32}:1:2::", lines=1),
    "follow and boot": dict(follow=True, boot=-1),
    "follow and until": dict(follow=True, until_us=1),
    "unit": dict(units=[""]),
    "unit of the kernel": dict(units=["a"], sources=[1]),
    "units": dict(units=["a"] * 65),
    "long unit": dict(units=["a" * 256]),
    "identifier": dict(identifiers=[b""]),
    "text": dict(text=b"a" * 1025),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests(client, name):
    with pytest.raises(Failed) as failed:
        client.call("logs.read", **BAD[name])
    assert failed.value.code == "INVALID_ARGUMENT", failed.value


def test_a_source_that_is_not_there_is_an_error_where_it_is_asked_for(agent, client):
    """Whether it is there is this machine's."""
    if glob.glob("/run/log/journal/*/*.journal") + glob.glob("/var/log/journal/*/*.journal"):
        reply, _ = read_with_reply(agent, client, lines=0)
        assert list(reply.sources) == [pb.KERNEL, pb.JOURNAL] and not reply.HasField("note")
        return
    with pytest.raises(Failed) as failed:
        client.call("logs.read", sources=["JOURNAL"])
    assert (failed.value.code, failed.value.message) == ("UNIMPLEMENTED", "this guest has no journal")
    note = read_with_reply(agent, client, lines=0)[0].note
    assert note == "this guest has no journal: only its kernel's log is read"


def test_nothing_is_said_of_a_journal_that_was_not_asked_for(agent, client):
    cursor = read(agent, client, sources=["KERNEL"], lines=2)[0].cursor
    reply, entries = read_with_reply(agent, client, sources=["KERNEL"], cursor=cursor)
    assert not reply.HasField("note") and len(entries) >= 1


def test_a_reading_goes_on_where_it_was_to_begin(agent, client, tag):
    """Who is cut before anything came has the answer's cursor."""
    ours(tag, "before")
    reply = client.call("logs.read", follow=True, lines=0, identifiers=[tag.encode()])
    open_channel(agent.socket, reply.channel).close()
    ours(tag, "meanwhile")
    assert [e.message for e in read(agent, client, identifiers=[tag.encode()], cursor=reply.cursor)] == [b"meanwhile"]


def test_the_policy_decides():
    with Agent(policy="allow local:0 *\ndeny local:0 logs.*\n") as agent, agent.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("logs.read")
        assert failed.value.code == "PERMISSION_DENIED"
        done = subprocess.run([POSTERN, "logs", f"local:{agent.socket}"], capture_output=True, text=True)
        assert done.returncode == REFUSED and done.stdout == ""


# ---- the command ----


def logs(address, *words, code=DONE, **options):
    done = subprocess.run([POSTERN, "logs", address, *words], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, TZ="UTC"), **options)
    assert done.returncode == code, done
    return done.stdout


def test_the_command_shows_lines(agent, tag):
    ours(tag, "hello \x1b[31m\\ there")
    address = f"local:{agent.socket}"
    host = socket.gethostname()
    line = logs(address, "-t", tag)
    stamp = time.strftime("%b %d %H:", time.gmtime())
    assert line.startswith(stamp) or time.gmtime().tm_min == 0
    assert line[15:] == f" {host} {tag}[7]: hello \\x1b[31m\\\\ there\n"
    iso = logs(address, "-t", tag, "-o", "iso")
    time.strptime(iso.split()[0], "%Y-%m-%dT%H:%M:%S%z")
    entry = json.loads(logs(address, "-t", tag, "--json"))
    assert entry["message"] == "hello \x1b[31m\\ there" and entry["source"] == "KERNEL"
    assert json.loads(logs(address, "-t", tag, "-o", "json"))["message"] == entry["message"]
    assert logs(address, "-t", tag, "--after", entry["cursor"]) == ""
    assert logs(address, "-t", tag, "-S", "-1h", "-p", "info", "-g", "HELLO") == ""
    assert logs(address, "-t", tag, "-S", "-1h", "-p", "info", "-g", "hello", "-n", "5") != ""
    assert logs(address, "-t", tag, "-U", "-1h") == ""


@pytest.mark.parametrize("words", [["-p", "8"], ["-n", "x"], ["-n", "100001"], ["-S", "soon"], ["-o", "xml"], ["-b", "2"],
                                   ["-b", "x"]])
def test_bad_words(agent, words):
    logs(f"local:{agent.socket}", *words, code=USAGE)


@contextlib.contextmanager
def following(agent, tag):
    """The command, once the agent reads for it."""
    with subprocess.Popen([POSTERN, "logs", f"local:{agent.socket}", "-f", "-t", tag], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            assert eventually(lambda: reader(agent))
            yield process
        finally:
            process.kill()


def test_following_with_the_command(agent, tag):
    with following(agent, tag) as process:
        ours(tag, "now")
        assert process.stdout.readline().endswith(f"{tag}[7]: now\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


def test_an_agent_that_ends_is_not_waited_for_at_an_address(tag):
    with Agent() as agent:
        with following(agent, tag) as process:
            ours(tag, "last")
            assert process.stdout.readline()
            agent.stop()
            _, errors = process.communicate(timeout=20)
            assert process.returncode == ABSENT and "the log was cut" in errors


def test_nobody_reads_it(agent):
    """As with head(1)."""
    with subprocess.Popen([POSTERN, "logs", f"local:{agent.socket}"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(20) == ANSWERED


def test_nobody_reads_it_any_more_while_nothing_comes(agent, tag):
    with following(agent, tag) as process:
        process.stdout.close()
        assert process.wait(20) == ANSWERED


# ---- a guest that means harm ----


def entry(**fields):
    return frame(pb.LogRecord(entry=pb.LogEntry(**fields)).SerializeToString())


END = frame(pb.LogRecord(end=pb.LogEnd(entries=1)).SerializeToString())


def hostile(data, *words, code=DONE, **reply):
    """The command's answer to an agent that sends this on its channel."""
    def answer(peer, request):
        out = message(request.method, "Reply")(**reply)
        out.channel.number = 1
        out.channel.token = bytes(16)
        peer.reply(request, out)

    with FakeAgent(answer=answer, channel=lambda sock: sock.sendall(data)) as guest:
        done = subprocess.run([POSTERN, "logs", guest.address, *words], capture_output=True, timeout=60)
    assert done.returncode == code, done
    return done.stdout.decode(), done.stderr.decode()


def test_nothing_moves_the_cursor():
    nasty = NASTY.encode()
    data = entry(source=1, realtime_us=1, priority=3, identifier=nasty, unit=nasty, message=nasty + b"\n" + nasty,
                 cursor=NASTY, boot_id=nasty, cut=True)
    data += frame(pb.LogRecord(gap=pb.LogGap(source=1, missed=7, message=NASTY)).SerializeToString()) + END
    for words in ([], ["-o", "iso"]):
        out, errors = hostile(data, *words, hostname=nasty, note=NASTY, boot_id=b"x", cursor=NASTY)
        assert not DANGEROUS.search(out + errors), (out, errors)
        assert "[cut]" in out and "7 missed" in errors
        # Each line of it has a head.
        assert len({line.split("]: ")[0].split(": ")[0] for line in out.splitlines()}) == 1


@pytest.mark.parametrize("time_us", [0, -1, 1 << 62, -(1 << 62), (1 << 63) - 1, -(1 << 63)])
def test_times_from_nowhere(time_us):
    out, _ = hostile(entry(realtime_us=time_us, message=b"text") + END)
    assert out.endswith(" guest unknown: text\n")


def test_an_entry_without_anything():
    out, _ = hostile(entry() + END)
    assert out.endswith(" guest unknown: \n")
    out, _ = hostile(entry() + END, "--json")
    assert json.loads(out) == {}


def test_boots_are_told_apart():
    data = (entry(message=b"old", boot_id=b"\x01" * 16) + entry(message=b"new") + entry(message=b"odd", boot_id=b"short")
            + END)
    out, _ = hostile(data, boot_id=b"\x02" * 16)
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines] == ["old", "--", "new", "odd"]
    assert lines[1] == f"-- Boot {'02' * 16} --"


BROKEN = {
    "nothing": (b"", ABSENT),
    "no end": (entry(message=b"x"), ABSENT),
    "cut": (entry(message=b"x") + END[:1], ABSENT),
    "too long": (varint(32769) + b"x", PROTOCOL),
    "no length": (b"\0", PROTOCOL),
    "endless length": (b"\xff" * 6, PROTOCOL),
    "no record": (frame(b"\xff\xff"), PROTOCOL),
    "another kind": (frame(b"\x7a\x00"), PROTOCOL),
    "message of another type": (frame(b"\x08\x01"), PROTOCOL),
    "a word that is no text": (frame(b"\x0a\x03\x62\x01\xff"), PROTOCOL),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_records(name):
    data, code = BROKEN[name]
    _, errors = hostile(data, code=code)
    assert errors.startswith("postern: ")


def test_a_guest_that_lets_us_wait_and_grants_nothing():
    def answer(peer, request):
        peer.reply(request, message(request.method, "Reply")())

    with FakeAgent(answer=answer) as guest:
        logs(guest.address, code=PROTOCOL)
