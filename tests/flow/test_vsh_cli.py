# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern vsh --vshd: before the agent that takes vshd's place, before a vshd, and before those that are none."""

import json
import os
import signal
import struct
import subprocess
import threading
import time

import pytest

from agent import Agent
from fake_agent import DANGEROUS, NASTY
from jobs import ALLOW_EXEC, eventually
from machine import ABSENT, DONE, POSTERN, PROTOCOL, TIMED_OUT, USAGE
from terminal import Terminal
from vsh import Guest, Server, relay_to, vsh_pb

ANSWERED = 1


@pytest.fixture(scope="module", params=["posternd", "vshd"])
def machine(request, tmp_path_factory):
    """The address of a machine whose port 9001 is one or the other's."""
    uds = str(tmp_path_factory.mktemp("vsh") / "vsock.sock")
    if request.param == "vshd":
        guest = Guest(uds, lambda sock: Server(sock).run())
        yield f"unix:{uds}"
        guest.close()
        return
    agent = Agent(policy=ALLOW_EXEC)
    agent.settings["vsh_socket"] = f"{agent.dir}/vsh.sock"
    with agent:
        guest = Guest(uds, relay_to(agent.settings["vsh_socket"]))
        yield f"unix:{uds}"
        guest.close()


def vsh(machine, *words, **kwargs):
    kwargs.setdefault("input", b"")
    return subprocess.run([POSTERN, "vsh", machine, "--vshd", *words], capture_output=True, timeout=60, **kwargs)


@pytest.fixture
def terminal(machine):
    opened = []

    def terminal(*words, **kwargs):
        opened.append(Terminal(machine, "vsh", "--vshd", *words, **kwargs))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


@pytest.fixture
def guest(tmp_path):
    """What a test has a machine do with each connection; its address."""
    opened = []

    def guest(serve):
        uds = str(tmp_path / "vsock.sock")
        opened.append(Guest(uds, lambda sock: serve(Server(sock))))
        return f"unix:{uds}"

    yield guest
    for one in opened:
        one.close()


# ---- both that should do ----


def test_streams_and_exit_code(machine):
    done = vsh(machine, "--", "sh", "-c", "cat; echo err >&2; exit 3", input=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"err\n", 3)


def test_a_signal_is_the_code(machine):
    assert vsh(machine, "--", "sh", "-c", "kill -9 $$").returncode == 9


def test_a_shell_in_a_pipe(machine):
    done = vsh(machine, input=b"echo $((6 * 7))\nexit 4\n")
    assert (done.stdout, done.returncode) == (b"42\n", 4)


def test_folder_and_record(machine):
    done = vsh(machine, "-C", "/usr", "--json", "--", "sh", "-c", "pwd; echo $$; exit 5")
    folder, pid = done.stdout.split()
    assert folder == b"/usr" and json.loads(done.stderr) == {"pid": int(pid), "exit_code": 5}


def test_much_both_ways(machine):
    data = os.urandom(5 << 20)
    done = vsh(machine, "--", "cat", input=data)
    assert done.stdout == data and done.returncode == 0


def test_much_for_a_program_that_is_silent(machine):
    done = vsh(machine, "--", "wc", "-c", input=bytes(5 << 20))
    assert (done.stdout, done.returncode) == (b"%d\n" % (5 << 20), 0)


def test_errors_of_the_start(machine):
    done = vsh(machine, "-C", "/no/such", "--", "true")
    assert done.returncode == ANSWERED and done.stderr.startswith(b"postern: vshd refuses: "), done
    assert b"No such file or directory" in done.stderr
    done = vsh(machine, "-C", "/no/such", "--json", "--", "true")
    assert "vshd refuses" in json.loads(done.stdout)["error"]["message"]


def test_interrupts_are_the_programs(machine):
    running = subprocess.Popen([POSTERN, "vsh", machine, "--vshd", "--", "sh", "-c",
                                "trap 'echo caught; exit 7' INT; echo here; while :; do sleep 0.05; done"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"here\n"
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=20)[0] == b"caught\n" and running.returncode == 7


def test_the_third_interrupt_leaves(machine):
    running = subprocess.Popen([POSTERN, "vsh", machine, "--vshd", "--", "sh", "-c",
                                "trap '' INT; echo here; exec sleep 100"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"here\n"
    for _ in range(3):
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert running.wait(20) == 255
    running.stdout.close()


def test_a_reader_that_is_gone(machine):
    running = subprocess.Popen([POSTERN, "vsh", machine, "--vshd", "--", "yes"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(20) == 255


def test_at_a_terminal(terminal):
    screen = terminal("--", "sh", "-c", "stty size; echo $TERM; while read line; do stty size; echo end; done; exit 6")
    screen.expect(b"31 101\r\nvt100\r\n")
    assert screen.is_raw()

    def size():
        screen.type(b"x\r")
        return screen.expect(b"\r\nend\r\n").split(b"\r\n")[-1]

    assert size() == b"31 101"
    screen.resize(40, 120)
    assert eventually(lambda: size() == b"40 120")
    screen.type(b"\x04")
    assert screen.end() == 6 and not screen.is_raw()


def test_the_way_out(terminal):
    screen = terminal("--", "sh", "-c", "echo here; cat")
    screen.expect(b"here\r\n")
    screen.type(b"\r~?")
    screen.expect(b"Supported escape sequences")
    screen.type(b"~.")
    assert screen.end() == 255 and not screen.is_raw()


def test_an_interrupt_by_key(terminal):
    screen = terminal("--", "sh", "-c", "trap 'exit 8' INT; echo here; while :; do sleep 0.05; done")
    screen.expect(b"here\r\n")
    screen.type(b"\x03")
    assert screen.end() == 8


# ---- what cannot be ----


def test_nobody_there(machine, tmp_path):
    done = vsh(machine, "--port", "9002", "--", "true")
    assert done.returncode == ABSENT and done.stderr == b"postern: No listener on port 9002\n"
    assert vsh(f"unix:{tmp_path}/none", "--", "true").returncode == ABSENT
    assert vsh("no-such-machine", "--", "true").returncode == ABSENT


def test_usage(machine):
    done = subprocess.run([POSTERN, "vsh", machine, "--port", "1", "--", "true"], capture_output=True)
    assert done.returncode == USAGE and b"--port goes with --vshd" in done.stderr
    assert vsh(machine, "--port", "x", "--", "true").returncode == USAGE
    done = vsh(machine, "--", "echo", "x" * 4096)
    assert done.returncode == USAGE and b"at most 4096 bytes" in done.stderr


# ---- by hand ----


def test_what_it_sends(guest):
    """Texts of any bytes, no terminal, its user and folder; then the input and its end, in pieces."""
    seen = []

    def serve(server):
        seen.append(server.take_request())
        server.answer()
        data = b""
        while piece := server.next().data_message.data:
            assert len(piece) <= 4000
            data += piece
        seen.append(data)
        server.status(code=0)

    data = os.urandom(100000)
    done = vsh(guest(serve), "-u", "chronos", "-C", "/tmp", "--", "a", "b c", input=data)
    assert done.returncode == DONE and seen[1] == data
    assert seen[0] == vsh_pb.SetupConnectionRequest(argv=["a", "b c"], user="chronos", cwd="/tmp", nopty=True)


def test_the_ends_of_streams_are_not_the_end(guest):
    def serve(server):
        server.take_request()
        server.answer()
        server.send(vsh_pb.HostMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDOUT_STREAM)))
        server.data(b"err", vsh_pb.STDERR_STREAM)
        server.send_raw(struct.pack("<I", 0))  # says nothing
        server.send_raw(struct.pack("<I", 3) + b"\x7a\x01x")  # what a newer one may say
        server.status(vsh_pb.READY, "again")
        server.data(b"late")
        server.status(code=9)

    done = vsh(guest(serve), "--", "x")
    assert (done.stdout, done.stderr, done.returncode) == (b"late", b"err", 9)


def answered(then=b"", **fields):
    def serve(server):
        server.take_request()
        server.answer(**fields)
        server.send_raw(then)

    return serve


def raw(data):
    def serve(server):
        server.take_request()
        server.send_raw(data)

    return serve


def message(**kind):
    body = vsh_pb.HostMessage(**kind).SerializeToString()
    return struct.pack("<I", len(body)) + body


def status(status, code=0, description=""):
    return message(status_message=vsh_pb.ConnectionStatusMessage(status=status, code=code, description=description))


@pytest.mark.parametrize("serve, code, words", [
    (raw(struct.pack("<I", 4097)), PROTOCOL, "vshd: a message of more than 4096 bytes"),
    (raw(b"\xff" * 4), PROTOCOL, "vshd: a message of more than 4096 bytes"),
    (raw(b"SSH-2.0-OpenSSH\r\n"), PROTOCOL, "vshd: a message of more than 4096 bytes"),
    (raw(struct.pack("<I", 0)), ANSWERED, "vshd refuses: no reason given"),
    (raw(struct.pack("<I", 2) + b"\x0a\x7f"), PROTOCOL, "vshd: truncated"),
    (raw(message(data_message=vsh_pb.DataMessage(data=b"x"))), PROTOCOL, "vshd: wrong wire type of a field"),
    (raw(b""), ABSENT, "vshd has ended the connection without an answer"),
    (raw(b"\x05\x00\x00\x00\x08"), ABSENT, "vshd has ended the connection without an answer"),
    (answered(status=vsh_pb.FAILED, description="could not find user: x"), ANSWERED,
     "vshd refuses: could not find user: x"),
    (answered(status=vsh_pb.EXITED, description="no"), ANSWERED, "vshd refuses: no"),
    (answered(status=77, description=""), ANSWERED, "vshd refuses: no reason given"),
    (answered(), ABSENT, "vshd has ended the connection before the program's end"),
    (answered(b"\x40"), ABSENT, "vshd has ended the connection before the program's end"),
    (answered(struct.pack("<I", 4097)), PROTOCOL, "vshd: a message of more than 4096 bytes"),
    (answered(struct.pack("<I", 1) + b"\x0b"), PROTOCOL, "vshd: bad wire type"),
    (answered(message(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM, data=b"x"))), PROTOCOL,
     "vshd: bytes of a stream that the program has not"),
    (answered(message(data_message=vsh_pb.DataMessage(stream=99, data=b"x"))), PROTOCOL,
     "vshd: bytes of a stream that the program has not"),
    (answered(status(vsh_pb.FAILED, description="broken")), ANSWERED, "vshd gave up: broken"),
    (answered(status(55)), ANSWERED, "vshd gave up: no reason given"),
    (answered(status(vsh_pb.EXITED, code=-1)), PROTOCOL, "vshd: the program's exit code is none"),
    (answered(status(vsh_pb.EXITED, code=256)), PROTOCOL, "vshd: the program's exit code is none"),
    (answered(status(vsh_pb.EXITED, code=-2**31)), PROTOCOL, "vshd: the program's exit code is none"),
])
def test_who_does_not_keep_to_it(guest, serve, code, words):
    done = vsh(guest(serve), "--", "x")
    assert (done.returncode, done.stderr.decode()) == (code, f"postern: {words}\n"), done


def test_what_came_before_a_breach_is_shown(guest):
    done = vsh(guest(answered(message(data_message=vsh_pb.DataMessage(stream=2, data=b"words")) + b"\xff" * 4)),
               "--", "x")
    assert done.stdout == b"words" and done.returncode == PROTOCOL


def test_a_description_is_escaped(guest):
    done = vsh(guest(answered(status=vsh_pb.FAILED, description=NASTY * 30)), "--", "x")
    assert done.returncode == ANSWERED and not DANGEROUS.search(done.stderr.decode())


def test_a_server_that_is_silent(guest):
    held = threading.Event()
    begun = time.monotonic()
    done = vsh(guest(lambda server: held.wait(40)), "--", "x")
    held.set()
    assert done.returncode == TIMED_OUT and done.stderr == b"postern: vshd does not answer\n"
    assert 12 < time.monotonic() - begun < 30


def test_a_flood_is_cut_by_its_reader(guest):
    """Without end, to somebody who reads on: nothing is kept of it."""
    def serve(server):
        server.take_request()
        server.answer()
        while True:
            server.data(b"x" * 65536)

    running = subprocess.Popen([POSTERN, "vsh", guest(serve), "--vshd", "--", "x"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
    got = 0
    while got < 64 << 20:
        got += len(running.stdout.read1(65536))
    with open(f"/proc/{running.pid}/status") as file:
        memory = dict(line.split(":") for line in file.read().splitlines())["VmHWM"]
    assert int(memory.split()[0]) < 32 << 10
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGHUP)
    assert running.wait(20) == 255
    running.stdout.close()


@pytest.mark.parametrize("source", ["/dev/null", "/dev/zero"])
def test_the_server_is_gone_while_nobody_reads(guest, source):
    gone = threading.Event()

    def serve(server):
        server.take_request()
        server.answer()
        server.sock.settimeout(1)
        try:
            server.data(bytes(4 << 20))
        except TimeoutError:
            server.sock.close()
            gone.set()

    def busy():
        with open(f"/proc/{running.pid}/stat") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))

    with open(source, "rb") as stdin:
        running = subprocess.Popen([POSTERN, "vsh", guest(serve), "--vshd", "--", "x"], stdin=stdin,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert gone.wait(20)
    time.sleep(0.2)
    before = busy()
    time.sleep(0.5)
    assert busy() - before <= 3, "it spins"
    out, err = running.communicate(timeout=20)
    assert running.returncode == ABSENT and b"before the program's end" in err and len(out) > 64 << 10


def test_a_server_that_reads_nothing(guest):
    held = threading.Event()

    def serve(server):
        server.take_request()
        server.answer()
        held.wait(30)
        server.status(code=3)

    running = subprocess.Popen([POSTERN, "vsh", guest(serve), "--vshd", "--", "x"], stdin=subprocess.PIPE)
    os.set_blocking(running.stdin.fileno(), False)
    taken = 0
    try:
        while True:
            taken += os.write(running.stdin.fileno(), b"x" * 65536)
            time.sleep(0.01)
    except BlockingIOError:
        pass
    assert taken < 4 << 20
    held.set()
    assert running.wait(20) == 3
    try:
        running.stdin.close()
    except BrokenPipeError:
        pass


def test_the_server_is_gone_while_a_terminal_is_raw(guest):
    def serve(server):
        server.take_request()
        server.answer()
        server.data(b"here\r\n")
        server.next()

    screen = Terminal(guest(serve), "vsh", "--vshd")
    screen.expect(b"here\r\n")
    assert screen.is_raw()
    screen.type(b"x")
    assert screen.end() == ABSENT and not screen.is_raw()
    screen.close()
