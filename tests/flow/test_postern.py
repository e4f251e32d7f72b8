# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line `postern`, without a machine: before a real agent on this one, and before peers that
are none."""

import json
import os
import pty
import re
import subprocess

import pytest

from agent import DEFAULT_POLICY, Agent
from fake_agent import DANGEROUS, NASTY, FakeAgent, fill
from machine import ABSENT, ANSWERED, DONE, POSTERN, PROTOCOL, REFUSED, TIMED_OUT, USAGE
from wire import errors, frame, payload, pb

# Each command that talks to an agent, and what it is called with.
CALLS = {
    "info": [], "ping": ["-c", "1"], "methods": [], "ports": [], "load": [], "load --history": [],
    "mounts list": [], "mounts list --usage": [], "mounts mount": ["/mnt", "--type", "tmpfs"],
    "mounts unmount": ["/mnt"], "shares list": [], "shares add --type tmpfs": ["/mnt"],
    "modules list": [], "modules info": ["dummy"], "modules load": ["dummy"], "modules unload": ["dummy"],
    "property set": ["key", "value"], "property remove": ["key"], "property watch --count 11": [],
    "heartbeat": [], "heartbeat --watch --count 11": [],
    "call": ["system.info"], "events --count 11": [],
}


def run(*words, code=DONE, **env):
    done = subprocess.run([POSTERN, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **env})
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, (words, done.returncode, out, err)
    return out, err


def call(agent, command, *options, **more):
    return run(*command.split(), agent.address, *CALLS[command], *options, **more)


def answer_and_notify(peer, request):
    FakeAgent.answer_nasty(peer, request)
    if request.method != "notifications.subscribe":
        return
    for topic in ("notify.mounts.mount", "notify.shares.mount", "notify.shares.unmount", "notify.devices.added",
                  "notify.system_load", "notify.properties.changed", "notify.heartbeat.agent",
                  "notify.heartbeat.missed", "notify.heartbeat.recovered", "notify.gap", "notify.no_such_topic"):
        body = b"\x1b" if "no_such" in topic else fill(payload(topic)()).SerializeToString()
        peer.say(notification=pb.Notification(subscription=7, topic=topic, epoch=1, seq=1, payload=body))


# ---- What a guest says ----

@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("command", CALLS)
def test_nothing_a_guest_says_reaches_the_terminal_as_it_is(command, options):
    with FakeAgent(answer_and_notify) as agent:
        out, err = call(agent, command, *options)
    assert not DANGEROUS.search(out), repr(out)
    assert not DANGEROUS.search(err), repr(err)
    if options:
        values = [json.loads(line) for line in out.splitlines()]
        texts = [text for text in texts_in(values) if "title" in text]
        # Nothing of it is lost on whoever reads the JSON.
        assert values and set(texts) <= {NASTY}
        assert texts or command in WITHOUT_TEXT


WITHOUT_TEXT = ("ping", "load --history", "mounts unmount", "modules load", "modules unload", "shares add --type tmpfs",
                "property set", "property remove")


def texts_in(value):
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(one)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_nor_what_it_says_of_an_error(options):
    def refuse(peer, request):
        error = fill(errors.Error())
        error.code = errors.FAILED_PRECONDITION
        error.ClearField("rule")
        peer.say(response=pb.Response(id=request.id, error=error))
    with FakeAgent(refuse) as agent:
        for command in CALLS:
            out, err = call(agent, command, *options, code=ANSWERED)
            assert err.startswith("postern: a") and not DANGEROUS.search(out + err), (command, out, err)
            if options:
                assert json.loads(out)["error"]["failure"] == "answered"


# ---- Exit codes ----

@pytest.fixture(scope="module")
def real():
    policy = DEFAULT_POLICY + "\ndeny local:0 mounts.unmount\n"
    with Agent(policy=policy, sample_interval=1) as running:
        yield running


def error_of(*words, code):
    """With --json an error is on standard output too, and nothing else is."""
    out, err = run(*words, "--json", code=code)
    error = json.loads(out)["error"]
    assert error["message"] in err
    plain, err = run(*words, code=code)
    assert plain == "" and error["message"] in err
    return error


def test_done_and_answered(real):
    address = f"local:{real.socket}"
    assert json.loads(run("call", address, "system.ping", "--json")[0]) is not None
    error = error_of("mounts", "mount", address, "/nonexistent", "--type", "tmpfs", code=ANSWERED)
    assert error["failure"] == "answered" and error["code"] == "NOT_FOUND"
    assert "mounts.list" in run("methods", address)[0]


def test_refused_by_policy(real):
    error = error_of("mounts", "unmount", f"local:{real.socket}", "/mnt", code=REFUSED)
    assert error["failure"] == "refused" and error["code"] == "PERMISSION_DENIED"
    assert error["rule"].startswith("50-test.policy:")
    assert f"(rule {error['rule']})" in run("mounts", "unmount", f"local:{real.socket}", "/mnt", code=REFUSED)[1]


def test_absent(tmp_path):
    assert error_of("ping", f"local:{tmp_path}/none", code=ABSENT)["failure"] == "absent"


def garbage(peer, request):
    peer.send_raw(frame(b"\xff" * 20))


def no_request_of_mine(peer, request):
    peer.say(response=pb.Response(id=request.id + 1000, result=b""))


def too_much(peer, request):
    peer.send_raw(b"\xff\xff\xff\x7f")


def not_this_message(peer, request):
    peer.reply(request, b"\x0b\x0c")


def a_second_hello(peer, request):
    FakeAgent.say_hello(peer)


@pytest.mark.parametrize("answer", [garbage, no_request_of_mine, too_much, not_this_message, a_second_hello])
def test_a_peer_that_breaks_the_protocol(answer):
    with FakeAgent(answer) as agent:
        assert error_of("info", agent.address, code=PROTOCOL)["failure"] == "protocol"


def test_a_greeting_that_is_none():
    for hello in (b"\x00" * 30, b"HTTP/1.1 400 Bad Request\r\n" * 9, frame(pb.FromAgent(
            hello_reply=pb.HelloReply(major=2)).SerializeToString())):
        with FakeAgent(hello=lambda peer, text=hello: peer.send_raw(text)) as agent:
            assert error_of("info", agent.address, code=PROTOCOL)["failure"] == "protocol"


def test_timed_out():
    with FakeAgent(lambda peer, request: None) as agent:
        assert error_of("call", agent.address, "system.ping", "-t", "100ms", code=TIMED_OUT)["failure"] == "timed out"


@pytest.mark.parametrize("words", [
    ["nonsense"], ["shares"], ["ping"], ["ping", "a", "b"], ["ping", "a", "--nonsense"],
    ["ping", "a", "-c", "x"], ["launch", "a", "--memory", "much"], ["mounts", "mount", "a", "/mnt"],
    ["events", "a", "--after", "x"], ["modules", "load", "a", "m", "x"], ["call", "vsock:x", "system.ping"]])
def test_usage_errors(words):
    error = error_of(*words, code=USAGE)
    assert error["failure"] == "usage" and error["message"]


def test_json_is_asked_for_wherever_it_stands():
    for words in (["ping", "--json", "a", "-c", "x"], ["ping", "a", "-c", "x", "--json"], ["ping", "--json", "a", "-c"]):
        out, err = run(*words, code=USAGE)
        assert json.loads(out)["error"]["message"] in err
    # A value, or a word behind the options' end.
    for words in (["ping", "a", "-c", "--json"], ["ping", "a", "-c", "x", "--", "--json"]):
        assert run(*words, code=USAGE)[0] == ""


# ---- Help ----

def commands():
    lines = run("--help")[0].splitlines()
    table = lines[2:lines.index("", 2)]
    names = [re.match(r"  ((?:[a-z-]+ ?)+)", line).group(1).strip() for line in table if re.match(r"  [a-z]", line)]
    assert len(names) > 20 and len(set(names)) == len(names)
    return names


def test_each_command_has_help():
    for name in commands():
        out, err = run(*name.split(), "--help")
        assert out.startswith(f"usage: postern {name} [OPTIONS]") and err == ""
        assert run(*name.split(), "-h")[0] == out
        assert "  --json " in out and "  -h, --help " in out


def test_each_command_is_in_the_manual():
    with open(os.path.join(os.path.dirname(__file__), "../../host/cli/postern.1")) as page:
        text = page.read()
    for name in commands():
        assert re.search(rf"^\.It Ic {name}\b", text, re.M), name


def test_no_command_shows_the_list():
    assert run(code=USAGE)[1].startswith("usage: postern [--env NAME] COMMAND")
    assert "shares add" in run("shares", code=USAGE)[1]


# ---- Colours ----

def on_a_terminal(*words, **env):
    """What postern writes to a terminal."""
    ours, its = pty.openpty()
    process = subprocess.Popen([POSTERN, *words], stdin=its, stdout=its, stderr=its,
                               env={**os.environ, "TERM": "xterm", **env})
    os.close(its)
    out = b""
    try:
        while data := os.read(ours, 65536):
            out += data
    except OSError:  # the terminal's end
        pass
    os.close(ours)
    assert process.wait(20) == DONE, out
    return out


def test_colours_are_for_terminals(real):
    words = "mounts", "list", f"local:{real.socket}"
    assert b"\x1b[1mTarget" in on_a_terminal(*words)
    assert b"\x1b" not in on_a_terminal(*words, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(*words, TERM="dumb")
    assert "\x1b" not in run(*words)[0]
