# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern net, cpus and mem, for a person: on a namespace of the agent's own, and on what of this machine is only
looked at."""

import json
import os
import subprocess

import pytest

from agent import DEFAULT_POLICY, Agent
from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=DEFAULT_POLICY + "allow local:0 network.*\n", within=("unshare", "-n")) as running:
        subprocess.run(["nsenter", "-t", str(running.process.pid), "-n", "ip", "link", "add", "left", "type", "veth",
                        "peer", "name", "right"], check=True)
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def postern(agent):
    def postern(family, verb, *words, code=0):
        done = subprocess.run([POSTERN, family, verb, f"local:{agent.socket}", *words], capture_output=True,
                              timeout=60, text=True)
        assert done.returncode == code, done
        return done.stdout + done.stderr
    return postern


def rows(text):
    """Cells of a table, by its heads' columns."""
    head, *lines = text.splitlines()
    return [line.split() for line in lines]


def test_from_nothing_to_a_way_out(postern):
    postern("net", "link", "left", "--up", "--mtu", "1400")
    postern("net", "link", "right", "--up")
    postern("net", "address", "left", "192.0.2.1/24")
    postern("net", "route", "default", "--via", "192.0.2.9", "--metric", "7")
    left, = [row for row in rows(postern("net", "list")) if row[0] == "left"]
    assert left[1] == "*" and left[2:5] == ["veth", "up", "1400"] and "192.0.2.1/24" in left
    default, = [row for row in rows(postern("net", "routes")) if row[0] == "default"]
    assert default == ["default", "192.0.2.9", "left", "7", "static", "unicast"]
    assert len(rows(postern("net", "routes", "--table", "0"))) > len(rows(postern("net", "routes")))
    postern("net", "route", "default", "--via", "192.0.2.8", "--metric", "7", "--replace")
    told = json.loads(postern("net", "routes", "--json"))["routes"]
    assert [route["gateway"] for route in told if route["prefix"] == 0] == ["192.0.2.8"]
    postern("net", "route", "default", "--remove")
    postern("net", "address", "left", "192.0.2.1", "--remove")
    assert "192.0.2.1" not in postern("net", "list")
    postern("net", "link", "left", "--down")
    assert [row[2] for row in rows(postern("net", "list")) if row[0] == "left"] == ["down"]
    assert postern("net", "neighbours").startswith("Address")


@pytest.mark.parametrize("words", [
    ("link", "left"), ("link", "left", "--up", "--down"), ("link", "left", "--mtu", "x"),
    ("address", "left", "192.0.2.1/x"), ("address", "left", "192.0.2.1/129"), ("address", "left"),
    ("route", "192.0.2.0/-1"), ("route", "default", "--metric", "x")])
def test_wrong_words(postern, words):
    postern("net", *words, code=2)


def test_what_the_kernel_does_not_do(postern):
    assert "no such network interface" in postern("net", "link", "nowhere", "--up", code=1)
    assert "expected an IPv4 or IPv6 address" in postern("net", "address", "left", "x/24", code=1)


def test_name_servers_are_shown(postern):
    assert postern("net", "dns").startswith("Asked for names: ")


def test_processors_and_memory(postern):
    here = json.loads(postern("cpus", "list", "--json"))["cpus"]
    assert len(here) == len(rows(postern("cpus", "list"))) and sum(cpu["online"] for cpu in here) == os.cpu_count()
    blocks = json.loads(postern("mem", "blocks", "--json"))
    with open("/sys/devices/system/memory/block_size_bytes") as file:
        assert blocks["block_size"] == int(file.read(), 16)
    assert len(rows(postern("mem", "blocks"))) == len(blocks["blocks"]) > 0
    for verb, family in (("set", "cpus"), ("set-blocks", "mem")):
        assert "denied" in postern(family, verb, "--offline", "1,3-5", code=3)
        postern(family, verb, "--offline", "5-3", code=2)
        postern(family, verb, "--online", "x", code=2)
    assert "denied" in postern("mem", "reclaim", "--compact", code=3)
