# SPDX-License-Identifier: LGPL-2.1-or-later
"""A million names: all are told, with little memory, and nobody else waits; whoever breaks off leaves nothing behind."""

import os
import subprocess
import threading
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from jobs import eventually
from wire import Failed, message

pytestmark = pytest.mark.xdist_group("mounts")

FLAT = 600_000
FOLDERS, EACH = 400, 999
ALL = FLAT + 1 + FOLDERS * (EACH + 1)
assert ALL > 1_000_000
PSS_MOST = 12 << 20  # of all processes of the agent together, more than before
MANY = 300000  # ms


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file system of names, in memory: one folder of most of them, and a tree."""
    media = os.path.realpath(tmp_path_factory.mktemp("media"))
    path = f"{media}/many"
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,nr_inodes=0", "many", path], check=True)
    try:
        os.mkdir(f"{path}/flat")
        fill(f"{path}/flat", FLAT)
        for i in range(FOLDERS):
            os.mkdir(f"{path}/folder{i}")
            fill(f"{path}/folder{i}", EACH)
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def fill(path, count):
    fd = os.open(path, os.O_RDONLY)
    for i in range(count):
        os.mknod(f"n{i}", 0o100644, dir_fd=fd)
    os.close(fd)


@pytest.fixture(scope="module")
def agent(place):
    with Agent(policy=DEFAULT_POLICY + "allow local:0 disks.* files.*\n", files_roots=place,
               disks_folders=os.path.dirname(place)) as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        assert "Sanitizer" not in running.read_log() and "runtime error" not in running.read_log()


def processes(agent):
    return [agent.process.pid, *agent.children()]


def pss(agent):
    total = 0
    for pid in processes(agent):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:")) << 10
        except (OSError, StopIteration):
            pass  # it ended meanwhile
    return total


def nobody_looks(agent, place):
    """No process of the agent has anything open there any more."""
    for pid in processes(agent):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(place):
                    return False
        except OSError:
            pass
    return True


class Watched:
    """What the agent takes meanwhile, at most, and how long another caller waits, at most."""

    def __init__(self, agent):
        self.agent = agent
        self.most = self.wait = 0
        self.done = threading.Event()

    def look(self):
        with self.agent.client() as other:
            while not self.done.wait(0.05):
                self.most = max(self.most, pss(self.agent))
                begun = time.monotonic()
                other.call("system.ping")
                other.call("files.stat", path=os.fsencode(self.agent.settings["files_roots"]))
                self.wait = max(self.wait, time.monotonic() - begun)

    def __enter__(self):
        self.before = pss(self.agent)
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def is_modest(self):
        assert self.wait < 5, self.wait
        with open(f"/proc/{self.agent.process.pid}/maps") as file:
            sanitized = "libasan" in file.read()
        assert 0 < self.most < self.before + PSS_MOST or sanitized, (self.before, self.most)
        return True


def parts(client, id):
    """All parts of an answer, as they come."""
    while True:
        response = client.take_response(id)
        if response.HasField("error"):
            raise Failed(response.error)
        yield response
        if not response.more:
            return


def count(client, method, id):
    """How many entries came, and how many the end says."""
    came, reply = 0, message(method, "Reply")
    for part in parts(client, id):
        told = reply.FromString(part.result)
        came += len(told.files)
        assert not told.problems
    return came, told.count


@pytest.mark.parametrize("method,fields", [("files.list", {"path": True}), ("disks.list_files", {"disk": b"many"})])
def test_all_are_told(agent, client, place, method, fields):
    if "path" in fields:
        fields = {"path": os.fsencode(place)}
    with Watched(agent) as watched:
        id = client.start(method, recursive=True, timeout_ms=MANY, **fields)
        assert count(client, method, id) == (ALL, ALL)
    assert watched.is_modest()
    assert nobody_looks(agent, place)


def test_one_folder(agent, client, place):
    with Watched(agent) as watched:
        id = client.start("files.list", path=os.fsencode(f"{place}/flat"), timeout_ms=MANY)
        names = set()
        for part in parts(client, id):
            names |= {entry.path for entry in message("files.list", "Reply").FromString(part.result).files}
        assert names == {b"n%d" % i for i in range(FLAT)}
    assert watched.is_modest()


def test_a_caller_who_reads_slowly(agent, place):
    """Nothing is kept for him but what fits the socket and the session; others are served as ever."""
    with agent.client(timeout=60) as slow, Watched(agent) as watched:
        id = slow.start("files.list", path=os.fsencode(place), recursive=True, timeout_ms=MANY)
        time.sleep(3)
        assert not nobody_looks(agent, place), "it waits for him"
        with agent.client() as other:
            assert other.call("files.list", path=os.fsencode(f"{place}/folder7")).count == EACH
        for _ in range(20):
            slow.take_response(id)
            time.sleep(0.05)
        assert watched.is_modest()
        came = 0
        for part in parts(slow, id):
            came += 1
        assert came > 20
    assert nobody_looks(agent, place)


def test_broken_off(agent, client, place):
    id = client.start("files.list", path=os.fsencode(place), recursive=True, timeout_ms=MANY)
    assert client.take_response(id).more
    client.cancel(id)
    with pytest.raises(Failed) as failed:
        list(parts(client, id))
    assert failed.value.code == "CANCELLED"
    eventually(lambda: nobody_looks(agent, place))
    assert client.call("files.list", path=os.fsencode(f"{place}/folder1")).count == EACH


def test_hung_up(agent, place):
    with agent.client() as client:
        id = client.start("files.list", path=os.fsencode(place), recursive=True, timeout_ms=MANY)
        assert client.take_response(id).more
    eventually(lambda: nobody_looks(agent, place))


def test_not_done_in_time(agent, client, place):
    begun = time.monotonic()
    id = client.start("files.list", path=os.fsencode(place), recursive=True, timeout_ms=300)
    with pytest.raises(Failed) as failed:
        list(parts(client, id))
    assert failed.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - begun < 5
    eventually(lambda: nobody_looks(agent, place))
    assert not client.call("system.info").agent.stuck
