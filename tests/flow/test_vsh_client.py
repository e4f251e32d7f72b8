# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent in the place of vshd: a stock client of vsh, and those that wish it ill."""

import os
import signal
import struct
import time

import pytest

from agent import Agent
from jobs import ALLOW_EXEC, eventually, exec_pb, job_processes
from streams import unix_stream
from vsh import Client, vsh_pb
from wire import Failed

POLICY = ALLOW_EXEC + "allow local:65534 system.*\n"


@pytest.fixture(scope="module")
def agent():
    running = Agent(policy=POLICY)
    running.settings["vsh_socket"] = f"{running.dir}/vsh.sock"
    with running:
        yield running
        assert running.process.poll() is None, "the agent died:\n" + running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


def connect(agent, **kwargs):
    return Client(unix_stream(agent.settings["vsh_socket"]), **kwargs)


@pytest.fixture
def vsh(agent):
    opened = []

    def vsh():
        opened.append(connect(agent))
        return opened[-1]

    yield vsh
    for one in opened:
        one.close()


@pytest.fixture
def run(vsh):
    """A program without a terminal, from its input to its end."""

    def run(*argv, data=b"", **fields):
        client = vsh()
        client.start(*argv, nopty=True, **fields)
        if data:
            client.data(data)
        client.end_of_input()
        result = client.finish()
        client.expect_end()
        return result

    return run


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def jobs_of(client):
    return client.call("exec.list").jobs


# ---- what a program is given, and gives ----


def test_streams_and_exit_code(run):
    output, errors, ended, code = run("sh", "-c", "cat; echo err >&2; exit 3", data=b"in")
    assert (output, errors, code) == (b"in", b"err\n", 3)


def test_the_end_of_each_stream_is_told(vsh):
    client = vsh()
    client.start("sh", "-c", "echo out; exec >&-; echo err >&2; exec 2>&-; read line", nopty=True)
    seen = []
    while len([data for _, data in seen if not data]) < 2:
        data = client.next().data_message
        seen.append((data.stream, data.data))
    assert seen == [(vsh_pb.STDOUT_STREAM, b"out\n"), (vsh_pb.STDOUT_STREAM, b""),
                    (vsh_pb.STDERR_STREAM, b"err\n"), (vsh_pb.STDERR_STREAM, b"")]
    client.data(b"go\n")
    assert client.finish() == (b"", b"", [], 0)


def test_a_signal_is_told_as_its_number(run):
    assert run("sh", "-c", "kill -9 $$")[3] == 9


@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_signals_from_the_client(vsh, number):
    client = vsh()
    pid = client.start("sh", "-c", "trap 'exit 99' USR1; echo here; exec sleep 100", nopty=True)
    client.until(b"here\n")
    client.signal(number)
    assert client.finish()[3] == number and not alive(pid)


def test_signals_that_it_has_no_word_for_are_passed_over(vsh):
    client = vsh()
    client.start("sh", "-c", "echo here; read line; echo $line", nopty=True)
    client.until(b"here\n")
    # Values of the enumeration that nobody has given a name: 9 would end it.
    client.send_raw(struct.pack("<I", 2) + b"\x20\x09")
    client.send_raw(struct.pack("<I", 2) + b"\x20\x00")
    client.data(b"lives\n")
    output, _, _, code = client.finish()
    assert (output, code) == (b"lives\n", 0)


def test_much_both_ways(vsh):
    data = os.urandom(3 << 20)
    client = vsh()
    client.start("cat", nopty=True)
    pid = os.fork()
    if pid == 0:
        try:
            client.data(data)
            client.end_of_input()
        finally:
            os._exit(0)
    output, _, ended, code = client.finish()
    os.waitpid(pid, 0)
    assert output == data and code == 0


def test_a_program_that_reads_late_gets_all(vsh):
    """More than lies between it and the client, which has nothing more to say once all of it was sent."""
    data = os.urandom(1 << 20)
    client = vsh()
    client.start("sh", "-c", "sleep 0.5; cat", nopty=True)
    pid = os.fork()
    if pid == 0:
        try:
            client.data(data)
            client.end_of_input()
        finally:
            os._exit(0)
    time.sleep(1)
    output, _, _, code = client.finish()
    os.waitpid(pid, 0)
    assert output == data and code == 0


def frame(body):
    return struct.pack("<I", len(body)) + body


def test_what_waits_when_the_client_has_said_all(agent):
    """Sent in one piece while the program does not read, some of it waits in the agent behind what does not go
    through yet; nothing comes behind it. How much that is depends on the kernel's buffers: all sizes are tried."""
    data = vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM, data=bytes(4000)))
    end = vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM))
    for first in range(24, 108, 12):
        counts = range(first, first + 12)
        clients = [connect(agent) for _ in counts]
        try:
            for client, count in zip(clients, counts):
                client.start("sh", "-c", "sleep 0.7; wc -c", nopty=True)
                client.send_raw(frame(data.SerializeToString()) * count + frame(end.SerializeToString()))
            for client, count in zip(clients, counts):
                assert client.finish()[0].strip() == str(4000 * count).encode()
        finally:
            for client in clients:
                client.close()


def test_who_keeps_the_output_does_not_hold_up_the_end(run):
    begun = time.monotonic()
    output, _, ended, code = run("sh", "-c", "sleep 30 & echo $!; exit 4")
    assert code == 4 and time.monotonic() - begun < 10
    os.kill(int(output), signal.SIGKILL)


def test_environment(run):
    output = run("env", env={"TERM": "vt52", "A": "b c", "HOME": "/wrong", "SHELL": "/wrong", "PATH": "/usr/bin:/bin"})[0]
    words = dict(line.split("=", 1) for line in output.decode().splitlines())
    assert words["TERM"] == "vt52" and words["A"] == "b c" and words["PATH"] == "/usr/bin:/bin"
    assert words["HOME"] == "/root" and words["SHELL"] != "/wrong" and words["USER"] == "root"
    assert set(words) == {"TERM", "A", "PATH", "HOME", "SHELL", "USER", "LOGNAME"}
    assert b"TERM=linux\n" in run("env")[0]


def test_of_two_variables_with_one_name_the_last_counts(vsh):
    client = vsh()
    entry = lambda value: b"\x1a" + bytes([6 + len(value) - 1]) + b"\x0a\x01A\x12" + bytes([len(value)]) + value
    body = entry(b"one") + entry(b"two") + vsh_pb.SetupConnectionRequest(argv=["env"], nopty=True).SerializeToString()
    assert vsh_pb.SetupConnectionRequest.FromString(body).env == {"A": "two"}
    client.send_raw(struct.pack("<I", len(body)) + body)
    assert client.receive(vsh_pb.SetupConnectionResponse).status == vsh_pb.READY
    lines = client.finish()[0].splitlines()
    assert b"A=two" in lines and b"A=one" not in lines


def test_user_and_folder(run):
    assert run("sh", "-c", "id -un; pwd", user="nobody", cwd="/usr")[0] == b"nobody\n/usr\n"
    assert run("pwd")[0] == b"/root\n"


def test_the_folder_of_a_process(vsh, run):
    client = vsh()
    pid = client.start("sh", "-c", "echo here; read line", cwd="/var", nopty=True)
    client.until(b"here\n")
    assert run("pwd", cwd_pid=pid)[0] == b"/var\n"
    assert run("pwd", cwd_pid=pid, cwd="/usr")[0] == b"/var\n"
    # It is entered with the user's rights, and that process is root's.
    assert b"cwd" in vsh().setup("pwd", cwd_pid=pid, user="nobody").description.encode()


@pytest.mark.parametrize("target", ["", "vm_shell", "/vm_shell"])
def test_the_machine_by_its_names(run, target):
    assert run("echo", "x", target=target)[0] == b"x\n"


# ---- a terminal ----


def test_terminal(vsh):
    client = vsh()
    client.start("sh", "-c", "stty size; tty <&2; echo err >&2; read line; echo got $line; exit 5",
                 window_rows=31, window_cols=101, env={"TERM": "vt100"})
    assert client.until(b"err\r\n").startswith(b"31 101\r\n/dev/pts/")
    client.data(b"word\n")
    output, errors, ended, code = client.finish()
    assert (output, errors, code) == (b"word\r\ngot word\r\n", b"", 5)
    assert ended == [vsh_pb.STDOUT_STREAM]


def test_an_empty_message_is_the_key_of_the_end(vsh):
    client = vsh()
    client.start("sh", "-c", "stty -echo; echo here; cat; echo one; cat; echo two")
    client.until(b"here\r\n")
    client.data(b"line\n")
    client.end_of_input()
    client.until(b"one\r\n")
    # The terminal goes on: it is a key, and not the end.
    client.data(b"more\n")
    client.end_of_input()
    output, _, _, code = client.finish()
    assert output == b"more\r\ntwo\r\n" and code == 0


def test_sizes(vsh):
    client = vsh()
    client.start("sh", "-c", "stty size; while read line; do stty size; done", window_rows=0, window_cols=80)
    client.until(b"0 0\r\n")
    for rows, cols, want in ((24, 80, b"24 80"), (0, 0, b"24 80"), (65536, 100, b"24 80"), (100, 65536, b"24 80"),
                             (-1, 100, b"24 80"), (65535, 1, b"65535 1"), (10, 0, b"65535 1")):
        client.resize(rows, cols)
        client.data(b"\n")
        assert want in client.until(want + b"\r\n")
    client.end_of_input()
    assert client.finish()[3] == 0


def test_a_login_shell(vsh):
    client = vsh()
    client.start(nopty=True)
    client.data(b"echo $0 $HOME; exit 6\n")
    output, _, _, code = client.finish()
    assert output.startswith(b"-") and output.endswith(b" /root\n") and code == 6


def test_a_request_without_a_field_is_one(vsh):
    client = vsh()
    client.send_raw(struct.pack("<I", 0))
    assert client.receive(vsh_pb.SetupConnectionResponse).status == vsh_pb.READY
    client.data(b"exit 7\n")
    assert client.finish()[3] == 7


def test_interrupt_by_key(vsh):
    client = vsh()
    client.start("sh", "-c", "trap 'echo caught; exit 8' INT; echo here; while :; do sleep 0.05; done")
    client.until(b"here\r\n")
    client.data(b"\x03")
    output, _, _, code = client.finish()
    assert b"caught" in output and code == 8


# ---- what cannot be started ----


@pytest.mark.parametrize("fields, words", [
    ({"argv": ["x"], "user": "nobody-at-all"}, "could not find user: nobody-at-all"),
    ({"argv": ["no-such-program"]}, "no-such-program: not found in PATH"),
    ({"argv": ["true"], "cwd": "/no/such"}, "cwd: No such file or directory"),
    ({"argv": ["true"], "cwd": "not/absolute"}, "cwd: expected an absolute path"),
    ({"argv": ["true"], "cwd_pid": 2**31 - 1}, "cwd: No such file or directory"),
    ({"argv": ["true"], "target": "penguin"}, "target: containers are not served; vm_shell is the machine itself"),
    ({"command": "true"}, "command: not served; argv takes its place"),
    ({"argv": ["a\0b"]}, "argv: holds a NUL byte"),
    ({"argv": ["true"], "env": {"A=": "x"}}, "env: a name is empty, or holds an equals sign"),
    ({"argv": [""]}, "argv: the program's name is empty"),
])
def test_failures_are_told(agent, client, vsh, fields, words):
    asked = vsh()
    answer = asked.setup(*fields.pop("argv", []), **fields)
    assert (answer.status, answer.description, answer.pid) == (vsh_pb.FAILED, words, 0)
    asked.expect_end()
    assert not [job for job in jobs_of(client) if exec_pb.JobState.Name(job.state) == "RUNNING"]


def test_who_may_not_is_told(agent):
    def refused():
        """As user 65534, which only a process of its own can be."""
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        with connect(agent) as client:
            answer = client.setup("true")
            assert (answer.status, answer.description) == (
                vsh_pb.FAILED, "the guest's policy does not allow exec.start"), answer
            client.expect_end()

    assert eventually(lambda: not job_processes(agent))
    before = (job_processes(agent), list(agent.children().values()).count("postern-job"))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            refused()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    after = (job_processes(agent), list(agent.children().values()).count("postern-job"))
    assert after == before, "a process was started for somebody who may not"


# ---- a job as any other ----


def test_it_is_a_job(agent, client, vsh):
    client.call("notifications.subscribe", topics=["notify.exec.*"])
    asked = vsh()
    pid = asked.start("sh", "-c", "echo here; read line", user="nobody", nopty=True)
    asked.until(b"here\n")
    job, = [job for job in jobs_of(client) if job.pid == pid]
    assert exec_pb.JobState.Name(job.state) == "RUNNING" and job.user == b"nobody" and not job.terminal
    assert job.attached == 2 and exec_pb.Disconnect.Name(job.on_disconnect) == "HANG_UP"
    assert list(job.argv)[:2] == [b"sh", b"-c"]
    channels = [channel for channel in client.call("channels.list").channels if channel.job == job.job]
    assert len(channels) == 2
    asked.data(b"\n")
    assert asked.finish()[3] == 0
    record = client.call("exec.wait", job=job.job).job
    assert exec_pb.JobState.Name(record.state) == "EXITED" and record.output_bytes == 5
    for topic in ("notify.exec.started", "notify.exec.exited"):
        while client.notification(topic)[1].job.job != job.job:
            pass
    client.call("exec.forget", job=job.job)


def test_nobody_takes_its_place(client, vsh):
    asked = vsh()
    pid = asked.start("sh", "-c", "echo here; read line", nopty=True)
    asked.until(b"here\n")
    job, = [job for job in jobs_of(client) if job.pid == pid]
    with pytest.raises(Failed) as failed:
        client.call("exec.attach", job=job.job, take_over=True)
    assert failed.value.code == "FAILED_PRECONDITION"
    asked.data(b"\n")
    assert asked.finish()[3] == 0


def test_its_channel_can_be_cut(client, vsh):
    asked = vsh()
    pid = asked.start("sh", "-c", "echo here; exec sleep 100", nopty=True)
    asked.until(b"here\n")
    job, = [job for job in jobs_of(client) if job.pid == pid]
    channel = [channel for channel in client.call("channels.list").channels if channel.job == job.job][0]
    client.call("channels.kill", number=channel.number)
    asked.expect_end()
    assert eventually(lambda: not alive(pid))


def test_limits_are_everybodys(agent, client):
    opened = []
    try:
        for _ in range(24):
            opened.append(connect(agent))
            opened[-1].start("sleep", "100", nopty=True)
        with connect(agent) as late:
            answer = late.setup("true")
            assert answer.status == vsh_pb.FAILED and "too many programs" in answer.description
        with pytest.raises(Failed):
            client.call("exec.start", argv=[b"true"])
    finally:
        for one in opened:
            one.close()
    assert eventually(lambda: not [job for job in jobs_of(client) if exec_pb.JobState.Name(job.state) == "RUNNING"])
    assert client.call("exec.start", argv=[b"true"]).pid


def test_no_capability_but_one_is_left(agent, vsh):
    client = vsh()
    client.start("sh", "-c", "echo here; read line", nopty=True)
    client.until(b"here\n")
    mine = [pid for pid in job_processes(agent)]
    assert mine
    for pid in mine:
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 5, status
    client.data(b"\n")
    client.finish()


# ---- clients that vanish, wait, or do not keep to it ----


@pytest.mark.parametrize("terminal", [False, True])
def test_the_client_is_gone_while_it_runs(agent, client, terminal):
    asked = connect(agent)
    pid = asked.start("sh", "-c", "echo here; exec sleep 100", nopty=not terminal)
    asked.until(b"here")
    asked.close()
    assert eventually(lambda: not alive(pid))
    assert eventually(lambda: [job for job in jobs_of(client) if job.pid == pid and job.signal == signal.SIGHUP])


def test_the_client_is_gone_with_a_program_that_does_not_read(agent):
    asked = connect(agent)
    pid = asked.start("sh", "-c", "echo here; exec sleep 100", nopty=True)
    asked.until(b"here\n")
    asked.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        asked.data(b"x" * (4 << 20))
    asked.close()
    assert eventually(lambda: not alive(pid))


def test_the_client_is_gone_with_a_program_that_writes(agent):
    asked = connect(agent)
    pid = asked.start("yes", nopty=True)
    asked.until(b"y\n")
    asked.close()
    assert eventually(lambda: not alive(pid))


def test_a_client_that_does_not_read_holds_up_its_own_program_alone(agent, run):
    asked = connect(agent)
    asked.start("yes", nopty=True)
    time.sleep(0.3)
    assert run("echo", "other")[0] == b"other\n"
    busy = []
    for pid in job_processes(agent):
        with open(f"/proc/{pid}/stat") as file:
            busy.append(sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])))
    time.sleep(0.5)
    for pid, before in zip(job_processes(agent), busy):
        with open(f"/proc/{pid}/stat") as file:
            assert sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) - before <= 3, "it spins"
    asked.close()


def test_a_client_that_does_not_read_a_terminal(agent):
    """The rest of what it shows is kept until somebody reads it."""
    asked = connect(agent)
    asked.start("sh", "-c", "stty -onlcr; head -c 600000 /dev/zero; echo last; exit 9")
    time.sleep(1)
    output, _, _, code = asked.finish()
    assert len(output) == 600005 and output.endswith(b"last\n") and code == 9
    asked.close()


def test_the_client_takes_the_end_late(agent):
    """All that a program wrote comes, however long the client did not look, and its end."""
    asked = connect(agent)
    asked.start("sh", "-c", "head -c 3000000 /dev/zero; exit 9", nopty=True)
    time.sleep(3.5)
    output, _, _, code = asked.finish()
    assert len(output) == 3000000 and code == 9
    asked.close()


# In the kernel's buffers and ours: the program and its streams are over while the client has much of it to come.
ALL_ON_ITS_WAY = 240000


def start_and_end(agent, client, asked):
    pid = asked.start("sh", "-c", f"head -c {ALL_ON_ITS_WAY} /dev/zero; exit 9", nopty=True)
    number, = [job.job for job in jobs_of(client) if job.pid == pid]
    assert client.call("exec.wait", job=number).job.exit_code == 9
    assert eventually(lambda: not [channel for channel in client.call("channels.list").channels
                                   if channel.job == number]), "its streams are not over"
    return number


def test_the_client_takes_what_is_on_its_way_late(agent, client, vsh):
    asked = vsh()
    start_and_end(agent, client, asked)
    time.sleep(3.5)
    output, _, _, code = asked.finish()
    assert len(output) == ALL_ON_ITS_WAY and code == 9


def test_a_client_that_never_reads_lasts_as_long_as_the_record(agent, client, vsh):
    assert eventually(lambda: not job_processes(agent))
    asked = vsh()
    number = start_and_end(agent, client, asked)
    time.sleep(2.5)
    assert job_processes(agent)
    client.call("exec.forget", job=number)
    assert eventually(lambda: not job_processes(agent))


def test_the_client_leaves_by_a_status(vsh):
    client = vsh()
    pid = client.start("sh", "-c", "echo here; exec sleep 100", nopty=True)
    client.until(b"here\n")
    client.send(vsh_pb.GuestMessage(status_message=vsh_pb.ConnectionStatusMessage(status=vsh_pb.EXITED)))
    client.expect_end()
    assert eventually(lambda: not alive(pid))


@pytest.mark.parametrize("bytes_", [
    struct.pack("<I", 4097),
    b"\xff\xff\xff\xff",
    b"GET / HTTP/1.0\r\n\r\n",
])
def test_a_request_that_is_too_long(agent, client, vsh, bytes_):
    asked = vsh()
    asked.send_raw(bytes_)
    asked.expect_end()
    assert eventually(lambda: not [job for job in jobs_of(client) if not job.ended_ns])


@pytest.mark.parametrize("body, words", [
    (b"\x2a\xff\x01", "truncated"),
    (b"\x0b", "bad wire type"),
    (b"\x28\x01", "wrong wire type of a field"),
    (b"\x1a\x02\x0b\x00", "bad wire type"),
])
def test_a_request_that_is_none(vsh, body, words):
    client = vsh()
    client.send_raw(frame(body))
    answer = client.receive(vsh_pb.SetupConnectionResponse)
    assert (answer.status, answer.description) == (vsh_pb.FAILED, words)
    client.expect_end()


@pytest.mark.parametrize("bytes_", [
    struct.pack("<I", 4097),
    frame(b"\x0a\x7f"),
    frame(b"\x0b"),
    frame(b"\x0a\x02\x08\x01" * 2),
])
def test_bad_frames_end_a_program(vsh, bytes_):
    client = vsh()
    pid = client.start("sh", "-c", "echo here; exec sleep 100", nopty=True)
    client.until(b"here\n")
    client.send_raw(bytes_)
    client.expect_end()
    assert eventually(lambda: not alive(pid))


def test_messages_that_say_nothing_are_passed_over(vsh):
    client = vsh()
    client.start("cat", nopty=True)
    client.send_raw(frame(b"") * 5000)
    client.send_raw(frame(b"\x7a\x01x"))  # a field of a newer client
    client.data(b"no\n", stream=vsh_pb.STDOUT_STREAM)
    client.data(b"yes\n")
    client.end_of_input()
    client.data(b"behind the end\n")
    assert client.finish() == (b"yes\n", b"", [vsh_pb.STDOUT_STREAM, vsh_pb.STDERR_STREAM], 0)


def test_a_flood_of_sizes_and_signals(vsh):
    client = vsh()
    client.start("sh", "-c", "trap '' HUP; echo here; read line; stty size")
    client.until(b"here\r\n")
    for i in range(3000):
        client.resize(i % 500 + 1, 100)
        client.signal(vsh_pb.SIGNAL_HUP)
    client.resize(12, 34)
    client.data(b"\n")
    output, _, _, code = client.finish()
    assert output.endswith(b"12 34\r\n") and code == 0


def test_byte_by_byte(vsh):
    client = vsh()
    request = vsh_pb.SetupConnectionRequest(argv=["sh", "-c", "read line; echo $line"], nopty=True)
    for byte in frame(request.SerializeToString()):
        client.send_raw(bytes([byte]))
    assert client.receive(vsh_pb.SetupConnectionResponse).status == vsh_pb.READY
    data = vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM, data=b"word\n"))
    for byte in frame(data.SerializeToString()):
        client.send_raw(bytes([byte]))
    assert client.finish()[0] == b"word\n"


def test_all_at_once(vsh):
    client = vsh()
    data = vsh_pb.GuestMessage(data_message=vsh_pb.DataMessage(stream=vsh_pb.STDIN_STREAM, data=b"word\n"))
    request = vsh_pb.SetupConnectionRequest(argv=["sh", "-c", "read line; echo $line"], nopty=True)
    client.send_raw(frame(request.SerializeToString()) + frame(data.SerializeToString()))
    assert client.receive(vsh_pb.SetupConnectionResponse).status == vsh_pb.READY
    assert client.finish()[0] == b"word\n"


def test_a_client_that_is_silent_costs_no_process(agent, client):
    assert eventually(lambda: not job_processes(agent))
    silent = [connect(agent) for _ in range(20)]
    time.sleep(0.2)
    assert not job_processes(agent)
    begun = time.monotonic()
    for one in silent:
        one.expect_end()
        one.close()
    assert 3 < time.monotonic() - begun < 8


@pytest.mark.parametrize("begin", [b"\x10", frame(b"\x2a\x04true")[:-1]])
def test_a_request_that_does_not_come_to_its_end(agent, client, begin):
    assert eventually(lambda: not job_processes(agent))
    asked = connect(agent)
    asked.send_raw(begin)
    begun = time.monotonic()
    asked.expect_end()
    assert 3 < time.monotonic() - begun < 8
    asked.close()
    assert eventually(lambda: not job_processes(agent))
    assert client.call("system.ping") is not None


def test_the_client_is_gone_before_its_request_is_whole(agent):
    assert eventually(lambda: not job_processes(agent))
    for begin in (b"", b"\x10", frame(b"\x2a\x04true")[:-1]):
        asked = connect(agent)
        if begin:
            asked.send_raw(begin)
        asked.close()
    assert eventually(lambda: not job_processes(agent))


def test_the_client_is_gone_behind_its_request(agent, client):
    asked = connect(agent)
    asked.send(vsh_pb.SetupConnectionRequest(argv=["sleep", "100"], nopty=True))
    asked.close()
    assert eventually(lambda: not [job for job in jobs_of(client)
                                   if exec_pb.JobState.Name(job.state) == "RUNNING"])


def test_those_who_do_not_ask_leave_places_for_others(agent, client, run):
    """Each holds a process, for 5 s: not more than 12 at a time."""
    slow = [connect(agent) for _ in range(14)]
    for one in slow:
        one.send_raw(b"\x10")
    answers = []
    for one in slow[12:]:
        answers.append(one.receive(vsh_pb.SetupConnectionResponse).description)
    assert answers == ["too many programs run for callers already, or hang"] * 2
    assert client.call("exec.start", argv=[b"true"]).pid
    for one in slow:
        one.close()
    assert eventually(lambda: not job_processes(agent))


def test_off_by_default():
    with Agent(policy=ALLOW_EXEC) as plain:
        assert sorted(name for name in os.listdir(plain.dir) if name.endswith(".sock")) == ["agent.sock"]


def test_the_socket_goes_with_the_agent():
    plain = Agent(policy=ALLOW_EXEC)
    plain.settings["vsh_socket"] = f"{plain.dir}/vsh.sock"
    with plain:
        running = connect(plain)
        pid = running.start("sleep", "100", nopty=True)
        assert plain.stop() == 0
        assert not os.path.exists(plain.settings["vsh_socket"])
        running.expect_end()
        assert eventually(lambda: not alive(pid))
        running.close()
