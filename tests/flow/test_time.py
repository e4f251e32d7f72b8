# SPDX-License-Identifier: LGPL-2.1-or-later
"""time.*, as far as this machine's own clock and zone stay as they are; what sets them is tested in a guest."""

import json
import os
import subprocess
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from wire import BUILD, Failed

POSTERN = os.path.join(BUILD, "postern")


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def test_the_clocks(client):
    before = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns()
    told = client.call("time.get")
    after = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns()
    for low, value, high in zip(before, (told.time_ns, told.boottime_ns, told.monotonic_ns), after):
        assert low <= value <= high
    assert told.HasField("synchronized") and told.HasField("slew_left_ns")


@pytest.mark.parametrize("fields,words", [
    ({}, "expected one of"),
    ({"time_ns": 1, "adjust_ns": 1}, "expected one of"),
    ({"adjust_ns": -(1 << 63)}, "before 1970"),
    ({"adjust_ns": (1 << 63) - 1}, "after 2262"),
    ({"time_ns": -(1 << 63)}, "before 1970"),
    ({"time_ns": -1}, "before 1970"),
    ({"adjust_ns": 10_000_000_001, "mode": 2}, "too far for a slew"),
    ({"adjust_ns": -10_000_000_001, "mode": 2}, "too far for a slew"),
    ({"adjust_ns": 0, "mode": 2, "set_hardware": True}, "goes with a step"),
])
def test_what_no_clock_is_set_to(client, fields, words):
    before = time.time()
    refused = failure(client, "time.set", **fields)
    assert refused.code == "INVALID_ARGUMENT" and words in refused.message
    assert refused.error.outcome == 1  # NOT_DONE
    assert abs(time.time() - before) < 5


@pytest.mark.parametrize("zone,code", [(b"Nowhere/City", "NOT_FOUND"), (b"../../../etc/passwd", "NOT_FOUND"),
                                       (b"/etc/passwd", "NOT_FOUND"), (b"zone.tab", "NOT_FOUND"),
                                       (b"", "INVALID_ARGUMENT"), (b"x" * 256, "INVALID_ARGUMENT")])
def test_what_is_no_zone(agent, zone, code):
    from agent import DEFAULT_POLICY, Agent
    before = os.readlink("/etc/localtime")
    with Agent(policy=DEFAULT_POLICY + "allow local:0 time.*\n") as own, own.client() as client:
        assert failure(client, "time.set_zone", zone=zone).code in (code, "FAILED_PRECONDITION")
    assert os.readlink("/etc/localtime") == before


def test_the_zone(client):
    told = client.call("time.zone")
    assert (told.offset_s, told.abbreviation) == (time.localtime().tm_gmtoff, time.localtime().tm_zone)
    link = os.readlink("/etc/localtime")
    if "/zoneinfo/" in link:
        assert told.zone == link.split("/zoneinfo/")[1].encode()


def test_for_a_person(agent):
    def postern(*words):
        return subprocess.run([POSTERN, "time", words[0], f"local:{agent.socket}", *words[1:]], capture_output=True,
                              text=True, timeout=60)
    shown = postern("show").stdout
    assert "The guest's clock: " in shown and "It agrees with this host's within 0.0" in shown
    told = json.loads(postern("show", "--json").stdout)
    assert abs(told["offset_ns"]) <= told["accuracy_ns"] and told["time_ns"] > 0
    assert "UTC+" in postern("zone").stdout or "UTC-" in postern("zone").stdout
    done = postern("zone", "Europe/Berlin")
    assert done.returncode == 3 and "time.set_zone" in done.stderr


def test_an_agent_without_the_right():
    """As a service's settings may have it, or a container's."""
    with Agent(policy=DEFAULT_POLICY + "allow local:0 time.*\n",
               within=["setpriv", "--bounding-set", "-sys_time"]) as agent, agent.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("time.set", adjust_ns=0)
        assert failed.value.code == "FAILED_PRECONDITION"
        assert "without a capability that time.set needs" in failed.value.message
        assert client.call("time.get").time_ns
