# SPDX-License-Identifier: LGPL-2.1-or-later
"""vsh over a real vsock: nobody listens as shipped, the policy decides once somebody does."""

import hashlib
import os
import shutil
import subprocess

import pytest

from jobs import eventually
from machine import ABSENT, ANSWERED, POSTERN
from streams import hybrid_stream
from vsh import Client, vsh_pb

PORT = 9001
LISTEN = ("--cmdline-add", f"postern.vsh_port={PORT}")


def launch(host, name, *options):
    return host.launch(name, "--add", f"{shutil.which('busybox')}:/bin/busybox", *options, witness=False)


@pytest.fixture(scope="module")
def policy(host):
    path = os.path.join(host.dir, "exec.policy")
    with open(path, "w") as file:
        file.write("allow host exec.*\n")
    return ("--add", f"{path}:/etc/postern/policy.d/60-exec.policy")


@pytest.fixture(scope="module")
def vm(host, policy):
    return launch(host, "guest", *LISTEN, *policy)


@pytest.fixture
def vsh(vm):
    opened = []

    def vsh():
        opened.append(Client(hybrid_stream(vm.host.file("guest", "vsock.sock"), PORT)))
        return opened[-1]

    yield vsh
    for one in opened:
        one.close()


def postern(host, *words, **kwargs):
    kwargs.setdefault("input", b"")
    return subprocess.run([POSTERN, *words], env=host.env, capture_output=True, timeout=120, **kwargs)


def test_nobody_listens_as_shipped(host, policy):
    machine = launch(host, "off", *policy)
    done = postern(host, "vsh", "off", "--vshd", "--", "busybox", "true")
    assert done.returncode == ABSENT and done.stderr == b"postern: No listener on port 9001\n"
    assert postern(host, "exec", "off", "--", "busybox", "true").returncode == 0
    machine.stop()


def test_the_shipped_policy_denies(host):
    machine = launch(host, "denied", *LISTEN)
    done = postern(host, "vsh", "denied", "--vshd", "--", "busybox", "true")
    assert done.returncode == ANSWERED
    assert done.stderr == b"postern: vshd refuses: the guest's policy does not allow exec.start\n"
    with Client(hybrid_stream(host.file("denied", "vsock.sock"), PORT)) as client:
        answer = client.setup("busybox", "true")
        assert answer.status == vsh_pb.FAILED and "exec.start" in answer.description
        client.expect_end()
    machine.stop()


def test_our_vsh(vm):
    done = postern(vm.host, "vsh", "guest", "--vshd", "--", "busybox", "sh", "-c", "cat; echo err >&2; exit 3",
                   input=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"err\n", 3)
    data = os.urandom(3 << 20)
    done = postern(vm.host, "vsh", "guest", "--vshd", "--", "busybox", "cat", input=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest() and done.returncode == 0


def test_a_stock_client(vsh):
    client = vsh()
    client.start("busybox", "sh", "-c", "stty size; read line; echo got $line; kill -9 $$", window_rows=31,
                 window_cols=101, env={"TERM": "vt100"})
    client.until(b"31 101\r\n")
    client.data(b"word\n")
    output, _, _, code = client.finish()
    assert b"got word\r\n" in output and code == 9
    client.expect_end()


def test_a_failure_reaches_the_client(vsh):
    """All of it does, although the client had more to say."""
    for _ in range(20):
        client = vsh()
        client.send(vsh_pb.SetupConnectionRequest(argv=["no-such"], nopty=True))
        client.data(b"x" * 8000)
        answer = client.receive(vsh_pb.SetupConnectionResponse)
        assert (answer.status, answer.description) == (vsh_pb.FAILED, "no-such: not found in PATH")


def test_it_is_a_job_that_ends_with_its_client(vm, vsh):
    client = vsh()
    pid = client.start("busybox", "sh", "-c", "echo here; exec busybox sleep 1000", nopty=True)
    client.until(b"here\n")

    def state():
        return {job["pid"]: job["state"] for job in vm.host.json("jobs", "list", "guest")["jobs"]}[pid]

    assert state() == "RUNNING"
    client.close()
    assert eventually(lambda: state() == "SIGNALLED", 20)


def test_a_client_that_is_gone_while_nobody_reads(vm, vsh):
    client = vsh()
    pid = client.start("busybox", "yes", nopty=True)
    client.until(b"y\n")
    client.close()
    assert eventually(lambda: {job["pid"]: job["state"] for job in
                               vm.host.json("jobs", "list", "guest")["jobs"]}[pid] == "SIGNALLED", 20)
