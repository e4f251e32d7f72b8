# SPDX-License-Identifier: LGPL-2.1-or-later
"""components.discover: what it tells is what this machine's own files say."""

import json
import os
import platform
import subprocess

import pytest

from agent import Agent
from wire import BUILD

pytestmark = pytest.mark.xdist_group("mounts")

POSTERN = os.path.join(BUILD, "postern")
KERNEL, MANAGER, AGENT, MODULE, DEVICE, SHARE, HOOK = range(1, 8)
UNKNOWN, STARTING, READY, ERROR = range(1, 5)


def discover(client):
    told = client.call("components.discover").components
    ids = [one.id for one in told]
    assert len(set(ids)) == len(ids), "no two have one id"
    assert [one.type for one in told] == sorted(one.type for one in told)
    return {one.id.decode(): one for one in told}


def of_type(told, kind):
    return {id.split("/", 1)[-1]: one for id, one in told.items() if one.type == kind}


def test_kernel_and_process_1(client):
    told = discover(client)
    kernel, = of_type(told, KERNEL).values()
    assert kernel.label == b"Linux" and kernel.version == platform.release().encode() and kernel.state == READY
    manager, = of_type(told, MANAGER).values()
    assert manager.label.decode() == client.call("system.info").init


def test_the_agent(client):
    told = of_type(discover(client), AGENT)
    assert told["agent"].version.decode() == client.call("system.info").agent.version
    for program in ("posternd", "postern-watch", "postern-session", "postern-worker"):
        assert told[program].state == READY and told[program].instances >= 1, program
    assert set(told) == {"agent", "posternd", "postern-watch", "postern-session", "postern-worker", "postern-job",
                         "postern-kmod"}


def test_modules_are_those_of_the_kernel(client):
    told = of_type(discover(client), MODULE)
    loaded = {}
    if os.path.exists("/proc/modules"):
        with open("/proc/modules") as file:
            loaded = {line.split()[0]: line.split() for line in file}
    assert set(told) == set(loaded)
    for name, words in loaded.items():
        assert told[name].state == (READY if words[4] == "Live" else told[name].state)
        version = f"/sys/module/{name}/version"
        if os.path.exists(version):
            with open(version) as file:
                assert told[name].version.decode() == file.read().strip()


def test_devices_are_those_of_the_bus(client):
    told = of_type(discover(client), DEVICE)
    folder = "/sys/bus/virtio/devices"
    there = os.listdir(folder) if os.path.isdir(folder) else []
    assert set(told) == set(there)
    for name in there:
        driver = f"{folder}/{name}/driver"
        if os.path.exists(driver):
            assert told[name].description.decode() == f"driver {os.path.basename(os.readlink(driver))}"
            assert told[name].state == READY


def test_hooks(tmp_path):
    os.chmod(tmp_path, 0o755)
    for name, mode in (("freeze/10-good", 0o755), ("freeze/20-open", 0o777), ("freeze/old~", 0o755),
                       ("thaw/10-good", 0o755), ("nothing/10-other", 0o755)):
        os.makedirs(tmp_path / os.path.dirname(name), exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
        os.chmod(tmp_path / name, mode)
    # A reader is no root: the folders above are for root alone where pytest made them.
    folder = tmp_path
    while str(folder).startswith("/tmp/"):
        os.chmod(folder, os.stat(folder).st_mode | 0o011)
        folder = folder.parent
    with Agent(hooks_dir=tmp_path) as agent, agent.client() as client:
        told = of_type(discover(client), HOOK)
        assert {name: one.state for name, one in told.items()} == {
            "freeze/10-good": READY, "freeze/20-open": ERROR, "thaw/10-good": READY}
        assert b"could change it" in told["freeze/20-open"].description


def test_the_command(agent):
    words = [POSTERN, "components", f"local:{agent.socket}"]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "posternd" in shown and platform.release() in shown and "service manager" in shown
    told = json.loads(subprocess.run([*words, "--json"], capture_output=True, timeout=60, check=True).stdout)
    assert told["components"][0]["type"] == "COMPONENT_KERNEL"
