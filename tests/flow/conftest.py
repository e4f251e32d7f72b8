# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import pytest

from agent import Agent
from machine import Host


# These look at the mounts of the whole machine, or change them: one after another.
MOUNTS = {"test_agent_life", "test_cp", "test_deadlines", "test_mounts", "test_outcome", "test_postern", "test_snapshot",
          "test_stop", "test_system", "test_wire"}


def pytest_collection_modifyitems(items):
    """Of the others those of one file stay together, since they share its agent."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("mounts" if item.path.stem in MOUNTS else item.path.stem))


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
