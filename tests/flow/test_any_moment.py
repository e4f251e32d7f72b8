# SPDX-License-Identifier: LGPL-2.1-or-later
"""Interrupts at any moment, and folders that change at any moment: what is left behind is whole, or as it was."""

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from agent import Agent
from copying import no_parts, write
from jobs import eventually
from terminal import Terminal
from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")
TIMES = 12


@pytest.fixture(scope="module")
def agent():
    with Agent(policy="allow local:0 *\n") as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def dice():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def interrupted(dice, longest, *words, number=signal.SIGINT):
    """The exit code of a command that was told to end at some moment."""
    process = subprocess.Popen([POSTERN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(dice.uniform(0, longest))
    process.send_signal(number)
    return process.wait(20)


@pytest.mark.parametrize("way", ["to", "from"])
def test_a_copy(agent, dice, tmp_path, way):
    source, target = write(tmp_path / "new", os.urandom(1 << 20) * 30), tmp_path / "target"
    vm = f"[local:{agent.socket}]:"
    words = [source, f"{vm}{target}"] if way == "to" else [f"{vm}{source}", target]
    for _ in range(TIMES):
        write(target, b"old")
        code = interrupted(dice, 0.25, "cp", *map(str, words))
        assert code in (0, 128 + signal.SIGINT, -signal.SIGINT)
        content = target.read_bytes()
        assert content in ((source.read_bytes(),) if code == 0 else (b"old", source.read_bytes()))
    # The last one takes up what the others left, and leaves nothing.
    subprocess.run([POSTERN, "cp", *map(str, words)], check=True)
    assert target.read_bytes() == source.read_bytes()
    assert eventually(lambda: no_parts(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_program(agent, dice, number):
    name = f"{random.randrange(1000, 10**6)}.{number:02}"
    for _ in range(TIMES):
        interrupted(dice, 0.15, "exec", f"local:{agent.socket}", "--", "sleep", name, number=number)
    # One whose caller had not come to its channels ends when their tokens do.
    assert eventually(lambda: subprocess.run(["pgrep", "-f", f"^sleep {name}"], capture_output=True).returncode == 1, 15)


def test_a_shell_leaves_the_terminal_as_it_was(agent, dice):
    for _ in range(TIMES):
        terminal = Terminal(f"local:{agent.socket}", "vsh", "--", "sleep", "1000")
        try:
            time.sleep(dice.uniform(0, 0.15))
            os.kill(terminal.pid, signal.SIGTERM)
            terminal.end()
            assert not terminal.is_raw()
        finally:
            terminal.close()


def test_a_forward_takes_its_sockets_away(agent, dice, tmp_path):
    path = f"{tmp_path}/listens"
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(TIMES):
            code = interrupted(dice, 0.15, "forward", f"local:{agent.socket}",
                               f"unix:{path}=tcp:{server.getsockname()[1]}")
            assert code in (0, -signal.SIGINT, 128 + signal.SIGINT)
            assert not os.path.exists(path)


@pytest.mark.parametrize("way", ["to", "from"])
def test_a_folder_that_is_swapped_for_a_link(agent, dice, tmp_path, way):
    """Somebody who may rename what is copied into does not have it written elsewhere."""
    vm, outside, into = f"[local:{agent.socket}]:", tmp_path / "outside", tmp_path / "into"
    tree = tmp_path / "tree" / "sub"
    tree.mkdir(parents=True)
    outside.mkdir()
    for i in range(150):
        write(tree / f"f{i}", b"x" * 100)
    stop = threading.Event()

    def swap():
        sub, aside = into / "tree" / "sub", into / "aside"
        while not stop.is_set():
            try:
                os.rename(sub, aside)
                os.symlink(outside, sub)
                time.sleep(dice.uniform(0, 0.002))
                os.unlink(sub)
                os.rename(aside, sub)
            except OSError:
                for path in (sub, aside):
                    if path.is_symlink():
                        path.unlink()
                shutil.rmtree(aside, ignore_errors=True)
    for _ in range(TIMES):
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        stop.clear()
        swapper = threading.Thread(target=swap)
        swapper.start()
        words = [tree.parent, f"{vm}{into}"] if way == "to" else [f"{vm}{tree.parent}", into]
        done = subprocess.run([POSTERN, "cp", "-r", *map(str, words)], capture_output=True, timeout=60)
        stop.set()
        swapper.join()
        assert done.returncode in (0, 1), done
        assert os.listdir(outside) == []
