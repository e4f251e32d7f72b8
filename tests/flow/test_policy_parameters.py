# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules that ask for parameters, by the agent as it runs."""

import json
import os
import subprocess

import pytest

from agent import Agent
from streams import unix_stream
from vsh import Client, vsh_pb
from wire import Failed

POLICY = """allow local:0 system.* notifications.* exec.wait channels.*
allow local:0 files.read files.write files.stat where path under {root}/open
deny local:0 files.write where path ~ *.conf
allow local:0 exec.start where argv.0 = /bin/echo and argv.count = 2 and env.count = 0
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = os.path.realpath(tmp_path_factory.mktemp("root"))
    for folder in ("open", "closed"):
        os.mkdir(f"{root}/{folder}")
        with open(f"{root}/{folder}/file", "w") as file:
            file.write(folder)
    os.symlink("../closed/file", f"{root}/open/link")
    os.symlink("../closed", f"{root}/open/folder")
    return root


@pytest.fixture(scope="module")
def agent(root):
    running = Agent(policy=POLICY.format(root=root), files_roots=root)
    running.settings["vsh_socket"] = f"{running.dir}/vsh.sock"
    with running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture(scope="module")
def client(agent):
    with agent.client(timeout=20) as connected:
        yield connected


def denied(client, method, rule, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    assert failed.value.code == "PERMISSION_DENIED", failed.value
    assert failed.value.error.rule == rule and rule.split(":")[0] in failed.value.message, failed.value


def read(client, path, **fields):
    return b"".join(client.call("files.read", path=path.encode(), **fields).data)


def test_beneath_and_not(client, root):
    assert read(client, f"{root}/open/file") == b"open"
    for path in (f"{root}/closed/file", root, f"{root}/open/../closed/file", f"{root}/opened"):
        denied(client, "files.read", "no rule", path=path.encode())
    denied(client, "files.read", "no rule")


def test_no_link_leads_out(client, root):
    """What decided was a path's text: it is opened as the text says, even where links may be followed."""
    for path in ("open/link", "open/folder/file"):
        with pytest.raises(Failed) as failed:
            read(client, f"{root}/{path}", follow_links=True)
        assert failed.value.code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"), failed.value
    # Its process judges each request anew.
    assert read(client, f"{root}/open/file", follow_links=True) == b"open"


def test_a_deny_names_its_rule_and_nothing_is_done(client, root):
    path = f"{root}/open/a.conf"
    denied(client, "files.write", "50-test.policy:3", path=path.encode(), data=b"x", create=True)
    assert not os.path.exists(path)
    client.call("files.write", path=f"{root}/open/a.txt".encode(), data=b"x", create=True)
    assert os.path.exists(f"{root}/open/a.txt")


def test_a_program_with_its_arguments(client):
    job = client.call("exec.start", argv=[b"/bin/echo", b"a"]).job
    assert client.call("exec.wait", job=job).job.exit_code == 0
    for argv in ([b"/bin/echo"], [b"/bin/echo", b"a", b"b"], [b"/bin/sh", b"/bin/echo"]):
        denied(client, "exec.start", "no rule", argv=argv)
    denied(client, "exec.start", "no rule", argv=[b"/bin/echo", b"a"], env=[b"LD_PRELOAD=/tmp/x"])


def test_vsh_has_none(agent):
    with Client(unix_stream(agent.settings["vsh_socket"])) as vsh:
        answer = vsh.setup("/bin/echo a")
        assert answer.status == vsh_pb.FAILED and "some parameters only" in answer.description
        vsh.expect_end()


def test_what_system_methods_says(client):
    methods = {method.name: method for method in client.call("system.methods").methods}
    assert "parameters" in methods["files.read"].reason and "parameters" in methods["exec.start"].reason
    assert methods["files.read"].availability == methods["system.ping"].availability
    assert not methods["system.ping"].reason


def test_explained_before_it_is_asked_for(agent, root):
    def explain(*words):
        done = subprocess.run([f"{agent.build}/posternd", "--config", f"{agent.dir}/postern.conf", "explain", *words],
                              capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout + done.stderr

    assert explain("local:0", "system.ping") == (0, "local:0 may call system.ping: decided by 50-test.policy:1\n")
    assert explain("host", "system.ping") == (3, "host may not call system.ping: no rule allows it\n")
    assert explain("local:0", "files.write") == (0, "local:0 may call files.write with some parameters:\n"
                                                    "  allow by 50-test.policy:2\n  deny  by 50-test.policy:3\n")
    for path, code, rule in (("open/x", 0, "decided by 50-test.policy:2"), ("x", 3, "no rule allows it"),
                             ("open/x.conf", 3, "decided by 50-test.policy:3")):
        told = explain("local:0", "files.write", json.dumps({"path": f"{root}/{path}"}))
        assert told == (code, f"local:0 may{' not' if code else ''} call files.write with these parameters: {rule}\n")
    assert explain("local:0", "notify.gap")[0] == 3
    for words in (("local:0",), ("local:*", "system.ping"), ("local:0", "system.pong"), ("local:0", "files.write", "{"),
                  ("local:0", "files.write", '{"file": 1}')):
        assert explain(*words)[0] == 2, words
