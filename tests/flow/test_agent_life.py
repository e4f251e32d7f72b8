# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start, settings, policy, restart, stop."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import tty

import pytest

from agent import Agent
from machine import wait_until
from wire import BUILD, Closed, Failed, pb


def run_agent(agent, *arguments):
    agent.write_config()
    return subprocess.run([os.path.join(BUILD, "posternd"), *arguments], capture_output=True, text=True,
                          timeout=20)


@pytest.fixture
def stopped():
    agent = Agent(sample_interval=1)
    yield agent
    agent.close()


def test_stop_says_goodbye_and_leaves_nothing(stopped):
    agent = stopped.start()
    client = agent.client()
    children = agent.children()
    agent.process.send_signal(signal.SIGTERM)
    with pytest.raises(Closed) as closed:
        client.dispatch()
    assert closed.value.goodbye.reason == pb.GOODBYE_REASON_STOPPING
    assert agent.process.wait(10) == 0
    assert not os.path.exists(agent.socket)
    time.sleep(0.2)
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]


def test_killed_broker_takes_everything_with_it(stopped):
    agent = stopped.start()
    client = agent.client()
    client.call("mounts.list")
    children = agent.children()
    agent.process.kill()
    agent.process.wait()
    deadline = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_generation_and_history_survive_a_restart(stopped):
    agent = stopped.start()
    with agent.client() as client:
        generation, epoch = client.hello_reply.generation, client.hello_reply.epoch
        time.sleep(2.5)
        points = len(client.call("system_load.historical").points)
        assert points >= 2
    agent.stop()
    agent.start()
    with agent.client() as client:
        assert client.hello_reply.generation == generation
        assert client.hello_reply.epoch != epoch
        assert len(client.call("system_load.historical").points) >= points


def test_history_survives_a_boot(stopped):
    stopped.settings["save_interval"] = "1"
    agent = stopped.start()
    saved = f"{agent.dir}/state/load"
    deadline = time.monotonic() + 10
    while not os.path.exists(saved):
        assert time.monotonic() < deadline, agent.read_log()
        time.sleep(0.1)
    time.sleep(1.5)
    agent.stop()
    # What a boot does to /run.
    for name in os.listdir(f"{agent.dir}/run"):
        path = f"{agent.dir}/run/{name}"
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    agent.start()
    with agent.client() as client:
        points = client.call("system_load.historical").points
        assert points and points[0].time_s < time.time() - 1


@pytest.mark.xdist_group("mounts")
@pytest.mark.parametrize("late", [False, True], ids=["from the start", "later"])
def test_a_full_run_folder_costs_no_more_than_history(stopped, late):
    """The load ring on a tmpfs without room."""
    agent = stopped
    run = f"{agent.dir}/run"

    def fill():
        with open(f"{run}/ballast", "wb", buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(b"x" * 4096)

    os.mkdir(run)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", run], check=True)
    try:
        if not late:
            fill()
        agent.start()
        if late:
            fill()
        with agent.client() as client:
            deadline = time.monotonic() + 10
            # In memory, or in the page that the ring had when the folder became full.
            while len(client.call("system_load.historical").points) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert client.call("system.ping", payload=b"p").payload == b"p"
            assert client.call("system_load.current").memory.total
        agent.stop()
        assert ("will not outlive" in agent.read_log()) == (not late)
    finally:
        subprocess.run(["umount", "-l", run], check=True)


def test_the_watcher_is_started_again(stopped):
    agent = stopped.start()
    with agent.client() as client:
        client.call("notifications.subscribe", topics=["notify.mounts.*"])
        epoch = client.hello_reply.epoch
        watchers = [pid for pid, name in agent.children().items() if name == "postern-watch"]
        os.kill(watchers[0], signal.SIGKILL)
        # A subscriber learns that its cursor is worthless, after what had been said already.
        with pytest.raises(Closed):
            while True:
                client.dispatch()
    deadline = time.monotonic() + 10
    while True:
        with agent.client() as client:
            if client.hello_reply.epoch != epoch:
                client.call("notifications.subscribe", topics=["notify.mounts.*"])
                break
        assert time.monotonic() < deadline
        time.sleep(0.2)


# ---- settings ----

@pytest.mark.parametrize("key,value,words", [
    ("vsock_port", "0", "expected a number from 1"),
    ("vsock", "maybe", "expected yes or no"),
    ("run_dir", "relative", "expected an absolute path"),
    ("log_level", "loud", "expected error, warning, info or debug"),
    ("nonsense", "1", "no such key"),
])
def test_a_bad_setting_stops_the_start(stopped, key, value, words):
    stopped.settings[key] = value
    result = run_agent(stopped, "--config", f"{stopped.dir}/postern.conf")
    assert result.returncode == 1
    assert "postern.conf:" in result.stderr and words in result.stderr
    result = run_agent(stopped, "check-config", f"{stopped.dir}/postern.conf")
    assert result.returncode == 1 and words in result.stderr


def test_check_config_prints_what_holds(stopped):
    result = run_agent(stopped, "check-config", f"{stopped.dir}/postern.conf")
    assert result.returncode == 0, result.stderr
    assert "sample_interval  = 1" in result.stdout
    assert "host " in result.stdout and "local:65534  may use 14 of" in result.stdout


def test_a_missing_settings_file_that_was_named(stopped):
    result = run_agent(stopped, "--config", f"{stopped.dir}/none.conf")
    assert result.returncode == 1 and "none.conf" in result.stderr


# ---- policy ----

@pytest.mark.parametrize("policy,words", [
    ("permit host *\n", ":1: expected allow or deny"),
    ("# fine\nallow nobody *\n", ":2: expected host, host-root"),
    ("allow host\n", ":1: expected at least one method"),
    ("allow guest:x *\n", ":1: expected host"),
    ("allow host a/b\n", ":1: a method is made of"),
    ("allow host " + "x" * 2000 + "\n", "longer than"),
])
def test_a_policy_that_does_not_parse_stops_the_start(policy, words):
    agent = Agent(policy=policy)
    try:
        result = run_agent(agent, "--config", f"{agent.dir}/postern.conf")
        assert result.returncode == 1
        assert "50-test.policy" in result.stderr and words in result.stderr
    finally:
        agent.close()


def test_a_missing_policy_stops_the_start(stopped):
    os.unlink(f"{stopped.dir}/policy.d/50-test.policy")
    result = run_agent(stopped, "--config", f"{stopped.dir}/postern.conf")
    assert result.returncode == 1 and "no *.policy file" in result.stderr


def test_no_rule_no_access():
    with Agent(policy="allow host *\n") as agent:
        with pytest.raises(Closed) as closed:
            agent.client()
        assert closed.value.goodbye.reason == pb.GOODBYE_REASON_REFUSED


def test_a_denial_names_the_rule():
    policy = "allow local:0 *\n# not this one\ndeny local:0 mounts.mount notify.devices.*\n"
    with Agent(policy=policy) as agent, agent.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("mounts.mount", target=b"/x", type="tmpfs")
        assert failed.value.code == "PERMISSION_DENIED"
        assert failed.value.error.rule == "50-test.policy:3"
        assert failed.value.error.outcome == 1  # NOT_DONE
        methods = {m.name: m for m in client.call("system.methods").methods}
        assert methods["mounts.mount"].availability == 2
        assert methods["mounts.mount"].reason == "denied by 50-test.policy:3"
        topics = {t.name: t for t in client.call("notifications.list").topics}
        assert not topics["notify.devices.added"].allowed
        assert topics["notify.devices.added"].rule == "50-test.policy:3"
        assert topics["notify.mounts.mount"].allowed
        with pytest.raises(Failed) as failed:
            client.call("notifications.subscribe", topics=["notify.devices.added"])
        assert failed.value.code == "PERMISSION_DENIED"
        # A pattern takes what is allowed of it.
        reply = client.call("notifications.subscribe", topics=["notify.*"])
        assert "notify.devices.added" not in reply.topics
        assert "notify.mounts.mount" in reply.topics


def test_drop_in_files_and_deny_beats_allow():
    agent = Agent(policy="allow local:0 system.*\n")
    with open(f"{agent.dir}/policy.d/10-first.policy", "w") as file:
        file.write("deny local:0 system.info\n")
    with open(f"{agent.dir}/policy.d/ignored.txt", "w") as file:
        file.write("this is no policy\n")
    with agent, agent.client() as client:
        assert client.call("system.ping", payload=b"p").payload == b"p"
        with pytest.raises(Failed) as failed:
            client.call("system.info")
        assert failed.value.error.rule == "10-first.policy:1"
        with pytest.raises(Failed) as failed:
            client.call("mounts.list")
        assert failed.value.error.rule == "no rule"


def test_descriptors_follow_the_policy():
    """A session that may not read the load has no descriptor of it."""
    with Agent(policy="allow local:0 system.ping\n") as few, Agent(policy="allow local:0 *\n") as all_:
        counts = []
        for agent in (few, all_):
            with agent.client() as client:
                client.call("system.ping")
                session = [pid for pid, name in agent.children().items()
                           if name == "postern-session" and len(os.listdir(f"/proc/{pid}/fd")) > 5]
                links = [os.readlink(f"/proc/{session[0]}/fd/{fd}") for fd in os.listdir(f"/proc/{session[0]}/fd")]
                counts.append(sum("/proc/" in link or "load" in link for link in links))
        assert counts[0] == 0 and counts[1] >= 5


# ---- the guest's own command line ----

def ctl(agent, *arguments):
    return subprocess.run([os.path.join(BUILD, "postern-ctl"), *arguments[:1],
                           "--address", f"local:{agent.socket}", *arguments[1:]],
                          capture_output=True, text=True, timeout=20)


def test_call_from_the_guests_command_line(stopped):
    import json
    agent = stopped.start()
    result = ctl(agent, "call", "system.ping", '{"payload": "hello"}')
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"payload": "hello"}
    result = ctl(agent, "call", "mounts.list")
    assert any(mount["target"] == "/proc" for mount in json.loads(result.stdout)["mounts"])
    result = ctl(agent, "call", "mounts.list", '{"usage": "yes"}')
    assert result.returncode == 2 and "usage: expected true or false" in result.stderr
    result = ctl(agent, "call", "mounts.list", "{nonsense")
    assert result.returncode == 2 and "not JSON" in result.stderr
    result = ctl(agent, "call", "no.such")
    assert result.returncode == 2 and "no such method" in result.stderr
    result = ctl(agent, "call", "mounts.unmount", '{"target": "/nothing/here"}')
    assert result.returncode == 1 and "nothing is mounted" in result.stderr
    agent.stop()
    result = ctl(agent, "call", "system.ping")
    assert result.returncode == 4 and "cannot connect" in result.stderr or "No such file" in result.stderr


def test_commands_take_the_settings_that_are_named(stopped):
    import json
    agent = stopped.start()
    settings = f"{agent.dir}/postern.conf"
    result = run_agent(agent, "-c", settings, "call", "system.info")
    assert result.returncode == 0, result.stderr
    processes = json.loads(result.stdout)["agent"]["processes"]
    assert agent.process.pid in [process["pid"] for process in processes]
    result = run_agent(agent, "--config", settings, "methods")
    assert result.returncode == 0 and "mounts.list" in result.stdout
    result = run_agent(agent, "--config", settings, "check-config")
    assert result.returncode == 0 and f"{agent.dir}/policy.d" in result.stdout
    result = run_agent(agent, "-c", "/nothing/here", "call", "system.ping")
    assert result.returncode == 1 and "/nothing/here" in result.stderr
    result = run_agent(agent, "-c", settings, "install", "--no-start")
    assert result.returncode == 2 and "--config is for commands" in result.stderr


def open_socket():
    return socket.socketpair()


def open_pipe():
    ours, theirs = os.pipe()
    return open(ours, "rb", buffering=0), open(theirs, "wb", buffering=0)


def open_terminal():
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    return open(ours, "rb", buffering=0), open(theirs, "wb", buffering=0)


@pytest.mark.parametrize("open_log", [open_socket, open_pipe, open_terminal])
def test_log_lines_that_nobody_takes_are_counted(stopped, open_log):
    """A log that is not read, as the journal's on a frozen disk, a dead logger's or a console's, holds up
    nobody."""
    ours, theirs = open_log()
    os.set_blocking(theirs.fileno(), False)
    for _ in range(5):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(theirs.fileno(), b"x" * 256)
        time.sleep(0.02)  # a terminal passes on what it has, and has room again
    os.set_blocking(theirs.fileno(), True)
    with ours, theirs:
        stopped.start(stderr=theirs)
        # The broker says, at this level, when a session has ended.
        for _ in range(5):
            with stopped.client() as client:
                client.call("system.ping")
        with stopped.client() as client:
            wait_until(lambda: client.call("system.info").agent.log_lines_dropped >= 5)
        assert stopped.stop() == 0
        # It was made so for the agent alone.
        assert os.get_blocking(theirs.fileno())
