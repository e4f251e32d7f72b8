# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark's guest, a Debian with systemd: the agent, a raw echo server, qemu-ga on vsock, and a
program that tells what processes take."""

import os
import shutil
import subprocess
import time

import debian
from streams import hybrid_stream
from wire import BUILD

BENCH = f"{os.path.abspath(BUILD)}/bench"
ECHO_PORT, SINK_PORT, SOURCE_PORT, QGA_PORT, MEMORY_PORT = 1001, 1002, 1003, 1234, 1100
# The least that a relay can be: to the sink, to the source, to a terminal.
SOCAT_PORTS = {"to": 1015, "from": 1016}
LEAST_SINK_PORT, LEAST_SOURCE_PORT, LEAST_TERMINAL_PORT = 1012, 1013, 1014
CID = 3

UNIT = """[Unit]
DefaultDependencies=no
Wants=modprobe@vmw_vsock_virtio_transport.service
After=modprobe@vmw_vsock_virtio_transport.service systemd-remount-fs.service {after}
[Service]
ExecStart={command}
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""
UNITS = {
    "bench-echo": f"/usr/bin/vsock_server --tcp {ECHO_PORT} {SINK_PORT} {SOURCE_PORT}",
    "bench-relay-sink": f"/usr/bin/relay {LEAST_SINK_PORT} tcp {SINK_PORT}",
    "bench-relay-source": f"/usr/bin/relay {LEAST_SOURCE_PORT} tcp {SOURCE_PORT}",
    "bench-relay-terminal": f"/usr/bin/relay {LEAST_TERMINAL_PORT} terminal",
    "bench-socat-to": f"/usr/bin/socat -u -b 65536 VSOCK-LISTEN:{SOCAT_PORTS['to']},fork "
                      "OPEN:/dev/shm/socat,creat,trunc",
    "bench-socat-from": f"/usr/bin/socat -U -b 65536 VSOCK-LISTEN:{SOCAT_PORTS['from']},fork "
                        "OPEN:/dev/shm/file,rdonly",
    "bench-qga": f"/usr/sbin/qemu-ga -m vsock-listen -p {CID}:{QGA_PORT}",
    "bench-memory": f"/usr/bin/memory {MEMORY_PORT} postern qemu-ga",
}
# It answers when the boot is over: until then modules are loaded and file systems mounted, which wakes
# whoever watches them.
AFTER = {"bench-memory": "multi-user.target"}
PROGRAMS = ("vsock_server", "memory", "forkexec", "relay")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4Sk3Z0f6nqcKqYx0Zb3mJrXb6H5o0iTz8wqFz0there there"
POLICY = "allow host exec.* copy.* forward.* users.* cpus.* files.set_mode\n"
FILE = "/srv/file"  # one that files.* may read


def copy_program(tree, path):
    """With the libraries that it names, where the tree has none."""
    lines = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout.splitlines()
    for file in [path, *[line.split()[2] for line in lines if " => /" in line]]:
        at = f"{tree}{file}"
        if not os.path.exists(at):
            os.makedirs(os.path.dirname(at), exist_ok=True)
            shutil.copy(file, at)


def add_to(tree):
    copy_program(tree, "/usr/bin/socat")
    for program in PROGRAMS:
        shutil.copy(f"{BENCH}/{program}", f"{tree}/usr/bin/{program}")
    with open(f"{tree}/etc/postern/policy.d/60-bench.policy", "w") as policy:
        policy.write(POLICY)
    with open(f"{tree}/etc/postern/postern.conf", "a") as config:
        config.write(f"files_roots = {os.path.dirname(FILE)}\n")
    debian.write(f"{tree}{FILE}", "0123456789abcdef" * 4096)
    os.makedirs(f"{tree}/root/.ssh", mode=0o700, exist_ok=True)
    debian.write(f"{tree}/root/.ssh/authorized_keys", f"{KEY}\n", 0o600)
    for name, command in UNITS.items():
        with open(f"{tree}/etc/systemd/system/{name}.service", "w") as unit:
            unit.write(UNIT.format(command=command, after=AFTER.get(name, "")))
    debian.chroot(tree, "systemctl", "enable", *UNITS)


def read_port(uds, port, send=b"", until=None):
    """What a server of the guest says: up to the end of data, or to the first `until`."""
    with hybrid_stream(uds, port) as sock:
        if send:
            sock.sendall(send)
        data = b""
        while until is None or until not in data:
            more = sock.recv(65536)
            if not more:
                break
            data += more
    return data


def wait_for(uds, seconds=240):
    """Until every server answers."""
    deadline = time.monotonic() + seconds
    for port, send, until in ((ECHO_PORT, b"x", b"x"), (MEMORY_PORT, b"", None),
                              (QGA_PORT, b'{"execute":"guest-ping"}\n', b"}\n")):
        while True:
            try:
                if read_port(uds, port, send, until):
                    break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"port {port} of the guest does not answer")
            time.sleep(0.2)


def processes(uds):
    """[(pid, command, pss_kib, private_dirty_kib, sleeps, preemptions)] of the agent's and qemu-ga."""
    lines = read_port(uds, MEMORY_PORT).decode().splitlines()
    return [(int(pid), command, *map(int, numbers)) for pid, command, *numbers in map(str.split, lines)]
