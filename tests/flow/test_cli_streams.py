# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern where its standard streams and signals are not as at a terminal: closed, full, ignored."""

import os
import signal
import subprocess
import time

import pytest

from agent import Agent
from jobs import ALLOW_EXEC
from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def shell(agent):
    """A line of a shell in which postern and VM stand for what they are."""
    def shell(line, **kwargs):
        kwargs = {"timeout": 30, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **kwargs}
        return subprocess.run(["bash", "-c", line], env={**os.environ, "VM": f"local:{agent.socket}",
                                                         "PATH": f"{BUILD}:{os.environ['PATH']}"}, **kwargs)
    return shell


@pytest.mark.parametrize("line", ["postern exec $VM -- echo hi >/dev/full",
                                  "postern exec $VM -- sh -c 'yes | head -c 300000' >/dev/full"])
def test_output_that_is_lost_is_no_success(shell, line):
    done = shell(line)
    assert done.returncode == 1 and "standard output" in done.stderr and "No space left" in done.stderr


@pytest.mark.parametrize("line", ["list --json", "info $VM", "logs -n 3 $VM", "mounts list $VM"])
def test_answers_that_are_lost_are_no_success(shell, line):
    assert shell(f"postern {line} >/dev/full").returncode == 1


def test_closed_streams_are_nobodys(shell):
    """What the command opens does not become its standard stream."""
    done = shell("postern exec $VM -- sh -c 'echo hi; cat' <&-")
    assert (done.stdout, done.returncode) == ("hi\n", 0)
    assert shell("postern exec $VM -- sh -c 'echo SECRET; exit 3' >&-").returncode == 3
    assert shell("postern exec $VM -- true <&- >&- 2>&-").returncode == 0


def test_events_end_with_their_reader(shell, agent):
    def change():
        with agent.client() as client:
            client.call("exec.start", argv=[b"true"])

    with subprocess.Popen([POSTERN, "events", f"local:{agent.socket}", "notify.exec.*"],
                          stdout=subprocess.PIPE) as process:
        time.sleep(0.3)
        change()
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) is not None


@pytest.mark.parametrize("ignored,number", [("HUP", signal.SIGHUP), ("INT", signal.SIGINT)])
@pytest.mark.parametrize("words", ["exec $VM -- sh -c 'echo begun; sleep 1'", "events --for 1s $VM notify.exec.*"])
def test_what_is_ignored_stays_so(agent, words, ignored, number):
    """As under nohup(1), and in the background of a script."""
    line = f"trap '' {ignored}; exec {POSTERN} {words}"
    process = subprocess.Popen(["bash", "-c", line], env={**os.environ, "VM": f"local:{agent.socket}"},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(20) in (0, 5)


def test_many_short_options_in_one_word(shell):
    done = shell(f"postern cp -{'r' * 200} /nowhere/a /nowhere/b")
    assert done.returncode == 2 and "neither side is a guest" in done.stderr


@pytest.mark.parametrize("words,said", [("cp -Zr a b", "no option -Z"), ("cp -rZ a b", "no option -Z"),
                                        ("cp --zr a b", "no option --zr"), ("exec -u", "-u needs a value"),
                                        ("exec --user", "--user needs a value")])
def test_which_option_is_wrong(shell, words, said):
    done = shell(f"postern {words}")
    assert done.returncode == 2 and said in done.stderr
