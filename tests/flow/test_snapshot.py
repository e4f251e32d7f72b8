# SPDX-License-Identifier: LGPL-2.1-or-later
"""notifications.subscribe with snapshot: what is there already, by topic."""

import os
import subprocess

import pytest

from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")


def snapshot(client, *topics, **fields):
    """All events of the snapshot: [(topic, payload)]. A tmpfs mounted after it marks its end."""
    client.notifications.clear()
    client.call("notifications.subscribe", topics=[*topics, "notify.mounts.unmount"], snapshot=True, **fields)
    mark = f"{os.path.dirname(client.sock.getpeername())}/mark"
    os.makedirs(mark, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "mark", mark], check=True)
    subprocess.run(["umount", mark], check=True)
    found = []
    while True:
        got, body = client.notification()
        if got.topic == "notify.mounts.unmount":
            return found
        # What happens meanwhile comes as ever.
        if got.snapshot:
            found.append((got.topic, body))


@pytest.fixture
def share(agent, client):
    target = f"{os.path.realpath(agent.dir)}/share"
    client.call("shares.mount", target=target.encode(), type="tmpfs", options=[dict(key="size", value=b"64k")])
    yield target
    subprocess.run(["umount", target], check=False, capture_output=True)
    client.call("shares.unmount", target=target.encode())


def test_shares_that_are_mounted(client, share):
    (topic, body), = snapshot(client, "notify.shares.mount")
    listed, = client.call("shares.list").shares
    assert topic == "notify.shares.mount" and body.share == listed


def test_a_share_that_somebody_unmounted_is_not_among_them(client, share):
    subprocess.run(["umount", share], check=True)
    assert len(client.call("shares.list").shares) == 1
    assert snapshot(client, "notify.shares.mount") == []


def test_devices_are_those_of_sysfs(client):
    found = snapshot(client, "notify.devices.added")
    assert {topic for topic, _ in found} == {"notify.devices.added"}
    devices = {(d.subsystem.decode(), os.path.basename(d.path.decode())): d for d in (body.device for _, body in found)}
    for subsystem, folder in (("block", "/sys/class/block"), ("net", "/sys/class/net"),
                              ("virtio", "/sys/bus/virtio/devices")):
        there = {name for name in os.listdir(folder) if os.path.islink(f"{folder}/{name}")}
        assert {name for of, name in devices if of == subsystem} == there
        for name in there:
            device = devices[subsystem, name]
            assert os.path.samefile("/sys" + device.path.decode(), f"{folder}/{name}")
            with open(f"{folder}/{name}/uevent") as file:
                said = dict(line.rstrip("\n").split("=", 1) for line in file)
            assert device.node.decode() == said.get("DEVNAME", "")
            assert device.type.decode() == said.get("DEVTYPE", "")
            assert device.driver.decode() == said.get("DRIVER", "")
            assert (device.major, device.minor) == (int(said.get("MAJOR", 0)), int(said.get("MINOR", 0)))
    assert devices


def test_the_load_is_the_last_sample(client):
    # A threshold that never holds keeps events back, not the state.
    (topic, body), = snapshot(client, "notify.system_load", threshold=dict(load1_above=1e9))
    assert topic == "notify.system_load"
    assert body.sample in client.call("system_load.historical").points[-2:]


def test_all_at_once(client, share):
    topics = [topic for topic, _ in snapshot(client, "notify.*")]
    assert set(topics) == {"notify.mounts.mount", "notify.shares.mount", "notify.devices.added", "notify.system_load"}
    with open("/proc/self/mountinfo") as file:
        assert topics.count("notify.mounts.mount") == len(file.readlines())


@pytest.mark.parametrize("topics", [["notify.mounts.unmount"], ["notify.gap"],
                                    ["notify.shares.unmount", "notify.devices.removed"]])
def test_what_has_no_state_is_an_error(client, topics):
    with pytest.raises(Failed) as failed:
        client.call("notifications.subscribe", topics=topics, snapshot=True)
    assert failed.value.code == "INVALID_ARGUMENT" and "has a state" in failed.value.message
    client.call("notifications.subscribe", topics=topics)


def test_the_list_says_which_have_a_state(client):
    states = {topic.name: topic.state for topic in client.call("notifications.list").topics}
    assert states == {name: name in ("notify.system_load", "notify.mounts.mount", "notify.shares.mount",
                                     "notify.devices.added", "notify.properties.changed",
                                     "notify.heartbeat.missed") for name in states}


@pytest.mark.parametrize("before", [False, True], ids=["event", "snapshot"])
def test_what_does_not_fit_into_a_frame_is_told_as_lost(agent, before):
    place = f"{os.path.realpath(agent.dir)}/{'d' * 200}"
    for _ in range(18):
        place += f"/{'d' * 200}"
    os.makedirs(place, exist_ok=True)
    with agent.client(max_frame=4096) as client:
        if before:
            subprocess.run(["mount", "--bind", place, place], check=True)
        client.call("notifications.subscribe", topics=["notify.mounts.mount"], snapshot=before)
        if not before:
            subprocess.run(["mount", "--bind", place, place], check=True)
        try:
            got, body = client.notification("notify.gap")
        finally:
            subprocess.run(["umount", place], check=True)
        assert body.missed == 1 and not got.snapshot
