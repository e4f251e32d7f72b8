# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that boots again, as its host sees it: state, readiness, shares, channel."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest

import qemu
from machine import ABSENT
from wire import Closed


REBOOT = 2


class Events:
    """What the supervisor tells its subscribers, from now on."""

    def __init__(self, host, name):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(host.file(name, "control.sock"))
        self.file = self.sock.makefile("rw")
        self.file.write('{"command": "events"}\n')
        self.file.flush()
        assert "return" in json.loads(self.file.readline())

    def until(self, **wanted):
        """All events up to the wanted one."""
        seen = []
        while True:
            event = json.loads(self.file.readline())["event"]
            seen.append(event)
            if wanted.items() <= event.items():
                return seen

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared")
    (path / "file").write_text("from the host")
    return path


@pytest.fixture(scope="module")
def vm(host, folder):
    machine = host.launch("web", *qemu.ROOMY, "--share", f"{folder}:/mnt/launch")
    host.run("shares", "add", "web", str(folder), "/mnt/plugged", "--tag", "plugged", "--read-only")
    host.run("shares", "add", "web", str(folder), "/mnt/kept", "--tag", "kept", "--persistent")
    yield machine
    machine.stop()


def ask(vm):
    with vm.client() as client:
        assert client.call("power.shutdown", mode=REBOOT).by == "postern-init"


def pull_the_plug(vm):
    """No sync, no unmount, no goodbye: the kernel resets the machine."""
    try:
        vm.witness("write", "/proc/sysrq-trigger", "b")
    except (ConnectionError, TimeoutError):
        pass


def told(follower, topic):
    """Up to an event of the topic."""
    while True:
        event = json.loads(follower.stdout.readline())
        if event["topic"] == topic:
            return event


def mount_and_unmount(vm):
    with vm.client() as client:
        client.call("mounts.mount", target=b"/mnt/told", type="tmpfs", create_target=True)
        client.call("mounts.unmount", target=b"/mnt/told")


@contextlib.contextmanager
def following_logs(host):
    """postern logs -f over a reboot."""
    follower = host.start("logs", "web", "-f")
    try:
        assert follower.stdout.readline()
        yield
        boot = next(line for line in follower.stdout if line.startswith("-- Boot "))
        # From the first line of that boot on.
        assert "Linux version" in follower.stdout.readline(), boot
    finally:
        follower.kill()
        _, err = follower.communicate()
    assert "waiting for the agent\n" in err and err.endswith("postern: the agent is there again\n")


def test_logs_and_events_go_on(host, vm):
    with following_logs(host):
        events_go_on(host, vm)


def events_go_on(host, vm):
    follower = host.start("events", "web", "notify.mounts.*", "--snapshot", "--json")
    try:
        told(follower, "notify.mounts.mount")
        mount_and_unmount(vm)
        before = told(follower, "notify.mounts.unmount")
        ask(vm)
        # Those of the last boot are lost, which is said.
        told(follower, "notify.gap")
        mount_and_unmount(vm)
        after = told(follower, "notify.mounts.unmount")
        assert after["cursor"].split(":")[0] != before["cursor"].split(":")[0] and not after["snapshot"]
    finally:
        follower.send_signal(signal.SIGINT)
        _, err = follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert "waiting for the agent" in err and err.endswith("postern: the agent is there again\n")
    host.until(lambda: host.info("web")["state"] == "ready")


@pytest.mark.parametrize("reboot", [ask, pull_the_plug])
def test_everything_is_there_again(host, vm, folder, reboot):
    before = host.info("web")
    assert before["state"] == "ready"
    watcher = Events(host, "web")
    reboot(vm)
    seen = watcher.until(name="reset")
    seen += watcher.until(name="state", state="booting")
    info = host.info("web")
    assert info["status"] == "starting" and info["state"] == "booting"
    host.run("ping", "web", code=ABSENT)
    seen += watcher.until(name="state", state="ready")
    assert [e["state"] for e in seen if e["name"] == "state"] == ["booting", "ready"]
    after = host.info("web")
    assert after["state"] == "ready" and after["boot_id"] != before["boot_id"]
    assert after["ready_after_ms"] == before["ready_after_ms"] and after["problems"] == []

    mounted = set()
    while len(mounted) < 3:
        event = watcher.until(name="share")[-1]
        assert event["what"] == "mounted"
        mounted.add(event["tag"])
    watcher.close()
    assert host.info("web")["problems"] == []
    for target in ("/mnt/launch", "/mnt/plugged", "/mnt/kept"):
        assert vm.witness("read", f"{target}/file") == "from the host"
    vm.witness("write", "/mnt/launch/back", "from-the-guest")
    assert (folder / "back").read_text() == "from-the-guest"
    (folder / "back").unlink()
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/plugged/back", "no")
    with vm.client() as client:
        assert client.hello_reply.boot_id.hex() == after["boot_id"].replace("-", "")
        payload = os.urandom(600_000)
        assert client.call("system.ping", payload=payload).payload == payload


def test_the_guest_reaches_the_host_after_a_reset(vm):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{vm.vsock}_5000")
    listener.listen(1)
    listener.settimeout(20)

    def answer():
        peer, _ = listener.accept()
        peer.sendall(b"hello-again")
        peer.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert vm.witness("connect", 2, 5000) == "hello-again"
    finally:
        thread.join()
        listener.close()


def test_a_caller_is_told_of_the_end(vm, host):
    """Neither an idle connection nor an open request hangs when the machine is reset under it."""
    with vm.client(timeout=60) as client:
        client.start("mounts.mount", type="ext4", source=b"/dev/none", target=b"/mnt", wait_ms=9000)
        client.call("system.ping")
        start = time.monotonic()
        pull_the_plug(vm)
        with pytest.raises((Closed, ConnectionError)):
            while True:
                client.dispatch()
        # At the latest when the next kernel finds the device, however busy the host is.
        assert time.monotonic() - start < 40
    host.until(lambda: host.info("web")["state"] == "ready", 40)
