# SPDX-License-Identifier: LGPL-2.1-or-later
"""filesystems.*: freeze as a lease, thaw, trim, sync; on loop devices, each named: the machine's own disks are
never among them."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from disk import FITHAW, disk
from quarantine import descriptors
from machine import wait_until
from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")

TOPICS = ["notify.filesystems.*"]


@pytest.fixture
def ext4(tmp_path):
    with disk(tmp_path) as path:
        yield path


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def freeze(client, *paths, **fields):
    return client.call("filesystems.freeze", targets=[path.encode() for path in paths], **fields)


def unmount(path):
    """Who was to guard a freeze that came to nothing ends a moment after its answer."""
    deadline = time.monotonic() + 5
    while subprocess.run(["umount", path], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, f"{path} stays busy"
        time.sleep(0.02)


@contextlib.contextmanager
def tmpfs(folder):
    path = os.path.join(os.path.realpath(folder), "tmpfs")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    try:
        yield path
    finally:
        unmount(path)


class Writer:
    """Somebody who writes to it; done() when that went through."""

    def __init__(self, path):
        self.process = subprocess.Popen(["touch", f"{path}/written"])

    def done(self, timeout):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout) == 0
        return False


def is_frozen(path):
    writer = Writer(path)
    frozen = not writer.done(0.3)
    if frozen:
        writer.process.kill()  # it goes when it may write
    return frozen


def test_a_writer_waits_until_the_thaw(client, ext4):
    frozen = freeze(client, ext4, lease_ms=5000)
    assert [one.target for one in frozen.frozen] == [ext4.encode()] and not frozen.skipped
    assert frozen.frozen[0].type == "ext4" and frozen.frozen[0].source.startswith(b"/dev/loop")
    writer = Writer(ext4)
    assert not writer.done(0.3)
    status = client.call("filesystems.status")
    assert (status.lease, status.holder) == (frozen.lease, "local:0") and 3000 < status.left_ms < 5000
    assert [one.target for one in status.frozen] == [ext4.encode()]
    thawed = client.call("filesystems.thaw", lease=frozen.lease)
    assert [one.target for one in thawed.thawed] == [ext4.encode()] and not thawed.problems
    assert writer.done(5)
    assert not client.call("filesystems.status").HasField("lease")


def test_what_is_told(client, ext4):
    client.call("notifications.subscribe", topics=TOPICS)
    lease = freeze(client, ext4, lease_ms=4000).lease
    _, told = client.notification("notify.filesystems.frozen")
    assert (told.lease, told.lease_ms, [one.target for one in told.frozen]) == (lease, 4000, [ext4.encode()])
    client.call("filesystems.thaw")
    _, told = client.notification("notify.filesystems.thawed")
    assert (told.lease, told.reason, told.problems) == (lease, 1, 0)


def test_the_lease_ends_by_itself(client, ext4):
    client.call("notifications.subscribe", topics=TOPICS)
    lease = freeze(client, ext4, lease_ms=300).lease
    writer = Writer(ext4)
    assert writer.done(5)
    _, told = client.notification("notify.filesystems.thawed")
    assert (told.lease, told.reason) == (lease, 2)
    assert "is over" in failure(client, "filesystems.thaw", lease=lease).message


def test_it_ends_with_the_connection(agent, client, ext4):
    client.call("notifications.subscribe", topics=TOPICS)
    with agent.client() as other:
        freeze(other, ext4, lease_ms=60000)
        assert is_frozen(ext4)
    _, told = client.notification("notify.filesystems.thawed")
    assert told.reason == 3
    assert Writer(ext4).done(5)


def test_anybody_thaws_over_another_connection(agent, client, ext4):
    with agent.client() as other:
        freeze(other, ext4, lease_ms=60000)
        client.call("filesystems.thaw")
        assert Writer(ext4).done(5)


def test_a_lease_is_extended(agent, client, ext4):
    lease = freeze(client, ext4, lease_ms=600).lease
    with agent.client() as other:  # of the same identity
        other.call("filesystems.extend", lease=lease, lease_ms=60000)
    time.sleep(0.9)
    assert is_frozen(ext4)
    assert client.call("filesystems.status").left_ms > 50000
    assert failure(client, "filesystems.extend", lease=lease + 1, lease_ms=1000).code == "NOT_FOUND"
    assert failure(client, "filesystems.extend", lease=lease, lease_ms=1).code == "INVALID_ARGUMENT"
    client.call("filesystems.extend", lease=lease, lease_ms=100)
    assert Writer(ext4).done(5)


def test_only_what_is_safe_runs_meanwhile(client, ext4, tmp_path):
    freeze(client, ext4, lease_ms=20000)
    refused = failure(client, "mounts.mount", target=f"{tmp_path}/x".encode(), type="tmpfs")
    assert refused.code == "FAILED_PRECONDITION" and "frozen" in refused.message
    assert failure(client, "filesystems.freeze", targets=[ext4.encode()]).code == "FAILED_PRECONDITION"
    assert client.call("mounts.list").mounts and client.call("system.info").identity
    client.call("filesystems.thaw")
    assert "no such folder" in failure(client, "mounts.mount", target=f"{tmp_path}/x".encode(), type="tmpfs").message


def test_all_or_none(client, ext4, tmp_path):
    """A second one that cannot be frozen: the first is thawed again before the answer."""
    client.call("notifications.subscribe", topics=TOPICS)
    with tmpfs(tmp_path) as other:
        refused = failure(client, "filesystems.freeze", targets=[ext4.encode(), other.encode()])
    assert refused.code == "FAILED_PRECONDITION" and "tmpfs cannot be frozen" in refused.message
    assert refused.error.outcome == 1
    assert client.notification("notify.filesystems.thawed")[1].reason == 4
    assert Writer(ext4).done(2)
    assert not client.call("filesystems.status").HasField("lease")


def test_what_somebody_else_froze(client, ext4):
    subprocess.run(["fsfreeze", "--freeze", ext4], check=True)
    refused = failure(client, "filesystems.freeze", targets=[ext4.encode()])
    assert refused.code == "FAILED_PRECONDITION" and "by somebody else" in refused.message
    assert is_frozen(ext4), "it is theirs"
    assert not client.call("filesystems.thaw").thawed, "not ours"
    assert is_frozen(ext4)


def test_what_was_frozen_before_that_is_thawed(client, ext4, tmp_path):
    (tmp_path / "more").mkdir()
    with disk(tmp_path / "more") as other:
        subprocess.run(["fsfreeze", "--freeze", other], check=True)
        failure(client, "filesystems.freeze", targets=[ext4.encode(), other.encode()])
        assert Writer(ext4).done(2) and is_frozen(other)


def test_a_place_that_is_no_file_system(client, ext4):
    assert failure(client, "filesystems.freeze", targets=[ext4.encode() + b"/lost+found"]).code == "NOT_FOUND"
    assert failure(client, "filesystems.freeze", targets=[b"relative"]).code == "INVALID_ARGUMENT"
    assert failure(client, "filesystems.freeze", targets=[ext4.encode()], lease_ms=1).code == "INVALID_ARGUMENT"
    assert failure(client, "filesystems.freeze", targets=[ext4.encode()], lease_ms=900001).code == "INVALID_ARGUMENT"


def test_one_that_is_mounted_twice_is_one(client, ext4, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", ext4, other], check=True)
    try:
        assert len(freeze(client, ext4, str(other.resolve())).frozen) == 1
        assert len(client.call("filesystems.thaw").thawed) == 1
    finally:
        unmount(other)


def test_one_that_is_gone_meanwhile(client, ext4):
    """Unmounted lazily while frozen, by somebody who does not know: the thaw says so and is over."""
    client.call("notifications.subscribe", topics=TOPICS)
    freeze(client, ext4, lease_ms=20000)
    holder = os.open(ext4, os.O_RDONLY)
    subprocess.run(["umount", "-l", ext4], check=True)
    thawed = client.call("filesystems.thaw")
    assert not thawed.thawed and [one.filesystem.target for one in thawed.problems] == [ext4.encode()]
    assert client.notification("notify.filesystems.thawed")[1].problems == 1
    fcntl.ioctl(holder, FITHAW, 0)
    os.close(holder)
    image = os.path.dirname(ext4) + "/disk.img"
    subprocess.run(["mount", "-o", "loop", image, ext4], check=True)


def own_agent(tmp_path, **settings):
    return Agent(policy=DEFAULT_POLICY + "allow local:0 filesystems.* exec.*\n", **settings)


def test_an_agent_that_stops_thaws(ext4, tmp_path):
    with own_agent(tmp_path) as agent, agent.client() as client:
        freeze(client, ext4, lease_ms=60000)
        assert agent.stop() == 0
        assert Writer(ext4).done(2)


def test_an_agent_that_dies_is_made_up_for(ext4, tmp_path):
    with own_agent(tmp_path) as agent:
        with agent.client() as client:
            freeze(client, ext4, lease_ms=60000)
            agent.process.send_signal(signal.SIGKILL)
            agent.process.wait()
        assert Writer(ext4).done(5), "by the guard"
        assert os.path.exists(f"{agent.dir}/run/frozen")
        agent.start()
        wait_until(lambda: not os.path.exists(f"{agent.dir}/run/frozen"))
        with agent.client() as client:
            assert not client.call("filesystems.status").HasField("lease")


def test_an_agent_that_dies_while_it_freezes_is_made_up_for(ext4, tmp_path):
    """No guard stands yet: what starts it is held up."""
    with own_agent(tmp_path) as agent:
        with agent.client() as client:
            client.call("exec.wait", job=client.call("exec.start", argv=[b"/bin/true"]).job)
            for pid in [pid for pid, name in agent.children().items() if name == "postern-job"]:
                os.kill(pid, signal.SIGSTOP)
            client.start("filesystems.freeze", targets=[ext4.encode()], lease_ms=60000)
            wait_until(lambda: is_frozen(ext4))
            assert not guards(agent)
            agent.process.send_signal(signal.SIGKILL)
            agent.process.wait()
        assert Writer(ext4).done(5), "by the process that froze it"
        agent.start()
        wait_until(lambda: not os.path.exists(f"{agent.dir}/run/frozen"))


def guards(agent):
    """Those of its processes that hold the file system open."""
    return [pid for pid, name in agent.children().items() if name == "postern-job" and list(descriptors(pid, "/disk"))]


def test_a_guard_that_dies_leaves_nothing_frozen(ext4, tmp_path):
    with own_agent(tmp_path) as agent, agent.client() as client:
        freeze(client, ext4, lease_ms=60000)
        guard, = guards(agent)
        os.kill(guard, signal.SIGKILL)
        assert Writer(ext4).done(5)
        assert not guards(agent)
        freeze(client, ext4, lease_ms=60000)
        assert len(guards(agent)) == 1
        client.call("filesystems.thaw")
        wait_until(lambda: not guards(agent))
        # One of what cannot be frozen has none that stays.
        with tmpfs(tmp_path) as other:
            failure(client, "filesystems.freeze", targets=[ext4.encode(), other.encode()])
            # It has both open until it has ended.
            wait_until(lambda: not guards(agent))


def test_both_die(ext4, tmp_path):
    with own_agent(tmp_path) as agent:
        with agent.client() as client:
            freeze(client, ext4, lease_ms=60000)
            guard, = guards(agent)
            os.kill(agent.process.pid, signal.SIGSTOP)
            os.kill(guard, signal.SIGKILL)
            agent.process.kill()
            agent.process.wait()
        assert is_frozen(ext4)
        agent.start()
        assert Writer(ext4).done(5)


def test_the_agents_own_folder_is_never_frozen(ext4):
    with Agent(policy="allow local:0 filesystems.*\n", run_dir=f"{ext4}/run") as agent, agent.client() as client:
        refused = failure(client, "filesystems.freeze", targets=[ext4.encode()])
        assert refused.code == "FAILED_PRECONDITION" and "own folder" in refused.message
        assert Writer(ext4).done(2)


def test_trim_tells_the_bytes_of_each(client, ext4, tmp_path):
    trimmed = client.call("filesystems.trim", targets=[ext4.encode()])
    assert not trimmed.problems and trimmed.trimmed[0].filesystem.target == ext4.encode()
    assert 1 << 20 < trimmed.trimmed[0].bytes <= 16 << 20
    large = client.call("filesystems.trim", targets=[ext4.encode()], minimum=1 << 40)
    assert large.problems[0].sys_errno == 22 or large.trimmed[0].bytes == 0
    with tmpfs(tmp_path) as other:
        problem, = client.call("filesystems.trim", targets=[other.encode()]).problems
    assert problem.sys_errno == 95 and problem.filesystem.type == "tmpfs"


def test_sync_writes_what_waits(client, ext4):
    with open(f"{ext4}/file", "wb") as file:
        file.write(b"x" * 100000)
    client.call("filesystems.sync", targets=[ext4.encode()])
    image = os.path.dirname(ext4) + "/disk.img"
    with open(image, "rb") as file:
        assert b"x" * 100000 in file.read()
    assert failure(client, "filesystems.sync", targets=[b"/nowhere"]).code == "NOT_FOUND"
