# SPDX-License-Identifier: LGPL-2.1-or-later
"""identity.*; what sets a name is tested in a guest."""

import os
import socket

import pytest

from agent import DEFAULT_POLICY, Agent
from wire import Failed


def line(path):
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as file:
        return file.readline().strip()


def test_who_this_is(client):
    told = client.call("identity.get")
    assert told.host_name.decode() == socket.gethostname()
    assert told.static_host_name == line("/etc/hostname")
    assert told.machine_id == line("/etc/machine-id")
    assert told.firmware.vendor == line("/sys/class/dmi/id/sys_vendor")


@pytest.mark.parametrize("name", [b"", b"-a", b"a-", b"a..b", b".a", b"a.", b"a b", b"a\nb", b"\xc3\xa4", b"x" * 65,
                                  b"a/b", b"a\0b"])
def test_what_is_no_host_name(name):
    before = socket.gethostname()
    with Agent(policy=DEFAULT_POLICY + "allow local:0 identity.*\n") as agent, agent.client() as client:
        for transient in (True, False):
            with pytest.raises(Failed) as failed:
                client.call("identity.set_host_name", host_name=name, transient=transient)
            assert failed.value.code == "INVALID_ARGUMENT" and failed.value.error.outcome == 1
    assert socket.gethostname() == before
