# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a hostile or careless peer can send. The agent and its other clients go on, always."""

import socket
import time

import pytest

from wire import Closed, Failed, frame, message, messages_of, pb, varint


def reason(closed):
    assert closed.value.goodbye is not None, "closed without a goodbye"
    return pb.GoodbyeReason.Name(closed.value.goodbye.reason)[len("GOODBYE_REASON_"):]


def expect_goodbye(client, wanted):
    with pytest.raises(Closed) as closed:
        while True:
            client.dispatch()
    assert reason(closed) == wanted
    # And then the end of the stream.
    client.sock.settimeout(5)
    assert client.sock.recv(100) == b""


def alive(agent):
    with agent.client() as other:
        assert other.call("system.ping", payload=b"alive").payload == b"alive"


@pytest.fixture(autouse=True)
def others_go_on(agent):
    with agent.client() as bystander:
        yield
        assert bystander.call("system.ping", payload=b"x").payload == b"x"
    alive(agent)


# ---- frames ----

@pytest.mark.parametrize("raw", [
    b"\x00\x00",
    varint(0) + b"abc",
    b"\x80\x00" + b"a" * 8,
    b"\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\x7f",
], ids=["zero bytes", "length 0", "over-long varint", "six bytes", "over 32 bits"])
def test_bad_length_before_hello(agent, raw):
    client = agent.client(hello=False)
    client.send_raw(raw)
    client.sock.settimeout(5)
    if raw[0] == 0:
        # No frame starts so, and no channel goes on so: closed without a word.
        assert client.sock.recv(100) == b""
    else:
        expect_goodbye(client, "BAD_FRAME")


@pytest.mark.parametrize("raw,wanted", [
    (b"\x80\x00aaaa", "BAD_FRAME"),
    (b"\x00", "BAD_FRAME"),
    (b"\x80\x80\x80\x80\x80", "BAD_FRAME"),
    (varint((1 << 20) + 1), "TOO_LARGE"),
    (varint(0x7FFFFFFF), "TOO_LARGE"),
    (varint(0xFFFFFFFF), "TOO_LARGE"),
    (frame(b"\xff\xff\xff"), "BAD_FRAME"),
    (frame(b"\x0f"), "BAD_FRAME"),
    (frame(b"\x00\x00"), "BAD_FRAME"),
    (frame(b"\x12\xff\xff\xff\xff\x0f"), "BAD_FRAME"),
], ids=["over-long", "zero", "endless", "max+1", "2^31-1", "2^32-1", "truncated tag", "wire type 7",
        "field 0", "length past the end"])
def test_bad_frame_after_hello(client, raw, wanted):
    client.send_raw(raw)
    expect_goodbye(client, wanted)


def test_hello_has_a_limit_of_its_own(agent):
    client = agent.client(hello=False)
    client.send(pb.ToAgent(hello=pb.Hello(major=1, client="x" * 5000)))
    expect_goodbye(client, "TOO_LARGE")


def ping_of(size, id=1):
    """A ping whose frame has exactly so many bytes, and its payload."""
    def body(n):
        params = message("system.ping", "Request")(payload=b"p" * n).SerializeToString()
        return pb.ToAgent(request=pb.Request(id=id, method="system.ping", params=params)).SerializeToString()

    n = size - (len(body(size)) - size)
    assert len(body(n)) == size
    return body(n), n


def test_the_largest_frame_is_accepted(client):
    """1 MiB, and not one byte more."""
    assert client.hello_reply.max_frame == 1 << 20
    body, n = ping_of(1 << 20)
    client.send_raw(frame(body))
    response = client.take_response(1)
    reply = message("system.ping", "Reply")()
    reply.ParseFromString(response.result)
    assert reply.payload == b"p" * n
    client.send_raw(frame(ping_of((1 << 20) + 1)[0]))
    expect_goodbye(client, "TOO_LARGE")


def test_answer_larger_than_the_callers_frames(agent):
    with agent.client(max_frame=4096) as client:
        with pytest.raises(Failed) as failed:
            client.call("system.ping", payload=b"p" * 8000)
        assert failed.value.code == "RESOURCE_EXHAUSTED"
        assert client.call("system.ping", payload=b"small").payload == b"small"


def test_one_byte_at_a_time(agent):
    client = agent.client(hello=False)
    for byte in frame(pb.ToAgent(hello=pb.Hello(major=1)).SerializeToString()):
        client.send_raw(bytes([byte]))
    assert client.receive().hello_reply.identity == "local:0"
    request = pb.ToAgent(request=pb.Request(id=9, method="system.ping", params=b""))
    for byte in frame(request.SerializeToString()):
        client.send_raw(bytes([byte]))
    assert client.take_response(9).HasField("result")


def test_many_frames_in_one_write(client):
    raw = b"".join(frame(pb.ToAgent(request=pb.Request(id=i, method="system.ping")).SerializeToString())
                   for i in range(1, 201))
    client.send_raw(raw)
    for i in range(1, 201):
        assert client.take_response(i).id == i


# ---- the state of a connection ----

def test_call_before_hello(agent):
    client = agent.client(hello=False)
    client.send(pb.ToAgent(request=pb.Request(id=1, method="system.ping")))
    expect_goodbye(client, "HELLO_EXPECTED")


def test_second_hello(client):
    client.send(pb.ToAgent(hello=pb.Hello(major=1)))
    expect_goodbye(client, "HELLO_EXPECTED")


def test_empty_frame_kind(client):
    # A frame that is a message of neither kind: only an unknown field.
    client.send_raw(frame(b"\x78\x01"))
    expect_goodbye(client, "BAD_FRAME")


@pytest.mark.parametrize("major", [0, 2, 2**32 - 1])
def test_other_version(agent, major):
    client = agent.client(hello=False)
    client.send(pb.ToAgent(hello=pb.Hello(major=major)))
    expect_goodbye(client, "VERSION")


def test_lower_minor_wins(agent):
    with agent.client(minor=7) as client:
        assert (client.hello_reply.major, client.hello_reply.minor) == (1, 0)


def test_hello_says_who_we_are(client):
    reply = client.hello_reply
    assert reply.identity == "local:0"
    with open("/proc/sys/kernel/random/boot_id") as file:
        assert reply.boot_id.hex() == file.read().strip().replace("-", "")
    assert reply.generation != 0 and reply.epoch != 0


def test_unknown_method(client):
    for name in ("no.such", "system", "system.", "SYSTEM.PING", "system.ping.x", "notify.gap", "x" * 5000):
        assert client.take_response(_start(client, name)).error.code == 12, name  # UNIMPLEMENTED


def _start(client, method, params=b"", id=77):
    client.send(pb.ToAgent(request=pb.Request(id=id, method=method, params=params)))
    return id


def test_request_id_zero(client):
    _start(client, "system.ping", id=0)
    assert client.take_response(0).error.code == 3  # INVALID_ARGUMENT


def test_duplicate_request_id(agent):
    # mounts.list runs in another process, so that the first request is still open.
    with agent.client() as client:
        client.send_raw(
            frame(pb.ToAgent(request=pb.Request(id=5, method="mounts.list")).SerializeToString()) * 2)
        answers = [client.take_response(5), client.take_response(5)]
    kinds = sorted(answer.WhichOneof("outcome") for answer in answers)
    assert kinds == ["error", "result"]
    error = next(answer.error for answer in answers if answer.HasField("error"))
    assert error.code == 6  # ALREADY_EXISTS


def test_id_can_be_used_again(client):
    for _ in range(3):
        _start(client, "system.ping", id=5)
        assert client.take_response(5).HasField("result")


def test_cancel_of_nothing(client):
    client.cancel(12345)
    client.cancel(0)
    assert client.call("system.ping").payload == b""


def test_cancelled_request_gets_exactly_one_answer(agent):
    with agent.client() as client:
        for i in range(20):
            id = client.start("mounts.list")
            client.cancel(id)
            answers = [client.take_response(id)]
            while answers[-1].more:
                answers.append(client.take_response(id))
            last = answers[-1]
            assert last.HasField("result") or last.error.code == 1, last
        client.call("system.ping")
        assert client.responses == []


def test_an_id_that_serves_again_gets_its_own_answer(client):
    # system.info waits for the broker's word, which then comes when the id has another request.
    first = pb.ToAgent(request=pb.Request(id=7, method="system.info"))
    then = pb.ToAgent(request=pb.Request(id=7, method="mounts.list"))
    cancel = pb.ToAgent(cancel=pb.Cancel(id=7))
    client.send_raw(b"".join(frame(part.SerializeToString()) for part in (first, cancel, then)))
    assert client.take_response(7).error.code == 1  # CANCELLED
    assert client.finish(7, "mounts.list").mounts[0].target
    client.call("system.ping")
    assert client.responses == []


def test_too_many_open_requests(agent):
    with agent.client() as client:
        # Each waits for the broker, whose answers are read after all of these.
        many = [pb.ToAgent(request=pb.Request(id=id, method="system.info")) for id in range(1, 61)]
        client.send_raw(b"".join(frame(one.SerializeToString()) for one in many))
        outcomes = [client.take_response(id) for id in range(1, 61)]
        assert [answer.error.code for answer in outcomes if answer.HasField("error")] == [8] * 28
        assert client.call("mounts.list").mounts


def test_too_many_calls_at_once(agent):
    with agent.client() as client:
        ids = [client.start("mounts.list") for _ in range(60)]
        outcomes = []
        for id in ids:
            response = client.take_response(id)
            while response.more:
                response = client.take_response(id)
            outcomes.append(response)
        codes = {response.error.code for response in outcomes if response.HasField("error")}
        assert codes <= {8}  # RESOURCE_EXHAUSTED
        assert any(response.HasField("result") for response in outcomes)
        assert client.call("mounts.list").mounts


# ---- what libprotobuf-c must never see ----

def nested(depth):
    body = b""
    for _ in range(depth):
        body = b"\x1a" + varint(len(body)) + body
    return body


def expect_refused_params(client, method, params, words):
    response = client.take_response(_start(client, method, params))
    assert response.error.code == 3, response  # INVALID_ARGUMENT
    assert words in response.error.message, response.error.message


@pytest.mark.parametrize("depth", [17, 63, 300, 9000, 100000])
def test_deep_nesting_is_never_followed(client, depth):
    # The messages of the protocol do not nest in themselves, so this is one unknown field.
    client.send_raw(frame(nested(depth)))
    assert client.call("system.ping", payload=b"still here").payload == b"still here"


@pytest.mark.parametrize("params,words", [
    (b"\x22\x00" * 5000, "too many elements"),
    (b"\x22\x00" * 400000, "too many elements"),
    (b"\x0a\x00" * 20, "too many elements"),
    (b"\x78\x01" * 65, "too many unknown fields"),
    (b"\x0a\x03\xff\xfe", "truncated"),
    (b"\x1a\x02\xc3\x28", "UTF-8"),
    (b"\x1a\x04tm\x00s", "NUL"),
    (b"\x0d\x00\x00\x00\x00", "wire type"),
    (b"\x0b\x0c", "wire type"),
    (b"\x80\x80\x80\x80\x80\x01\x00", "tag"),
    (b"\x0a" + b"\xff" * 10 + b"\x01", "truncated"),
], ids=["5000 options", "400000 options", "one field 20 times", "unknown fields", "truncated",
        "not UTF-8", "NUL in a string", "wrong wire type", "group", "long tag", "11-byte varint"])
def test_hostile_params(client, params, words):
    expect_refused_params(client, "mounts.mount", params, words)


def test_unknown_enum_value(client):
    expect_refused_params(client, "mounts.unmount", b"\x0a\x02/x\x10\x63", "enumeration")


def test_64_unknown_fields_are_skipped(client):
    response = client.take_response(_start(client, "system.ping", b"\x78\x01" * 64 + b"\x0a\x02ok"))
    reply = messages_of("system").SystemPingReply()
    reply.ParseFromString(response.result)
    assert reply.payload == b"ok"


def test_a_frame_of_empty_elements_costs_no_memory(agent, client):
    before = peaks(agent)
    for _ in range(20):
        response = client.take_response(_start(client, "mounts.mount", b"\x22\x00" * 500000))
        assert response.HasField("error")
    # Decoded, one of these megabytes would take 80.
    for pid, peak in peaks(agent).items():
        assert peak < before.get(pid, 0) + (16 << 20)


def peaks(agent):
    """The most memory that each process of the agent ever had, by pid."""
    found = {}
    for pid in list(agent.children()) + [agent.process.pid]:
        try:
            with open(f"/proc/{pid}/status") as file:
                found[pid] = sum(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))
        except OSError:
            pass
    return found


def rss(agent):
    total = 0
    for pid in list(agent.children()) + [agent.process.pid]:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Rss:"))
        except OSError:
            pass
    return total << 10


# ---- time ----

def test_silence_is_ended(agent):
    client = agent.client(hello=False)
    start = time.monotonic()
    client.sock.settimeout(10)
    assert client.sock.recv(1) == b""
    assert 4 < time.monotonic() - start < 8


def test_silence_costs_no_process(agent):
    time.sleep(0.2)
    before = len(agent.children())
    silent = [agent.client(hello=False) for _ in range(40)]
    time.sleep(0.2)
    assert len(agent.children()) <= before + 1
    for client in silent:
        client.close()


def test_hello_that_never_ends(agent):
    client = agent.client(hello=False)
    client.send_raw(b"\x10\x0a")
    expect_goodbye(client, "TOO_SLOW")


def test_frame_that_never_ends(agent):
    with agent.client() as slow, agent.client() as busy:
        slow.send_raw(varint(100000) + b"x" * 10)
        start = time.monotonic()
        # Who is always in the middle of a frame, but never long in the same, is not slow.
        rest, id = b"", 0
        while time.monotonic() - start < 10.5:
            id += 1
            whole = frame(pb.ToAgent(request=pb.Request(id=id, method="system.ping")).SerializeToString())
            busy.send_raw(rest + whole[:8])
            rest = whole[8:]
            if id > 1:
                assert busy.take_response(id - 1).HasField("result")
            time.sleep(0.05)
        busy.send_raw(rest)
        assert busy.take_response(id).HasField("result")
        expect_goodbye(slow, "TOO_SLOW")
        assert time.monotonic() - start < 14


@pytest.mark.parametrize("whole", [True, False], ids=["after a frame", "amid a frame"])
def test_a_frame_cut_by_the_end_of_the_stream(agent, whole):
    body = frame(pb.ToAgent(request=pb.Request(id=1, method="system.ping")).SerializeToString())
    with agent.client() as client:
        client.send_raw(body + (b"" if whole else body[:-1]))
        client.sock.shutdown(socket.SHUT_WR)
        start = time.monotonic()
        assert client.take_response(1).HasField("result")
        with pytest.raises(Closed) as closed:
            client.dispatch()
        assert closed.value.goodbye is None and time.monotonic() - start < 5


def test_half_close_is_answered_first(agent):
    client = agent.client()
    ids = [client.start("mounts.list"), client.start("system.ping"), client.start("system.info")]
    client.sock.shutdown(socket.SHUT_WR)
    for id in ids:
        response = client.take_response(id)
        while response.more:
            response = client.take_response(id)
        assert response.HasField("result")
    with pytest.raises(Closed) as closed:
        client.dispatch()
    assert closed.value.goodbye is None


def test_vanishing_clients_leave_nothing(agent):
    time.sleep(0.3)
    for i in range(30):
        client = agent.client()
        client.start("mounts.list")
        client.start("system.info")
        client.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        names = sorted(agent.children().values())
        # The watcher, one spare session, the bystander's session, who workers are forked of, two readers.
        if names.count("postern-session") <= 2 and names.count("postern-worker") <= 3:
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"left behind: {names}")


def test_a_client_that_does_not_read(agent):
    client = agent.client()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sock.settimeout(2)
    request = frame(pb.ToAgent(request=pb.Request(
        id=1, method="system.ping",
        params=message("system.ping", "Request")(payload=b"y" * 200000).SerializeToString()))
        .SerializeToString())
    sent = 0
    try:
        for _ in range(200):
            client.sock.sendall(request)
            sent += 1
    except (TimeoutError, socket.timeout):
        pass
    # It stopped reading us long before 200 requests of 200 kB, and keeps no more than its bound.
    assert sent < 60
    assert rss(agent) < 64 << 20
    client.close()


def test_connection_storm(agent):
    clients = []
    for _ in range(300):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(5)
        try:
            sock.connect(agent.socket)
            clients.append(sock)
        except (BlockingIOError, ConnectionError):
            sock.close()
    # The listener's queue may be full for a moment longer.
    for _ in range(100):
        try:
            alive(agent)
            break
        except BlockingIOError:
            time.sleep(0.05)
    else:
        alive(agent)
    for sock in clients:
        sock.close()


def test_more_sessions_than_served(agent):
    clients = []
    try:
        for _ in range(70):
            try:
                clients.append(agent.client())
            except Closed:
                break
        # All of one identity: the rest is kept for others.
        assert 40 <= len(clients) <= 48
    finally:
        for client in clients:
            client.close()
    time.sleep(0.5)


def test_a_cancelled_subscribe_is_answered_once(agent):
    with agent.client() as client:
        for id in range(100, 130):
            request = message("notifications.subscribe", "Request")(topics=["notify.*"])
            client.send_raw(
                frame(pb.ToAgent(request=pb.Request(id=id, method="notifications.subscribe",
                                                    params=request.SerializeToString())).SerializeToString())
                + frame(pb.ToAgent(cancel=pb.Cancel(id=id)).SerializeToString()))
            first = client.take_response(id)
            client.call("system.ping")
            assert not [response for response in client.responses if response.id == id]
            if first.HasField("result"):
                reply = message("notifications.subscribe", "Reply")()
                reply.ParseFromString(first.result)
                client.call("notifications.unsubscribe", subscription=reply.subscription)
        # None of the cancelled ones is left.
        for _ in range(16):
            client.call("notifications.subscribe", topics=["notify.*"])


def test_somebody_without_rights_locks_nobody_out(agent):
    """A user of the guest whom no rule allows anything takes no more than a few places."""
    code = ("import socket,sys,time\n"
            "held=[]\n"
            "for _ in range(120):\n"
            "    s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b'\\x10'); held.append(s)\n"
            "print('held', flush=True); time.sleep(30)\n")
    import subprocess
    with subprocess.Popen(["/usr/bin/python3", "-c", code, agent.socket], stdout=subprocess.PIPE,
                          user=65534, group=65534) as process:
        assert process.stdout.readline() == b"held\n"
        time.sleep(0.5)
        for _ in range(10):
            alive(agent)
        process.kill()


def test_frames_held_back_by_a_pause_are_taken_without_a_new_byte(agent):
    """Requests that arrived in one piece, while earlier answers still wait for their reader."""
    client = agent.client()
    client.sock.settimeout(9)
    body = message("system.ping", "Request")(payload=b"z" * 100000).SerializeToString()
    raw = b"".join(frame(pb.ToAgent(request=pb.Request(id=id, method="system.ping", params=body)).SerializeToString())
                   for id in range(1, 31))
    import threading
    sender = threading.Thread(target=client.sock.sendall, args=(raw,))
    sender.start()
    time.sleep(0.5)
    for id in range(1, 31):
        assert client.take_response(id).HasField("result")
    sender.join()
