# SPDX-License-Identifier: LGPL-2.1-or-later
"""Environments, and the leases of CIDs that all of them share. Supervisor and command line are real; QEMU, the
vsock device and the guest only talk (fake_vmm.py)."""

import fcntl
import json
import os
import signal

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, DONE, USAGE


@pytest.fixture
def launch(host, tmp_path):
    """launch NAME in an environment."""
    (tmp_path / "kernel").touch()
    fake_vmm.install(tmp_path, {"tcg": {"boot": 0, "hint": 0.1}}, host)

    def run(*words, code=DONE):
        return host.run(*words, "--kernel", f"{tmp_path}/kernel", "--initrd", f"{tmp_path}/kernel", code=code)
    return run


def leases(host):
    return {lease["cid"]: lease for lease in host.json("list", "--cids")["leases"]}


# ---- Environments ----

def test_names_are_of_one_environment(host, launch):
    assert host.run("list", "--all-envs")[0] == "no environments\n"
    launch("launch", "web")
    launch("--env", "prod", "launch", "web")
    launch("launch", "prod/db")
    _, err = launch("--env=prod", "launch", "web", code=ANSWERED)
    assert "a VM web is running already" in err
    assert [vm["name"] for vm in host.json("list")["guests"]] == ["web"]
    # By option, by variable, by the name itself.
    host.env["POSTERN_ENV"] = "prod"
    assert [vm["name"] for vm in host.json("list")["guests"]] == ["db", "web"]
    assert host.info("web")["env"] == "prod" and host.info("/web")["env"] == host.info("default/web")["env"] == ""
    del host.env["POSTERN_ENV"]
    assert [vm["name"] for vm in host.json("--env", "prod", "list")["guests"]] == ["db", "web"]
    assert "Environment:        prod\n" in host.run("list", "prod/web")[0]
    assert host.json("call", "prod/db", "system.ping") == {}
    # A CID is of one machine, wherever that is.
    assert {(lease["cid"], lease["name"], lease["held"]) for lease in leases(host).values()} == {
        (3, "web", True), (4, "prod/web", True), (5, "prod/db", True)}
    assert host.run("list", "--all-envs")[0] == (
        "env:0             default\n guest:3          web\n"
        "env:1             prod\n guest:5          db\n guest:4          web\n")
    everything = host.json("list", "--all-envs")["environments"]
    assert [(env["env"], [vm["cid"] for vm in env["guests"]]) for env in everything] == [("", [3]), ("prod", [5, 4])]
    host.run("--env", "prod", "stop", "-f", "web")
    assert host.info("web")["status"] == "running" and host.info("prod/web")["status"] == "stopped"


def test_an_environment_goes_with_its_last_machine(host, launch):
    launch("--env", "test", "launch")
    assert host.info("test/vm1")["state"] == "ready"
    host.run("stop", "-f", "test/vm1")
    assert host.run("list", "--all-envs")[0] == "env:1             test\n no guest instances\n"
    host.run("forget", "test/vm1")
    assert host.run("list", "--all-envs")[0] == "no environments\n" and not os.path.exists(f"{host.dir}/run/@test")
    # To look is not to make.
    assert host.run("--env", "test", "list")[0] == "no guest instances\n"
    host.run("forget", "test/vm1", code=ABSENT)
    assert not os.path.exists(f"{host.dir}/run/@test")
    launch("launch", "test/vm1")
    assert host.info("test/vm1")["state"] == "ready"


@pytest.mark.parametrize("words", [("--env", "Bad", "list"), ("--env", "../x", "list"), ("list", "a/b/c"),
                                   ("--env", "x" * 64, "list"), ("launch", "../web"), ("launch", "a/b/c")])
def test_no_names(host, words):
    _, err = host.run(*words, code=ABSENT if words[0] == "list" else USAGE)
    assert "name" in err or "there is no VM" in err
    assert not os.path.exists(f"{host.dir}/run") or os.listdir(f"{host.dir}/run") == []


def test_a_machine_that_is_begun_twice_in_one_environment_only(host, launch):
    """An environment that goes and comes while others use it."""
    for i in range(5):
        first = host.start("--env", "e", "launch", "a", "--kernel", f"{host.dir}/none")
        launch("--env", "e", "launch", "b")
        first.communicate(timeout=20)
        host.run("stop", "-f", "e/b")
        host.run("forget", "e/b")
    assert leases(host) == {}


# ---- Leases ----

def test_a_lease_goes_with_its_machine(host, launch):
    launch("launch", "web")
    lease = leases(host)[3]
    assert lease["name"] == "web" and lease["uid"] == os.getuid() and lease["held"]
    assert host.run("list", "--cids")[0].splitlines()[1].split() == ["3", "web", "root", "held"]
    _, err = launch("launch", "other", "--cid", "3", code=ANSWERED)
    assert "another VM has the CID 3" in err
    host.run("stop", "-f", "web")
    assert leases(host) == {}
    launch("launch", "other", "--cid", "3")


def test_a_stale_lease_is_found_and_taken_over(host, launch):
    launch("launch", "web")
    os.kill(host.supervisor("web"), signal.SIGKILL)
    host.until(lambda: not leases(host)[3]["held"])
    assert host.run("list", "--cids")[0].splitlines()[1].split() == ["3", "web", "root", "stale"]
    launch("launch", "other")
    assert host.info("other")["cid"] == 3 and leases(host)[3]["name"] == "other" and leases(host)[3]["held"]


def test_a_launch_that_fails_leaves_no_lease(host, launch, tmp_path):
    fake_vmm.install(tmp_path, {"tcg": {"exit": 1}}, host)
    launch("launch", "web", code=ANSWERED)
    assert leases(host) == {}


def test_what_others_have_put_there_is_passed_over(host, launch):
    """A folder that is everybody's: files that cannot be locked, that are none, and one that somebody holds."""
    launch("launch", "first")
    folder = f"{host.dir}/run/.cids"
    os.mkfifo(f"{folder}/4")
    os.mkdir(f"{folder}/5")
    os.symlink("/etc/passwd", f"{folder}/6")
    with open(f"{folder}/7", "w") as held:
        held.write('{"name": "\\u001b[31mevil"}')
        held.flush()
        fcntl.lockf(held, fcntl.LOCK_EX)
        launch("launch", "second")
        assert host.info("second")["cid"] == 8
        text, _ = host.run("list", "--cids")
        assert "\x1b" not in text and "evil" in text
    with open(f"{folder}/junk", "w") as junk:
        junk.write("x" * 10000)
    launch("launch", "third")
    assert host.info("third")["cid"] == 7 and set(leases(host)) == {3, 7, 8}
    with open("/etc/passwd") as passwd:
        assert passwd.read().startswith("root:")


def test_many_at_once_have_cids_of_their_own(host, launch, tmp_path):
    words = "--kernel", f"{tmp_path}/kernel", "--initrd", f"{tmp_path}/kernel"
    launches = [host.start("launch", f"e{i % 2}/vm-{i}", *words) for i in range(8)]
    for started in launches:
        _, err = started.communicate(timeout=60)
        assert started.returncode == DONE, err
    assert sorted(leases(host)) == list(range(3, 11))
    assert {vm["cid"] for env in host.json("list", "--all-envs")["environments"] for vm in env["guests"]} == set(
        range(3, 11))
    assert json.loads(host.run("list", "--cids", "--json")[0])["leases"][0]["cid"] == 3
