# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern fs, as people and backup scripts use it; on loop devices, each named."""

import json
import os
import signal
import subprocess
import time

import pytest

from disk import disk
from wire import BUILD

pytestmark = pytest.mark.xdist_group("mounts")

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture
def ext4(tmp_path):
    with disk(tmp_path) as path:
        yield path


@pytest.fixture
def postern(agent):
    def postern(verb, *words, **kwargs):
        return subprocess.run([POSTERN, "fs", verb, f"local:{agent.socket}", *words], capture_output=True, timeout=60,
                              text=True, **kwargs)

    return postern


def is_written(path):
    """Whether somebody can write there now."""
    process = subprocess.Popen(["touch", f"{path}/written"])
    try:
        return process.wait(2) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return False


def test_a_program_runs_while_nothing_writes(postern, ext4):
    look = f"(touch {ext4}/x & sleep 0.3; ls {ext4}); exit 7"
    done = postern("freeze", "-m", ext4, "--", "sh", "-c", look)
    assert done.returncode == 7, done.stderr
    assert f"Frozen for at most 60 s: {ext4}\n" in done.stdout and "Thawed" in done.stdout
    assert "x" not in done.stdout.split()
    assert is_written(ext4)


def test_in_json(postern, ext4):
    done = postern("freeze", "--json", "-m", ext4, "--", "true")
    told = json.loads(done.stdout)
    assert [fs["target"] for fs in told["frozen"]] == [fs["target"] for fs in told["thawed"]] == [ext4]
    assert (done.returncode, told["exit_code"]) == (0, 0)


def test_a_lease_that_ends_first_is_a_failure(postern, ext4):
    done = postern("freeze", "-m", ext4, "-l", "200ms", "--", "sleep", "1")
    assert done.returncode == 5 and "not of one moment" in done.stderr
    assert "Thawed" not in done.stdout
    assert is_written(ext4)


def test_a_program_that_is_not_there(postern, ext4):
    done = postern("freeze", "-m", ext4, "--", "/nowhere/program")
    assert done.returncode == 2 and "/nowhere/program" in done.stderr
    assert is_written(ext4)


def test_a_program_that_is_killed(postern, ext4):
    assert postern("freeze", "-m", ext4, "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_thaws(agent, ext4, number):
    process = subprocess.Popen([POSTERN, "fs", "freeze", f"local:{agent.socket}", "-m", ext4],
                               stdout=subprocess.PIPE, text=True)
    assert "Ctrl-C" in process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(number)
    assert (process.communicate(timeout=20)[0], process.returncode) == ("Thawed\n", 0)
    assert is_written(ext4)


def test_one_that_is_killed_thaws_all_the_same(agent, ext4):
    process = subprocess.Popen([POSTERN, "fs", "freeze", f"local:{agent.socket}", "-m", ext4],
                               stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.kill()
    process.wait()
    assert is_written(ext4)


def test_status_and_thaw(agent, postern, ext4):
    assert postern("status").stdout == "Nothing is frozen through the agent\n"
    with agent.client() as client:
        client.call("filesystems.freeze", targets=[ext4.encode()], lease_ms=60000)
        lines = postern("status").stdout.splitlines()
        assert lines[0].startswith("Lease ") and "of local:0, for another " in lines[0]
        assert lines[1] == f"  {ext4} (ext4)"
        assert postern("thaw").stdout == f"{ext4} is thawed\n"
    assert postern("thaw").stdout == "Nothing was frozen\n"
    assert is_written(ext4)


def test_trim_and_sync(postern, ext4):
    head, row = postern("trim", ext4).stdout.splitlines()
    assert head.split() == ["Target", "Trimmed"] and row.split()[0] == ext4 and row.endswith("MiB")
    done = postern("trim", "/proc")
    assert done.returncode == 1 and "/proc" in done.stderr and "not supported" in done.stderr
    assert postern("sync", ext4).returncode == 0
    done = postern("sync", "/nowhere")
    assert done.returncode == 1 and "/nowhere is no mount point" in done.stderr


def test_what_makes_no_sense(postern, ext4):
    for words in (["-l", "1h"], ["-l", "1ms"], ["-l", "x"], ["-m"]):
        assert postern("freeze", *words).returncode == 2, words
