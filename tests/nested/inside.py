# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in the outer guest as its host: launches the inner guest over the kernel's vhost_vsock and
speaks to it through AF_VSOCK. Each check writes one line "ok NAME" or "not ok NAME: why"."""

import fcntl
import json
import os
import struct
import subprocess
import sys
import time
import traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
os.environ.update(POSTERN_BUILD=f"{ROOT}/build", XDG_CACHE_HOME="/tmp/cache",
                  HOME="/tmp", PATH="/usr/sbin:/usr/bin:/sbin:/bin", PYTHONDONTWRITEBYTECODE="1")
sys.path.insert(0, f"{ROOT}/tests/lib")

from wire import Client, Closed  # noqa: E402

# The first CID is this guest's own, which the kernel gives to no other; what has the second knows nothing of Postern.
FOREIGN = {}
CID = 5
NOBODY = 65534
results = open("/run/out/results", "w", buffering=1)


def postern(*arguments, code=0, **options):
    done = subprocess.run([f"{ROOT}/build/postern", *arguments], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, **options)
    print(f"$ postern {' '.join(arguments)}\n{done.stdout}{done.stderr}", flush=True)
    assert done.returncode == code, f"exit code {done.returncode}: {done.stderr.strip()}"
    return done.stdout


def hold(cid):
    """As a VMM does that somebody else has started: VHOST_VSOCK_SET_GUEST_CID."""
    FOREIGN[cid] = os.open("/dev/vhost-vsock", os.O_RDWR)
    fcntl.ioctl(FOREIGN[cid], 0x4008AF60, struct.pack("Q", cid))


def launch():
    hold(4)
    try:
        postern("launch", "inner", "--vsock", "kernel", "--accel", "kvm", "--timeout", "240")
    except AssertionError:
        print(open("/run/postern-host/inner/console.log", errors="replace").read()[-6000:], flush=True)
        raise
    assert json.loads(postern("list", "inner", "--json"))["cid"] == CID


def leases_are_the_hosts():
    """Of all users: what one has is seen by another, and not given to them."""
    assert os.stat("/run/postern-cids").st_mode & 0o7777 == 0o1777
    os.makedirs("/tmp/nobody", exist_ok=True)
    os.chown("/tmp/nobody", NOBODY, NOBODY)
    other = {"user": NOBODY, "group": NOBODY, "env": dict(os.environ, XDG_RUNTIME_DIR="/tmp/nobody", HOME="/tmp/nobody",
                                                          XDG_CACHE_HOME="/tmp/nobody")}
    leases = json.loads(postern("list", "--cids", "--json", **other))["leases"]
    assert [(lease["cid"], lease["name"], lease["uid"], lease["held"]) for lease in leases] == [(CID, "inner", 0, True)]
    kernel = "--kernel", "/proc/self/status", "--initrd", "/proc/self/status"
    postern("launch", "mine", "--cid", str(CID), "--accel", "tcg", *kernel, code=1, **other)
    # One that nobody leased, and a tool that knows nothing of this has.
    postern("launch", "mine", "--vsock", "kernel", "--cid", "4", "--accel", "tcg", *kernel, code=1)
    assert [lease["cid"] for lease in json.loads(postern("list", "--cids", "--json"))["leases"]] == [CID]


def under_acceleration():
    guest = json.loads(postern("list", "--json"))["guests"][0]
    assert (guest["accel"], guest["vsock"]) == ("kvm", "kernel"), guest


def hello_as_host():
    with Client.vsock(CID, timeout=60) as client:
        assert client.hello_reply.identity == "host", client.hello_reply.identity
        assert client.call("system.ping", payload=b"p").payload == b"p"


def low_port_is_host_root():
    with Client.vsock(CID, local_port=900, timeout=60) as client:
        assert client.hello_reply.identity == "host-root", client.hello_reply.identity


def mount_and_events():
    with Client.vsock(CID, timeout=60) as client:
        client.call("notifications.subscribe", topics=["notify.mounts.*"])
        client.call("mounts.mount", target=b"/mnt/n", type="tmpfs", create_target=True)
        client.notification("notify.mounts.mount", timeout=60)
        client.call("mounts.unmount", target=b"/mnt/n")
        client.notification("notify.mounts.unmount", timeout=60)


def bad_frame_ends_in_goodbye():
    client = Client.vsock(CID, timeout=60)
    client.send_raw(b"\x80\x00xxxx")
    try:
        while True:
            client.dispatch()
    except Closed as closed:
        assert closed.goodbye is not None


def half_close():
    import socket
    client = Client.vsock(CID, timeout=60)
    id = client.start("mounts.list")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.take_response(id).HasField("result")


def ports_show_the_kernels_host():
    with Client.vsock(CID, timeout=60) as client:
        sockets = client.call("ports.list").sockets
        assert any(s.remote_cid == 2 and s.local_port == 767 for s in sockets), sockets


def command_line_by_name_and_by_cid():
    assert "postern-init" in postern("info", "inner")
    assert "postern-init" in postern("info", f"vsock:{CID}")
    assert "/proc" in postern("mounts", "list", f"vsock:{CID}:767")
    postern("info", f"vsock:{CID}:12345", code=4)
    postern("info", "vsock:4242", code=4)


def streams_through_the_kernel():
    """socat on both sides of AF_VSOCK: from the host to the agent, and from the guest to the host."""
    goodbye = subprocess.run([f"{ROOT}/build/postern", "socat", "inner", "767"], input=b"\x80\x00",
                             capture_output=True, timeout=60)
    assert goodbye.returncode == 0 and len(goodbye.stdout) > 2, goodbye.stderr
    postern("socat", f"vsock:{CID}", "12345", code=4)
    postern("socat-listen", "inner", "5002", "--timeout", "300ms", code=5)


def vsock_is_measured_by_its_ports():
    """The host's kernel shows the guest's ports: nothing is said in band."""
    result = json.loads(postern("vsock-perf", "inner", "--quick", "--patience", "100", "--json"))
    assert result["data_corruption"] is True and result["multi_stream_unidirectional"]["min"] > 0, result


def cid_in_use():
    postern("launch", "twin", "--vsock", "kernel", "--cid", str(CID), "--accel", "tcg", code=1)


def stop():
    postern("stop", "inner")


CHECKS = [launch, under_acceleration, hello_as_host, low_port_is_host_root, mount_and_events,
          bad_frame_ends_in_goodbye, half_close, ports_show_the_kernels_host, command_line_by_name_and_by_cid,
          streams_through_the_kernel, vsock_is_measured_by_its_ports, leases_are_the_hosts, cid_in_use,
          stop]

for check in CHECKS:
    started = time.monotonic()
    try:
        check()
        results.write(f"ok {check.__name__}\n")
    except Exception as problem:  # noqa: BLE001: the outer test shows it
        traceback.print_exc()
        results.write(f"not ok {check.__name__}: {str(problem) or type(problem).__name__}\n".replace("\n", " ") + "\n")
    print(f"# {check.__name__}: {time.monotonic() - started:.1f} s", flush=True)
