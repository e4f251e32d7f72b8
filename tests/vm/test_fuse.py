# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of FUSE whose server does not answer: who asks for one ends with his deadline, or at the latest with the server,
and nobody else waits. The server is tests/vm/breaker.c: it leaves one question unanswered."""

import errno
import shutil
import time

import pytest

from machine import BUILD
from wire import Failed

PLACE = "/mnt/fuse"
FILE = b"/mnt/fuse/file"
NOT_RESPONDING = 8
DEADLINE_MS = 500
# What a call may take beside its deadline: a process that does not end is waited for a moment.
SPARE = 5


@pytest.fixture(scope="module")
def vm(host):
    policy = f"{host.dir}/files.policy"
    with open(policy, "w") as file:
        file.write("allow host files.* disks.* copy.*\n")
    machine = host.launch("guest", "--cmdline-add", "postern.files_roots=/mnt:/tmp",
                          "--add", f"{policy}:/etc/postern/policy.d/60-files.policy",
                          "--add", f"{BUILD}/tests/breaker:/bin/breaker", "--add", f"{shutil.which('busybox')}:/bin/sh")
    machine.shell(f"mkdir -p {PLACE} && echo mine > /tmp/mine")
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


class Server:
    def __init__(self, vm):
        self.vm = vm
        self.pid = None

    def start(self, unanswered):
        self.pid = self.vm.shell(f"breaker fuse {PLACE} {unanswered}").strip()

    def end(self):
        """The kernel answers in its place: nobody is there (fuse(4))."""
        self.vm.shell(f"kill -9 {self.pid}")

    def close(self):
        self.vm.shell(f"kill -9 {self.pid}; umount {PLACE} || true")


@pytest.fixture
def server(vm):
    server = Server(vm)
    yield server
    server.close()


def failure(client, method, **fields):
    begun = time.monotonic()
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    failed.value.took = time.monotonic() - begun
    return failed.value


def stuck(client):
    return client.call("system.info").agent.stuck


def others_are_served(vm):
    begun = time.monotonic()
    with vm.client() as other:
        assert other.call("files.read", path=b"/tmp/mine").data == [b"mine\n"]
        assert other.call("disks.list_disks") is not None
        other.call("files.write", path=b"/tmp/new", data=b"x", create=True)
        assert other.call("mounts.list", usage=True).mounts
    assert time.monotonic() - begun < SPARE


def ends_late(client, method, **fields):
    refused = failure(client, method, timeout_ms=DEADLINE_MS, **fields)
    assert refused.code == "DEADLINE_EXCEEDED" and refused.took < DEADLINE_MS / 1000 + SPARE, refused
    return True


def test_a_file_of_a_server_that_answers(vm, client, server):
    """What the others below are made of is good."""
    server.start("none")
    assert client.call("files.read", path=FILE).data == [b"hello"]
    assert [(one.path, one.size) for one in client.call("files.list", path=PLACE.encode()).files] == [(b"file", 5)]
    assert client.call("files.get_footprint", path=FILE).size == 5


def test_a_server_that_reads_nothing(vm, client, server):
    """Who waits for it can still be ended: nothing is left of him."""
    server.start("nothing")
    for method, path in (("files.read", FILE), ("files.stat", FILE), ("files.list", PLACE.encode()),
                         ("files.watch", FILE), ("files.get_footprint", FILE),):
        assert ends_late(client, method, path=path), method
    vm.host.until(lambda: not stuck(client))
    others_are_served(vm)
    server.end()
    refused = failure(client, "files.read", path=FILE)
    assert (refused.code, refused.error.sys_errno) == ("UNAVAILABLE", errno.ENOTCONN)


@pytest.mark.parametrize("unanswered,method", [
    ("lookup", "files.read"), ("lookup", "files.stat"), ("lookup", "files.watch"), ("lookup", "files.touched"),
    ("lookup", "disks.read_file"), ("getattr", "files.stat"), ("getattr", "files.list"), ("open", "files.read"),
    ("open", "files.write"), ("read", "files.read"), ("read", "files.get_footprint"), ("read", "disks.copy_file"),
    ("readdir", "files.list")])
def test_a_question_without_an_answer(vm, client, server, unanswered, method):
    """Who asked cannot be ended, and is told as such for as long as the server keeps him."""
    server.start(unanswered)
    fields = {"path": PLACE.encode() if method == "files.list" else FILE}
    if method == "files.write":
        fields["data"] = b"x"
    elif method == "files.touched":
        fields = {"paths": [FILE]}
    elif method == "disks.read_file":
        fields = {"disk": PLACE.encode(), "path": b"file"}
    elif method == "disks.copy_file":
        vm.shell("mkdir -p /mnt/target && { grep -q ' /mnt/target ' /proc/mounts || mount -t tmpfs none /mnt/target; }")
        fields = {"source_disk": PLACE.encode(), "path": b"file", "target_disk": b"/mnt/target"}
    assert ends_late(client, method, **fields)
    vm.host.until(lambda: stuck(client))
    one, = stuck(client)
    assert one.method == method
    if method in ("files.write", "files.touched"):
        # Where somebody waits to write, others still look.
        assert ends_late(client, "files.read", path=FILE)
    if method != "disks.copy_file":  # it could hang on either
        mount, = client.call("mounts.list", target=PLACE.encode()).mounts
        assert mount.state == 2, mount
        begun = time.monotonic()
        for again in ("files.read", "files.stat", "files.list"):
            refused = failure(client, again, path=FILE)
            assert refused.code == "UNAVAILABLE" and "does not respond" in refused.message
        told = client.call("files.list", path=b"/mnt", recursive=True)
        assert [e.type for e in told.files if e.path == b"fuse"] == [NOT_RESPONDING]
        assert time.monotonic() - begun < SPARE
    others_are_served(vm)
    server.end()
    vm.host.until(lambda: not stuck(client))
    refused = failure(client, "files.read", path=FILE)
    assert (refused.code, refused.error.sys_errno) == ("UNAVAILABLE", errno.ENOTCONN)
    server.close()
    server.start("none")
    assert client.call("files.read", path=FILE).data == [b"hello"]
    if method == "disks.copy_file":
        assert vm.shell("ls -A /mnt/target; umount /mnt/target") == ""


def test_a_caller_who_waits_for_no_deadline(vm, client, server):
    """The server ends: so does the wait."""
    server.start("read")
    id = client.start("files.read", path=FILE)
    time.sleep(0.3)
    server.end()
    response = client.take_response(id)
    assert response.HasField("error") and response.error.sys_errno in (errno.ECONNABORTED, errno.ENOTCONN), response
    assert Failed(response.error).code == "UNAVAILABLE" and FILE.decode() in response.error.message
    assert not stuck(client)


def test_many_who_wait(vm, client, server):
    """One hangs, and those after it do not begin."""
    server.start("lookup")
    ids = [client.start("files.read", path=FILE, timeout_ms=DEADLINE_MS) for _ in range(12)]
    for id in ids:
        response = client.take_response(id)
        assert Failed(response.error).code in ("DEADLINE_EXCEEDED", "UNAVAILABLE"), response
    vm.host.until(lambda: stuck(client))
    assert len(stuck(client)) <= 12
    others_are_served(vm)
    server.end()
    vm.host.until(lambda: not stuck(client))
