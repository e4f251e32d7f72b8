# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that run for a caller: streams, ends, errors, jobs."""

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from agent import Agent
from jobs import ALLOW_EXEC, Job, eventually, exec_pb, job_processes, open_channel, read_all
from machine import halted, wait_until
from quarantine import Quarantine
from wire import Client, Failed


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.process.poll() is None, "the agent died:\n" + running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


@pytest.fixture
def start(agent, client):
    started = []

    def start(*argv, **fields):
        started.append(Job(agent, client, *argv, **fields))
        return started[-1]

    yield start
    for job in started:
        job.close()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- one program ----


def test_output_and_exit_code(start):
    output, errors, job = start("sh", "-c", "echo out; echo err >&2; exit 7").finish()
    assert (output, errors) == (b"out\n", b"err\n")
    assert exec_pb.JobState.Name(job.state) == "EXITED" and job.exit_code == 7
    assert (job.output_bytes, job.errors_bytes) == (4, 4)
    assert job.argv[0] == b"sh" and job.user == b"root"
    assert job.ended_ns >= job.started_ns > 0 and job.usage.max_rss_bytes > 0


def test_input_goes_through_and_ends(start):
    data = os.urandom(3 << 20)
    job = start("cat")
    job.stdio.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(data):
        try:
            if sent < len(data):
                sent += job.stdio.send(data[sent : sent + 65536])
                if sent == len(data):
                    job.stdio.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        try:
            got += job.stdio.recv(1 << 20)
        except BlockingIOError:
            time.sleep(0.001)
    job.stdio.setblocking(True)
    assert got == data and read_all(job.stdio) == b""
    record = job.wait()
    assert record.exit_code == 0 and record.output_bytes == len(data)


def test_without_any_stream(start):
    job = start("true", channels=False)
    assert not job.reply.HasField("stdio") and not job.reply.HasField("errors")
    assert job.wait().exit_code == 0


def test_a_signal_is_no_exit_code(start):
    job = start("sleep", "100")
    job.signal(signal.SIGTERM)
    record = job.wait()
    assert exec_pb.JobState.Name(record.state) == "SIGNALLED" and record.signal == signal.SIGTERM
    assert not record.HasField("exit_code")
    with pytest.raises(Failed) as failed:
        job.signal(signal.SIGTERM)
    assert failed.value.code == "FAILED_PRECONDITION"


def test_signals_to_the_group_or_the_leader(start):
    script = "trap 'echo leader' USR1; (trap 'echo child; exit' USR1; echo ready; while :; do sleep 0.05; done) & wait; wait; exit 0"
    job = start("sh", "-c", script)
    assert job.stdio.recv(100) == b"ready\n"
    job.signal(signal.SIGUSR1, only_leader=True)
    assert job.stdio.recv(100) == b"leader\n"
    job.signal(signal.SIGUSR1)
    assert sorted(read_all(job.stdio).split()) == [b"child", b"leader"]
    assert job.wait().exit_code == 0


def test_environment(start):
    output, _, _ = start("env", env=[b"A=1", b"PATH=/usr/bin:/bin"]).finish()
    env = dict(line.split(b"=", 1) for line in output.splitlines())
    assert env == {b"A": b"1", b"PATH": b"/usr/bin:/bin", b"HOME": b"/root", b"USER": b"root",
                   b"LOGNAME": b"root", b"SHELL": env[b"SHELL"]}


def test_user_groups_and_folder(start):
    output, _, _ = start("sh", "-c", "id -u; id -g; pwd; echo $HOME", user=b"nobody").finish()
    uid, gid, folder, home = output.split()
    assert (uid, gid) == (b"65534", b"65534") and folder == b"/" and home == b"/nonexistent"
    output, _, _ = start("id", "-G", user=b"1234", group=b"daemon", groups=[b"adm", b"7"]).finish()
    assert output.split()[0] == b"1" and set(output.split()) == {b"1", b"4", b"7"}
    output, _, _ = start("pwd", cwd=b"/usr/share").finish()
    assert output == b"/usr/share\n"


def test_nothing_of_the_agent_is_inherited(start):
    output, _, _ = start("sh", "-c", "ls /proc/self/fd; cat /proc/self/status; umask; cat /proc/self/oom_score_adj").finish()
    status = dict(line.split(":", 1) for line in output.decode().splitlines() if ":" in line)
    # ls itself has one open.
    assert output.split(b"Name:")[0].split() == [b"0", b"1", b"2", b"3"]
    assert int(status["SigBlk"], 16) == int(status["SigIgn"], 16) == 0
    assert status["NoNewPrivs"].strip() == "0" and int(status["CapEff"], 16) == int(status["CapPrm"], 16)
    assert int(status["CapAmb"], 16) == int(status["CapInh"], 16) == 0
    output, _, _ = start("cat", "/proc/self/status", user=b"nobody").finish()
    status = dict(line.split(":", 1) for line in output.decode().splitlines() if ":" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["Groups"].split() == ["65534"]


def test_limits(start):
    limits = [{"name": "nofile", "soft": 77, "hard": 99}, {"name": "core", "soft": 0}]
    output, _, _ = start("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c", limits=limits).finish()
    assert output.split() == [b"77", b"99", b"0"]


@pytest.mark.parametrize("argv, fields, code, words", [
    (["/no/such"], {}, "NOT_FOUND", "not found"),
    (["no-such-program"], {}, "NOT_FOUND", "in PATH"),
    (["/etc/passwd"], {}, "PERMISSION_DENIED", "/etc/passwd"),
    (["/"], {}, "PERMISSION_DENIED", "/"),
    (["true"], {"user": b"no-such-user"}, "NOT_FOUND", "no user no-such-user"),
    (["true"], {"group": b"no-such-group"}, "NOT_FOUND", "no group"),
    (["true"], {"cwd": b"/no/such"}, "NOT_FOUND", "cwd"),
    (["true"], {"cwd": b"relative"}, "INVALID_ARGUMENT", "absolute"),
    (["true"], {"env": [b"NOVALUE"]}, "INVALID_ARGUMENT", "NAME=VALUE"),
    (["true"], {"limits": [{"name": "fantasy"}]}, "INVALID_ARGUMENT", "fantasy"),
    (["a\0b"], {}, "INVALID_ARGUMENT", "NUL"),
    ([""], {}, "INVALID_ARGUMENT", "empty"),
    (["true"], {"input": "SPOOL"}, "INVALID_ARGUMENT", "output"),
    (["true"], {"terminal": {"rows": 65536}}, "INVALID_ARGUMENT", "65535"),
    (["true"], {"spool_bytes": 2 << 20}, "INVALID_ARGUMENT", "1 MiB"),
    (["true"], {"deadline_ms": 2**64 - 1}, "INVALID_ARGUMENT", "ten years"),
])
def test_errors_of_the_start_are_typed(agent, client, argv, fields, code, words):
    with pytest.raises(Failed) as failed:
        Job(agent, client, *argv, channels=False, **fields)
    assert failed.value.code == code and words in failed.value.message
    assert failed.value.error.outcome == 1
    assert not [job for job in client.call("exec.list").jobs if job.state == exec_pb.RUNNING]


def test_a_script_without_interpreter(start, tmp_path):
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    with pytest.raises(Failed) as failed:
        start(str(script))
    assert failed.value.code == "FAILED_PRECONDITION" and "#!" in failed.value.message


def test_a_deadline(start):
    job = start("sh", "-c", "trap 'echo term; exit 3' TERM; while :; do sleep 0.05; done", deadline_ms=300)
    output, _, record = job.finish()
    assert output == b"term\n" and record.exit_code == 3 and record.deadline_exceeded


# ---- a terminal ----


def test_a_terminal(start):
    job = start("sh", "-c", "tty; stty size; echo $TERM; read x; echo got $x",
                terminal={"rows": 33, "columns": 99, "term": b"xterm"})
    job.stdio.sendall(b"hello\n")
    output = read_all(job.stdio).decode().replace("\r", "").splitlines()
    # What was typed is shown, whenever that is.
    output.remove("hello")
    assert output[0].startswith("/dev/pts/") and output[1:] == ["33 99", "xterm", "got hello"]
    assert job.wait().terminal


def test_resize(start, client):
    job = start("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done",
                terminal={"rows": 1, "columns": 1})
    assert job.stdio.recv(100) == b"ready\r\n"
    for rows, columns in ((50, 132), (0, 0), (65535, 65535)):
        client.call("exec.resize", job=job.number, rows=rows, columns=columns)
        assert job.stdio.recv(100) == b"%d %d\r\n" % (rows, columns)
    with pytest.raises(Failed) as failed:
        client.call("exec.resize", job=job.number, rows=65536, columns=1)
    assert failed.value.code == "INVALID_ARGUMENT"


def test_the_end_of_input_of_a_terminal(start):
    job = start("cat", terminal={})
    job.stdio.sendall(b"one\n")
    job.stdio.shutdown(socket.SHUT_WR)
    assert read_all(job.stdio) == b"one\r\none\r\n"
    assert job.wait().exit_code == 0


def test_the_end_of_input_in_the_middle_of_a_line(start):
    job = start("cat", terminal={})
    job.stdio.sendall(b"abc")
    job.stdio.shutdown(socket.SHUT_WR)
    assert read_all(job.stdio) == b"abcabc"
    assert job.wait().exit_code == 0


def test_keys_are_signals(start):
    # No shell: it may start its next command just before it sees the signal.
    job = start("cat", terminal={})
    job.stdio.sendall(b"x\n")
    assert eventually(lambda: job.stdio.recv(100).endswith(b"x\r\n"))
    job.stdio.sendall(b"\x03")
    assert job.wait().signal == signal.SIGINT


def test_a_login_shell(start):
    job = start(terminal={"rows": 24, "columns": 80}, user=b"root")
    job.stdio.sendall(b"echo $0; exit 5\n")
    assert b"-" in read_all(job.stdio) and job.wait().exit_code == 5


# ---- who goes away ----


def test_a_client_that_vanishes_ends_its_program(agent, client, start):
    job = start("sh", "-c", "sleep 1000 & echo $!; wait")
    child = int(job.stdio.recv(100))
    job.close()
    record = job.wait()
    assert record.signal == signal.SIGKILL
    assert eventually(lambda: not alive(child))


def test_a_terminal_hangs_up(start):
    job = start("sh", "-c", "trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done", terminal={})
    assert job.stdio.recv(100) == b"ready\r\n"
    job.close()
    assert job.wait().exit_code == 9


def test_a_job_without_channels_ends_with_its_connection(agent):
    with Client.unix(agent.socket) as client:
        job = Job(agent, client, "sleep", "1000", channels=False)
    assert eventually(lambda: not alive(job.reply.pid))


def test_a_job_that_is_kept(agent, client):
    with Client.unix(agent.socket) as other:
        job = Job(agent, other, "sh", "-c", "echo one; sleep 0.3; echo two", on_disconnect="KEEP")
        assert job.stdio.recv(100) == b"one\n"
        job.close()
    job.client = client
    record = job.wait()
    assert record.exit_code == 0
    reply = client.call("exec.attach", job=job.number, from_start=True)
    assert reply.output_dropped == 0
    with open_channel(agent.socket, reply.stdio) as again:
        assert read_all(again) == b"one\ntwo\n"
    client.call("exec.forget", job=job.number)
    with pytest.raises(Failed) as failed:
        client.call("exec.wait", job=job.number)
    assert failed.value.code == "NOT_FOUND"


def test_a_child_that_closes_its_output_and_lives(start):
    job = start("sh", "-c", "exec >&- 2>&-; read x; exit $x")
    assert read_all(job.stdio) == b"" and read_all(job.errors) == b""
    job.stdio.sendall(b"42\n")
    assert job.wait().exit_code == 42


def test_a_child_that_leaves_its_output_to_another(start):
    job = start("sh", "-c", "echo mine; (sleep 1000) & echo $! >&2")
    record = job.wait()
    assert record.exit_code == 0 and record.output_bytes == 5
    assert job.stdio.recv(100) == b"mine\n"
    child = int(job.errors.recv(100))
    assert alive(child)
    os.kill(child, signal.SIGKILL)
    assert read_all(job.stdio) == b""


def test_a_reader_that_stops_holds_up_only_the_program(agent, client, start):
    job = start("sh", "-c", "head -c 10G /dev/zero")
    time.sleep(0.5)
    assert client.call("system.ping").payload == b""
    memory = [int(line.split()[1]) for pid in job_processes(agent) for line in open(f"/proc/{pid}/status")
              if line.startswith("VmRSS")]
    assert len(memory) >= 1 and max(memory) < 8 << 10, memory
    job.close()
    assert job.wait().signal in (signal.SIGKILL, signal.SIGPIPE)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_agents_end_ends_programs_and_what_they_started(end):
    with Agent(policy=ALLOW_EXEC) as agent, agent.client() as client:
        job = Job(agent, client, "sh", "-c", "sleep 1000 & echo $!; wait")
        child = int(job.stdio.recv(100))
        if end == "stop":
            assert agent.stop() == 0
        else:
            agent.process.kill()
            agent.process.wait()
        assert eventually(lambda: not alive(job.reply.pid) and not alive(child))


def test_what_is_kept_goes_on_when_nobody_comes(agent, client):
    """A caller who attaches, and never opens the channels, does not hold up the program."""
    with Client.unix(agent.socket) as other:
        job = Job(agent, other, "sh", "-c", "seq 1 100000; sleep 0.1; seq 1 100000", channels=False, output="SPOOL",
                  errors="SPOOL", on_disconnect="KEEP")
        reply = other.call("exec.attach", job=job.number, from_start=True)
        client.call("channels.kill", number=reply.stdio.number)
    job.client = client
    assert job.wait(timeout_ms=10000).exit_code == 0


def test_a_cut_channel_leaves_a_kept_program(agent, client, start):
    job = start("sh", "-c", "head -c 1000000 /dev/zero; echo over >&2; sleep 0.1", on_disconnect="KEEP")
    time.sleep(0.3)
    # Its reader has stopped, and the other channel stays open.
    client.call("channels.kill", number=job.reply.stdio.number)
    assert job.errors.recv(100) == b"over\n"
    assert job.wait().output_bytes == 1000000


def test_a_hang_up_keeps_what_was_kept(agent, client, start):
    job = start("sh", "-c", "trap 'exit 4' HUP; echo kept; while :; do sleep 0.05; done", terminal={}, spool_bytes=1000)
    assert job.stdio.recv(100) == b"kept\r\n"
    job.close()
    assert job.wait().output_bytes >= 6
    reply = client.call("exec.attach", job=job.number, from_start=True)
    with open_channel(agent.socket, reply.stdio) as again:
        assert read_all(again).startswith(b"kept\r\n")


def test_what_leads_to_the_spool_does_not_lead_to_the_caller(agent, client):
    with Job(agent, client, "sh", "-c", "read x; seq 1 50000; exit $x", channels=False, input="CHANNEL", output="SPOOL",
             errors="SPOOL") as job:
        job.stdio.sendall(b"7\n")
        record = job.wait()
        assert record.exit_code == 7 and record.output_bytes > 65536
        job.stdio.setblocking(False)
        try:
            assert job.stdio.recv(100) == b""
        except BlockingIOError:
            pass


# ---- jobs ----


def test_list_wait_and_forget(client, start):
    job = start("sleep", "0.2", channels=False)
    listed = {j.job: j for j in client.call("exec.list").jobs}[job.number]
    assert listed.state == exec_pb.RUNNING and listed.argv == [b"sleep", b"0.2"]
    with pytest.raises(Failed) as failed:
        client.call("exec.forget", job=job.number)
    assert failed.value.code == "FAILED_PRECONDITION"
    with pytest.raises(Failed) as failed:
        client.call("exec.wait", job=job.number, timeout_ms=50)
    assert failed.value.code == "DEADLINE_EXCEEDED"
    assert job.wait().exit_code == 0 and job.wait().exit_code == 0
    client.call("exec.forget", job=job.number)
    assert job.number not in [j.job for j in client.call("exec.list").jobs]


def test_many_short_waits_leave_a_long_one(client, start):
    long = start("sleep", "1.5", channels=False)
    other = start("sleep", "1000", channels=False)
    waits = client.start("exec.wait", job=long.number)
    for _ in range(100):
        with pytest.raises(Failed) as failed:
            other.wait(timeout_ms=1)
        assert failed.value.code == "DEADLINE_EXCEEDED"
    ids = [client.start("exec.wait", job=other.number) for _ in range(20)]
    for id in ids:
        client.cancel(id)
    for id in ids:
        with pytest.raises(Failed) as failed:
            client.finish(id, "exec.wait")
        assert failed.value.code == "CANCELLED"
    assert client.finish(waits, "exec.wait").job.exit_code == 0
    other.signal(signal.SIGKILL)
    assert other.wait().signal == signal.SIGKILL


def test_many_lists_at_once(client, start):
    for _ in range(70):
        start("true", channels=False).wait()
    ids = [client.start("exec.list") for _ in range(32)]
    for id in ids:
        assert len(client.finish(id, "exec.list").jobs) >= 40


def test_the_spool_keeps_the_end(agent, client):
    job = Job(agent, client, "sh", "-c", "seq 1 100000", channels=False, output="SPOOL", spool_bytes=1000)
    record = job.wait()
    expected = b"".join(b"%d\n" % i for i in range(1, 100001))
    assert record.output_bytes == len(expected)
    reply = client.call("exec.attach", job=job.number, from_start=True)
    assert reply.output_dropped == len(expected) - 1000
    with open_channel(agent.socket, reply.stdio) as stream:
        assert read_all(stream) == expected[-1000:]


def test_attach_twice(agent, client, start):
    job = start("cat", on_disconnect="KEEP")
    with pytest.raises(Failed) as failed:
        client.call("exec.attach", job=job.number)
    assert failed.value.code == "FAILED_PRECONDITION" and "take_over" in failed.value.message
    reply = client.call("exec.attach", job=job.number, take_over=True)
    assert read_all(job.stdio) == b""
    with open_channel(agent.socket, reply.stdio) as again:
        again.sendall(b"hello")
        assert again.recv(100) == b"hello"
        again.shutdown(socket.SHUT_WR)
        assert read_all(again) == b""
    assert job.wait().exit_code == 0


@pytest.mark.parametrize("fields", [{}, {"terminal": {"rows": 24, "columns": 80}}])
def test_a_program_outlives_its_callers_by_who_takes_over(agent, client, fields):
    """Its own connection is gone already, its channels are not."""
    first = agent.client()
    job = Job(agent, first, "sh", "-c", "sleep 0.5; echo alive", **fields)
    first.close()
    time.sleep(0.2)
    reply = client.call("exec.attach", job=job.number, take_over=True)
    with open_channel(agent.socket, reply.stdio) as stream:
        assert b"alive" in read_all(stream)
        assert client.call("exec.wait", job=job.number).job.exit_code == 0
    job.close()


@pytest.mark.parametrize("how", ["cancelled", "too late"])
def test_a_program_that_runs_keeps_who_looks_after_it(agent, client, how):
    """Its start is cancelled, or its time over, when the answer is on its way."""
    with agent.client() as other:
        client.call("exec.wait", job=client.call("exec.start", argv=[b"true"]).job)
        hosts = [process.pid for process in client.call("system.info").agent.processes
                 if process.role == "job" and process.spare]
        with halted(*hosts):
            id = other.start("exec.start", argv=[b"sleep", b"20"], on_disconnect="KEEP",
                             timeout_ms=0 if how == "cancelled" else 1000)
            wait_until(lambda: client.call("system.info").agent.calls >= 1)
            with halted(agent.process.pid):
                if how == "cancelled":
                    other.cancel(id)
                    other.call("system.ping")
                for pid in hosts:
                    os.kill(pid, signal.SIGCONT)
                job = other.finish(id, "exec.start").job
                if how != "cancelled":
                    time.sleep(1)
        assert [one.state for one in other.call("exec.list").jobs if one.job == job] == [1]
        other.call("exec.signal", job=job, signal=9)
        assert other.call("exec.wait", job=job).job.signal == 9


def test_jobs_are_limited_and_places_come_back(agent, client):
    jobs = []
    with pytest.raises(Failed) as failed:
        for _ in range(40):
            jobs.append(Job(agent, client, "sleep", "1000", channels=False))
    assert failed.value.code == "RESOURCE_EXHAUSTED" and len(jobs) == 24
    for job in jobs:
        job.signal(signal.SIGKILL)
    for job in jobs:
        assert job.wait().signal == signal.SIGKILL
    assert Job(agent, client, "true", channels=False).wait().exit_code == 0


def test_events(agent):
    with agent.client() as client:
        client.call("notifications.subscribe", topics=["notify.exec.*"])
        job = Job(agent, client, "sh", "-c", "exit 3", channels=False)
        seen = []
        while len(seen) < 2:
            got, payload = client.notification()
            # Others may end meanwhile.
            if payload.job.job == job.number:
                seen.append((got, payload))
        assert [got.topic for got, _ in seen] == ["notify.exec.started", "notify.exec.exited"]
        assert seen[1][1].job.exit_code == 3


def test_many_one_after_another(client, start):
    for i in range(100):
        assert start("sh", "-c", f"exit {i}", channels=False).wait().exit_code == i


# ---- where somebody hangs ----


@pytest.fixture
def dead(agent, tmp_path):
    """A file system that the agent believes is dead, with a program in it."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    shutil.copy("/bin/true", tmp_path)
    quarantine = Quarantine(agent)
    quarantine(tmp_path)
    yield str(tmp_path)
    quarantine()
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.parametrize("fields", [dict(argv=[b"true"], cwd=b"DEAD"), dict(argv=[b"DEAD/true"]),
                                    dict(argv=[b"true"], env=[b"PATH=DEAD:DEAD/more"])], ids=["cwd", "file", "path"])
def test_nothing_is_started_where_somebody_hangs(client, dead, fields):
    fields = {key: value.replace(b"DEAD", dead.encode()) if isinstance(value, bytes)
              else [word.replace(b"DEAD", dead.encode()) for word in value] for key, value in fields.items()}
    with pytest.raises(Failed) as failed:
        client.call("exec.start", **fields)
    assert failed.value.code == "UNAVAILABLE" and "does not respond" in failed.value.message


def test_a_folder_of_path_that_hangs_is_left_out(client, dead):
    reply = client.call("exec.start", argv=[b"true"], env=[b"PATH=%s:/bin" % dead.encode()])
    assert client.call("exec.wait", job=reply.job).job.exit_code == 0


def test_nothing_is_copied_where_somebody_hangs(agent, client, dead):
    for method, fields in (("copy.send", dict(paths=[f"{dead}/true".encode()])),
                           ("copy.receive", dict(path=f"{dead}/new".encode()))):
        with pytest.raises(Failed) as failed:
            client.call(method, **fields)
        assert failed.value.code == "UNAVAILABLE" and "does not respond" in failed.value.message
    # Somebody waits to write there: others read.
    Quarantine(agent)(dead, writes_only=True)
    client.call("copy.send", paths=[f"{dead}/true".encode()])
    with pytest.raises(Failed) as failed:
        client.call("copy.receive", path=f"{dead}/new".encode())
    assert failed.value.code == "UNAVAILABLE"
    client.call("exec.start", argv=[f"{dead}/true".encode()])
