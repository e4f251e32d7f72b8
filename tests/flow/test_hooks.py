# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of the administrator around a freeze."""

import os
import subprocess
import time

import pytest

from agent import Agent
from disk import disk
from jobs import eventually
from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy="allow local:0 *\n") as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def ext4(tmp_path):
    with disk(tmp_path) as path:
        yield path


@pytest.fixture
def hook(agent):
    """hook("freeze/10-a", line of a shell): what it says goes to the log, which said() gives."""
    log = f"{agent.dir}/said"
    open(log, "w").close()
    made = []

    def hook(name, line="true", mode=0o755):
        path = f"{agent.dir}/hooks.d/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\nexec >>{log} 2>&1\n{line}\n")
        os.chmod(path, mode)
        made.append(path)
        return path

    def said():
        with open(log) as file:
            return file.read().split()

    hook.said = said
    yield hook
    for path in made:
        os.unlink(path)


def failure(client, **fields):
    with pytest.raises(Failed) as failed:
        client.call("filesystems.freeze", **fields)
    return failed.value


def test_order_and_what_they_find(client, ext4, hook):
    writes = f"echo $1-$POSTERN_EVENT-$(basename $0)-$(id -u); touch {ext4}/$(basename $0)"
    for event in ("freeze", "thaw"):
        for name in ("20-b", "10-a"):
            hook(f"{event}/{name}", writes)
        hook(f"{event}/.hidden", "echo hidden")
        hook(f"{event}/10-a.dpkg-old", "echo old")
    client.call("filesystems.freeze", targets=[ext4.encode()])
    assert hook.said() == ["freeze-freeze-10-a-0", "freeze-freeze-20-b-0"]
    reply = client.call("filesystems.thaw")
    assert hook.said()[2:] == ["thaw-thaw-20-b-0", "thaw-thaw-10-a-0"]
    assert len(reply.thawed) == 1 and not reply.hook_problem


@pytest.mark.parametrize("line,words", [("exit 3", "exit code 3"), ("kill -9 $$", "signal 9"),
                                        ("sleep 60", "was not done in time, and was killed")])
def test_one_that_fails_leaves_all_as_it_was(client, ext4, hook, line, words):
    hook("freeze/10-a", "echo a")
    hook("freeze/20-b", line)
    hook("freeze/30-c", "echo c")
    hook("thaw/10-a", "echo undone")
    refused = failure(client, targets=[ext4.encode()], timeout_ms=2500)
    assert refused.code == "FAILED_PRECONDITION" and words in refused.message and "freeze/20-b" in refused.message
    assert "nothing was frozen" in refused.message and refused.error.outcome == 1
    assert hook.said() == ["a", "undone"]
    subprocess.run(["touch", f"{ext4}/x"], check=True, timeout=5)
    assert not client.call("filesystems.status").HasField("lease")


def test_what_a_late_one_started_ends_with_it(client, ext4, hook, agent):
    hook("freeze/10-a", "sleep 4711 & sleep 4711")
    failure(client, targets=[ext4.encode()], timeout_ms=2500)
    assert subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True).returncode == 1


@pytest.mark.parametrize("mode,owner", [(0o777, 0), (0o775, 0), (0o755, 65534), (0o644, 0)])
def test_one_that_is_not_roots_alone_is_not_run(client, ext4, hook, mode, owner):
    path = hook("freeze/10-a", "echo run", mode)
    os.chown(path, owner, 0)
    assert "freeze/10-a" in failure(client, targets=[ext4.encode()]).message
    assert hook.said() == []


def test_links_are_not_run(agent, client, ext4, hook):
    path = hook("freeze/10-a", "echo run")
    os.rename(path, f"{agent.dir}/real")
    os.symlink(f"{agent.dir}/real", path)
    assert "nobody else can write" in failure(client, targets=[ext4.encode()]).message
    assert hook.said() == []


def test_a_folder_that_cannot_be_read(agent, client, ext4):
    """Whether there are any is not known then: nothing is frozen without them."""
    path = f"{agent.dir}/hooks.d/freeze"
    aside = os.path.isdir(path) and f"{path}.aside"
    if aside:
        os.rename(path, aside)
    try:
        with open(path, "w"):
            refused = failure(client, targets=[ext4.encode()])
        assert "hook freeze/*: Not a directory" in refused.message and "nothing was frozen" in refused.message
    finally:
        os.unlink(path)
        if aside:
            os.rename(aside, path)
    assert not client.call("filesystems.status").HasField("lease")


def test_a_thaw_by_the_lease_has_them_too(client, ext4, hook):
    hook("thaw/10-a", "echo thawed")
    client.call("filesystems.freeze", targets=[ext4.encode()], lease_ms=200)
    assert eventually(lambda: hook.said() == ["thawed"])


def test_a_thaw_that_is_done_is_no_failure(client, ext4, hook):
    hook("thaw/20-b", "exit 4")
    hook("thaw/10-a", "echo all the same")
    client.call("filesystems.freeze", targets=[ext4.encode()])
    reply = client.call("filesystems.thaw")
    assert len(reply.thawed) == 1 and "thaw/20-b" in reply.hook_problem and "exit code 4" in reply.hook_problem
    assert hook.said() == ["all", "the", "same"]


def test_a_caller_that_leaves_while_they_run(agent, ext4, hook):
    """A change goes on to its end, and then the lease has nobody."""
    hook("freeze/10-a", "sleep 0.5; echo done")
    hook("thaw/10-a", "echo thawed")
    with agent.client() as client:
        client.start("filesystems.freeze", targets=[ext4.encode()], lease_ms=60000)
        time.sleep(0.2)
    assert eventually(lambda: hook.said() == ["done", "thawed"])
    subprocess.run(["touch", f"{ext4}/x"], check=True, timeout=5)


def test_the_agent_serves_on(client, hook):
    assert client.call("system.ping", payload=b"x").payload == b"x"
