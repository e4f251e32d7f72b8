# SPDX-License-Identifier: LGPL-2.1-or-later
"""sysctl.*; what is set is this network namespace's own, or the same value again."""

import os

import pytest

from agent import DEFAULT_POLICY, Agent
from wire import Failed

POLICY = DEFAULT_POLICY + "allow local:0 sysctl.*\n"


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=POLICY, sysctl_allow="vm.swappiness net.ipv4.tcp_*") as running:
        yield running
        assert running.stop() == 0, running.read_log()


def read(name):
    with open("/proc/sys/" + name.replace(".", "/"), "rb") as file:
        return file.read().rstrip(b"\n")


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def test_values(client):
    values = client.call("sysctl.get", names=["vm.swappiness", "kernel.ostype", "net.ipv4.tcp_congestion_control"]).values
    assert [(one.name, one.value, one.settable) for one in values] == [
        ("vm.swappiness", read("vm.swappiness"), True), ("kernel.ostype", b"Linux", False),
        ("net.ipv4.tcp_congestion_control", read("net.ipv4.tcp_congestion_control"), True)]


def test_all_that_begin_so(client):
    values = {one.name: one for one in client.call("sysctl.get", names=["vm."]).values}
    assert set(values) == {"vm." + name for name in os.listdir("/proc/sys/vm")}
    assert list(values) == sorted(values) and len(values) > 20
    assert values["vm.overcommit_memory"].value == read("vm.overcommit_memory")


@pytest.mark.parametrize("name,code", [("", "INVALID_ARGUMENT"), ("../etc/passwd", "INVALID_ARGUMENT"),
                                       ("/etc/passwd", "INVALID_ARGUMENT"), ("vm..x", "INVALID_ARGUMENT"),
                                       ("vm.nothing", "NOT_FOUND"), ("vm", "NOT_FOUND"), ("nothing.", "NOT_FOUND")])
def test_what_is_no_setting(client, name, code):
    assert failure(client, "sysctl.get", names=[name]).code == code


def test_how_many(client):
    assert failure(client, "sysctl.get").code == "INVALID_ARGUMENT"
    assert failure(client, "sysctl.get", names=["vm.swappiness"] * 65).code == "INVALID_ARGUMENT"


def test_one_is_set(client):
    before = read("vm.swappiness")
    reply = client.call("sysctl.set", name="vm.swappiness", value=before)
    assert reply.before == reply.value == read("vm.swappiness") == before


@pytest.mark.parametrize("name,value,code", [("kernel.panic", b"0", "PERMISSION_DENIED"),
                                             ("vm.swappiness", b"much", "INVALID_ARGUMENT"),
                                             ("vm.swappiness", b"", "INVALID_ARGUMENT"),
                                             ("net.ipv4.tcp_nothing", b"1", "NOT_FOUND"),
                                             ("net.ipv4.tcp_x/../../vm/swappiness", b"1", "INVALID_ARGUMENT")])
def test_what_is_not_set(client, name, value, code):
    before = read("vm.swappiness"), read("kernel.panic")
    refused = failure(client, "sysctl.set", name=name, value=value)
    assert refused.code == code and refused.error.outcome == 1
    assert (read("vm.swappiness"), read("kernel.panic")) == before


def test_none_is_allowed_as_shipped():
    with Agent(policy=POLICY) as agent, agent.client() as client:
        assert failure(client, "sysctl.set", name="vm.swappiness", value=read("vm.swappiness")).code == "PERMISSION_DENIED"
        assert not client.call("sysctl.get", names=["vm.swappiness"]).values[0].settable
