# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent as a service of OpenRC under OpenRC's own process 1, with a disk."""

import pytest

import debian
from machine import Machine
from wire import Failed

REBOOT = 2


def ask(client, mode):
    """Process 1 may not listen before the guest is up, and the agent is up before."""
    for _ in range(20):
        try:
            return client.call("power.shutdown", mode=mode)
        except Failed as failed:
            assert failed.code == "UNAVAILABLE" and "openrc-init cannot be asked" in failed.message
    pytest.fail("process 1 does not listen")


def test_reboot_and_stop(host):
    """The service was placed while nothing ran."""
    image = f"{host.dir}/disk.img"
    debian.make_image(image, source=debian.OPENRC_TREE)
    host.run("launch", "rc", *debian.launch_options(image, "init=/sbin/openrc-init"), timeout=400)
    vm = Machine(host, "rc")
    with vm.client(timeout=60) as client:
        assert client.call("system.info").init == "openrc-init"
        reply = ask(client, REBOOT)
        assert reply.by == "openrc-init" and reply.mode == REBOOT
        boot = client.hello_reply.boot_id
    vm.wait_for_boot(boot)
    host.until(lambda: host.info("rc")["state"] == "ready", 100)
    out, _ = vm.stop("-t", "120")
    assert "finished stopping" in out
