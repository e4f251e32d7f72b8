# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import pytest

from agent import Agent
from machine import Host


@pytest.fixture(scope="module")
def agent():
    """One agent for a file of tests; what each test must find after it is checked at the end."""
    if os.geteuid() != 0:
        pytest.fail("the agent needs root: run make check as root, or with sudo")
    with Agent(sample_interval=1) as running:
        yield running
        assert running.process.poll() is None, "the agent died:\n" + running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


@pytest.fixture
def host():
    """A registry of machines of its own."""
    host = Host()
    yield host
    host.close()


@pytest.fixture
def client(agent):
    with agent.client() as connected:
        yield connected
