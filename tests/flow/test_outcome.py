# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an error says of the change that was asked for: with each error, and also where the worker had
to be killed."""

import os
import shutil
import subprocess

import pytest

import error_pb2
from agent import ROOT, Agent
from wire import BUILD, Failed

pytestmark = pytest.mark.xdist_group("mounts")

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Of an agent whose workers make their change, if at all, and then never answer."""
    programs = tmp_path_factory.mktemp("libexec")
    for name in os.listdir(BUILD):
        if name.startswith("postern-") and name != "postern-worker":
            os.symlink(os.path.abspath(f"{BUILD}/{name}"), programs / name)
    shutil.copy(f"{HERE}/changing_worker", programs / "postern-worker")
    (programs / "where").write_text(f"{ROOT}\n{os.path.abspath(BUILD)}\n")
    with Agent(libexec_dir=programs) as agent, agent.client() as connected:
        yield connected
        assert not connected.call("system.info").agent.stuck


@pytest.fixture
def target(tmp_path):
    path = str(tmp_path / "mnt")
    os.makedirs(f"{path}/before")
    yield path
    while os.path.ismount(path):
        subprocess.run(["umount", path], check=True)


def late(client, method, path, timeout_ms=2500, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, target=path.encode(), timeout_ms=timeout_ms, **fields)
    assert failed.value.code == "DEADLINE_EXCEEDED", failed.value
    return error_pb2.Outcome.Name(failed.value.error.outcome), failed.value.error.message


def test_killed_before_anything_was_changed(killed, target):
    before = f"{target}/before"
    for method, fields in (("mounts.mount", dict(type="tmpfs")), ("mounts.unmount", {}),
                           ("shares.mount", dict(type="tmpfs")), ("shares.unmount", {})):
        outcome, words = late(killed, method, before, timeout_ms=300, **fields)
        assert outcome == "NOT_DONE" and "nothing was changed" in words, (method, words)


def test_killed_after_a_mount(killed, target):
    outcome, words = late(killed, "mounts.mount", target, type="tmpfs")
    assert outcome == "DONE" and "in effect" in words
    assert os.path.ismount(target)


def test_killed_after_an_unmount(killed, target):
    subprocess.run(["mount", "-t", "tmpfs", "changing", target], check=True)
    assert late(killed, "mounts.unmount", target)[0] == "DONE"
    assert not os.path.ismount(target)


def test_killed_while_a_share_is_mounted_but_not_remembered(killed, target):
    assert late(killed, "shares.mount", target, type="tmpfs")[0] == "OUTCOME_UNKNOWN"
    assert os.path.ismount(target) and not killed.call("shares.list").shares


def test_a_share_that_is_neither_mounted_nor_remembered_is_gone(killed, target):
    subprocess.run(["mount", "-t", "tmpfs", "changing", target], check=True)
    assert late(killed, "shares.unmount", target)[0] == "DONE"


def test_cancelled_after_the_change(killed, target):
    id = killed.start("mounts.mount", target=target.encode(), type="tmpfs")
    while not os.path.ismount(target):
        pass
    killed.cancel(id)
    error = killed.take_response(id).error
    assert (error.code, error.outcome) == (error_pb2.CANCELLED, error_pb2.DONE)


@pytest.mark.parametrize("method,request_bytes,code", [
    ("mounts.mount", b"\x1a\x01\xff", "INVALID_ARGUMENT"),
    ("mounts.mount", b"\x12\x05/mnt/", "INVALID_ARGUMENT"),
    ("mounts.unmount", b"\x0a\x08/no/such", "NOT_FOUND"),
    ("mounts.unmount", b"\x0a\x05/proc", "FAILED_PRECONDITION"),
    ("shares.mount", b"\x0a\x08/no/such", "NOT_FOUND"),
    ("shares.unmount", b"\x0a\x08/no/such", "NOT_FOUND"),
    ("modules.load", b"", "INVALID_ARGUMENT"),
    ("modules.unload", b"", "INVALID_ARGUMENT"),
])
def test_each_error_of_a_change_says_that_nothing_was_changed(client, method, request_bytes, code):
    error = client.take_response(client.start(method, request_bytes)).error
    assert error_pb2.Code.Name(error.code) == code, error
    assert error.outcome == error_pb2.NOT_DONE


def test_an_error_of_what_changes_nothing_has_no_outcome(client):
    with pytest.raises(Failed) as failed:
        client.call("modules.info", name="")
    assert not failed.value.error.HasField("outcome")
