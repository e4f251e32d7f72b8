# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import pytest

import qemu
from machine import Host


def pytest_collection_modifyitems(items):
    qemu.prepare(items)


@pytest.fixture(scope="module")
def host():
    machines = Host()
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def vm(host):
    """One guest for a file of tests; each leaves it as it found it."""
    machine = host.launch("guest", "--cmdline-add", "postern.sample_interval=1")
    yield machine
    assert host.info("guest")["status"] == "running", machine.console()
    machine.stop()


@pytest.fixture
def client(vm):
    with vm.client() as connected:
        yield connected
