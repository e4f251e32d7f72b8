# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent as a service of a systemd guest, under the shipped unit, with a disk."""

import os

import pytest

import debian
from machine import Host, wait_until
from wire import Failed


@pytest.fixture(scope="module")
def host():
    machines = Host()
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def image(host):
    path = f"{host.dir}/disk.img"
    printed = debian.make_image(path)
    assert "installed /etc/systemd/system/posternd.service" in printed and "enabled" in printed
    return path


@pytest.fixture(scope="module")
def vm(host, image):
    return host.launch("systemd", *debian.launch_options(image), witness=False)


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


def unit_of(vm, target):
    return [line for line in vm.witness("mounts").splitlines() if f" {target} " in line]


def test_it_is_systemd(client):
    info = client.call("system.info")
    assert info.init == "systemd" and info.os.id == b"debian"
    for method in client.call("system.methods").methods:
        assert method.availability == 1, (method.name, method.reason)


def test_mounts_are_those_of_process_1(vm, client):
    """Under the unit's own mount namespace: what is mounted is seen by everybody."""
    client.call("mounts.mount", target=b"/mnt/a", type="tmpfs", create_target=True)
    assert unit_of(vm, "/mnt/a")
    client.call("mounts.unmount", target=b"/mnt/a")
    assert not unit_of(vm, "/mnt/a")


def test_a_runtime_share_is_a_transient_unit(vm, client):
    share = client.call("shares.mount", target=b"/mnt/run-time", type="tmpfs",
                        options=[dict(key="size", value=b"1m")]).share
    assert share.unit == r"mnt-run\x2dtime.mount"
    line, = unit_of(vm, "/mnt/run-time")
    assert "size=1024k" in line and "nosuid" in line and "nodev" in line
    vm.witness("exists", "/run/systemd/transient/mnt-run\\x2dtime.mount")
    client.call("shares.unmount", target=b"/mnt/run-time")
    assert not unit_of(vm, "/mnt/run-time")
    wait_until(lambda: not exists(vm, "/run/systemd/transient/mnt-run\\x2dtime.mount"))
    assert not client.call("shares.list").shares


def exists(vm, path):
    try:
        vm.witness("exists", path)
        return True
    except FileNotFoundError:
        return False


def test_a_share_that_cannot_be_mounted_leaves_no_unit(vm, client):
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/nope", type="virtiofs", source=b"nobody")
    assert failed.value.code == "NOT_FOUND"
    assert not exists(vm, "/run/systemd/transient/mnt-nope.mount")
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/x", type="tmpfs", options=[dict(key="size", value=b"1m\nExecStart=x")])
    assert failed.value.code == "INVALID_ARGUMENT"


def test_a_hot_plugged_share(host, vm):
    folder = f"{host.dir}/folder"
    os.mkdir(folder)
    open(f"{folder}/file", "w").write("hello")
    host.run("shares", "add", "systemd", folder, "/mnt/share")
    assert vm.witness("read", "/mnt/share/file") == "hello"
    share, = host.json("shares", "list", "systemd")["shares"]
    assert share["unit"] == "mnt-share.mount"
    host.run("shares", "remove", "systemd", "/mnt/share")
    assert not unit_of(vm, "/mnt/share")


def test_modules_through_the_socket_unit(client):
    assert client.call("modules.load", name="dummy").loaded_now
    client.call("modules.unload", name="dummy")


def test_persistent_shares_come_back_after_a_reboot(host, image, vm):
    with vm.client(timeout=60) as client:
        boot = client.hello_reply.boot_id
        share = client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True).share
        assert share.unit == "mnt-kept.mount"
        assert exists(vm, "/etc/systemd/system/mnt-kept.mount")
        assert client.call("power.shutdown", mode=2).by == "systemd"

    def rebooted():
        try:
            with vm.client(timeout=5) as client:
                return client.hello_reply.boot_id != boot
        except (OSError, Exception):
            return False

    wait_until(rebooted, timeout=120, step=0.5)
    wait_until(lambda: unit_of(vm, "/mnt/kept"), timeout=60)
    with vm.client(timeout=60) as client:
        wait_until(lambda: client.call("shares.list").shares)
        share, = client.call("shares.list").shares
        assert share.persistent and share.state == 1
        client.call("shares.unmount", target=b"/mnt/kept")
    assert not exists(vm, "/etc/systemd/system/mnt-kept.mount")
    assert not exists(vm, "/etc/systemd/system/multi-user.target.wants/mnt-kept.mount")


def test_stop_asks_systemd(host, vm):
    out, _ = host.run("stop", "systemd", timeout=60)
    assert "finished stopping" in out
    host.until_nothing_runs()


def test_uninstall_removes_what_install_made():
    units = f"{debian.TREE}/etc/systemd/system"
    debian.chroot("posternd", "install", "--no-start")
    assert os.path.islink(f"{units}/sysinit.target.wants/posternd.service")
    debian.chroot("posternd", "uninstall")
    assert not [name for name in os.listdir(units) if name.startswith("postern")]
    assert not os.path.lexists(f"{units}/sysinit.target.wants/posternd.service")
