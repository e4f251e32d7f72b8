# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern exec, vsh and jobs, as people and scripts use them."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest

from agent import Agent
from jobs import ALLOW_EXEC, eventually
from terminal import Terminal
from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def postern(agent):
    def postern(*words, **kwargs):
        kwargs.setdefault("input", b"")
        # The machine is the word behind the command's own.
        at = 2 if words[0] == "jobs" else 1
        words = [*words[:at], f"local:{agent.socket}", *words[at:]]
        return subprocess.run([POSTERN, *words], capture_output=True, timeout=60, **kwargs)

    return postern


@pytest.fixture
def terminal(agent):
    opened = []

    def terminal(*words, **kwargs):
        opened.append(Terminal(f"local:{agent.socket}", *words, **kwargs))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


def test_streams_and_exit_code(postern):
    done = postern("exec", "--", "sh", "-c", "cat; echo err >&2; exit 3", input=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"err\n", 3)


def test_a_signal_as_an_exit_code(postern):
    assert postern("exec", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9


def test_errors_of_exec_are_not_exit_codes(postern):
    done = postern("exec", "--", "no-such-program")
    assert done.returncode == 1 and b"not found" in done.stderr
    done = postern("exec", "--json", "--", "no-such-program")
    assert json.loads(done.stdout)["error"]["code"] == "NOT_FOUND"
    assert postern("exec", "--user", "no-such-user", "--", "true").returncode == 1


def test_options(postern):
    done = postern("exec", "-e", "A=b c", "-e", "TZ", "-C", "/usr", "-u", "nobody", "--", "sh", "-c",
                   "echo $A $TZ; pwd; id -un", env={**os.environ, "TZ": "Mars"})
    assert done.stdout == b"b c Mars\n/usr\nnobody\n", done
    done = postern("exec", "-T", "200ms", "--", "sleep", "100")
    assert done.returncode == 128 + 15 and b"time was over" in done.stderr
    record = json.loads(postern("exec", "--json", "--", "sh", "-c", "exit 9").stderr)
    assert record["state"] == "EXITED" and record["exit_code"] == 9


def test_words_of_any_bytes(postern):
    assert postern("exec", "--", "printf", "%s", b"\xff\xfe'\" \n").stdout == b"\xff\xfe'\" \n"


def test_much_both_ways(postern):
    data = os.urandom(20 << 20)
    done = postern("exec", "--", "cat", input=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest() and done.returncode == 0


def test_a_reader_that_has_had_enough(agent):
    done = subprocess.run(f"{POSTERN} exec local:{agent.socket} -- yes | head -1; echo ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", capture_output=True, timeout=20,
                          stdin=subprocess.DEVNULL)
    assert done.stdout == b"y\n%d\n" % (128 + signal.SIGPIPE)


def test_who_leaves_processes_behind_does_not_hang(postern):
    began = time.monotonic()
    done = postern("exec", "--", "sh", "-c", "echo mine; sleep 5 & exit 0")
    assert done.stdout == b"mine\n" and done.returncode == 0 and time.monotonic() - began < 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupts_are_the_programs(agent, number):
    script = f"trap 'echo got; exit 42' {number.value}; echo ready; while :; do sleep 0.05; done"
    running = subprocess.Popen([POSTERN, "exec", f"local:{agent.socket}", "--", "sh", "-c", script],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(number)
    assert running.stdout.read() == b"got\n" and running.wait(20) == 42


def test_the_third_interrupt_leaves(agent, postern):
    running = subprocess.Popen([POSTERN, "exec", f"local:{agent.socket}", "--", "sh", "-c",
                                "trap '' INT; echo $$; while :; do sleep 0.05; done"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(running.stdout.readline())
    for _ in range(3):
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert running.wait(20) == 255
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_detached(postern):
    done = postern("exec", "-d", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    job = str(json.loads(done.stdout)["job"])
    assert postern("jobs", "wait", job).returncode == 5
    assert [row["job"] for row in json.loads(postern("jobs", "list", "--json").stdout)["jobs"]].count(int(job)) == 1
    done = postern("jobs", "attach", job)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 5)
    assert postern("jobs", "forget", job).returncode == 0
    assert postern("jobs", "wait", job).returncode == 1


def test_signals_to_a_job(postern):
    job = postern("exec", "-d", "--", "sleep", "1000").stdout.split()[1].decode()
    assert b"running" in postern("jobs", "list").stdout
    assert postern("jobs", "forget", job).returncode == 1
    assert postern("jobs", "signal", job, "SIGTERM").returncode == 0
    assert postern("jobs", "wait", job).returncode == 128 + 15
    assert postern("jobs", "signal", job, "NONSENSE").returncode == 2


def test_a_shell_in_a_pipe(postern):
    done = postern("vsh", input=b"echo one\ntty\nexit 6\n")
    assert done.stdout == b"one\nnot a tty\n" and done.returncode == 6
    assert postern("vsh", "--", "sort", "-r", input=b"1\n2\n").stdout == b"2\n1\n"


# ---- at a terminal ----


def test_a_shell(terminal):
    shell = terminal("vsh", "--", "sh")
    shell.type(b"stty size; echo $TERM\n")
    shell.expect(b"31 101\r\nvt100\r\n")
    assert shell.is_raw()
    shell.resize(40, 120)
    # The new size goes another way than what is typed.
    shell.type(b"until stty size | grep -x '40 120'; do :; done\n")
    shell.expect(b"40 120\r\n")
    shell.type(b"sleep 100\n")
    time.sleep(0.3)
    shell.type(b"\x03")
    shell.type(b"echo still $((1 + 1))\n")
    shell.expect(b"still 2")
    shell.type(b"exit 7\n")
    assert shell.end() == 7 and not shell.is_raw()


def test_two_shells_do_not_disturb_each_other(terminal):
    shells = [terminal("vsh", "--", "sh") for _ in range(2)]
    for i, shell in enumerate(shells):
        shell.type(b"x=%d; echo mine is $x.\n" % (i + 7))
    for i, shell in enumerate(shells):
        shell.expect(b"mine is %d." % (i + 7))
    shells[0].type(b"exit\n")
    assert shells[0].end() == 0
    shells[1].type(b"echo here; exit 3\n")
    assert shells[1].end() == 3


def test_the_escape(terminal):
    shell = terminal("vsh", "--", "sh", "-c", "trap 'exit 1' HUP; echo pid $$.; while :; do sleep 0.05; done")
    shell.expect(b"pid ")
    pid = int(shell.expect(b"."))
    shell.type(b"~?")
    shell.expect(b"escape sequences")
    shell.type(b"\r~.")
    assert shell.end() == 255 and not shell.is_raw()
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminal_is_as_it_was_after_a_signal(terminal, number):
    shell = terminal("vsh", "--", "sh")
    shell.type(b"echo rea''dy\n")
    shell.expect(b"ready")
    assert shell.is_raw()
    os.kill(shell.pid, number)
    assert shell.end() == -number and not shell.is_raw()


def test_a_flood(terminal):
    shell = terminal("vsh", "--", "sh", "-c", "yes | head -c 10000000; echo over")
    count, tail = 0, b""
    while b"over" not in tail:
        piece = os.read(shell.fd, 65536)
        assert piece
        count += len(piece)
        tail = tail[-10:] + piece
    # Each newline has got its carriage return.
    assert count >= 15000000
    assert shell.end() == 0


def test_the_agents_end(terminal):
    with Agent(policy=ALLOW_EXEC) as other:
        shell = Terminal(f"local:{other.socket}", "vsh", "--", "sh")
        try:
            shell.type(b"echo rea''dy\n")
            shell.expect(b"ready")
            other.process.kill()
            assert shell.end() == 4 and not shell.is_raw()
        finally:
            shell.close()
