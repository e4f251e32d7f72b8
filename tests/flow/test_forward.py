# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern forward: sockets of a guest and of the host, joined both ways. Guest and host are one machine here."""

import hashlib
import json
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from fake_agent import FakeAgent
from jobs import eventually, open_channel, read_all
import wire
from wire import BUILD, Failed, messages_of

POSTERN = os.path.join(BUILD, "postern")
ALLOW = "allow local:0 *\n"
forward_pb = messages_of("forward")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW) as running:
        yield running
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


class Server:
    """Each connection to it goes to a function, on a thread."""

    def __init__(self, sock, serve):
        self.sock = sock
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn):
        with conn:
            try:
                self.serve(conn)
            except OSError:
                pass


def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.shutdown(socket.SHUT_WR)


@pytest.fixture
def serve():
    """A server on a free TCP port, or a path: serve(function) -> port."""
    opened = []

    def serve(function=echo, path=None, family=socket.AF_INET):
        if path:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
            sock.listen()
        else:
            sock = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        opened.append(sock)
        Server(sock, function)
        return path or sock.getsockname()[1]

    yield serve
    for sock in opened:
        sock.close()


class Forward:
    """postern forward, once it listens."""

    def __init__(self, agent, *specs):
        self.process = subprocess.Popen([POSTERN, "forward", f"local:{agent.socket}", "--json", *specs],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.listening = []
        while len(self.listening) < len(specs):
            event = self.next()
            assert event["event"] == "listening", event
            self.listening.append(event)

    def next(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def expect(self, name):
        while (event := self.next())["event"] != name:
            pass
        return event

    def port(self, i=0):
        return int(self.listening[i]["from"].rsplit(":", 1)[1])

    def connect(self, i=0):
        at = self.listening[i]["from"]
        if at.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            sock.connect(at[5:])
            return sock
        host = "::1" if "[::1]" in at else "127.0.0.1"
        return socket.create_connection((host, self.port(i)), timeout=20)

    def counts(self, i=0):
        self.process.send_signal(signal.SIGUSR1)
        return self.expect("counts")["forwards"][i]

    def end(self):
        self.process.terminate()
        event = self.expect("counts")
        assert self.process.wait(20) == 0
        return event["forwards"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def forward(agent):
    started = []

    def forward(*specs, agent=agent):
        started.append(Forward(agent, *specs))
        return started[-1]

    yield forward
    for one in started:
        one.close()


def run(agent, *words):
    return subprocess.run([POSTERN, "forward", f"local:{agent.socket}", *words], capture_output=True, timeout=30,
                          text=True)


def test_the_shipped_policy_denies():
    with Agent(policy=DEFAULT_POLICY) as agent:
        done = run(agent, "8080:80")
        assert done.returncode == 3 and "no rule" in done.stderr, done
        with agent.client() as client, pytest.raises(Failed) as failed:
            client.call("forward.open", connect=[{"transport": "FORWARD_TCP", "port": 80}])
        assert failed.value.code == "PERMISSION_DENIED"


@pytest.mark.parametrize("specs", ["tcp:0=tcp:{port}", "guest:tcp:0=tcp:{port}", "tcp:[::1]:0=tcp:127.0.0.1:{port}",
                                   "guest:tcp:[::1]:0=tcp:localhost:{port}", "unix:{dir}/a=tcp:{port}",
                                   "guest:unix:{dir}/b=tcp:{port}", "tcp:0=unix:{path}", "guest:tcp:0=unix:{path}",
                                   "unix:{dir}/c=unix:{path}"])
def test_bytes_and_ends_both_ways(forward, serve, tmp_path, specs):
    port, path = serve(), serve(path=f"{tmp_path}/echo")
    one = forward(specs.format(port=port, path=path, dir=tmp_path))
    data = os.urandom(3 << 20)
    with one.connect() as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        got = read_all(sock)
        sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    counts, = one.end()
    assert counts["connections"] == 1 and counts["open"] == counts["failed"] == 0
    assert counts["to_guest"] == counts["from_guest"] == len(data)


@pytest.mark.parametrize("first", ["client", "server"])
def test_one_half_goes_on_when_the_other_has_ended(forward, serve, first):
    def half(conn):
        if first == "server":
            conn.sendall(b"last words")
            conn.shutdown(socket.SHUT_WR)
            said.append(read_all(conn))
        else:
            said.append(read_all(conn))
            conn.sendall(b"last words")

    said = []
    one = forward(f"tcp:0=tcp:{serve(half)}")
    with one.connect() as sock:
        if first == "server":
            assert read_all(sock) == b"last words"
            time.sleep(0.2)
        sock.sendall(b"mine")
        sock.shutdown(socket.SHUT_WR)
        assert first == "server" or read_all(sock) == b"last words"
        eventually(lambda: said == [b"mine"])
    eventually(lambda: one.counts()["open"] == 0)


def test_a_broken_connection_is_no_clean_end(forward, serve):
    def breaks(conn):
        conn.sendall(b"some")
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    one = forward(f"tcp:0=tcp:{serve(breaks)}")
    with one.connect() as sock:
        assert sock.recv(10) == b"some"
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            while sock.recv(10):
                pass
    eventually(lambda: one.counts()["open"] == 0)


def refused(one):
    """As early as in connecting, when we are slow."""
    try:
        with one.connect() as sock:
            return sock.recv(10) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("spec", ["tcp:0=tcp:{port}", "guest:tcp:0=tcp:{port}"])
def test_nobody_at_the_other_end(forward, spec):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    one = forward(spec.format(port=port))
    assert refused(one)
    eventually(lambda: one.counts()["failed"] == 1)
    assert one.counts()["open"] == 0
    assert one.process.poll() is None


def test_a_dead_target_is_told(forward, tmp_path):
    one = forward(f"tcp:0=unix:{tmp_path}/nobody")
    assert refused(one)
    event = one.expect("failed")
    assert event["sys_errno"] == 2 and event["to"] == f"unix:{tmp_path}/nobody"


@pytest.mark.parametrize("spec", ["udp:0=udp:{port}", "guest:udp:0=udp:{port}"])
def test_datagrams(forward, spec):
    """Their bounds stay, and answers go to whom they are for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        one = forward(spec.format(port=server.getsockname()[1]))
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        sizes = [0, 1, 1400, 60000]
        for i, client in enumerate(clients):
            client.settimeout(20)
            client.connect(("127.0.0.1", one.port()))
            for size in sizes:
                client.send(bytes([i]) * size)
                data, peer = server.recvfrom(65536)
                assert data == bytes([i]) * size
                server.sendto(b"re" + data[:100], peer)
                assert client.recv(65536) == b"re" + data[:100]
        # Each is a peer of its own there too.
        assert one.counts()["connections"] == 3 and one.counts()["open"] == 3
        for client in clients:
            client.close()
    counts, = one.end()
    assert {counts["to_guest"], counts["from_guest"]} == {3 * sum(sizes), 3 * (4 * 2 + 0 + 1 + 100 + 100)}


def test_many_connections_at_once(forward, serve):
    one = forward(f"tcp:0=tcp:{serve()}", f"guest:tcp:0=tcp:{serve()}")
    socks = [one.connect(i % 2) for i in range(80)]
    for i, sock in enumerate(socks):
        sock.sendall(b"%d" % i)
    for i, sock in enumerate(socks):
        assert sock.recv(10) == b"%d" % i
        sock.close()
    eventually(lambda: one.counts(0)["open"] + one.counts(1)["open"] == 0)


def test_more_than_there_may_be(forward, serve):
    """Each gets its answer or its refusal, and there is room again for those who come later."""
    one = forward(f"tcp:0=tcp:{serve()}")
    socks = []
    served = refused = 0
    for _ in range(130):
        try:
            socks.append(one.connect())
        except ConnectionResetError:
            refused += 1
    for sock in socks:
        try:
            sock.sendall(b"x")
            got = sock.recv(1)
        except ConnectionError:
            got = b""
        served += got == b"x"
        refused += got == b""
    assert served + refused == 130 and 80 <= served < 130, served
    for sock in socks:
        sock.close()
    eventually(lambda: one.counts()["open"] == 0)
    with one.connect() as sock:
        sock.sendall(b"again")
        assert sock.recv(10) == b"again"


def test_who_does_not_read_holds_up_only_himself(forward, serve):
    one = forward(f"tcp:0=tcp:{serve()}")
    with one.connect() as stuck, one.connect() as other:
        stuck.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                stuck.sendall(bytes(1 << 20))
        other.sendall(b"quick")
        assert other.recv(10) == b"quick"
        with open(f"/proc/{one.process.pid}/status") as file:
            rss, = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
        with open(f"/proc/{one.process.pid}/maps") as file:
            sanitized = "libasan" in file.read()
        assert rss < 12 << 10 or sanitized, rss


def test_channels_are_listed_and_can_be_cut(agent, client, forward, serve):
    one = forward(f"tcp:0=tcp:{serve()}")
    with one.connect() as sock:
        sock.sendall(b"x" * 1000)
        got = 0
        while got < 1000:
            got += len(sock.recv(1000))

        def mine():
            channels = [c for c in client.call("channels.list").channels if c.method == "forward.open" and c.open]
            return channels[1] if len(channels) == 2 and channels[1].to_caller == 1000 else None

        channel = eventually(mine)
        assert channel.from_caller == 1000
        client.call("channels.kill", number=channel.number)
        assert sock.recv(1) == b""
    with one.connect() as sock:
        sock.sendall(b"y")
        assert sock.recv(1) == b"y"


def test_the_first_channels_end_is_the_end_of_all(agent, client, forward, serve):
    before = agent.children()
    one = forward(f"guest:tcp:0=tcp:{serve()}")
    sock = one.connect()
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    one.process.kill()
    with sock:
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
    eventually(lambda: not [pid for pid, name in agent.children().items()
                            if name == "postern-worker" and pid not in before and busy(pid)])
    eventually(lambda: nobody_listens(one))


def nobody_listens(one):
    try:
        one.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def busy(pid):
    """A worker that serves: it has more open than a spare."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd")) > 6
    except FileNotFoundError:
        return False


def test_an_agent_that_comes_back(serve, forward):
    port = serve()
    with Agent(policy=ALLOW) as agent:
        one = forward(f"tcp:0=tcp:{port}", f"guest:unix:{agent.dir}/g=tcp:{port}", agent=agent)
        with one.connect() as sock:
            sock.sendall(b"1")
            assert sock.recv(1) == b"1"
            agent.process.kill()
            agent.process.wait()
            # Not as if the server had ended it.
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        one.expect("lost")
        with one.connect() as early:
            early.sendall(b"2")
            agent.start()
            one.expect("again")
            assert early.recv(1) == b"2"
        # The file from before is replaced.
        with one.connect(1) as sock:
            sock.sendall(b"3")
            assert sock.recv(1) == b"3"
        agent.stop()
        one.expect("lost")
        one.process.terminate()
        assert one.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("reached", ["nothing", "hello", "channel"])
def test_a_signal_while_the_agent_does_not_come_back(serve, forward, reached, number):
    """However far it gets with an agent that then says no more."""
    waits = threading.Event()

    def hello(peer):
        if reached == "nothing":
            waits.set()
        else:
            FakeAgent.say_hello(peer)

    def answer(peer, request):
        if reached == "hello":
            waits.set()
        else:
            FakeAgent.grant(peer, request)

    with Agent(policy=ALLOW) as agent:
        one = forward(f"tcp:0=tcp:{serve()}", f"unix:{agent.dir}/here=tcp:{serve()}", agent=agent)
        agent.stop()
        one.expect("lost")
        with FakeAgent(answer, hello=hello, path=agent.socket, welcome=lambda sock: waits.set() or sock.recv(1)):
            assert waits.wait(20)
            began = time.monotonic()
            one.process.send_signal(number)
            assert one.process.wait(20) == 0 and time.monotonic() - began < 0.5
        assert one.expect("counts") and not os.path.exists(f"{agent.dir}/here")


@pytest.mark.parametrize("side", ["", "guest:"])
def test_a_place_that_is_taken(agent, serve, tmp_path, side):
    port, path = serve(), serve(path=f"{tmp_path}/taken")
    for taken in f"tcp:{port}", f"unix:{path}":
        done = run(agent, f"{side}{taken}=tcp:80")
        assert done.returncode in (1, 3) and "Address already in use" in done.stderr, done
    assert os.path.exists(path)


def test_socket_files(agent, forward, serve, tmp_path):
    """Nobody else's, not left behind, not where a link leads."""
    port = serve()
    os.mkdir(f"{tmp_path}/real")
    os.symlink(f"{tmp_path}/real", f"{tmp_path}/link")
    with open(f"{tmp_path}/file", "w") as file:
        file.write("kept")
    done = run(agent, f"guest:unix:{tmp_path}/link/x=tcp:{port}")
    assert done.returncode == 1 and "symbolic link" in done.stderr, done
    for side in "", "guest:":
        done = run(agent, f"{side}unix:{tmp_path}/file=tcp:{port}")
        assert done.returncode in (1, 3), done
    with open(f"{tmp_path}/file") as file:
        assert file.read() == "kept"
    one = forward(f"guest:unix:{tmp_path}/real/g=tcp:{port}", f"unix:{tmp_path}/real/h=tcp:{port}")
    for name in "gh":
        mode = os.stat(f"{tmp_path}/real/{name}").st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    one.end()
    eventually(lambda: os.listdir(f"{tmp_path}/real") == [])


def test_an_open_that_fails_leaves_nothing(agent, client, serve, tmp_path):
    port = serve()
    with pytest.raises(Failed) as failed:
        client.call("forward.open", listen=[{"transport": "FORWARD_UNIX", "path": f"{tmp_path}/s".encode()},
                                            {"transport": "FORWARD_TCP", "port": port}])
    assert failed.value.error.sys_errno == 98 and f":{port}" in str(failed.value), failed.value
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fields", [
    {}, {"connect": [{}]}, {"connect": [{"transport": "FORWARD_TCP"}]},
    {"connect": [{"transport": "FORWARD_TCP", "port": 65536}]},
    {"connect": [{"transport": "FORWARD_TCP", "port": 80, "address": "localhost"}]},
    {"connect": [{"transport": "FORWARD_UDP", "port": 80, "address": ""}]},
    {"connect": [{"transport": "FORWARD_UNIX"}]}, {"connect": [{"transport": "FORWARD_UNIX", "path": b"x"}]},
    {"connect": [{"transport": "FORWARD_UNIX", "path": b"/" + b"x" * 108}]},
    {"listen": [{"transport": "FORWARD_UNIX", "path": b"/tmp/x", "mode": 0o1777}]},
    {"connect": [{"transport": "FORWARD_TCP", "port": 80}] * 65},
])
def test_wrong_requests(client, fields):
    with pytest.raises(Failed) as failed:
        client.call("forward.open", **fields)
    assert failed.value.code in ("INVALID_ARGUMENT", "OUT_OF_RANGE"), failed.value


def record(**fields):
    body = forward_pb.ForwardRecord(**fields).SerializeToString()
    assert len(body) < 128
    return bytes([len(body)]) + body


@pytest.mark.parametrize("data", [
    b"\x00", b"\xff" * 10, b"\x80\x80\x04", record(), record(connect={"id": 1}), record(connect={"id": 1, "target": 1}),
    record(opened={"id": 1}), record(failed={"id": 1}), b"\x05hello",
], ids=["empty", "no-length", "long", "nothing", "no-target", "wrong-target", "ours", "ours-too", "garbage"])
def test_records_that_are_none(agent, client, serve, data):
    reply = client.call("forward.open", connect=[{"transport": "FORWARD_TCP", "port": serve()}])
    with open_channel(agent.socket, reply.channel) as control:
        control.sendall(data)
        assert read_all(control) == b""


def test_random_records(agent, client, serve):
    """Whatever comes, what was good before it is done, and the agent goes on."""
    seed = int(os.environ.get("POSTERN_SEED") or random.randrange(1 << 32))
    print("seed", seed)
    dice = random.Random(seed)
    port = serve()
    for _ in range(30):
        reply = client.call("forward.open", connect=[{"transport": "FORWARD_TCP", "port": port}])
        with open_channel(agent.socket, reply.channel) as control:
            good = b"".join(record(connect={"id": dice.randrange(1, 9), "target": 0}) for _ in range(dice.randrange(9)))
            bad = bytearray(good + dice.randbytes(dice.randrange(20)))
            for _ in range(dice.randrange(3)):
                if bad:
                    bad[dice.randrange(len(bad))] = dice.randrange(256)
            try:
                control.sendall(bytes(bad))
                control.shutdown(socket.SHUT_WR)
                read_all(control)
            except ConnectionError:
                pass
    assert client.call("system.ping").payload == b""


def test_a_caller_who_asks_and_never_reads(agent, client, serve):
    """He is dropped before his answers take memory."""
    reply = client.call("forward.open", connect=[{"transport": "FORWARD_TCP", "port": serve()}])
    one = record(connect={"id": 1, "target": 0})
    with open_channel(agent.socket, reply.channel) as control:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                control.sendall(one * 1000)


@pytest.mark.parametrize("word", ["", "x", "80:", ":80", "80:80:80", "tcp:80", "tcp:80=", "=tcp:80", "tcp:1=udp:1",
                                  "udp:1=unix:/x", "tcp:70000=tcp:1", "tcp:1=tcp:0", "guest:tcp:1=tcp:0",
                                  "tcp:1=tcp:db.internal:5", "unix:x=tcp:1", "tcp:1=unix:/" + "x" * 120,
                                  "guest:tcp:name:1=tcp:1"])
def test_words_that_are_no_forward(agent, word):
    done = run(agent, word)
    assert done.returncode == 2 and word in done.stderr, done


def test_for_people(agent, serve):
    process = subprocess.Popen([POSTERN, "forward", f"local:{agent.socket}", f"tcp:0=tcp:{serve()}"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("tcp:127.0.0.1:") and f"-> local:{agent.socket} tcp:127.0.0.1:" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and out == ""
    assert err.splitlines()[0].split() == ["From", "To", "Connections", "Open", "Failed", "To", "guest", "From",
                                           "guest"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_end_of_the_forward_is_no_clean_end_of_its_connections(forward, serve, how):
    """An upload that is cut does not look whole to the guest's server."""
    ends = []

    def take(conn):
        try:
            read_all(conn)
            ends.append("clean")
        except ConnectionResetError:
            ends.append("reset")

    one = forward(f"tcp:0=tcp:{serve(take)}")
    socks = [one.connect() for _ in range(5)]
    for sock in socks:
        sock.sendall(bytes(100000))
    eventually(lambda: one.counts()["to_guest"] == 500000)
    one.process.send_signal(how)
    eventually(lambda: len(ends) == 5)
    assert ends == ["reset"] * 5
    for sock in socks:
        sock.close()


def test_a_guest_that_begins_connections_without_end(tmp_path):
    """A hostile one: they are turned away, and cost nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/agent.sock")
    listener.listen(64)
    process = subprocess.Popen([POSTERN, "forward", f"local:{tmp_path}/agent.sock", "guest:tcp:9=tcp:9"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first, _ = listener.accept()
    with listener, first, wire.Client(first, hello=False) as agent:
        # The other way round: what the client says is ToAgent.
        read_frame(first)
        first.sendall(wire.frame(wire.pb.FromAgent(hello_reply=wire.pb.HelloReply(
            major=1, minor=0, max_frame=1 << 20)).SerializeToString()))
        request = wire.pb.ToAgent.FromString(read_frame(first)).request
        reply = forward_pb.ForwardOpenReply(channel={"number": 1, "token": bytes(16)})
        first.sendall(wire.frame(wire.pb.FromAgent(response=wire.pb.Response(
            id=request.id, result=reply.SerializeToString())).SerializeToString()))
        control, _ = listener.accept()
        with control:
            assert len(control.recv(20)) == 20
            control.sendall(b"\x01")
            one = record(opened={"listener": 0, "channel": {"number": 2, "token": bytes(16)}})
            control.settimeout(5)
            for _ in range(100):
                control.sendall(one * 1000)
            with open(f"/proc/{process.pid}/status") as file:
                rss, = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
            with open(f"/proc/{process.pid}/maps") as file:
                sanitized = "libasan" in file.read()
            assert rss < 16 << 10 or sanitized, rss
        assert agent
    process.kill()
    process.communicate()


def read_frame(sock):
    length = shift = 0
    while True:
        byte, = sock.recv(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return sock.recv(length, socket.MSG_WAITALL)
