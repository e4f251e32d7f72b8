# SPDX-License-Identifier: LGPL-2.1-or-later
"""What outlives a reboot without systemd: postern-init as process 1 of a guest with a disk."""

import os
import shutil
import time

import pytest

import debian
from machine import BUILD, Host, wait_until


@pytest.fixture(scope="module")
def vm():
    host = Host()
    image = f"{host.dir}/disk.img"

    def extra(tree):
        os.makedirs(f"{tree}/etc/postern/start.d", exist_ok=True)
        shutil.copy(f"{BUILD}/tests/witness", f"{tree}/etc/postern/start.d/witness")

    debian.make_image(image, extra)
    yield host.launch("disk", *debian.launch_options(image), "--cmdline-add",
                      "init=/usr/sbin/postern-init postern.sample_interval=1 postern.save_interval=1",
                      witness=False)
    host.close()


def exists(vm, path):
    try:
        return vm.witness("exists", path)
    except FileNotFoundError:
        return None


def test_a_reboot(vm):
    with vm.client(timeout=60) as client:
        boot = client.hello_reply.boot_id
        assert client.call("system.info").init == "postern-init"
        assert vm.witness("read", "/proc/1/comm") == "postern-init\n"
        assert any(m.target == b"/" and m.type == b"ext4" for m in client.call("mounts.list").mounts)
        client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True,
                    options=[dict(key="size", value=b"64k"), dict(key="noexec")])
        client.call("shares.mount", target=b"/mnt/kept.secret", type="tmpfs", persistent=True)
        client.call("shares.mount", target=b"/mnt/forgotten", type="tmpfs", persistent=True)
        client.call("shares.unmount", target=b"/mnt/forgotten")
        client.call("shares.mount", target=b"/mnt/gone", type="tmpfs")
        # A persistent one that somebody else unmounted, and a passing one in its place.
        client.call("shares.mount", target=b"/mnt/replaced", type="tmpfs", persistent=True)
        client.call("mounts.unmount", target=b"/mnt/replaced")
        client.call("shares.mount", target=b"/mnt/replaced", type="tmpfs")
        assert {s.target for s in client.call("shares.list").shares if s.persistent} == {
            b"/mnt/kept", b"/mnt/kept.secret"}
        saved = None
        for _ in range(3):
            before = saved
            wait_until(lambda: exists(vm, "/var/lib/postern/load") not in (None, before))
            saved = exists(vm, "/var/lib/postern/load")
        first = client.call("system_load.historical").points[0].time_s
        assert client.call("power.shutdown", mode=2).by == "postern-init"
        went = time.time()
    vm.wait_for_boot(boot)
    with vm.client(timeout=60) as client:
        wait_until(lambda: len(client.call("shares.list").shares) == 2 and
                   all(s.state == 1 for s in client.call("shares.list").shares))
        shares = client.call("shares.list").shares
        assert {s.target for s in shares} == {b"/mnt/kept", b"/mnt/kept.secret"}
        assert all(s.persistent and not s.unit for s in shares)
        line, = [line for line in vm.witness("mounts").splitlines() if " /mnt/kept " in line]
        assert "size=64k" in line and "noexec" in line and "nosuid" in line
        for path in ("gone", "replaced", "forgotten"):
            assert f" /mnt/{path} " not in vm.witness("mounts")
        # The history goes on where it stopped.
        points = client.call("system_load.historical").points
        assert points[0].time_s == first < went
        for share in shares:
            client.call("shares.unmount", target=share.target)
    assert not exists(vm, "/var/lib/postern/shares/mnt-kept")
