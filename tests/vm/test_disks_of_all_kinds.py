# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks on the buses that a machine may have, as the agent tells them and as lsblk and the kernel's own files do."""

import errno
import json
import os
import shutil
import subprocess

import pytest

from machine import BUILD, Host
from wire import Failed

MIB = 1 << 20
GENERIC = f"{BUILD}/generic"
DRIVERS = ["ahci", "sd_mod", "nvme", "virtio_scsi", "xhci_pci", "usb_storage", "scsi_debug"]
SECTOR_OF_MEDIUM_ERROR = 0x1234  # of scsi_debug

# name: (size, QEMU's words for it, what it is expected to be)
KINDS = {
    "sata": (5 * MIB, ["-device", "ide-hd,drive=sata,bus=ide.0,serial=SATA-1,model=Solid State"],
             {"bus": b"ata", "serial": b"SATA-1", "model": b"Solid State"}),
    "nvme": (6 * MIB, ["-device", "nvme,drive=nvme,serial=NVME-1"], {"bus": b"nvme", "serial": b"NVME-1"}),
    # With more than one way to it, the kernel shows a head that hangs on no device, and the ways, which are no disks.
    "paths": (7 * MIB, ["-device", "nvme-subsys,id=subsystem,nqn=postern", "-device",
                        "nvme,id=first,serial=NVME-2,subsys=subsystem", "-device",
                        "nvme,id=second,serial=NVME-2,subsys=subsystem", "-device",
                        "nvme-ns,drive=paths,bus=first,shared=on"], {"bus": b"nvme", "serial": b"NVME-2"}),
    "scsi": (11 * MIB, ["-device", "virtio-scsi-pci,id=hba", "-device",
                       "scsi-hd,drive=scsi,bus=hba.0,scsi-id=3,lun=1,serial=SCSI-1,wwn=0x5000c50015ea71ac"],
             {"bus": b"scsi", "serial": b"SCSI-1", "wwid": b"naa.5000c50015ea71ac"}),
    "stick": (9 * MIB, ["-device", "qemu-xhci,id=xhci", "-device",
                        "usb-storage,drive=stick,bus=xhci.0,serial=USB-1,removable=on"],
              {"bus": b"usb", "serial": b"USB-1", "removable": True}),
    "blocks": (12 * MIB, ["-device", "scsi-hd,drive=blocks,bus=hba.0,scsi-id=5,serial=SCSI-2,"
                                     "logical_block_size=4096,physical_block_size=4096"],
               {"bus": b"scsi", "serial": b"SCSI-2", "block_size": 4096}),
    # Without anything of its own.
    "unnamed": (15 * MIB, ["-device", "scsi-hd,drive=unnamed,bus=hba.0,scsi-id=2"], {"serial": b""}),
    "locked": (16 * MIB, ["-device", "scsi-hd,drive=locked,bus=hba.0,scsi-id=6"],
               {"bus": b"scsi", "read_only": True}),
}


@pytest.fixture(scope="module")
def host():
    """QEMU with more devices than Postern itself would give it; the generic kernel has their drivers."""
    machines = Host()
    machines.env["POSTERN_GUEST_DIR"] = GENERIC
    words = []
    for name, (size, devices, _) in KINDS.items():
        with open(f"{machines.dir}/{name}", "wb") as file:
            file.truncate(size)
        read_only = ",readonly=on" if name == "locked" else ""
        words += ["-drive", f"if=none,id={name},format=raw,file={machines.dir}/{name}{read_only}", *devices]
    with open(f"{machines.dir}/qemu", "w") as file:
        quoted = " ".join(f"'{word}'" for word in words)
        file.write(f'#!/bin/sh\nexec {shutil.which("qemu-system-x86_64")} "$@" {quoted}\n')
    os.chmod(f"{machines.dir}/qemu", 0o755)
    machines.env["POSTERN_QEMU"] = f"{machines.dir}/qemu"
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def vm(host):
    release, = os.listdir(f"{GENERIC}/lib/modules")
    policy, allow = f"{host.dir}/disks.policy", f"{host.dir}/drivers.allow"
    with open(policy, "w") as file:
        file.write("allow host disks.*\n")
    with open(allow, "w") as file:
        file.write("\n".join(DRIVERS).replace("scsi_debug", "scsi_debug opts dev_size_mb") + "\n")
    image = f"{host.dir}/root.img"
    with open(image, "wb") as file:
        file.truncate(4 * MIB)
    subprocess.run(["sfdisk", "-q", image], input="label: gpt\nsize=1M, name=first\n", text=True, check=True)
    machine = host.launch("kinds", "--kernel", f"{GENERIC}/boot/vmlinuz-{release}",
                          "--modules", f"{GENERIC}/lib/modules/{release}", "--memory", "512M",
                          "--add", f"{policy}:/etc/postern/policy.d/60-disks.policy",
                          "--add", f"{allow}:/etc/postern/modules.d/drivers.allow",
                          "--add", f"{shutil.which('busybox')}:/bin/sh", "--add", "/usr/bin/lsblk:/bin/lsblk",
                          "--image", image,
                          *[word for driver in DRIVERS for word in ("--add-module", driver)])
    with machine.client(timeout=60) as client:
        for driver in DRIVERS:
            parameters = [{"name": "opts", "value": b"2"}] if driver == "scsi_debug" else []
            client.call("modules.load", name=driver, parameters=parameters, timeout_ms=60000)
        # The buses are looked through in their own time.
        sizes = {size for size, _, _ in KINDS.values()}
        host.until(lambda: sizes <= {one.size for one in client.call("disks.list_disks").disks}, 60)
    yield machine
    assert host.info("kinds")["status"] == "running", machine.console()
    machine.stop()


def disks(client):
    return [one for one in client.call("disks.list_disks").disks if not one.HasField("partition")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_of_its_bus(vm, client, kind):
    size, _, expected = KINDS[kind]
    one, = [one for one in disks(client) if one.size == size]
    for field, value in expected.items():
        assert getattr(one, field) == value, one
    name = one.name.decode()
    device = vm.shell(f"cd /sys/class/block/{name} && pwd -P").strip()
    if "/virtual/" in device:
        assert not one.HasField("pci_address"), device
    else:
        # The device of PCI that is next to it.
        assert one.pci_address.decode() == [part for part in device.split("/") if part.count(":") == 2 and "." in part][-1]
        assert vm.shell(f"cat /sys/bus/pci/devices/{one.pci_address.decode()}/class").startswith("0x")


def test_all_of_them_as_lsblk_has_them(vm, client):
    columns = "NAME,SIZE,RM,RO,ROTA,LOG-SEC,MAJ:MIN,TRAN,SERIAL,MODEL,HCTL,WWN,TYPE,PKNAME"
    told = {one.name.decode(): one for one in client.call("disks.list_disks").disks}
    listed = {}

    def add(devices):
        for device in devices:
            listed[device["name"]] = device
            add(device.get("children", ()))

    add(json.loads(vm.shell(f"lsblk -J -b -o {columns}"))["blockdevices"])
    assert set(told) == set(listed) and len(told) > len(KINDS)
    transports = {"ata": "sata", "scsi": None, "virtio": None}
    for name, theirs in listed.items():
        ours = told[name]
        assert (ours.size, ours.removable, ours.read_only) == (theirs["size"], theirs["rm"], theirs["ro"]), name
        assert f"{ours.major}:{ours.minor}" == theirs["maj:min"] and ours.block_size == theirs["log-sec"]
        assert ours.parent.decode() == (theirs["pkname"] or "")
        if theirs["type"] != "disk":
            continue
        assert ours.rotational == theirs["rota"], name
        bus = ours.bus.decode()
        assert transports.get(bus, bus) == theirs["tran"], (name, ours.bus)
        if theirs["hctl"]:
            assert ":".join(map(str, ours.scsi_address)) == theirs["hctl"], name
        if theirs["model"]:
            assert ours.model.decode().startswith(theirs["model"].strip()), name
        if theirs["serial"]:
            assert ours.serial.decode() == theirs["serial"].strip(), name
    assert len({one.id for one in told.values()}) == len(told)


def test_names_that_stay(vm, client):
    """What tells a disk from others does not follow from the order in which they came."""
    ids = {one.size: one.id.decode() for one in disks(client)}
    for kind in ("sata", "paths", "scsi", "stick"):
        size, _, expected = KINDS[kind]
        assert any(text in ids[size] for text in (expected["serial"].decode(), expected.get("wwid", b"-").decode(),
                                                  "nvme.", "eui.")), ids[size]
        assert client.call("disks.benchmark", disk=ids[size].encode(), duration_ms=50).results


def test_a_medium_error(client):
    """What a disk says of a spot of its own."""
    one, = [one for one in disks(client) if one.model == b"scsi_debug"]
    assert one.size > SECTOR_OF_MEDIUM_ERROR * 512
    with pytest.raises(Failed) as failed:
        client.call("disks.benchmark", disk=one.name, duration_ms=5000)
    assert failed.value.code == "UNAVAILABLE" and f"/dev/{one.name.decode()}" in failed.value.message
    assert failed.value.error.sys_errno in (errno.EIO, errno.ENODATA)
