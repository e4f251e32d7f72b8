# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each command of `postern` does to a real guest, and what it says of it: as text, and as JSON."""

import json
import os
import subprocess
import time

import pytest

from machine import ANSWERED, is_denied, wait_until
from wire import pb


@pytest.fixture
def postern(vm):
    """postern COMMAND... ARGUMENT...: the text, then with json=True the value."""
    def run(command, *arguments, as_json=False, **more):
        out, err = vm.host.run(*command.split(), vm.name, *arguments, *(["--json"] if as_json else []), **more)
        return json.loads(out) if as_json else out
    return run


def rows_of(table):
    """{first column: the row's words}"""
    return {row.split()[0]: row.split() for row in table.splitlines()[1:]}


def test_methods(postern):
    rows = rows_of(postern("methods"))
    methods = postern("methods", as_json=True)["methods"]
    assert set(rows) == {method["name"] for method in methods} and len(rows) > 15
    for method in methods:
        denied = is_denied(method["name"])
        assert method["availability"] == ("DENIED" if denied else "AVAILABLE"), method
        assert rows[method["name"]][1] == ("denied" if denied else "available")


def test_modules_list(postern):
    rows = rows_of(postern("modules list"))
    modules = {module["name"]: module for module in postern("modules list", as_json=True)["modules"]}
    assert set(rows) == set(modules) and "vsock" in rows
    users = modules["vsock"]["users"]
    assert "vmw_vsock_virtio_transport" in users and rows["vsock"][-1] == ",".join(users)


def test_modules_info_load_unload(postern, vm):
    assert "Loaded:       no\nMay be loaded:yes\n" in postern("modules info", "dummy")
    described = postern("modules info", "dummy", as_json=True)
    assert described["license"] == "GPL" and described["allowed"] is True and described["loaded"] is False
    assert postern("modules load", "dummy") == "dummy is loaded now\n"
    assert vm.witness("exists", "/sys/module/dummy") is not None
    assert postern("modules load", "dummy") == "dummy was there already\n"
    assert postern("modules load", "dummy", as_json=True)["loaded_now"] is False
    assert "Loaded:       yes\n" in postern("modules info", "dummy")
    assert postern("modules unload", "dummy") == "dummy is unloaded\n"
    with pytest.raises(OSError):
        vm.witness("exists", "/sys/module/dummy")
    assert postern("modules load", "dummy", as_json=True)["loaded_now"] is True
    assert postern("modules unload", "dummy", as_json=True) == {}


def mount(postern, target, *options, **more):
    return postern("mounts mount", target, "--type", "tmpfs", "--create", *options, **more)


def test_mounts_mount_and_unmount(postern, vm):
    assert mount(postern, "/mnt/a", "-o", "size=64k", "-o", "noexec") == "mounted at /mnt/a (tmpfs)\n"
    line, = (line for line in vm.witness("mounts").splitlines() if " /mnt/a " in line)
    assert "noexec" in line and "size=64k" in line
    assert rows_of(postern("mounts list", "--type", "tmpfs"))["/mnt/a"][2] == "tmpfs"
    assert postern("mounts unmount", "/mnt/a") == "/mnt/a is unmounted\n"
    assert " /mnt/a " not in vm.witness("mounts")
    answer = mount(postern, "/mnt/a", as_json=True)
    assert answer["mount"]["target"] == "/mnt/a" and answer["mount"]["id"] > 0
    assert not postern("mounts unmount", "/mnt/a", as_json=True).get("holders")
    assert " /mnt/a " not in vm.witness("mounts")


@pytest.mark.parametrize("mode", ["--force", "--lazy"])
def test_a_mount_in_use(postern, vm, mode):
    mount(postern, "/mnt/held")
    vm.witness("write", "/mnt/held/file", "x")
    _, fd = vm.witness("hold", "/mnt/held/file").split()
    try:
        error = json.loads(vm.host.run("mounts", "unmount", vm.name, "/mnt/held", "--json", code=ANSWERED)[0])["error"]
        assert error["outcome"] == "NOT_DONE"
        holder, = error["details"]["holders"]
        assert holder["command"] == "witness" and holder["uses"][0]["path"] == "/mnt/held/file"
        _, err = vm.host.run("mounts", "unmount", vm.name, "/mnt/held", code=ANSWERED)
        assert "witness" in err and "/mnt/held/file" in err and " /mnt/held " in vm.witness("mounts")
        if mode == "--force":
            # Of a network file system it ends what waits; whoever has a file open keeps any.
            vm.host.run("mounts", "unmount", vm.name, "/mnt/held", mode, code=ANSWERED)
            assert " /mnt/held " in vm.witness("mounts")
        out = postern("mounts unmount", "/mnt/held", "--lazy")
        assert out.startswith("/mnt/held is unmounted\n") and " /mnt/held " not in vm.witness("mounts")
        assert "still held by:" in out and "witness" in out
    finally:
        vm.witness("release", fd)
    mount(postern, "/mnt/held")
    assert postern("mounts unmount", "/mnt/held", mode) == "/mnt/held is unmounted\n"
    mount(postern, "/mnt/held")
    postern("mounts unmount", "/mnt/held", mode, as_json=True)
    assert " /mnt/held " not in vm.witness("mounts")


def test_load(postern):
    lines = {line.split(":")[0]: line for line in postern("load").splitlines()}
    assert {"Load", "Processes", "CPUs", "Memory", "Swap", "CPU wait", "Memory wait", "I/O wait"} <= set(lines)
    assert "MiB available" in lines["Memory"]
    load = postern("load", as_json=True)
    assert 200 << 20 < load["memory"]["total"] < 256 << 20 and len(load["cpus"]) == 1


def test_events_of_the_guest_and_of_its_machine(postern, vm):
    """Both, in one stream, as they happen."""
    events = vm.host.start("events", vm.name, "--snapshot", "--json", "notify.mounts.*", "vm.*")
    try:
        seen = set()
        while seen != {"vm.state", "notify.mounts.mount"}:
            event = json.loads(events.stdout.readline())
            assert event["snapshot"]
            seen.add(event["topic"])
        mount(postern, "/mnt/seen")
        since = time.time()
        while True:
            event = json.loads(events.stdout.readline())
            if not event["snapshot"]:
                break
        assert event["topic"] == "notify.mounts.mount" and event["payload"]["mount"]["target"] == "/mnt/seen"
        # Before it was over, not when a buffer was full.
        assert time.time() - since < 10 and events.poll() is None
    finally:
        events.kill()
        events.communicate()
    postern("mounts unmount", "/mnt/seen")


def test_socat_reaches_any_port(vm):
    # The agent listens at one. It takes no frame for an answer, and says so.
    done = subprocess.run([vm.host.postern, "socat", vm.name, "767"], input=b"\x80\x00", env=vm.host.env,
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stderr == b"Disconnected after a successful connect\n"
    assert pb.FromAgent.FromString(done.stdout[1:]).HasField("goodbye")
    _, err = vm.host.run("socat", vm.name, "12345", code=4)
    assert "No listener on port 12345" in err


def test_socat_listen_takes_the_guests_connection(vm):
    process = subprocess.Popen([vm.host.postern, "socat-listen", vm.name, "5001"], env=vm.host.env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: os.path.exists(f"{vm.vsock}_5001"))
    process.stdin.write(b"hello-from-the-host")
    process.stdin.close()
    assert vm.witness("connect", 2, 5001) == "hello-from-the-host"
    assert process.wait(20) == 0 and process.stderr.read() == b"Stopped listening on port 5001\n"
    with pytest.raises(OSError):
        vm.witness("connect", 2, 5001)
