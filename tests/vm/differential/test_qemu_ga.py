# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's guest agent and ours in one guest, asked for the same: whatever differs is wrong here, or explained."""

import base64
import os
import subprocess
import time

import pytest

import debian
import qga
from machine import Host, Machine
from wire import Failed

MIB = 1 << 20


def add_to(tree):
    debian.write(f"{tree}/etc/postern/policy.d/60-all.policy", "allow host *\n")
    with open(f"{tree}/etc/postern/postern.conf", "a") as file:
        file.write("files_roots = /srv\n")
    debian.write(f"{tree}/srv/told", "what both tell\n")
    debian.write(f"{tree}/etc/systemd/system/qga.service", qga.UNIT)
    debian.chroot(tree, "systemctl", "enable", "qga.service")
    debian.chroot(tree, "useradd", "-m", "-s", "/bin/sh", "guest")


@pytest.fixture(scope="module")
def vm():
    host = Host()
    path = f"{host.dir}/disk.img"
    debian.make_image(path, add_to)
    host.run("launch", "both", "--cid", "3", "--detach", "--cpus", "2", "--default-net", "true",
             # Emulated, two processors that patch the kernel's text under each other bring this one down.
             *debian.launch_options(path, "maxcpus=1"), timeout=400)
    machine = Machine(host, "both")
    host.until(lambda: host.info("both")["state"] == "ready", 300)
    # Two disks more: one with a partition that is mounted, one that nobody uses.
    for name in ("parts", "plain"):
        with open(f"{host.dir}/{name}", "wb") as file:
            file.truncate(64 * MIB)
    subprocess.run(["sfdisk", "-q", f"{host.dir}/parts"], input="label: gpt\n2048,61440,L\n", text=True, check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "offset=1048576", f"{host.dir}/parts", "30M"], check=True,
                   capture_output=True)
    host.run("disks", "attach", "both", f"{host.dir}/parts", "--partition", "1", "--mount", "/mnt/part",
             "--type", "ext4")
    host.run("disks", "attach", "both", f"{host.dir}/plain", "--read-only")
    machine.shell("modprobe virtio_net; udevadm settle", timeout=60)
    with machine.client(timeout=60) as client:
        link, = [one.name for one in client.call("network.interfaces").interfaces if one.name != b"lo"]
        client.call("network.set_link", interface=link, up=True)
        client.call("network.set_address", interface=link, address="192.0.2.7", prefix=24)
    yield machine
    host.close()


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


@pytest.fixture
def peer(vm):
    with qga.QemuGa(vm.vsock) as connected:
        yield connected


# ---- Disks and file systems ----

def test_disks(client, peer):
    ours = {disk.name.decode(): disk for disk in client.call("disks.list_disks").disks}
    theirs = {disk["name"].removeprefix("/dev/"): disk for disk in peer.call("guest-get-disks")}
    assert set(ours) == set(theirs) and {"vda", "vdb", "vdb1", "vdc"} == set(ours)
    for name, disk in theirs.items():
        assert disk["partition"] == ours[name].HasField("partition")
        # It names those beneath as dependencies; of a partition it says its disk.
        beneath = [parent.decode() for parent in ours[name].beneath] or \
            [ours[name].parent.decode()] * ours[name].HasField("parent")
        assert [path.removeprefix("/dev/") for path in disk.get("dependencies", [])] == beneath
        if "address" not in disk:
            continue
        address, pci = disk["address"], disk["address"]["pci-controller"]
        assert address["bus-type"] == ours[name].bus.decode()
        assert address.get("serial", "") == ours[name].serial.decode()
        assert f"{pci['domain']:04x}:{pci['bus']:02x}:{pci['slot']:02x}.{pci['function']:x}" == \
            ours[name].pci_address.decode()
    assert ours["vdc"].read_only and not ours["vdb"].read_only, "it does not tell"


def test_disks_and_the_guests_own_files(client, vm):
    for disk in client.call("disks.list_disks").disks:
        name = disk.name.decode()
        sectors, device = vm.shell(f"cat /sys/class/block/{name}/size /sys/class/block/{name}/dev").split()
        assert (disk.size, f"{disk.major}:{disk.minor}") == (int(sectors) * 512, device)


def test_file_systems(client, peer):
    ours = {mount.target.decode(): mount for mount in client.call("mounts.list", usage=True).mounts}
    for theirs in peer.call("guest-get-fsinfo"):
        mount = ours[theirs["mountpoint"]]
        assert mount.type.decode() == theirs["type"]
        assert mount.source.decode().removeprefix("/dev/") == theirs["name"]
        # It counts what is kept for root as if it were not there.
        assert mount.usage.used + mount.usage.available == theirs["total-bytes"] <= mount.usage.total
        assert abs(mount.usage.used - theirs["used-bytes"]) < 8 * MIB, "others write meanwhile"
    # It tells of what is on a disk only; ours of the others, too.
    assert {theirs["mountpoint"] for theirs in peer.call("guest-get-fsinfo")} == {"/", "/mnt/part"}
    assert ours["/proc"].type == b"proc"


def test_disk_statistics(client, peer):
    theirs = {disk["name"]: disk for disk in peer.call("guest-get-diskstats")}
    ours = {disk.name.decode(): disk for disk in client.call("disks.stats").disks}
    assert set(theirs) == set(ours)
    for name in ("vdb", "vdb1", "vdc"):  # at rest
        stats, mine = theirs[name]["stats"], ours[name]
        assert (theirs[name]["major"], theirs[name]["minor"]) == (mine.major, mine.minor)
        assert (stats["read-ios"], stats["read-merges"], stats["read-ticks"]) == \
            (mine.reads, mine.reads_merged, mine.read_ms)
        assert (stats["write-ios"], stats["write-sectors"] * 512) == (mine.writes, mine.written_bytes)
        assert stats["read-sectors"] * 512 == mine.read_bytes
        assert (stats["discard-ios"], stats["flush-ios"]) == (mine.discards, mine.flushes)


def test_trim(client, peer):
    ours = {one.filesystem.target.decode(): one.bytes for one in client.call("filesystems.trim").trimmed}
    theirs = {one["path"]: one for one in peer.call("guest-fstrim")["paths"]}
    assert set(ours) == set(theirs) == {"/", "/mnt/part"} and ours["/"] > 100 * MIB
    # ext4 passes over what it has trimmed before: whoever asks second is told less.
    assert all(theirs[path]["trimmed"] <= ours[path] and not theirs[path].get("error") for path in ours)


def test_freeze_and_thaw(client, peer, vm):
    assert peer.call("guest-fsfreeze-status") == "thawed" and not client.call("filesystems.status").frozen
    frozen = client.call("filesystems.freeze", lease_ms=30000).frozen
    # Each knows of its own only: there is no asking the kernel.
    assert peer.call("guest-fsfreeze-status") == "thawed"
    assert len(client.call("filesystems.thaw").thawed) == len(frozen) == 2
    assert peer.call("guest-fsfreeze-freeze") == 2
    with pytest.raises(Failed) as failed:
        client.call("filesystems.freeze", lease_ms=1000)
    assert failed.value.code == "FAILED_PRECONDITION" and "by somebody else" in failed.value.message
    assert {one.target.decode() for one in client.call("filesystems.thaw", everything=True).thawed} == \
        {"/", "/mnt/part"}
    vm.shell("touch /written && sync", timeout=20)
    peer.call("guest-fsfreeze-thaw")


def test_files(client, peer):
    handle = peer.call("guest-file-open", path="/srv/told", mode="r")
    theirs = base64.b64decode(peer.call("guest-file-read", handle=handle)["buf-b64"])
    peer.call("guest-file-close", handle=handle)
    assert b"".join(client.call("files.read", path=b"/srv/told").data) == theirs == b"what both tell\n"
    client.call("files.write", path=b"/srv/ours", data=b"of ours", create=True)
    handle = peer.call("guest-file-open", path="/srv/ours", mode="r+")
    peer.call("guest-file-seek", handle=handle, offset=3, whence="set")
    peer.call("guest-file-write", handle=handle, **{"buf-b64": base64.b64encode(b"us").decode()})
    peer.call("guest-file-flush", handle=handle)
    peer.call("guest-file-close", handle=handle)
    assert b"".join(client.call("files.read", path=b"/srv/ours").data) == b"of usrs"


# ---- Processors, memory, load ----

def test_processors(client, peer):
    theirs = sorted(peer.call("guest-get-vcpus"), key=lambda cpu: cpu["logical-id"])  # in no order
    assert [(cpu["logical-id"], cpu["online"], cpu["can-offline"]) for cpu in theirs] == \
        [(cpu.id, cpu.online, cpu.can_offline) for cpu in client.call("cpus.list").cpus]
    assert [cpu["online"] for cpu in theirs] == [True, False]
    assert peer.call("guest-set-vcpus", vcpus=[{"logical-id": 0, "online": True}]) == 1
    assert not client.call("cpus.set", online=[0]).problems


def test_memory_blocks(client, peer):
    ours = client.call("memory.blocks")
    theirs = peer.call("guest-get-memory-blocks")
    assert sorted((block["phys-index"], block["online"]) for block in theirs) == \
        [(block.id, block.online) for block in ours.blocks] and len(theirs) > 8
    assert peer.call("guest-get-memory-block-info")["size"] == ours.block_size
    # It asks the file "removable" of a kernel that says of all of them that they could be (since Linux 5.4).
    assert {block["phys-index"] for block in theirs if block["can-offline"]} == \
        {block.id for block in ours.blocks if block.removable}


def test_processor_statistics(client, peer):
    before = client.call("system_load.current").cpus
    theirs = [one for one in peer.call("guest-get-cpustats") if one["type"] == "linux"]
    after = client.call("system_load.current").cpus
    assert [one["cpu"] for one in theirs] == [cpu.index for cpu in after] == [0]
    tick = 1000 // os.sysconf("SC_CLK_TCK")
    for name, field in (("user", "user_ms"), ("nice", "nice_ms"), ("system", "system_ms"), ("idle", "idle_ms"),
                        ("irq", "irq_ms"), ("softirq", "softirq_ms"), ("steal", "steal_ms")):
        for number, told in enumerate(theirs):
            # The unit differs: it has what is a tick here in milliseconds, too.
            low, high = getattr(before[number], field), getattr(after[number], field)
            assert low - 10 * tick <= told[name] <= high + 10 * tick, (name, number)


def test_load(client, vm):
    """Version 7.2 has no guest-get-load; what that of later ones reads is compared."""
    load = client.call("system_load.current")
    one, five, fifteen = map(float, vm.shell("cat /proc/loadavg").split()[:3])
    assert abs(load.load1 - one) < 0.3 and abs(load.load5 - five) < 0.2 and abs(load.load15 - fifteen) < 0.1


# ---- The network ----

def test_interfaces(client, peer):
    ours = {link.name.decode(): link for link in client.call("network.interfaces").interfaces}
    theirs = {link["name"]: link for link in peer.call("guest-network-get-interfaces")}
    assert set(ours) == set(theirs) and len(theirs) == 2
    for name, link in theirs.items():
        mine = ours[name]
        # It calls the zeros of the loopback interface an address.
        assert link.get("hardware-address") == (mine.mac or "00:00:00:00:00:00")
        assert sorted((one["ip-address"], one["prefix"]) for one in link.get("ip-addresses", [])) == \
            sorted((one.address, one.prefix) for one in mine.addresses)
        assert all((":" in one["ip-address"]) == (one["ip-address-type"] == "ipv6")
                   for one in link.get("ip-addresses", []))
        stats = link["statistics"]
        assert (stats["rx-errs"], stats["tx-errs"], stats["rx-dropped"], stats["tx-dropped"]) == \
            (mine.counters.rx_errors, mine.counters.tx_errors, mine.counters.rx_dropped, mine.counters.tx_dropped)
        assert mine.counters.rx_bytes <= stats["rx-bytes"] <= mine.counters.rx_bytes + 100000
    assert any(address.address == "192.0.2.7" for link in ours.values() for address in link.addresses)


# ---- Time, names, users ----

def test_time(client, peer):
    assert abs(client.call("time.get").time_ns - peer.call("guest-get-time")) < 10**9
    now = time.time_ns()
    peer.call("guest-set-time", time=now + 3600 * 10**9)
    assert abs(client.call("time.get").time_ns - now - 3600 * 10**9) < 20 * 10**9
    client.call("time.set", time_ns=time.time_ns())
    assert abs(peer.call("guest-get-time") - time.time_ns()) < 5 * 10**9


@pytest.mark.parametrize("zone", [b"Europe/Berlin", b"America/St_Johns", b"Etc/UTC"])
def test_zones(client, peer, zone):
    ours = client.call("time.set_zone", zone=zone).zone
    theirs = peer.call("guest-get-timezone")
    # In UTC it leaves the zone's name out.
    assert (theirs["offset"], theirs.get("zone", "UTC")) == (ours.offset_s, ours.abbreviation)


def test_names(client, peer):
    info, theirs = client.call("system.info"), peer.call("guest-get-osinfo")
    assert theirs["id"] == info.os.id.decode() and theirs["version-id"] == info.os.version_id.decode()
    assert theirs["pretty-name"] == info.os.pretty_name.decode()
    assert theirs["kernel-release"] == info.kernel.release.decode()
    assert theirs["kernel-version"] == info.kernel.version.decode()
    assert theirs["machine"] == info.kernel.machine.decode()
    client.call("identity.set_host_name", host_name=b"told-by-both")
    assert peer.call("guest-get-host-name")["host-name"] == client.call("identity.get").host_name.decode() == \
        "told-by-both"


def test_keys(client, peer):
    one, two = "ssh-ed25519 AAAAone one", "ssh-ed25519 AAAAtwo two"
    client.call("users.add_keys", user=b"guest", keys=[one.encode()])
    assert peer.call("guest-ssh-get-authorized-keys", username="guest") == {"keys": [one]}
    peer.call("guest-ssh-add-authorized-keys", username="guest", keys=[two])
    assert list(client.call("users.get_keys", user=b"guest").keys) == [one.encode(), two.encode()]
    client.call("users.remove_keys", user=b"guest", keys=[one.encode()])
    assert peer.call("guest-ssh-get-authorized-keys", username="guest") == {"keys": [two]}


def test_passwords(client, peer, vm):
    check = "perl -e 'my @e = getpwnam(\"guest\"); exit(crypt(\"%s\", $e[1]) ne $e[1])'"
    for password, setter in ((b"by ours", lambda: client.call("users.set_password", user=b"guest",
                                                              password=b"by ours")),
                             (b"by theirs", lambda: peer.call("guest-set-user-password", username="guest",
                                                              crypted=False,
                                                              password=base64.b64encode(b"by theirs").decode()))):
        setter()
        vm.shell(check % password.decode())


def test_logins(client, peer):
    """Nobody is logged in; what is compared is that nobody is told."""
    assert {user["user"] for user in peer.call("guest-get-users")} == \
        {login.user.decode() for login in client.call("users.list").logins}


def test_programs(client, peer):
    pid = peer.call("guest-exec", path="/bin/sh", arg=["-c", "exit 7"])["pid"]
    while not (theirs := peer.call("guest-exec-status", pid=pid))["exited"]:
        time.sleep(0.1)
    job = client.call("exec.start", argv=[b"/bin/sh", b"-c", b"exit 7"]).job
    assert theirs["exitcode"] == 7 == client.call("exec.wait", job=job).job.exit_code
