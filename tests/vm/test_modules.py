# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules of a small guest whose owner has allowed more than the default, and the devices they bring."""

import os

import pytest

from wire import Failed


@pytest.fixture(scope="module")
def vm(host):
    allow = f"{host.dir}/test.allow"
    with open(allow, "w") as file:
        file.write("loop max_loop  # and no other parameter\n")
    machine = host.launch("modules", "--add", f"{allow}:/etc/postern/modules.d/test.allow")
    yield machine
    machine.stop()


def failure(call):
    with pytest.raises(Failed) as failed:
        call()
    return failed.value


def test_what_a_module_is_needs_and_takes(client):
    info = client.call("modules.info", name="virtiofs")
    assert info.loaded and info.module.state in ("live", "builtin")
    assert b"fuse" in info.depends and b"virtio" in info.depends
    info = client.call("modules.info", name="loop")
    assert info.allowed and not info.loaded and b"GPL" in info.license
    parameters = {parameter.name: parameter for parameter in info.parameters}
    assert parameters["max_loop"].allowed and b"loop devices" in parameters["max_loop"].description
    assert not parameters["max_part"].allowed
    assert failure(lambda: client.call("modules.info", name="no_such_module")).code == "NOT_FOUND"


def test_a_parameter_reaches_the_kernel_and_devices_are_told(vm, client):
    error = failure(lambda: client.call("modules.load", name="loop", parameters=[dict(name="max_part", value=b"3")]))
    assert error.code == "PERMISSION_DENIED" and "max_part" in error.message
    client.call("notifications.subscribe", topics=["notify.devices.*"])
    assert client.call("modules.load", name="loop", parameters=[dict(name="max_loop", value=b"3")]).loaded_now
    assert vm.witness("read", "/sys/module/loop/parameters/max_loop") == "3\n"
    added = {}
    while len(added) < 3:
        _, body = client.notification("notify.devices.added")
        if body.device.subsystem == b"block":
            added[body.device.node] = body.device
    assert set(added) == {b"loop0", b"loop1", b"loop2"}
    disk = added[b"loop1"]
    assert (disk.type, disk.major, disk.minor) == (b"disk", 7, 1) and disk.path == b"/devices/virtual/block/loop1"
    client.call("modules.unload", name="loop")
    removed = set()
    while len(removed) < 3:
        _, body = client.notification("notify.devices.removed")
        if body.device.subsystem == b"block":
            removed.add(body.device.node)
    assert removed == set(added)
    # Now none is there: the next one to ask is told so.
    client.call("notifications.subscribe", topics=["notify.devices.added"], snapshot=True)
    client.call("system.ping")
    assert not [n for n in client.notifications if b"loop" in n.payload]


def test_the_device_of_a_share_is_told(host, vm, client):
    folder = f"{host.dir}/folder"
    os.mkdir(folder)
    client.call("notifications.subscribe", topics=["notify.devices.*"])
    host.run("shares", "add", vm.name, folder, "/mnt/share")

    def virtio(topic):
        while True:
            _, body = client.notification(topic)
            if body.device.subsystem == b"virtio":
                return body.device

    device = virtio("notify.devices.added")
    assert vm.witness("read", f"/sys{device.path.decode()}/device") == "0x001a\n"  # a file system's
    with vm.client() as other:
        other.call("notifications.subscribe", topics=["notify.devices.added"], snapshot=True)
        other.call("system.ping")
        there = [other.notification()[1].device for _ in range(len(other.notifications))]
        assert (device.path, b"virtiofs") in [(d.path, d.driver) for d in there]
    host.run("shares", "remove", vm.name, "/mnt/share")
    assert virtio("notify.devices.removed").path == device.path


def test_without_vsock_diag(client):
    """Where the kernel cannot tell of its vsock sockets, the method says so."""
    client.call("modules.unload", name="vsock_diag")
    try:
        method, = [m for m in client.call("system.methods").methods if m.name == "ports.list"]
        assert method.availability == 3 and "vsock_diag" in method.reason
        error = failure(lambda: client.call("ports.list"))
        assert error.code == "UNIMPLEMENTED" and "vsock_diag" in error.message
    finally:
        client.call("modules.load", name="vsock_diag")
    assert client.call("ports.list").sockets


def test_without_postern_kmod(vm, client):
    """The last one here: nobody can put it back."""
    vm.witness("unlink", "/usr/libexec/postern/postern-kmod")
    methods = {method.name: method for method in client.call("system.methods").methods}
    for name in ("modules.list", "modules.info", "modules.load", "modules.unload"):
        assert methods[name].availability == 4 and methods[name].reason == "postern-kmod is not installed"
    assert methods["mounts.mount"].availability == 1
    for name in ("modules.info", "modules.load"):
        error = failure(lambda: client.call(name, name="loop"))
        assert error.code == "UNAVAILABLE" and "postern-kmod cannot be asked" in error.message
    client.call("mounts.mount", target=b"/mnt/t", type="tmpfs", create_target=True)
    client.call("mounts.unmount", target=b"/mnt/t")
