# SPDX-License-Identifier: LGPL-2.1-or-later
"""disks.benchmark: it measures, says how far it is, and leaves everything as it was."""

import errno
import hashlib
import json
import os
import subprocess
import threading
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from disk import disk
from jobs import eventually
from wire import BUILD, Failed, message

pytestmark = pytest.mark.xdist_group("mounts")

POSTERN = os.path.join(BUILD, "postern")
STARTED, PROGRESS, FINISHED = 1, 2, 3
SEQUENTIAL_WRITE, RANDOM_WRITE, SEQUENTIAL_READ, RANDOM_READ = range(1, 5)
MIB = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return os.path.realpath(tmp_path_factory.mktemp("disks"))


@pytest.fixture(scope="module")
def agent(folder):
    os.mkdir(f"{folder}/media")
    with Agent(policy=DEFAULT_POLICY + "allow local:0 disks.*\n", disks_folders=f"{folder}/media") as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        assert "Sanitizer" not in running.read_log() and "runtime error" not in running.read_log()


@pytest.fixture
def stick(folder):
    with disk(f"{folder}/media", name="stick", megabytes=160) as path:
        yield path
    os.rmdir(path)


@pytest.fixture
def loop(tmp_path):
    """A disk that is mounted nowhere, and what is on it."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(16 * MIB))
    name = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout.strip()
    yield name, image
    subprocess.run(["losetup", "-d", name], check=True)


def parts_of(client, **fields):
    """All parts of the answer, as they came."""
    id = client.start("disks.benchmark", **fields)
    parts = []
    while True:
        response = client.take_response(id)
        if response.HasField("error"):
            raise Failed(response.error)
        part = message("disks.benchmark", "Reply")()
        part.ParseFromString(response.result)
        parts.append(part)
        if not response.more:
            return parts


def failure(client, **fields):
    with pytest.raises(Failed) as failed:
        parts_of(client, **fields)
    return failed.value


def check_result(result, block):
    assert result.operations > 0 and 0 < result.bytes <= result.operations * block
    assert 0 < result.latency_p50_ns <= result.latency_p95_ns <= result.latency_p99_ns <= result.latency_max_ns
    assert result.latency_max_ns <= result.elapsed_ns
    assert abs(result.bytes_per_second - result.bytes * 1e9 / result.elapsed_ns) <= 1


def test_a_disk_is_read_and_stays_as_it_is(client, loop):
    name, image = loop
    before = hashlib.sha256(image.read_bytes()).digest(), os.stat(image).st_mtime_ns
    first, *between, last = parts_of(client, disk=name.encode(), duration_ms=600)
    assert first.state == STARTED and first.size == 16 * MIB and first.direct and not first.results
    assert first.name == os.path.basename(name).encode()
    assert between and all(part.state == PROGRESS and part.phase == RANDOM_READ for part in between[-2:])
    assert [part.percent for part in between] == sorted(part.percent for part in between)
    assert last.state == FINISHED and last.percent == 100
    sequential, anywhere = last.results
    assert (sequential.phase, anywhere.phase) == (SEQUENTIAL_READ, RANDOM_READ)
    assert sequential.bytes == 16 * MIB and sequential.operations == 16
    check_result(sequential, MIB)
    check_result(anywhere, 4096)
    assert 0.6e9 <= anywhere.elapsed_ns < 2e9
    assert (hashlib.sha256(image.read_bytes()).digest(), os.stat(image).st_mtime_ns) == before


def test_a_file_is_written_and_gone(client, stick):
    with open(f"{stick}/mine", "wb") as file:
        file.write(b"precious" * 1000)
    free = os.statvfs(stick).f_bfree
    last = parts_of(client, disk=b"stick", write=True, duration_ms=300, size=8 * MIB)[-1]
    assert last.path == os.fsencode(stick) and last.size == 8 * MIB and not last.HasField("name")
    assert [result.phase for result in last.results] == [SEQUENTIAL_WRITE, RANDOM_WRITE, SEQUENTIAL_READ, RANDOM_READ]
    for result in last.results:
        check_result(result, MIB if result.phase in (SEQUENTIAL_WRITE, SEQUENTIAL_READ) else 4096)
    assert last.results[0].bytes == 8 * MIB
    assert sorted(os.listdir(stick)) == ["lost+found", "mine"] and os.statvfs(stick).f_bfree == free
    with open(f"{stick}/mine", "rb") as file:
        assert file.read() == b"precious" * 1000


def test_room_is_left_over(client, stick):
    least = []
    done = threading.Event()

    def look():
        while not done.is_set():
            least.append(os.statvfs(stick).f_bavail)
            time.sleep(0.01)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        last = parts_of(client, disk=b"stick", write=True, duration_ms=3000, size=4096 * MIB)[-1]
    finally:
        done.set()
        watch.join()
    frame = os.statvfs(stick).f_frsize
    assert 32 * MIB <= last.size <= 96 * MIB and last.results[0].bytes == last.size
    assert min(least) * frame >= 62 * MIB


def test_a_disk_that_is_nearly_full(client, stick):
    with open(f"{stick}/large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 90 * MIB)
    refused = failure(client, disk=b"stick", write=True)
    assert refused.code == "RESOURCE_EXHAUSTED" and refused.error.sys_errno == errno.ENOSPC


def test_a_disk_that_takes_no_writes(client, stick):
    subprocess.run(["mount", "-o", "remount,ro", stick], check=True)
    assert failure(client, disk=b"stick", write=True).error.sys_errno == errno.EROFS


@pytest.mark.parametrize("write", [False, True])
def test_cancelled_amid_it(client, stick, write):
    name = b"stick" if write else subprocess.run(["findmnt", "-no", "SOURCE", stick], capture_output=True,
                                                  check=True).stdout.strip()
    free = os.statvfs(stick).f_bfree
    id = client.start("disks.benchmark", disk=name, write=write, duration_ms=20000)
    while client.receive().response.more:
        begun = time.monotonic()
        client.cancel(id)
        break
    while (response := client.receive().response).more:
        pass
    with pytest.raises(Failed) as failed:
        if response.HasField("error"):
            raise Failed(response.error)
    assert failed.value.code == "CANCELLED" and time.monotonic() - begun < 5
    eventually(lambda: os.statvfs(stick).f_bfree == free)
    assert client.call("system.ping")


def test_a_disk_with_bad_blocks(client, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(16 * MIB))
    name = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout.strip()
    try:
        # What is read behind the end of its file is an error of the disk.
        os.truncate(image, 4 * MIB)
        refused = failure(client, disk=name.encode(), duration_ms=200)
        assert refused.code == "UNAVAILABLE" and refused.error.sys_errno == errno.EIO and name in refused.message
    finally:
        subprocess.run(["losetup", "-d", name], check=True)


@pytest.mark.parametrize("fields,code", [
    ({}, "INVALID_ARGUMENT"), ({"disk": b""}, "INVALID_ARGUMENT"), ({"disk": b"no such disk"}, "NOT_FOUND"),
    ({"disk": b"x", "duration_ms": 9}, "INVALID_ARGUMENT"), ({"disk": b"x", "duration_ms": 60001}, "INVALID_ARGUMENT"),
    ({"disk": b"x", "write": True, "size": MIB - 1}, "INVALID_ARGUMENT"),
    ({"disk": b"x", "write": True, "size": 4096 * MIB + 1}, "INVALID_ARGUMENT"),
    ({"disk": b"x", "size": MIB}, "INVALID_ARGUMENT"), ({"disk": b"x", "write": True}, "NOT_FOUND"),
    ({"disk": b"../etc/passwd"}, "NOT_FOUND")])
def test_what_cannot_be_measured(client, fields, code):
    assert failure(client, **fields).code == code


def test_a_disk_without_a_medium(client):
    name = subprocess.run(["losetup", "-f"], capture_output=True, text=True, check=True).stdout.strip()
    # Loop devices without a file are disks of no size.
    if os.path.exists(f"/sys/class/block/{os.path.basename(name)}"):
        assert failure(client, disk=name.encode()).code in ("FAILED_PRECONDITION", "NOT_FOUND")


def test_what_went_wrong_is_told_to_others(client, stick):
    client.call("notifications.subscribe", topics=["notify.error"])
    subprocess.run(["mount", "-o", "remount,ro", stick], check=True)
    refused = failure(client, disk=b"stick", write=True)
    _, told = client.notification("notify.error")
    assert told.method == "disks.benchmark" and told.disk == b"stick" and told.sys_errno == errno.EROFS
    assert told.description == refused.message and not told.HasField("path")


def test_as_shipped_the_host_may_not(folder):
    with Agent() as agent, agent.client() as client:
        assert failure(client, disk=b"x").code == "PERMISSION_DENIED"


def test_the_command(agent, loop):
    name, _ = loop
    words = [POSTERN, "disks", "benchmark", "-t", "100", f"local:{agent.socket}", name]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "sequential read" in shown and "random read" in shown and "MiB/s" in shown
    told = json.loads(subprocess.run([*words, "--json"], capture_output=True, timeout=60, check=True).stdout)
    assert [result["phase"] for result in told["results"]] == ["SEQUENTIAL_READ", "RANDOM_READ"]
    assert told["state"] == "BENCHMARK_FINISHED" and told["size"] == 16 * MIB
    missing = subprocess.run([*words[:-1], "nothing"], capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode == 1 and "no disk is called so" in missing.stderr
