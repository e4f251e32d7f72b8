# SPDX-License-Identifier: LGPL-2.1-or-later
"""The methods against a real kernel, over a real virtio-vsock device."""

import json
import os
import socket
import subprocess
import time

import pytest

from machine import BUILD, POSTERN, check_methods, wait_until
from wire import Client, Closed, Failed, pb


def failure(call):
    with pytest.raises(Failed) as failed:
        call()
    return failed.value


def test_we_are_the_host(client):
    assert client.hello_reply.identity == "host"
    info = client.call("system.info")
    assert info.init == "postern-init"
    # The kernel that was unpacked for it, not this machine's.
    assert info.kernel.release.decode() in os.listdir(f"{BUILD}/guest/lib/modules")
    assert info.os.id == b"postern-guest"


def test_every_method_works_here(client):
    check_methods(client)


def test_ncat_and_socat_see_the_same(vm):
    """The hybrid socket with other people's clients: the hello as bytes, the reply as bytes."""
    hello = pb.ToAgent(hello=pb.Hello(major=1)).SerializeToString()
    raw = bytes([len(hello)]) + hello
    for command in (["socat", "-t5", "-", f"UNIX-CONNECT:{vm.vsock}"], ["ncat", "-i", "5", "-U", vm.vsock]):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdin.write(b"CONNECT 767\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line.startswith(b"OK "), line
            process.stdin.write(raw)
            process.stdin.flush()
            length = process.stdout.read(1)[0]
            body = process.stdout.read(length & 0x7F) if length < 0x80 else process.stdout.read(
                (length & 0x7F) | process.stdout.read(1)[0] << 7)
            reply = pb.FromAgent()
            reply.ParseFromString(body)
            assert reply.hello_reply.identity == "host"
            process.stdin.close()
            process.terminate()


def test_nobody_listens_on_another_port(vm):
    with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
        Client.hybrid(vm.vsock, port=12345)


def test_half_close_over_vsock(vm):
    client = vm.client()
    ids = [client.start("mounts.list"), client.start("system.ping")]
    client.sock.shutdown(socket.SHUT_WR)
    for id in ids:
        assert client.take_response(id).HasField("result")
    with pytest.raises(Closed):
        client.dispatch()


def test_large_frames_both_ways(client):
    payload = bytes(i * 7 & 0xFF for i in range(900_000))
    assert client.call("system.ping", payload=payload, timeout_ms=30000).payload == payload


def test_mount_and_unmount(vm, client):
    client.call("notifications.subscribe", topics=["notify.mounts.*"])
    reply = client.call("mounts.mount", target=b"/mnt/t", type="tmpfs", create_target=True,
                        options=[dict(key="size", value=b"64k")])
    assert "tmpfs /mnt/t tmpfs rw,nosuid,nodev,relatime,size=64k" in vm.witness("mounts")
    _, body = client.notification("notify.mounts.mount")
    assert body.mount.id == reply.mount.id
    client.call("mounts.unmount", target=b"/mnt/t")
    assert "/mnt/t " not in vm.witness("mounts")
    client.notification("notify.mounts.unmount")


def test_mounts_made_by_others_are_told(vm, client):
    client.call("notifications.subscribe", topics=["notify.mounts.*"])
    vm.witness("mkdir", "/mnt/other")
    vm.witness("mount", "none", "/mnt/other", "tmpfs")
    _, body = client.notification("notify.mounts.mount")
    assert body.mount.target == b"/mnt/other"
    vm.witness("umount", "/mnt/other")
    _, body = client.notification("notify.mounts.unmount")
    assert body.mount.target == b"/mnt/other"


def test_a_missing_type_is_loaded_and_a_missing_module_is_an_error(client):
    assert "overlay" not in [m.name.decode() for m in client.call("modules.list").modules]
    client.call("mounts.mount", target=b"/mnt/low", type="tmpfs", create_target=True)
    client.call("mounts.mount", target=b"/mnt/up", type="tmpfs", create_target=True)
    error = failure(lambda: client.call(
        "mounts.mount", target=b"/mnt/o", type="overlay", create_target=True,
        options=[dict(key="lowerdir", value=b"/mnt/low"), dict(key="upperdir", value=b"/mnt/none")]))
    assert "overlay" in [m.name.decode() for m in client.call("modules.list").modules]
    assert error.code in ("NOT_FOUND", "INVALID_ARGUMENT")
    client.call("mounts.mount", target=b"/mnt/o", type="overlay", create_target=True,
                options=[dict(key="lowerdir", value=b"/mnt/low:/mnt/up")])
    for path in (b"/mnt/o", b"/mnt/up", b"/mnt/low"):
        client.call("mounts.unmount", target=path)
    error = failure(lambda: client.call("mounts.mount", target=b"/mnt/x", type="btrfs", source=b"/dev/vda"))
    assert error.code == "NOT_FOUND" and "kernel module of btrfs" in error.message


def test_modules(client):
    client.call("notifications.subscribe", topics=["notify.devices.*"])
    info = client.call("modules.info", name="dummy")
    assert info.allowed and not info.loaded and b"GPL" in info.license
    assert client.call("modules.load", name="dummy").loaded_now
    assert not client.call("modules.load", name="dummy").loaded_now
    got, body = client.notification("notify.devices.added")
    assert body.device.path.endswith(b"/dummy0")
    assert "dummy" in [m.name.decode() for m in client.call("modules.list").modules]
    client.call("modules.unload", name="dummy")
    got, body = client.notification("notify.devices.removed")
    assert "dummy" not in [m.name.decode() for m in client.call("modules.list").modules]


def status_of(vm, pid):
    try:
        text = vm.witness("read", f"/proc/{pid}/status")
    except OSError:
        return None
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_who_may_load_modules(vm, client):
    """All processes of the guest, as the kernel says: process 1 and what it starts for its owner, the keeper, and
    nobody else of the agent, whether he is at work or not."""
    client.call("mounts.list")
    client.call("modules.load", name="dummy")
    client.call("modules.unload", name="dummy")
    module = 1 << 16
    seen = {}
    for pid in range(1, max(p.pid for p in client.call("system.info").agent.processes) + 20):
        status = status_of(vm, pid)
        # Threads of the kernel have no memory.
        if status and "VmSize" in status:
            held = int(status["CapPrm"], 16) | int(status["CapBnd"], 16)
            seen.setdefault(status["Name"], []).append(held)
    assert {"posternd", "postern-watch", "postern-session", "postern-worker", "postern-keeper"} <= set(seen), seen
    for name, all_held in seen.items():
        if name in ("postern-init", "witness"):
            continue
        if name in ("postern-keeper", "postern-kmod"):
            assert all_held == [module] * len(all_held)
        else:
            assert not any(held & module for held in all_held), (name, all_held)
    # Nor does one that only looks get the right by asking for it.
    assert client.call("modules.info", name="dummy").allowed


@pytest.mark.parametrize("name,code,words", [
    ("floppy", "PERMISSION_DENIED", "not on the allow list"),
    ("../../tmp/evil", "INVALID_ARGUMENT", "without path"),
    ("/tmp/evil.ko", "INVALID_ARGUMENT", "without path"),
    ("", "INVALID_ARGUMENT", "name"),
    ("x" * 64, "INVALID_ARGUMENT", "name"),
])
def test_refused_modules(client, name, code, words):
    error = failure(lambda: client.call("modules.load", name=name))
    assert error.code == code and words in error.message
    assert error.error.rule == ""


def test_refused_module_parameter(client):
    error = failure(lambda: client.call("modules.load", name="dummy",
                                        parameters=[dict(name="numdummies", value=b"9")]))
    assert error.code == "PERMISSION_DENIED" and "numdummies" in error.message


def test_unload_what_is_not_loaded_or_in_use(client):
    assert failure(lambda: client.call("modules.unload", name="loop")).code == "NOT_FOUND"
    assert failure(lambda: client.call("modules.unload", name="vsock")).code == "FAILED_PRECONDITION"


def test_ports(vm, client):
    sockets = client.call("ports.list").sockets
    mine = [s for s in sockets if s.local_port == 767]
    listener = next(s for s in mine if s.state == "LISTEN")
    assert listener.command == b"posternd" and listener.local_cid == 2**32 - 1
    assert any(s.state == "ESTABLISHED" and s.remote_cid == 2 and s.command == b"postern-session" for s in mine)
    assert all(s.state == "LISTEN" for s in client.call("ports.list", listening=True).sockets)
    witness = next(s for s in sockets if s.local_port == 4000 and s.state == "LISTEN")
    assert witness.command == b"witness"


def test_load_is_the_guests(client):
    load = client.call("system_load.current")
    assert 200 << 20 < load.memory.total < 256 << 20
    assert len(load.cpus) == 1
    assert load.cpu_pressure.some_total_us > 0
    wait_until(lambda: len(client.call("system_load.historical").points) >= 3)


def test_a_guest_of_the_guest_is_somebody_else(vm):
    """A process in the guest that dials its own CID arrives with no identity, or is refused."""
    with pytest.raises(OSError):
        vm.witness("connect", 1, 767)


def test_guest_initiated_connections(vm):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{vm.vsock}_5000")
    listener.listen(1)
    listener.settimeout(10)
    try:
        import threading

        def answer():
            peer, _ = listener.accept()
            peer.sendall(b"hello-from-host")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert vm.witness("connect", 2, 5000) == "hello-from-host"
        thread.join()
    finally:
        listener.close()
    with pytest.raises(OSError):
        vm.witness("connect", 2, 5001)


# ---- the command line ----

def test_tables_and_json(vm):
    host = vm.host
    out = host.run("mounts", "list", vm.name, "--usage")[0]
    head, *rows = out.splitlines()
    assert head.split()[:3] == ["Target", "Source", "Type"]
    column = head.index("Type")
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    assert {m["target"] for m in host.json("mounts", "list", vm.name)["mounts"]} >= {"/", "/proc", "/run"}
    assert host.json("info", vm.name)["init"] == "postern-init"
    assert "posternd" in host.run("ports", vm.name)[0]
    assert host.json("ping", vm.name)["count"] == 4
    assert "load1" in host.run("load", vm.name, "--history")[0]
    assert host.json("call", vm.name, "system.ping", '{"payload":"x"}') == {"payload": "x"}


@pytest.mark.parametrize("arguments,code,words", [
    (["info", "no-such-vm"], 4, "no-such-vm"),
    (["info", "unix:/no/such/socket"], 4, "No such file"),
    (["mounts", "unmount", "VM", "/nothing"], 1, "nothing is mounted"),
    (["call", "VM", "no.such"], 2, "no such method"),
    (["call", "VM", "system.ping", "{"], 2, "not JSON"),
    (["call", "VM", "mounts.mount", '{"tpye": "tmpfs"}'], 2, "no such field"),
    (["mounts"], 2, ""),
    (["nonsense"], 2, ""),
    (["mounts", "list", "VM", "--nonsense"], 2, ""),
])
def test_exit_codes(vm, arguments, code, words):
    _, err = vm.host.run(*[vm.name if a == "VM" else a for a in arguments], code=code)
    assert words in err


def test_events_on_the_command_line(vm, client):
    process = subprocess.Popen([POSTERN,
                                "events", vm.name, "notify.mounts.*", "--count", "2", "--json"],
                               env=vm.host.env, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: client.call("system.info").agent.connections >= 2)
    time.sleep(0.5)
    client.call("mounts.mount", target=b"/mnt/ev", type="tmpfs", create_target=True)
    client.call("mounts.unmount", target=b"/mnt/ev")
    out, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["topic"] for e in events] == ["notify.mounts.mount", "notify.mounts.unmount"]
    assert all(e["payload"]["mount"]["target"] == "/mnt/ev" for e in events)


def test_load_events_by_condition_on_the_command_line(vm):
    def seen(condition):
        return vm.host.run("events", vm.name, "notify.system_load", "--interval", "1", "--when", condition,
                           "--count", "1", "--for", "2.5")[0]

    assert "available" in seen("memory<1T")
    assert seen("load1>1000") == ""


def test_a_hostile_name_is_never_printed_raw(vm, client):
    name = b"/mnt/\x1b[2Jevil\xe2\x80\xae"
    client.call("mounts.mount", target=name, type="tmpfs", create_target=True)
    try:
        out = vm.host.run("mounts", "list", vm.name)[0]
        assert "\x1b" not in out and "\u202e" not in out
        assert "\\x1b[2Jevil\\u{202e}" in out
    finally:
        client.call("mounts.unmount", target=name)


def test_the_kernel_log_as_it_comes(vm):
    out, errors = vm.host.run("logs", vm.name, "--json")
    assert errors == "postern: this guest has no journal: only its kernel's log is read\n"
    first = json.loads(out.splitlines()[0])
    assert first["message"].startswith("Linux version") and first["identifier"] == "kernel"
    follower = vm.host.start("logs", vm.name, "-f", "-n", "1", "-o", "iso")
    try:
        assert follower.stdout.readline()
        word = f"written-{time.monotonic_ns()}"
        # The second ends the line of the first.
        for line in (f"test[7]:\x1b[2J{word}", "end"):
            vm.witness("write", "/dev/kmsg", line)
        shown = next(line for line in follower.stdout if word in line)
        assert shown.endswith(f" test[7]:\\x1b[2J{word}\n")
    finally:
        follower.kill()
        follower.communicate()


def test_vsock_is_measured(vm):
    """Both parts for real, with time for an emulated guest."""
    out, errors = vm.host.run("vsock-perf", vm.name, "--quick", "--patience", "100")
    assert errors == "" and "* Data corruption check: PASSED\n" in out and "NOT RUN" not in out
    result = vm.host.json("vsock-perf", vm.name, "--quick", "--patience", "100")
    assert result["data_corruption"] is True and result["multi_stream_unidirectional"]["min"] > 0
    # Nothing of it is left: neither sockets nor a process.
    with vm.client() as client:
        assert not [s for s in client.call("ports.list").sockets if s.local_port in range(8501, 8510)]
        assert not client.call("channels.list").channels
    assert not os.path.exists(f"{vm.vsock}_8500")
