# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs and files through channels: against the guest's own fork and exec, the raw socket, and what
qemu-ga does with its commands."""

import base64
import json
import os
import resource
import socket
import statistics
import subprocess
import threading
import time

import guest
from machine import POSTERN
from streams import hybrid_stream

FILE_BYTES = 64 << 20
FORWARD_BYTES = 64 << 20
COPIES = 8  # of the file, where processor time is measured
QGA_BYTES = 2 << 20  # its time grows with the bytes; so many are enough
QGA_PIECE = 1 << 20  # what one of its commands reads or writes
STARTS = 40  # of a program, in a round
KEYS = 400
BIG_BYTES = 1 << 30


def channel(vm, token):
    sock = hybrid_stream(vm.vsock, 767, 60)
    sock.sendall(b"\x00PC\x01" + token)
    assert sock.recv(1) == b"\x01"
    return sock


def run(client, *argv):
    reply = client.call("exec.start", argv=[word.encode() for word in argv])
    return client.call("exec.wait", job=reply.job).job


def run_for_output(vm, client, *argv):
    reply = client.call("exec.start", argv=[word.encode() for word in argv], output="CHANNEL")
    with channel(vm, reply.stdio.token) as sock:
        out = b""
        while True:
            piece = sock.recv(65536)
            if not piece:
                break
            out += piece
    assert client.call("exec.wait", job=reply.job).job.exit_code == 0
    return out


class Qga:
    def __init__(self, vm):
        self.file = hybrid_stream(vm.vsock, guest.QGA_PORT, 120).makefile("rwb")

    def call(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.file.flush()
        return json.loads(self.file.readline())["return"]

    def close(self):
        self.file.close()


def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6


def exec_by_qga(qga):
    pid = qga.call("guest-exec", path="/bin/true")["pid"]
    while not qga.call("guest-exec-status", pid=pid)["exited"]:
        pass


def measure_exec(results, vm):
    """Turns of each, so that whatever else the machine does hits all."""
    times = {"exec_true_us": [], "forkexec_true_us": [], "qga_exec_true_us": []}
    with vm.client(timeout=60) as client:
        qga = Qga(vm)
        run(client, "/bin/true")
        for _ in range(STARTS // 10):
            # A spare is made anew between two starts, as between those of a person.
            for _ in range(10):
                time.sleep(0.15)
                times["exec_true_us"].append(timed(lambda: run(client, "/bin/true")))
            out = run_for_output(vm, client, "/usr/bin/forkexec", "10", "/bin/true")
            times["forkexec_true_us"] += map(float, out.split())
            times["qga_exec_true_us"] += [timed(lambda: exec_by_qga(qga)) for _ in range(10)]
        qga.close()
    for name, values in times.items():
        results.add(name, statistics.median(values))
    results.ratio("exec_over_forkexec_ratio", "exec_true_us", "forkexec_true_us")
    results.ratio("exec_over_qga_ratio", "exec_true_us", "qga_exec_true_us")


def measure_keys(results, vm):
    """One key and its echo: of a terminal's line discipline, and of the echo server."""
    def trips(sock):
        times = []
        for _ in range(KEYS):
            began = time.perf_counter()
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            times.append((time.perf_counter() - began) * 1e6)
        return times

    with vm.client(timeout=60) as client:
        # Raw but for its echo; nobody reads what is typed, which would take its own turn of the processor.
        reply = client.call("exec.start", argv=[b"sh", b"-c", b"stty raw; echo ready; exec sleep 1000"],
                            terminal={"rows": 24, "columns": 80})
        with (channel(vm, reply.stdio.token) as shell, hybrid_stream(vm.vsock, guest.ECHO_PORT) as raw,
              hybrid_stream(vm.vsock, guest.LEAST_TERMINAL_PORT) as least):
            while b"ready" not in shell.recv(100):
                pass
            time.sleep(0.5)
            key, echo, relay = [], [], []
            for _ in range(4):
                key += trips(shell)
                echo += trips(raw)
                relay += trips(least)
    results.add("key_p50_us", statistics.median(key))
    results.add("key_raw_p50_us", statistics.median(echo))
    results.add("key_least_p50_us", statistics.median(relay))
    results.ratio("key_over_raw_ratio", "key_p50_us", "key_raw_p50_us")
    results.ratio("key_over_least_ratio", "key_p50_us", "key_least_p50_us")


# ---- files ---------------------------------------------------------------------------------------


def pull(sock, size):
    """Of the guest's source."""
    sock.sendall(b"%d 65536 1\n" % size)
    buffer, got = bytearray(1 << 18), 0
    while got < size:
        n = sock.recv_into(buffer)
        assert n
        got += n


def push(sock, data):
    """To the guest's sink."""
    sock.sendall(b"%d 0\n" % len(data))
    sock.sendall(data)
    assert int(sock.recv(100).split()[0]) == len(data)


def raw_to_guest(vm, data):
    with hybrid_stream(vm.vsock, guest.SINK_PORT, 120) as sock:
        push(sock, data)


def raw_from_guest(vm, size):
    with hybrid_stream(vm.vsock, guest.SOURCE_PORT, 120) as sock:
        pull(sock, size)


def cp(vm, *words):
    subprocess.run([POSTERN, "cp", *words], env=vm.host.env, check=True)


def qga_read(qga, size):
    handle = qga.call("guest-file-open", path="/dev/shm/file", mode="r")
    got = 0
    while got < size:
        got += len(base64.b64decode(qga.call("guest-file-read", handle=handle, count=QGA_PIECE)["buf-b64"]))
    qga.call("guest-file-close", handle=handle)


def qga_write(qga, data):
    handle = qga.call("guest-file-open", path="/dev/shm/qga", mode="w")
    for at in range(0, len(data), QGA_PIECE):
        qga.call("guest-file-write", handle=handle, **{"buf-b64": base64.b64encode(data[at:at + QGA_PIECE]).decode()})
    qga.call("guest-file-close", handle=handle)


def rate(size, call):
    """Bytes a microsecond."""
    return size / timed(call)


def measure_copy(results, vm):
    data = os.urandom(1 << 20) * (FILE_BYTES >> 20)
    ours = f"{vm.host.dir}/file"
    with open(ours, "wb") as file:
        file.write(data)
    name = f"{vm.name}:/dev/shm/file"
    for way in ("to", "from"):
        results.add(f"raw_{way}_guest_mb_s", rate(
            FILE_BYTES, lambda: raw_to_guest(vm, data) if way == "to" else raw_from_guest(vm, FILE_BYTES)))
        results.add(f"copy_{way}_guest_mb_s", rate(
            FILE_BYTES, lambda: cp(vm, ours, name) if way == "to" else cp(vm, name, f"{ours}.back")))
        results.ratio(f"copy_{way}_guest_over_raw_ratio", f"copy_{way}_guest_mb_s", f"raw_{way}_guest_mb_s")
    with open(f"{ours}.back", "rb") as file:
        assert file.read() == data
    qga = Qga(vm)
    results.add("qga_read_mb_s", rate(QGA_BYTES, lambda: qga_read(qga, QGA_BYTES)))
    results.add("qga_write_mb_s", rate(QGA_BYTES, lambda: qga_write(qga, data[:QGA_BYTES])))
    qga.close()
    results.ratio("copy_over_qga_read_ratio", "copy_from_guest_mb_s", "qga_read_mb_s")
    results.ratio("copy_over_qga_write_ratio", "copy_to_guest_mb_s", "qga_write_mb_s")


# ---- what a copy costs ---------------------------------------------------------------------------


def guest_cpu(client, vm, unit):
    """Seconds of all processes that a unit has had."""
    out = run_for_output(vm, client, "/bin/cat", f"/sys/fs/cgroup/system.slice/{unit}.service/cpu.stat")
    return int(out.split()[1]) / 1e6


def host_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def by_socat(vm, way, ours):
    """socat at both ends, as much at once as cp moves."""
    connect = f"printf 'CONNECT {guest.SOCAT_PORTS[way]}\\n'"
    there = f"socat -u -b 65536 - UNIX-CONNECT:{vm.vsock}"
    back = f"socat -b 65536 - UNIX-CONNECT:{vm.vsock},ignoreeof"
    line = f"({connect}; cat {ours}) | {there}" if way == "to" else f"{connect} | {back} >{ours}.socat"
    subprocess.run(["sh", "-c", f"for i in $(seq {COPIES}); do {line}; done"], check=True)


def measure_copy_cpu(results, vm):
    """Both sides' processor time for the same bytes between a file here and one in the guest's memory."""
    ours, name, folder = f"{vm.host.dir}/file", f"{vm.name}:/dev/shm/file", f"{vm.host.dir}/many"
    os.makedirs(folder, exist_ok=True)
    words = {"to": [*[ours] * COPIES, f"{vm.name}:/dev/shm/"], "from": [*[name] * COPIES, folder]}
    spent = {}
    with vm.client(timeout=60) as client:
        for _ in range(2):
            for way in ("to", "from"):
                for kind, unit, move in (
                        ("copy", "posternd", lambda: cp(vm, *words[way])),
                        ("socat", f"bench-socat-{way}", lambda: by_socat(vm, way, ours))):
                    before = guest_cpu(client, vm, unit) + host_cpu()
                    move()
                    time.sleep(1)  # the other side's last bytes
                    spent.setdefault((kind, way), []).append(guest_cpu(client, vm, unit) + host_cpu() - before)
    for (kind, way), values in spent.items():
        results.add(f"{kind}_{way}_guest_cpu_s_per_gib", statistics.median(values) * (1 << 30) / (COPIES * FILE_BYTES))
    for way in ("to", "from"):
        results.ratio(f"copy_{way}_guest_cpu_over_socat_ratio", f"copy_{way}_guest_cpu_s_per_gib",
                      f"socat_{way}_guest_cpu_s_per_gib")


# ---- forwards ------------------------------------------------------------------------------------


def measure_forward(results, vm):
    """One TCP connection through it, and the raw socket, in turn, each way."""
    data = os.urandom(1 << 20) * (FORWARD_BYTES >> 20)
    specs = [f"tcp:0=tcp:{port}" for port in (guest.SOURCE_PORT, guest.SINK_PORT)]
    forward = subprocess.Popen([POSTERN, "forward", vm.name, "--json", *specs], env=vm.host.env,
                               stdout=subprocess.PIPE)
    ports = [int(json.loads(forward.stdout.readline())["from"].rsplit(":", 1)[1]) for _ in specs]
    rates = {}
    for _ in range(3):
        for way, at, port, least in (("from", 0, guest.SOURCE_PORT, guest.LEAST_SOURCE_PORT),
                                     ("to", 1, guest.SINK_PORT, guest.LEAST_SINK_PORT)):
            for name, connect in (
                    ("raw", lambda: hybrid_stream(vm.vsock, port, 120)),
                    ("least", lambda: hybrid_stream(vm.vsock, least, 120)),
                    ("forward", lambda: socket.create_connection(("127.0.0.1", ports[at]), timeout=120))):
                with connect() as sock:
                    rates.setdefault((name, way), []).append(rate(
                        FORWARD_BYTES,
                        lambda: pull(sock, FORWARD_BYTES) if way == "from" else push(sock, data)))
    forward.terminate()
    forward.wait()
    for (name, way), values in rates.items():
        results.add(f"forward_{name}_{way}_guest_mb_s", statistics.median(values))
    for way in ("from", "to"):
        for name in ("raw", "least"):
            results.ratio(f"forward_{way}_guest_over_{name}_ratio", f"forward_forward_{way}_guest_mb_s",
                          f"forward_{name}_{way}_guest_mb_s")


def agent_pss(vm):
    return sum(process[2] for process in guest.processes(vm.vsock) if process[1].startswith("postern"))


def measure_copy_memory(results, vm):
    """While so many bytes go through, read a few times amid it; the file is the same again and again."""
    folder = f"{vm.host.dir}/many"
    os.makedirs(folder, exist_ok=True)
    ours = f"{vm.host.dir}/file"
    size = os.path.getsize(ours)
    sources = [ours] * min(BIG_BYTES // size, 256)
    with vm.client(timeout=60) as client:
        client.call("system.ping")
        time.sleep(3)  # spares are made
        before = agent_pss(vm)
        for way, words in (("to", [*sources, f"{vm.name}:/dev/shm/"]),
                           ("from", [*[f"{vm.name}:/dev/shm/file"] * len(sources), folder])):
            copy = threading.Thread(target=cp, args=(vm, *words))
            copy.start()
            time.sleep(3)
            during = max(agent_pss(vm) for _ in range(3))
            copy.join()
            results.add(f"copy_{way}_guest_more_pss_kib", during - before)
