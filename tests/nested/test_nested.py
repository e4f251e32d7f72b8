# SPDX-License-Identifier: LGPL-2.1-or-later
"""AF_VSOCK on both sides: a guest plays the host, with the kernel's vhost_vsock, and runs a guest."""

import os
import re

import pytest

from machine import Host, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKS = re.findall(r"^CHECKS = \[(.*?)\]", open(f"{HERE}/inside.py").read(), re.S | re.M)[0].replace("\n", " ")
NAMES = [name.strip() for name in CHECKS.split(",")]


@pytest.fixture(scope="module")
def outcome():
    host = Host()
    out = f"{host.dir}/out"
    os.mkdir(out)
    try:
        host.run("launch", "outer", "--memory", "1G", "--cpus", "2",
                 "--add", "/usr/bin/busybox:/usr/bin/busybox", "--add", f"{HERE}/start:/etc/postern/start.d/nested")
        assert len(host.json("load", "outer")["cpus"]) == 2
        host.run("shares", "add", "outer", "/usr", "/mnt/usr", "--read-only")
        host.run("shares", "add", "outer", os.path.realpath(f"{HERE}/../.."), "/mnt/tree", "--read-only")
        host.run("shares", "add", "outer", out, "/mnt/out")
        with open(f"{out}/begin", "w") as file:
            file.write(os.path.realpath(f"{HERE}/../.."))
        wait_until(lambda: os.path.exists(f"{out}/code"), timeout=600, step=0.5)
        lines = open(f"{out}/results").read().splitlines()
        log = open(f"{out}/log", errors="replace").read()
        print(log)
        yield {line.split(":")[0].rsplit(" ", 1)[1]: line for line in lines}
    finally:
        host.close()


@pytest.mark.parametrize("name", NAMES)
def test_inner_guest(outcome, name):
    line = outcome.get(name, "it did not run")
    assert line.startswith("ok "), line
