# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs in a real guest over a real vsock: denied as shipped, then allowed by one line."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from jobs import eventually
from machine import ANSWERED, POSTERN, REFUSED
from wire import Failed

POLICY = "allow host exec.*\n"


@pytest.fixture(scope="module")
def vm(host):
    policy = os.path.join(host.dir, "exec.policy")
    with open(policy, "w") as file:
        file.write(POLICY)
    return host.launch("guest", "--add", f"{policy}:/etc/postern/policy.d/60-exec.policy",
                       "--add", f"{shutil.which('busybox')}:/bin/busybox", witness=False)


@pytest.fixture
def postern(vm):
    def postern(*words, **kwargs):
        kwargs.setdefault("input", b"")
        return subprocess.run([POSTERN, *words], env=vm.host.env, capture_output=True, timeout=120, **kwargs)

    return postern


def said(done):
    """The output of a program that did not fail."""
    assert done.returncode == 0, done
    return done.stdout


def test_the_shipped_policy_denies(host):
    machine = host.launch("shipped", "--add", f"{shutil.which('busybox')}:/bin/busybox", witness=False)
    for words in (("exec", "shipped", "--", "/bin/busybox", "true"), ("vsh", "shipped"), ("jobs", "list", "shipped")):
        _, errors = host.run(*words, code=REFUSED)
        assert "no rule" in errors, errors
    host.run("stop", "shipped")
    assert machine


def test_streams_and_ends(postern):
    done = postern("exec", "guest", "--", "busybox", "sh", "-c", "cat; echo err >&2; exit 3", input=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"err\n", 3)
    assert postern("exec", "guest", "--", "busybox", "sh", "-c", "kill -9 $$").returncode == 137
    assert postern("exec", "guest", "--", "no-such").returncode == ANSWERED


def test_much_both_ways_at_once(postern):
    data = os.urandom(4 << 20) * 4
    done = postern("exec", "guest", "--", "busybox", "cat", input=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_shell_in_a_pipe_and_its_half_closes(postern):
    assert postern("vsh", "guest", "--", "busybox", "sh", input=b"echo one\nexit 6\n").stdout == b"one\n"
    done = postern("exec", "guest", "--", "busybox", "sh", "-c", "exec >&-; read x; exit $x", input=b"5\n")
    assert done.stdout == b"" and done.returncode == 5


def test_a_client_that_is_killed_takes_its_program_along(vm, postern):
    running = subprocess.Popen([POSTERN, "exec", "guest", "--", "busybox", "sh", "-c",
                                "echo $$; busybox sleep 1000"], env=vm.host.env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    pid = int(running.stdout.readline())
    running.kill()
    running.wait()

    def is_gone():
        return postern("exec", "guest", "--", "busybox", "sh", "-c", f"test -d /proc/{pid} || exit 44").returncode == 44

    assert eventually(is_gone, 20)
    record, = [job for job in vm.host.json("jobs", "list", "guest")["jobs"] if job["pid"] == pid]
    assert record["state"] == "SIGNALLED" and record["signal"] == signal.SIGKILL


def test_a_control_group_with_limits(postern):
    done = postern("exec", "guest", "--pids", "5", "--memory", "24M", "--cpu", "50", "--", "busybox", "sh", "-c",
                   "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat pids.max memory.max cpu.max")
    assert done.stdout == b"5\n25165824\n50000 100000\n", done
    done = postern("exec", "guest", "--pids", "5", "--", "busybox", "sh", "-c",
                   "for i in 1 2 3 4 5 6 7 8; do busybox sleep 1 & done; wait")
    assert b"can't fork" in done.stderr
    # Who takes more memory than that is ended by the kernel.
    done = postern("exec", "guest", "--memory", "8M", "--", "busybox", "sh", "-c",
                   "x=$(busybox head -c 60000000 /dev/zero | busybox tr '\\0' x)")
    assert done.returncode == 137, done


def test_a_group_is_killed_whole(vm, postern):
    """A process that left its process group and session is still in the control group."""
    running = subprocess.Popen([POSTERN, "exec", "guest", "--pids", "50", "--", "busybox", "sh", "-c",
                                "busybox setsid busybox sleep 1001 & echo ready; wait"], env=vm.host.env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    running.kill()
    running.wait()
    assert eventually(lambda: b"sleep 1001" not in said(postern("exec", "guest", "--", "busybox", "ps")), 20)


def test_the_cgroup_is_removed(postern):
    def groups():
        listed = said(postern("exec", "guest", "--", "busybox", "ls", "/sys/fs/cgroup/postern"))
        return {name for name in listed.split() if name.startswith(b"job-")}

    before = groups()  # something of an earlier program may still run in its own
    made = postern("exec", "guest", "--pids", "5", "--", "busybox", "cat", "/proc/self/cgroup")
    name = made.stdout.split(b"/")[-1].strip()
    assert name.startswith(b"job-") and name not in before
    assert eventually(lambda: name not in groups(), 10)


def test_detached_and_events(vm, postern):
    with vm.client() as client:
        client.call("notifications.subscribe", topics=["notify.exec.*"])
        done = postern("exec", "guest", "-d", "--json", "--", "busybox", "sh", "-c", "echo out; exit 5")
        job = json.loads(done.stdout)["job"]
        assert client.notification("notify.exec.started")[1].job.job == job
        assert client.notification("notify.exec.exited")[1].job.exit_code == 5
    done = postern("jobs", "attach", "guest", str(job))
    assert done.stdout == b"out\n" and done.returncode == 5


def test_a_reader_that_stops_and_goes_on(vm):
    running = subprocess.Popen([POSTERN, "exec", "guest", "--", "busybox", "dd", "if=/dev/zero", "bs=64k", "count=320"],
                               env=vm.host.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    time.sleep(2)
    assert running.poll() is None
    with vm.client() as client:
        assert client.call("system.ping", payload=b"x").payload == b"x"
    assert len(running.stdout.read()) == 20 << 20 and running.wait(20) == 0


def test_where_the_file_system_is_dead(host, tmp_path):
    """The first one hangs until its time is over, and says where; the others get an answer at once."""
    (tmp_path / "file").write_text("from the host")
    policy = os.path.join(host.dir, "dead.policy")
    with open(policy, "w") as file:
        file.write("allow host exec.* copy.*\n")
    vm = host.launch("dead", "--add", f"{policy}:/etc/postern/policy.d/60-dead.policy",
                     "--add", f"{shutil.which('busybox')}:/bin/busybox")
    for name in ("one", "two"):
        host.run("shares", "add", "dead", str(tmp_path), f"/mnt/{name}", "--tag", name)
    for pid in host.children("dead")["virtiofsd"]:
        os.kill(pid, signal.SIGKILL)
    host.until(lambda: len([p for p in host.info("dead")["problems"] if "dead" in p["problem"]]) == 2)
    with vm.client(timeout=60) as client:
        devices = {m.target: f"{m.major}:{m.minor}" for m in client.call("mounts.list").mounts}
        for name, method, fields, timeout in (
                (b"/mnt/one", "exec.start", dict(argv=[b"/bin/busybox", b"true"], cwd=b"/mnt/one"), 1500),
                (b"/mnt/two", "copy.send", dict(paths=[b"/mnt/two/file"]), 1500)):
            before = {process.pid for process in client.call("system.info").agent.stuck}
            with pytest.raises(Failed) as failed:
                client.call(method, timeout_ms=timeout, **fields)
            assert failed.value.code == "DEADLINE_EXCEEDED", failed.value
            one, = eventually(lambda: [p for p in client.call("system.info").agent.stuck if p.pid not in before])
            assert (one.method, one.device) == (method, devices[name]), one
            started = time.monotonic()
            with pytest.raises(Failed) as failed:
                client.call(method, **fields)
            assert failed.value.code == "UNAVAILABLE" and "does not respond" in failed.value.message
            assert time.monotonic() - started < 5
        reply = client.call("exec.start", argv=[b"/bin/busybox", b"true"])
        assert client.call("exec.wait", job=reply.job).job.exit_code == 0
    vm.stop("-f")


def test_programs_and_the_host_tell_each_other_things(postern, vm):
    """The host is outside: what it says is its own, and each side can keep the other from changing it."""
    def guest(*words, user="0", code=0):
        done = postern("exec", "-u", user, "guest", "--", "/usr/sbin/posternd", *words)
        assert done.returncode == code, done
        return done.stdout

    said(postern("property", "set", "guest", "app/mode", "fast"))
    assert guest("property", "get", "app/mode") == b"fast"
    assert guest("property", "list", user="61001") == b""
    said(postern("property", "set", "guest", "app/mode", "slow", "-w", "true", "-r", "true"))
    assert guest("property", "get", "app/mode", user="61001") == b"slow"
    guest("property", "set", "app/mode", "x", code=ANSWERED)
    guest("property", "remove", "app/mode", code=ANSWERED)
    guest("property", "set", "--read-only-host", "true", "user/61001/state", "up", user="61001")
    shown = json.loads(said(postern("property", "list", "guest", "--json")))["properties"]
    assert [(found["key"], found["value"], found["set_by"]) for found in shown] == [
        ("app/mode", "slow", "host"), ("user/61001/state", "up", "local:61001")]
    for words in (("set", "guest", "user/61001/state", "down"), ("remove", "guest", "user/61001/state")):
        assert postern("property", *words).returncode == ANSWERED
    guest("property", "remove", "user/61001/state", user="61001")
    said(postern("property", "remove", "guest", "app/mode"))

    guest("heartbeat", "--deadline", "60", "web", user="61001")
    with subprocess.Popen([POSTERN, "heartbeat", "guest", "--watch"], env=vm.host.env, stdout=subprocess.PIPE,
                          text=True) as watching:
        try:
            guest("heartbeat", "--deadline", "1", "web", user="61001")
            assert "web of user 61001 is late" in watching.stdout.readline()
        finally:
            watching.kill()
    guest("heartbeat", "--end", "web", user="61001")
    assert json.loads(said(postern("heartbeat", "guest", "--json")))["programs"] == []
