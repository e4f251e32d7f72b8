# SPDX-License-Identifier: LGPL-2.1-or-later
import ctypes
import glob
import os
import re
import signal
import socket
import struct
import time

import pytest

from machine import halted, wait_until
from wire import BUILD, Failed, frame, messages_of, pb


def test_ping_returns_the_payload(client):
    for payload in (b"", b"x", bytes(range(256)) * 100):
        assert client.call("system.ping", payload=payload).payload == payload


def test_info_says_what_this_machine_says(agent, client):
    info = client.call("system.info")
    uname = os.uname()
    assert info.kernel.release.decode() == uname.release
    assert info.host_name.decode() == uname.nodename
    assert info.boot_id == client.hello_reply.boot_id
    assert info.generation == client.hello_reply.generation
    assert abs(info.uptime_ms / 1000 - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert abs(info.time_ns / 1e9 - time.time()) < 5
    assert b'PRETTY_NAME="' + info.os.pretty_name + b'"' in open("/etc/os-release", "rb").read()
    assert info.identity == "local:0"


def test_info_lists_the_agents_processes(agent, client):
    children = agent.children()
    processes = client.call("system.info").agent.processes
    by_pid = {process.pid: process for process in processes}
    assert by_pid[agent.process.pid].role == "broker"
    roles = [process.role for process in processes]
    assert roles.count("watch") == 1 and "session" in roles
    for pid in children:
        assert pid in by_pid or not os.path.exists(f"/proc/{pid}")
    for process in processes:
        assert process.descriptors > 0
        assert 0 < process.pss_bytes <= process.rss_bytes


CAP_SYS_MODULE = 1 << 16


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_roles_have_only_what_they_need(agent, client):
    """Read back from the kernel: users, capabilities, roots."""
    client.call("mounts.list")
    for process in client.call("system.info").agent.processes:
        if process.role != "broker":
            # A spare may have been started just now.
            wait_until(lambda: status_of(process.pid)["NoNewPrivs"] == "1")
        status = status_of(process.pid)
        uids = set(status["Uid"].split())
        if process.role in ("session", "watch", "reader"):
            assert "0" not in uids, process.role
            assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0, process.role
            assert status["Groups"].strip() == ""
        # The right to load modules is the keeper's, who starts postern-kmod, and nobody else's.
        held = int(status["CapPrm"], 16) | int(status["CapBnd"], 16)
        if process.role == "kmod":
            assert held == CAP_SYS_MODULE and int(status["CapEff"], 16) == 0
        else:
            assert not held & CAP_SYS_MODULE, process.role
        if process.role == "session":
            assert os.readlink(f"/proc/{process.pid}/root").endswith("/run/empty")
        # One at work, for the agent itself maybe, has what its row gives.
        if process.role == "worker" and process.spare:
            assert int(status["CapEff"], 16) == 0


def test_methods_has_every_rpc_and_no_other(client):
    listed = {method.name for method in client.call("system.methods").methods}
    rpcs = set()
    for path in glob.glob(f"{BUILD}/py/*_pb2.py"):
        for service in messages_of(os.path.basename(path).removesuffix("_pb2.py")).DESCRIPTOR.services_by_name.values():
            if service.name.startswith("Notify"):
                continue
            for method in service.methods:
                rpcs.add(snake(service.name) + "." + snake(method.name))
    assert listed == rpcs
    for method in client.call("system.methods").methods:
        assert method.summary and method.default_timeout_ms <= method.max_timeout_ms


def snake(camel):
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(camel))


def test_several_clients_do_not_disturb_each_other(agent):
    clients = [agent.client() for _ in range(8)]
    ids = [client.start("mounts.list") for client in clients]
    for client in clients:
        assert client.call("system.ping", payload=b"p").payload == b"p"
    for client, id in zip(clients, ids):
        assert client.finish(id, "mounts.list").mounts
        client.close()


def test_a_killed_session_harms_nobody_else(agent):
    with agent.client() as other:
        with agent.client() as victim:
            victim.call("system.ping")
            mine = [p.pid for p in other.call("system.info").agent.processes
                    if p.role == "session" and not p.spare]
            os.kill(mine[-1], 9)
            with pytest.raises(Exception):
                victim.call("system.ping")
        assert other.call("system.ping", payload=b"k").payload == b"k"


def test_a_killed_reader_is_an_error_and_replaced(agent, client):
    client.call("mounts.list")
    readers = [p.pid for p in client.call("system.info").agent.processes if p.role == "reader"]
    assert readers
    for pid in readers:
        os.kill(pid, 9)
    time.sleep(0.1)
    assert client.call("mounts.list").mounts


def readers_of(client):
    return [p.pid for p in client.call("system.info").agent.processes if p.role == "reader"]


def hold_readers(client):
    """Stops all that are idle, and has them take a request each: (process ids, request ids)."""
    client.call("mounts.list")
    # Two are kept; more than that are about to go.
    wait_until(lambda: 1 <= len(readers_of(client)) <= 2)
    readers = readers_of(client)
    for pid in readers:
        os.kill(pid, signal.SIGSTOP)
    ids = [client.start("mounts.list") for _ in readers]
    wait_until(lambda: client.call("system.info").agent.calls >= len(ids))
    return readers, ids


def test_many_requests_wait_for_few_readers(agent, client):
    """A reader that answers is free sooner than a new one starts."""
    started = set()
    for _ in range(6):
        # Fewer than a connection may have under way: one that is answered counts a moment longer.
        ids = [client.start("mounts.list") for _ in range(8)]
        for id in ids:
            assert client.finish(id, "mounts.list").mounts
        started |= set(readers_of(client))
    gone = re.findall(r"reader \(pid (\d+)\) ended", agent.read_log())
    assert len(started | set(map(int, gone))) < 24


def test_a_reader_that_hangs_holds_up_only_its_own_request(agent, client):
    with agent.client() as other:
        _, hanging = hold_readers(client)
        assert other.call("mounts.list").mounts
        for id in hanging:
            client.cancel(id)
        for id in hanging:
            with pytest.raises(Failed) as failed:
                client.finish(id, "mounts.list")
            assert failed.value.code == "CANCELLED"
        assert client.call("mounts.list").mounts


def test_a_request_that_waits_for_a_reader_can_be_cancelled(agent, client):
    readers, hanging = hold_readers(client)
    request = pb.ToAgent(request=pb.Request(id=99, method="mounts.list"))
    cancel = pb.ToAgent(cancel=pb.Cancel(id=99))
    client.send_raw(frame(request.SerializeToString()) + frame(cancel.SerializeToString()))
    with pytest.raises(Failed) as failed:
        client.finish(99, "mounts.list")
    assert failed.value.code == "CANCELLED"
    for pid in readers:
        os.kill(pid, signal.SIGCONT)
    for id in hanging:
        assert client.finish(id, "mounts.list").mounts


def wait_for_spare(client, role, seconds=5):
    end = time.monotonic() + seconds
    while True:
        for process in client.call("system.info").agent.processes:
            if process.role == role and process.spare:
                return process.pid
        assert time.monotonic() < end, f"no spare {role}"
        time.sleep(0.01)


def test_spares_come_after_requests_but_do_not_wait_for_one_that_hangs(agent, client):
    zygote, taken = wait_for_spare(client, "worker"), wait_for_spare(client, "session")
    os.kill(zygote, signal.SIGSTOP)
    start = time.monotonic()
    id = client.start("mounts.unmount", target=b"/nothing/here")
    with agent.client() as other:
        other.call("system.ping")
        assert wait_for_spare(client, "session") != taken
    assert 0.5 < time.monotonic() - start < 4
    os.kill(zygote, signal.SIGCONT)
    with pytest.raises(Failed) as failed:
        client.finish(id, "mounts.unmount")
    assert failed.value.code == "NOT_FOUND"


def test_what_nobody_asked_for_is_no_answer(agent):
    """The lane that answers come by serves again; what lies in it between two requests is thrown away with it."""
    with agent.client() as client:
        assert client.call("mounts.list").mounts
        reader, = [p.pid for p in client.call("system.info").agent.processes if p.role == "reader" and not p.spare]
        forged = pb.FromAgent(response=pb.Response(id=77, result=b""))
        body = frame(forged.SerializeToString())
        lane, = [sock for sock in sockets_of(reader) if sock.type == socket.SOCK_STREAM]
        lane.sendall(struct.pack("IHH", len(body), 1, 0) + body)
        client.call("system.ping")
        assert client.call("mounts.list").mounts
        assert client.call("mounts.list").mounts
        assert not client.responses


def test_an_answer_that_still_holds_is_given_again(agent):
    """What devices are, while the kernel has told of no change of any: nobody is asked."""
    with agent.client() as client, agent.client() as other:
        told = [client.call(method) for method in ("cpus.list", "memory.blocks")]
        reader, = [p.pid for p in client.call("system.info").agent.processes if p.role == "reader" and not p.spare]
        with halted(reader):
            again = [client.call(method, timeout_ms=3000) for method in ("cpus.list", "memory.blocks")]
            assert [one.SerializeToString() for one in again] == [one.SerializeToString() for one in told]
        # Each connection has its own.
        assert other.call("cpus.list") == told[0]


def sockets_of(pid):
    """The UNIX sockets of a process, as ours (pidfd_getfd(2))."""
    pidfd = os.pidfd_open(pid)
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
            taken = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(fd), 0)
            assert taken >= 0, os.strerror(ctypes.get_errno())
            yield socket.socket(fileno=taken)
    os.close(pidfd)


def test_current_load_is_the_kernels(client):
    load = client.call("system_load.current")
    with open("/proc/loadavg") as file:
        kernel = file.read().split()
    assert abs(load.load1 - float(kernel[0])) < 1
    assert load.processes.total > 10
    assert len(load.cpus) == os.cpu_count()
    assert [cpu.index for cpu in load.cpus] == list(range(os.cpu_count()))
    meminfo = dict(line.split(":") for line in open("/proc/meminfo"))
    assert load.memory.total == int(meminfo["MemTotal"].split()[0]) * 1024
    assert abs(load.memory.available / (int(meminfo["MemAvailable"].split()[0]) * 1024) - 1) < 0.2
    assert load.cpu_total.idle_ms > 0
    if os.path.exists("/proc/pressure/cpu"):
        assert load.cpu_pressure.some_total_us > 0


def test_rates_and_history_come_from_the_sampler(client):
    deadline = time.monotonic() + 10
    while True:
        points = client.call("system_load.historical").points
        load = client.call("system_load.current")
        if len(points) >= 3 and load.rates_interval_ms:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert 500 < load.rates_interval_ms < 5000
    assert "lo" in [link.name.decode() for link in load.links]
    times = [point.time_s for point in points]
    assert times == sorted(set(times))
    assert abs(times[-1] - time.time()) < 5
    assert all(point.memory_total == load.memory.total for point in points)


def test_history_by_step_and_aggregation(client):
    deadline = time.monotonic() + 15
    while len(client.call("system_load.historical").points) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    fine = client.call("system_load.historical").points
    coarse = {name: client.call("system_load.historical", step_s=3600, aggregation=value).points
              for name, value in (("average", 1), ("least", 2), ("most", 3), ("last", 4))}
    for points in coarse.values():
        assert all(point.time_s % 3600 == 0 for point in points)
        assert sum(point.samples for point in points) >= len(fine)
    for low, mean, high in zip(coarse["least"], coarse["average"], coarse["most"]):
        assert low.memory_available <= mean.memory_available <= high.memory_available
        assert low.load1 <= mean.load1 <= high.load1
    # The last sample of a step, as a step of one second has it.
    values = [field.name for field in fine[0].DESCRIPTOR.fields if field.name not in ("time_s", "samples")]
    fine = client.call("system_load.historical", step_s=1, aggregation=4).points
    seen = 0
    for last in coarse["last"]:
        seen += last.samples
        samples = 0
        for point in fine:
            samples += point.samples
            if samples >= seen:
                break
        assert [getattr(last, name) for name in values] == [getattr(point, name) for name in values]
    assert len(client.call("system_load.historical", range_s=2).points) <= 4
    with pytest.raises(Failed) as failed:
        client.call("system_load.historical", step_s=2**31)
    assert failed.value.code == "INVALID_ARGUMENT"
