# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern serial: a guest's console for several readers, in pipes and at terminals. The supervisor and the
command are real; the guest only talks (fake_vmm.py), and writes what is typed at it."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, DONE, POSTERN, REFUSED, TIMED_OUT, USAGE, wait_until

RING = 64 << 10
LEFT = b"Disconnected from guest after a successful attach\n"
LOST = re.compile(rb"\r\n\[postern: (\d+) bytes of the console were lost here\]\r\n")


@pytest.fixture
def web(host, tmp_path):
    fake_vmm.launch(host, tmp_path, boot=0, hint=0.1, say="login: ")
    return host


def serial(host, *options, name="web", input=b"", code=DONE, command="serial", linger=("--linger", "300ms")):
    done = subprocess.run([POSTERN, command, name, *linger, *options], env=host.env, input=input, capture_output=True,
                          timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@contextlib.contextmanager
def reader(host, *options):
    process = subprocess.Popen([POSTERN, "serial", "web", *options], env=host.env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in process.stdin, process.stdout, process.stderr:
            pipe.close()


def take(fd, until, seconds=20):
    """Reads until the bytes have come."""
    data, end = b"", time.monotonic() + seconds
    while until not in data:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], data[-1000:]
        more = os.read(fd, 65536)
        assert more, data[-1000:]
        data += more
    return data


def by_hand(host, **arguments):
    """A reader's connection, without a reader."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(host.file("web", "control.sock"))
    sock.sendall(json.dumps({"command": "console", "arguments": arguments}).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1)
    return sock, json.loads(line)


# ---- In a pipe ----

def test_input_output_and_an_end_when_it_is_quiet(web):
    start = time.monotonic()
    out, err = serial(web, input=b"root\n", linger=())
    assert (out, err) == (b"login: root\n", LEFT)
    assert time.monotonic() - start > 0.9
    out, err = serial(web, "--new", "--json", input=b"again\n", command="attach")
    assert (out, json.loads(err)) == (b"again\n", {"sent": 6, "received": 6})


def test_silence_is_counted_from_the_last_byte(web):
    with reader(web, "--linger", "1500ms") as one, reader(web) as other:
        take(one.stdout.fileno(), b"login: ")
        one.stdin.close()
        for i in range(4):
            time.sleep(0.5)
            other.stdin.write(b"%d" % i)
            other.stdin.flush()
        assert one.wait(20) == DONE
        assert one.stdout.read() == b"0123"


def test_read_only_goes_on_until_the_machine_ends(web):
    with reader(web, "--read-only", "--linger", "1ms") as one:
        one.stdin.close()
        take(one.stdout.fileno(), b"login: ")
        serial(web, input=b"more\n")
        take(one.stdout.fileno(), b"more\n")
        web.run("stop", "-f", "web")
        assert one.wait(20) == DONE and one.stderr.read() == LEFT


def test_the_last_words_of_a_guest_arrive(web):
    with reader(web) as one:
        one.stdin.write(b"flood 60000\npanic\n")
        one.stdin.flush()
        assert one.stdout.read().endswith(fake_vmm.numbered_lines(60000))
        assert one.wait(20) == DONE
        assert one.stderr.read() == LEFT
    assert web.info("web")["status"] == "failed"


def test_the_last_64_kib_come_first(web):
    size = 100_000
    serial(web, input=b"flood %d\n" % size)
    out, _ = serial(web)
    # From the beginning of a line on, so that no sequence is cut in two.
    whole = fake_vmm.numbered_lines(size)
    assert whole.endswith(out) and RING - 11 < len(out) <= RING and re.match(rb"\d{9}\r\n", out)
    assert serial(web, "--new")[0] == b""


def test_a_line_longer_than_what_is_kept(web):
    serial(web, input=b"x" * 100_000)
    out, _ = serial(web)
    assert out == b"x" * RING


def test_several_readers_see_it_all_and_type_in_turns(web):
    words = {letter: [b"%s-%03d\n" % (letter, i) for i in range(100)] for letter in (b"a", b"b", b"c")}
    with contextlib.ExitStack() as stack:
        readers = {letter: stack.enter_context(reader(web, "--new")) for letter in words}
        wait_until(lambda: web.info("web")["console_readers"] == 3)
        for i in range(100):
            for letter, process in readers.items():
                process.stdin.write(words[letter][i])
                process.stdin.flush()
        outputs = []
        for process in readers.values():
            data = b""
            while len(data) < 3 * 600:
                data += take(process.stdout.fileno(), b"\n")
            outputs.append(data)
        assert outputs[0] == outputs[1] == outputs[2]
        lines = outputs[0].splitlines(keepends=True)
        for letter in words:
            assert [line for line in lines if line.startswith(letter)] == words[letter]
    wait_until(lambda: web.info("web")["console_readers"] == 0)


def account(data, size):
    """What came of a flood is what was written, but where a note says how much is missing."""
    whole, at = fake_vmm.numbered_lines(size), 0
    parts = LOST.split(data)
    for i, part in enumerate(parts):
        if i % 2:
            at += int(part)
        else:
            assert whole[at:at + len(part)] == part
            at += len(part)
    assert at == size
    return len(parts) // 2


def test_a_reader_that_does_not_read_holds_nobody_up(web, tmp_path):
    size = 8 << 20
    lazy, answer = by_hand(web, scrollback=False)
    assert answer == {"return": {}}
    with reader(web, "--new") as busy:
        busy.stdin.write(b"flood %d\n" % size)
        busy.stdin.flush()
        # All the same whether anybody reads.
        wait_until(lambda: "flooded" in fake_vmm.events(tmp_path), timeout=60)
        busy.stdin.write(b"end\n")
        busy.stdin.flush()
        data = take(busy.stdout.fileno(), b"end\n")
        head = len(b"flood %d\n" % size)
        account(data[head:-4], size)
        late = b""
        while not late.endswith(b"end\n"):
            late += lazy.recv(1 << 20)
        assert account(late[head:-4], size) >= 1
    lazy.close()
    with open(web.file("web", "console.log"), "rb") as file:
        assert file.read().endswith(b"end\n")


def test_a_guest_that_reads_nothing(web, tmp_path):
    with reader(web, "--new") as typist, reader(web, "--read-only") as other:
        take(other.stdout.fileno(), b"login: ")
        typist.stdin.write(b"deaf\n")
        typist.stdin.flush()
        take(other.stdout.fileno(), b"deaf\n")
        # It stops at what the sockets between hold; nothing grows.
        os.set_blocking(typist.stdin.fileno(), False)
        sent, until = 0, time.monotonic() + 2
        while time.monotonic() < until:
            try:
                sent += os.write(typist.stdin.fileno(), b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 2 << 20
        # Others can still come and go, and the typist leave.
        assert serial(web)[0].startswith(b"login: ")
        typist.kill()
        typist.wait()
        wait_until(lambda: web.info("web")["console_readers"] == 1)
        web.run("stop", "-f", "web")


def test_the_log(web, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    serial(web, "--log", str(log), input=b"one\n")
    assert log.read_bytes() == b"before\nlogin: one\n"
    _, err = serial(web, "--log", "/dev/full", code=ANSWERED)
    assert b"/dev/full: No space left on device" in err
    _, err = serial(web, "--log", str(tmp_path), code=USAGE)
    assert b"Is a directory" in err


def test_a_reader_of_ours_that_has_had_enough(web):
    done = subprocess.run(f"(echo flood 1000000; sleep 1) | {POSTERN} serial web | head -c 10", shell=True, env=web.env,
                          capture_output=True, timeout=30)
    assert done.stdout == b"login: flo" and b"rror" not in done.stderr


# ---- Refused ----

def test_nobody_there(host, web):
    _, err = serial(host, name="nobody", code=ABSENT)
    assert err == b"postern: Can't attach to a non-running guest: there is no VM nobody\n"
    web.run("stop", "-f", "web")
    out, err = serial(web, "--json", code=ABSENT)
    assert err == b"postern: Can't attach to a non-running guest: the VM web is not running\n"
    assert json.loads(out)["error"]["failure"] == "absent"


def test_a_supervisor_that_does_not_answer(web):
    supervisor = web.supervisor("web")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        _, err = serial(web, code=TIMED_OUT)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert err.startswith(b"postern: Failed to attach to guest: ")


def test_only_so_many_readers(web):
    readers = [by_hand(web) for _ in range(16)]
    assert all(answer == {"return": {}} for _, answer in readers)
    _, err = serial(web, code=REFUSED)
    assert b"Failed to attach to guest: 16 readers have the console already" in err
    readers[0][0].close()
    wait_until(lambda: web.info("web")["console_readers"] == 15)
    assert serial(web)[0] == b"login: "
    for sock, _ in readers[1:]:
        sock.close()


def test_a_connection_that_has_asked_for_more(web):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(web.file("web", "control.sock"))
    sock.sendall(b'{"command": "console"}\n{"command": "status"}\n')
    lines = sock.makefile("rb")
    assert "error" in json.loads(lines.readline()) and json.loads(lines.readline())["return"]["state"] == "ready"


# ---- At a terminal ----

class Terminal:
    """postern at a terminal of its own, as its foreground process."""

    def __init__(self, host, *words):
        self.fd, theirs = pty.openpty()
        self.theirs = theirs
        self.before = termios.tcgetattr(theirs)
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(theirs) if hasattr(os, "login_tty") else self.login(theirs)
            os.execve(POSTERN, [POSTERN, *words], host.env)
        self.code = None

    @staticmethod
    def login(fd):
        import fcntl
        os.setsid()
        fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
        for i in range(3):
            os.dup2(fd, i)

    def type(self, text):
        os.write(self.fd, text)

    def take(self, until):
        return take(self.fd, until)

    def is_raw(self):
        return not termios.tcgetattr(self.theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def wait(self):
        wait_until(lambda: self.ended())
        assert termios.tcgetattr(self.theirs) == self.before
        return self.code

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self.theirs)


@pytest.fixture
def terminal(web):
    opened = Terminal(web, "serial", "web")
    opened.take(b"login: ")
    wait_until(opened.is_raw)
    yield opened
    opened.close()


def test_every_key_is_the_guests_until_a_tilde_and_a_dot(terminal):
    keys = b"root\r\x03\x1a\x1c\x11\x13\x04\xff~.~~"
    terminal.type(keys)
    assert keys in terminal.take(keys)
    terminal.type(b"\r~?")
    assert b"~.  - leave" in terminal.take(b"the beginning of a line only.)\r\n")
    terminal.type(b"~~x\r")
    terminal.take(b"~x\r")
    terminal.type(b"~.")
    assert LEFT.strip() in terminal.take(b"attach")
    assert terminal.wait() == DONE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGABRT])
def test_a_signal_leaves_the_terminal_as_it_was(terminal, number):
    os.kill(terminal.pid, number)
    assert terminal.wait() == -number


def test_the_end_of_the_machine_leaves_the_terminal_as_it_was(terminal, web):
    web.run("stop", "-f", "web")
    terminal.take(LEFT.strip())
    assert terminal.wait() == DONE


def test_a_supervisor_that_is_killed_leaves_the_terminal_as_it_was(terminal, web):
    os.kill(web.supervisor("web"), signal.SIGKILL)
    assert terminal.wait() == DONE


def test_ctrl_c_while_it_begins(web):
    """The terminal is not raw yet: the key is a signal."""
    supervisor = web.supervisor("web")
    os.kill(supervisor, signal.SIGSTOP)
    waiting = Terminal(web, "serial", "web")
    try:
        with open(f"/proc/{waiting.pid}/syscall") as file:
            # poll(), for the answer that does not come.
            wait_until(lambda: file.seek(0) == 0 and file.read().startswith("7 "))
        waiting.type(b"\x03")
        assert waiting.wait() == -signal.SIGINT
    finally:
        os.kill(supervisor, signal.SIGCONT)
        waiting.close()


def test_without_a_terminal_on_both_sides_it_is_not_raw(web):
    fd, theirs = pty.openpty()
    process = subprocess.Popen([POSTERN, "serial", "web"], env=web.env, stdin=theirs, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    before = termios.tcgetattr(theirs)
    take(process.stdout.fileno(), b"login: ")
    assert termios.tcgetattr(theirs) == before
    os.write(fd, b"~.\n\x04")
    assert process.wait(20) == DONE and process.stdout.read() == b"~.\n"
    os.close(fd)
    os.close(theirs)
