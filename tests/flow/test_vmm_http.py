# SPDX-License-Identifier: LGPL-2.1-or-later
"""Firecracker and Cloud Hypervisor: the drivers, against servers that know the VMMs' published descriptions
(fake_http_vmm.py). Supervisor and command line are real. Neither VMM has been here: they need hardware
virtualisation."""

import json
import os
import signal
import subprocess

import pytest

import fake_http_vmm
import fake_vmm
import openapi
from fake_http_vmm import requests, script
from machine import ABSENT, ANSWERED, PROTOCOL, USAGE

VMMS = ("firecracker", "cloud-hypervisor")
TITLES = {"firecracker": "Firecracker", "cloud-hypervisor": "Cloud Hypervisor"}
MIB = 1 << 20


@pytest.fixture(params=VMMS)
def vmm(request):
    return request.param


class Launcher:
    def __init__(self, host, folder):
        self.host = host
        self.folder = folder
        fake_http_vmm.install(folder, host)

    def __call__(self, vmm, *options, name="web", code=0, **guest):
        with open(f"{self.folder}/guest.json", "w") as file:
            json.dump({"boot": 0, "hint": None if "boot" in guest else 0, **guest}, file)
        return self.host.run("launch", name, "--vmm", vmm, "--kernel", f"{self.folder}/vmlinux", "--initrd",
                             f"{self.folder}/vmlinux", *options, code=code)

    def requests(self):
        return requests(self.folder)

    def names(self):
        return [f"{method} {path}" for method, path, _ in self.requests()]

    def forget(self):
        os.truncate(f"{self.folder}/log", 0)

    def events(self):
        return fake_vmm.events(self.folder)

    def console(self, name="web"):
        with open(self.host.file(name, "console.log")) as file:
            return file.read()


@pytest.fixture
def launch(host, tmp_path):
    return Launcher(host, tmp_path)


# ---- A machine's life ----

def test_a_guest_boots_and_answers(host, launch, vmm):
    launch(vmm)
    info = host.info("web")
    assert (info["state"], info["driver"], info["vsock"], info["accel"]) == ("ready", vmm, "vmm", "kvm")
    assert info["problems"] == []
    # The vsock is the VMM's own, where everybody expects it.
    assert "postern-vsockd" not in str(host.children("web")) and "vsockd_pid" not in info
    assert os.path.exists(host.file("web", "vsock.sock"))
    assert "the guest boots" in launch.console()
    if vmm == "firecracker":
        with open(host.file("web", "supervisor.log")) as log:  # and not in the console
            assert "firecracker: firecracker's log" in log.read()
        assert "log" not in launch.console()


def test_what_firecracker_is_told(host, launch, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(512))
    launch("firecracker", "--memory", "128M", "--cpus", "2", "--image", f"{tmp_path}/disk", "--image-read-only",
           "--cmdline-add", 'quoted="\u00fc"')
    told = {path: body for _, path, body in launch.requests()}
    assert launch.names() == ["GET /version", "PUT /machine-config", "PUT /boot-source", "PUT /drives/disk0",
                              "PUT /balloon", "PUT /entropy", "PUT /vsock", "PUT /actions"]
    assert told["/machine-config"] == {"vcpu_count": 2, "mem_size_mib": 128}
    assert told["/boot-source"] == {
        "kernel_image_path": f"{tmp_path}/vmlinux", "initrd_path": f"{tmp_path}/vmlinux",
        "boot_args": 'console=ttyS0 quoted="\u00fc" reboot=k pci=off'}
    assert told["/drives/disk0"] == {"drive_id": "disk0", "path_on_host": f"{tmp_path}/disk",
                                     "is_root_device": False, "is_read_only": True}
    assert told["/vsock"] == {"guest_cid": host.info("web")["cid"], "uds_path": host.file("web", "vsock.sock")}
    assert told["/actions"] == {"action_type": "InstanceStart"}


def test_what_cloud_hypervisor_is_told(host, launch, tmp_path):
    (tmp_path / "disk").write_bytes(b"QFI\xfb")
    launch("cloud-hypervisor", "--memory", "128M", "--cpus", "2", "--image", f"{tmp_path}/disk",
           "--share", f"{tmp_path}:/mnt/data")
    assert launch.names() == ["GET /vmm.ping", "PUT /vm.create", "PUT /vm.boot"]
    config = launch.requests()[1][2]
    share = host.info("web")["shares"][0]
    assert config["cpus"] == {"boot_vcpus": 2, "max_vcpus": 2}
    assert config["memory"] == {"size": 128 * MIB, "shared": True}
    assert config["payload"] == {"kernel": f"{tmp_path}/vmlinux", "initramfs": f"{tmp_path}/vmlinux",
                                 "cmdline": "console=ttyS0"}
    assert config["disks"] == [{"id": "disk0", "path": f"{tmp_path}/disk", "readonly": False, "image_type": "Qcow2",
                                "serial": "disk0"}]
    assert config["fs"] == [{"id": "share0", "tag": share["tag"], "socket": host.file("web", "share-0.sock"),
                             "num_queues": 1, "queue_size": 1024}]
    assert config["vsock"] == {"cid": host.info("web")["cid"], "socket": host.file("web", "vsock.sock")}
    assert not os.path.exists(host.file("web", "share-0.sock"))  # it has connected


def test_a_clean_stop_is_the_agents(host, launch, vmm):
    launch(vmm)
    assert host.json("stop", "web")["how"] == "agent"
    assert host.info("web")["reason"] == "Clean shutdown"
    # Firecracker ends with a reboot of its guest, and never when that switches itself off.
    assert f"power.shutdown {2 if vmm == 'firecracker' else 1}" in launch.events()
    for left in ("api.sock", "vsock.sock", "vsock.sock_7670"):
        assert not os.path.exists(host.file("web", left))


def test_a_stuck_guest_is_ended_step_by_step(host, launch):
    for vmm in VMMS:
        launch(vmm, name=vmm, stuck=True)
    launch.forget()
    # The steps' times are the library's; only the agent's can be asked for here.
    for process in [host.start("stop", "-t", "100ms", "--json", vmm) for vmm in VMMS]:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and json.loads(out)["how"] == "quit", err
    assert launch.requests().count(("PUT", "/actions", {"action_type": "SendCtrlAltDel"})) == 1
    assert launch.names().count("PUT /vm.power-button") == launch.names().count("PUT /vmm.shutdown") == 1


def test_a_forced_stop(host, launch, vmm):
    launch(vmm)
    assert host.json("stop", "-f", "web")["how"] == "quit"
    assert host.info("web")["reason"] == "Forced to stop"


def test_a_guest_that_ends_by_itself(host, launch, vmm):
    launch(vmm)
    os.kill(host.info("web")["vmm_pid"], signal.SIGUSR1 if vmm == "firecracker" else signal.SIGUSR2)
    host.until(lambda: host.info("web")["status"] == "stopped")


def test_a_reset_is_followed(host, launch):
    launch("cloud-hypervisor")
    before = host.info("web")["boot_id"]
    os.kill(host.info("web")["vmm_pid"], signal.SIGUSR1)
    host.until(lambda: host.info("web").get("boot_id") != before and host.info("web")["state"] == "ready")


def test_a_guest_that_ends_before_its_agent_answered(host, launch, vmm):
    process = host.start("launch", "web", "--vmm", vmm, "--kernel", f"{launch.folder}/vmlinux", "--initrd",
                         f"{launch.folder}/vmlinux")
    with open(f"{launch.folder}/guest.json", "w") as file:
        json.dump({}, file)
    host.until(lambda: os.path.exists(host.file("web", "console.log")) and "the guest boots" in launch.console())
    os.kill(host.info("web")["vmm_pid"], signal.SIGUSR1 if vmm == "firecracker" else signal.SIGUSR2)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ABSENT and "before an agent answered" in err and "the guest boots" in err


def test_the_console_takes_input(host, launch, vmm):
    """The serial port is a terminal of the VMM's: what is typed there reaches the guest, as it is."""
    launch(vmm)
    done = subprocess.run([host.postern, "serial", "web", "--linger", "300ms"], env=host.env, timeout=20,
                          input=b"one\x03\x04two\n", capture_output=True)
    assert b"typed: one\x03\x04two\n" in done.stdout, done
    assert "typed: one" in launch.console()


# ---- Pause, balloon ----

def test_pause_and_resume(host, launch, vmm):
    launch(vmm)
    launch.forget()
    assert host.json("pause", "web") == {"name": "web", "state": "paused"}
    host.run("pause", "web")  # so it is already
    assert host.info("web")["status"] == "paused" and "Paused" in host.run("list")[0]
    host.run("resume", "web")
    host.run("resume", "web")
    assert host.info("web")["state"] == "ready"
    if vmm == "firecracker":
        assert launch.requests() == [("PATCH", "/vm", {"state": "Paused"}), ("PATCH", "/vm", {"state": "Resumed"})]
    else:
        assert launch.names() == ["PUT /vm.pause", "PUT /vm.resume"]


def test_a_paused_guest_is_stopped_cleanly(host, launch, vmm):
    launch(vmm)
    host.run("pause", "web")
    assert host.json("stop", "web")["how"] == "agent"


def test_the_balloon(host, launch, vmm):
    launch(vmm)
    launch.forget()
    host.run("balloon", "web", "64M")
    stats = host.json("balloon-stats", "web")
    assert (stats["current-pages"], stats["requested-pages"]) == (16384, 16384)
    if vmm == "cloud-hypervisor":
        assert launch.requests() == [("PUT", "/vm.resize", {"desired_balloon": 64 * MIB}), ("GET", "/vm.info", None)]
        assert {stats[key] for key in stats if "pages" not in key} == {None}  # it has none
        return
    # Asked now, with the short interval; then an idle guest is left alone again.
    host.until(lambda: len(launch.requests()) == 4)
    assert launch.requests() == [
        ("PATCH", "/balloon", {"amount_mib": 64}),
        ("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1}),
        ("GET", "/balloon/statistics", None),
        ("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 3600})]
    assert stats["free-memory"] == 100 * MIB and stats["total-memory"] == 200 * MIB and stats["major-faults"] == 1
    assert stats["swap-in"] is None  # not told
    _, err = host.run("balloon", "web", "100", code=USAGE)
    assert "pages by 256" in err


# ---- Memory that is plugged ----

def test_memory_is_plugged(host, launch, vmm):
    block = ["--virtio-mem-block-size", "4M"] if vmm == "firecracker" else []
    launch(vmm, "--memory", "256M", "--virtio-mem", "512M", *block)
    told = {path: body for _, path, body in launch.requests()}
    if vmm == "firecracker":
        assert told["/hotplug/memory"] == {"total_size_mib": 512, "block_size_mib": 4}
        assert "memhp_default_state=online_movable" in told["/boot-source"]["boot_args"]
    else:
        assert told["/vm.create"]["memory"] == {"size": 256 * MIB, "shared": True, "hotplug_method": "VirtioMem",
                                                "hotplug_size": 512 * MIB}
        assert "memhp_default_state=online_movable" in told["/vm.create"]["payload"]["cmdline"]
    assert host.json("mem", "stats", "web")["requested_size"] == 0
    launch.forget()
    out, _ = host.run("mem", "request-plugged", "web", str(128 * MIB))
    assert out == "Resizing dynamically plugged memory to 134217728 bytes!\n"
    stats = host.json("mem", "stats", "web")
    if vmm == "firecracker":
        assert launch.requests() == [("PATCH", "/hotplug/memory", {"requested_size_mib": 128}),
                                     ("GET", "/hotplug/memory", None)]
        assert stats == {"block_size": 4 * MIB, "region_size": 512 * MIB, "usable_region_size": None,
                         "plugged_size": 64 * MIB, "requested_size": 128 * MIB}
        _, err = host.run("mem", "request-plugged", "web", "2M", code=USAGE)
        assert "memory is plugged in units of 4 MiB" in err
    else:
        assert launch.requests() == [("PUT", "/vm.resize", {"desired_ram": 384 * MIB}), ("GET", "/vm.info", None)]
        assert stats == {"block_size": None, "region_size": 512 * MIB, "usable_region_size": None,
                         "plugged_size": None, "requested_size": 128 * MIB}
    # What the balloon has taken is told as ever.
    host.run("balloon", "web", "64M")
    assert host.json("balloon-stats", "web")["current-pages"] == 16384
    _, err = host.run("mem", "request-plugged", "web", "1G", code=USAGE)
    assert "at most 536870912 bytes" in err
    assert host.json("mem", "request-plugged", "web", "0") == {"name": "web", "requested_size": 0}


def test_no_memory_can_be_plugged(host, launch, vmm):
    launch(vmm)
    for words in ("request-plugged", "web", "128M"), ("stats", "web"):
        _, err = host.run("mem", *words, code=ANSWERED)
        assert err == "postern: The guest has no virtio-mem device\n"


def test_hostile_answers_about_memory(host, launch, vmm):
    launch(vmm, "--virtio-mem", "128M")
    operation = "GET /hotplug/memory" if vmm == "firecracker" else "GET /vm.info"
    for body in ({}, {"total_size_mib": -1, "plugged_size_mib": "x", "requested_size_mib": 1 << 62, "config": []},
                 {"config": {"memory": {"hotplug_size": -5, "hotplugged_size": 1.5}}}):
        script(launch.folder, **{operation: {"status": 200, "body": json.dumps(body)}})
        stats = host.json("mem", "stats", "web")
        assert set(stats.values()) <= {None, 0} and len(stats) == 5
        assert "UNKNOWN" in host.run("mem", "stats", "web")[0]


# ---- Shares ----

def test_a_share_is_plugged_mounted_and_pulled(host, launch, tmp_path):
    launch("cloud-hypervisor")
    launch.forget()
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data")
    host.run("shares", "remove", "web", "/mnt/data")
    (_, path, plugged), removed = launch.requests()
    assert path == "/vm.add-fs" and plugged["id"] == "share0" and plugged["queue_size"] == 1024
    assert removed == ("PUT", "/vm.remove-device", {"id": "share0"})
    assert host.info("web")["shares"] == []
    host.until(lambda: "sleep" not in host.children("web"))  # the virtiofsd of fake_vmm


def test_a_device_that_went_meanwhile_is_gone(host, launch, tmp_path):
    """Nobody knows it any more, and the guest's half is gone: that is what was asked for."""
    launch("cloud-hypervisor")
    host.run("shares", "add", "web", str(tmp_path), "/mnt/data")
    script(launch.folder, **{"PUT /vm.remove-device": {"status": 404, "body": '["no such device"]'}})
    host.run("shares", "remove", "web", "/mnt/data")
    assert host.info("web")["shares"] == []


def test_a_share_that_is_refused_leaves_nothing(host, launch, tmp_path):
    launch("cloud-hypervisor")
    script(launch.folder, **{"PUT /vm.add-fs": {"status": 500, "body": '["Error from API", "no room on the bus"]'}})
    _, err = host.run("shares", "add", "web", str(tmp_path), "/mnt/data", code=ANSWERED)
    assert "Cloud Hypervisor refused PUT /vm.add-fs (500): Error from API: no room on the bus" in err
    assert host.info("web")["shares"] == []
    host.until(lambda: "sleep" not in host.children("web"))


# ---- Disks ----

def test_a_disk_is_plugged_and_pulled(host, launch, tmp_path):
    launch("cloud-hypervisor")
    launch.forget()
    (tmp_path / "raw").write_bytes(bytes(512))
    (tmp_path / "qcow2").write_bytes(b"QFI\xfb")
    first = host.json("disks", "add", "web", f"{tmp_path}/raw", "--read-only")["id"]
    second = host.json("disks", "add", "web", f"{tmp_path}/qcow2")["id"]
    assert [(disk["id"], disk["path"], disk["read_only"], disk["state"]) for disk in host.info("web")["disks"]] == [
        (first, f"{tmp_path}/raw", True, "plugged"), (second, f"{tmp_path}/qcow2", False, "plugged")]
    assert f"{first}: {tmp_path}/raw, read-only" in host.run("list", "web")[0]
    _, err = host.run("snapshot", "web", f"{tmp_path}/kept", code=ANSWERED)
    assert "plugged disks cannot be saved" in err
    host.run("disks", "remove", "web", first)
    host.run("disks", "remove", "web", first, code=ABSENT)
    assert launch.requests() == [
        ("PUT", "/vm.add-disk", {"id": first, "path": f"{tmp_path}/raw", "readonly": True, "image_type": "Raw",
                                 "serial": first}),
        ("PUT", "/vm.add-disk", {"id": second, "path": f"{tmp_path}/qcow2", "readonly": False, "image_type": "Qcow2",
                                 "serial": second}),
        ("PUT", "/vm.remove-device", {"id": first})]
    assert [disk["id"] for disk in host.info("web")["disks"]] == [second]
    for _ in range(3):
        host.run("disks", "add", "web", f"{tmp_path}/raw")
    _, err = host.run("disks", "add", "web", f"{tmp_path}/raw", code=ANSWERED)
    assert "all 4 places" in err
    _, err = host.run("disks", "add", "web", str(tmp_path), code=USAGE)
    assert "no disk image" in err


# ---- Snapshots ----

def test_a_machine_is_saved_and_goes_on(host, launch, vmm, tmp_path):
    launch(vmm, "--memory", "128M")
    cid, folder = host.info("web")["cid"], f"{tmp_path}/kept"
    host.run("snapshot", "web", folder)
    assert host.info("web")["state"] == "ready" and os.stat(folder).st_mode & 0o777 == 0o700
    host.run("stop", "-f", "web")
    launch.forget()
    host.run("launch", "again", "--restore", folder)
    info = host.info("again")
    assert (info["state"], info["driver"], info["cid"], info["memory_bytes"]) == ("ready", vmm, cid, 128 * MIB)
    # The new machine's own socket, under its own name.
    assert os.path.exists(host.file("again", "vsock.sock"))
    assert "the guest goes on" in launch.console("again")
    assert "system.restored" in launch.events(), "the guest is told"
    if vmm == "firecracker":
        assert launch.requests()[1] == ("PUT", "/snapshot/load", {
            "snapshot_path": f"{folder}/state", "resume_vm": True,
            "mem_backend": {"backend_type": "File", "backend_path": f"{folder}/memory"},
            "vsock_override": {"uds_path": host.file("again", "vsock.sock")}})
    else:
        assert launch.names() == ["GET /vmm.ping", "PUT /vm.restore", "PUT /vm.resume"]
        host.until(lambda: not os.path.exists(host.file("again", "restore")))
    # It is a machine like any other: paused, saved again, stopped.
    host.run("pause", "again")
    host.run("snapshot", "again", f"{tmp_path}/second")
    assert host.info("again")["status"] == "paused"
    host.run("stop", "again")


def test_a_snapshot_that_fails_leaves_nothing_and_the_guest_goes_on(host, launch, vmm, tmp_path):
    launch(vmm)
    operation = "PUT /snapshot/create" if vmm == "firecracker" else "PUT /vm.snapshot"
    script(launch.folder, **{operation: {"status": 500, "body": '["disk full"]'}})
    _, err = host.run("snapshot", "web", f"{tmp_path}/kept", code=ANSWERED)
    assert "disk full" in err and not os.path.exists(f"{tmp_path}/kept")
    assert host.info("web")["state"] == "ready"


def test_a_guest_that_does_not_go_on_after_its_snapshot(host, launch, vmm, tmp_path):
    launch(vmm)
    # Firecracker's one operation pauses first.
    script(launch.folder, **{"PATCH /vm": {"status": 500, "skip": 1}, "PUT /vm.resume": {"status": 500}})
    _, err = host.run("snapshot", "web", f"{tmp_path}/kept", code=ANSWERED)
    assert "stays paused" in err and os.path.exists(f"{tmp_path}/kept/vm.json")
    script(launch.folder)
    host.run("resume", "web")
    assert host.info("web")["state"] == "ready"


def test_what_cannot_be_saved(host, launch, tmp_path):
    launch("cloud-hypervisor", "--share", f"{tmp_path}:/mnt/data")
    launch.forget()
    _, err = host.run("snapshot", "web", f"{tmp_path}/kept", code=ANSWERED)
    assert "shares cannot be saved" in err
    host.run("shares", "remove", "web", "/mnt/data")
    (tmp_path / "taken").mkdir()
    _, err = host.run("snapshot", "web", f"{tmp_path}/taken", code=USAGE)
    assert "File exists" in err and launch.names() == ["PUT /vm.remove-device"]


def test_what_cannot_be_restored(host, launch, vmm, tmp_path):
    launch(vmm)
    folder = f"{tmp_path}/kept"
    host.run("snapshot", "web", folder)
    _, err = host.run("launch", "two", "--restore", folder, code=ANSWERED)
    assert "CID" in err  # the guest knows its own, which is web's
    _, err = host.run("launch", "two", "--restore", folder, "--memory", "1G", code=USAGE)
    assert "--memory cannot be given" in err
    _, err = host.run("launch", "two", "--restore", folder, "--vmm", "qemu", code=USAGE)
    assert f"a snapshot of {vmm}, not of qemu" in err
    host.run("stop", "-f", "web")
    os.unlink(f"{folder}/memory" if vmm == "firecracker" else f"{folder}/state.json")
    launch.forget()
    host.run("launch", "two", "--restore", folder, code=ANSWERED)
    os.unlink(f"{folder}/vm.json")
    _, err = host.run("launch", "two", "--restore", folder, code=USAGE)
    assert "is no snapshot" in err


# ---- What a VMM cannot do ----

@pytest.mark.parametrize("vmm, options, reason", [
    ("firecracker", ["--accel", "tcg"], "cannot emulate a processor"),
    ("cloud-hypervisor", ["--accel", "tcg"], "cannot emulate a processor"),
    ("firecracker", ["--share", "/tmp:/mnt"], "cannot share folders (virtiofs)"),
    ("firecracker", ["--share", "/tmp:/mnt:9p"], "cannot share folders as 9p"),
    ("cloud-hypervisor", ["--share", "/tmp:/mnt:9p"], "cannot share folders as 9p"),
    ("firecracker", ["--vsock", "kernel"], "vhost-vsock"),
    ("cloud-hypervisor", ["--vsock", "kernel"], "vhost-vsock"),
    ("firecracker", ["--memory", "262148K"], "units of 1 MiB"),
    ("firecracker", ["--cpus", "33"], "at most 32 CPUs"),
    ("cloud-hypervisor", ["--virtio-mem", "128M", "--virtio-mem-block-size", "2M"],
     "cannot plug memory by blocks of a chosen size"),
])
def test_it_is_refused_before_anything_starts(host, launch, vmm, options, reason):
    _, err = launch(vmm, *options, code=USAGE)
    assert f"{TITLES[vmm]} " in err and reason in err
    assert not os.path.exists(f"{launch.folder}/log") and not os.path.exists(host.file("web", "supervisor.log"))


def test_a_packed_kernel_is_refused(host, launch, tmp_path):
    (tmp_path / "vmlinux").write_bytes(b"MZ")
    _, err = launch("firecracker", code=USAGE)
    assert "uncompressed kernel, vmlinux" in err and not os.path.exists(f"{tmp_path}/log")


def test_a_disk_alone_boots_only_under_qemu(host, launch, vmm, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(512))
    _, err = host.run("launch", "web", "--vmm", vmm, "--image", f"{tmp_path}/disk", code=USAGE)
    assert "boot loader" in err and "--kernel" in err


def test_without_kvm(host, launch, vmm):
    """Where nothing was said of acceleration, /dev/kvm is looked at first."""
    host.env["POSTERN_ACCEL"] = "auto"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh", host.postern, "launch", "web",
         "--vmm", vmm, "--kernel", f"{launch.folder}/vmlinux", "--initrd", f"{launch.folder}/vmlinux"],
        env=host.env, capture_output=True, text=True, timeout=20)
    assert done.returncode == ABSENT and "needs hardware virtualisation: /dev/kvm" in done.stderr, done.stderr


def test_no_such_vmm(host, launch, vmm):
    _, err = launch("xen", code=USAGE)
    assert "no driver for the VMM xen" in err
    host.env[fake_http_vmm.VARIABLES[vmm]] = "/nonexistent/vmm"
    _, err = launch(vmm, code=ANSWERED)
    assert "/nonexistent/vmm" in err


def test_a_running_machine_says_what_it_cannot(host, launch, tmp_path):
    launch("firecracker")
    _, err = host.run("shares", "add", "web", str(tmp_path), "/mnt/data", code=ANSWERED)
    assert "Firecracker cannot share folders (virtiofs)" in err
    (tmp_path / "disk").write_bytes(bytes(512))
    _, err = host.run("disks", "add", "web", f"{tmp_path}/disk", code=ANSWERED)
    assert "Firecracker cannot plug disks into a running machine" in err


# ---- Everything that the descriptions say can go wrong ----

# The operations that each driver uses: to start a guest, to restore one, and what runs them later.
USED = {
    "firecracker": {
        "start": ["GET /version", "PUT /machine-config", "PUT /boot-source", "PUT /drives/{drive_id}", "PUT /balloon",
                  "PUT /entropy", "PUT /vsock", "PUT /hotplug/memory", "PUT /actions"],
        "restore": ["PUT /snapshot/load"],
        "later": {"PATCH /vm": ["pause", "web"], "PUT /snapshot/create": ["snapshot", "web", "KEPT"],
                  "PATCH /balloon": ["balloon", "web", "16M"],
                  "PATCH /balloon/statistics": ["balloon-stats", "web"],
                  "GET /balloon/statistics": ["balloon-stats", "web"],
                  "PATCH /hotplug/memory": ["mem", "request-plugged", "web", "128M"],
                  "GET /hotplug/memory": ["mem", "stats", "web"]},
    },
    "cloud-hypervisor": {
        "start": ["GET /vmm.ping", "PUT /vm.create", "PUT /vm.boot"],
        "restore": ["PUT /vm.restore", "PUT /vm.resume"],
        "later": {"PUT /vm.pause": ["pause", "web"], "PUT /vm.snapshot": ["snapshot", "web", "KEPT"],
                  "PUT /vm.resize": ["balloon", "web", "16M"], "GET /vm.info": ["balloon-stats", "web"],
                  "PUT /vm.add-fs": ["shares", "add", "web", "/tmp", "/mnt/data"],
                  "PUT /vm.add-disk": ["disks", "add", "web", "DISK"],
                  "PUT /vm.resize-disk": ["disks", "grow", "web", "PLUGGED", "1K"],
                  "PUT /vm.remove-device": ["shares", "remove", "web", "/mnt/here"],
                  # A stop goes on without them.
                  "PUT /vm.power-button": None, "PUT /vmm.shutdown": None},
    },
}


def template(description, method, path):
    return description.find(method, description.base + path).name


def test_the_operations_that_are_used(host, launch, vmm, tmp_path):
    """Every request that a driver has is made, and its description accepts it; the table above is the whole."""
    (tmp_path / "disk").write_bytes(bytes(512))
    share = ["--share", f"{tmp_path}:/mnt/data"] if vmm == "cloud-hypervisor" else []
    launch(vmm, "--image", f"{tmp_path}/disk", "--virtio-mem", "128M", *share)
    if share:
        host.run("shares", "remove", "web", "/mnt/data")
        host.run("shares", "add", "web", str(tmp_path), "/mnt/data")
        host.run("shares", "remove", "web", "/mnt/data")
        plugged = host.json("disks", "attach", "web", f"{tmp_path}/disk")
        host.run("disks", "grow", "web", plugged["id"], "1K")
        host.run("disks", "detach", "web", f"{tmp_path}/disk")
    host.run("balloon", "web", "16M")
    host.run("balloon-stats", "web")
    host.run("mem", "request-plugged", "web", "128M")
    host.run("mem", "stats", "web")
    host.run("pause", "web")
    host.run("snapshot", "web", f"{tmp_path}/kept")
    host.run("resume", "web")
    host.run("stop", "-f", "web")
    host.run("launch", "web", "--restore", f"{tmp_path}/kept")
    host.run("stop", "web")
    # One whose agent cannot be asked has its power button pressed.
    launch(vmm, "--detach", boot=None)
    assert host.json("stop", "web")["how"] == "powerdown"
    description = openapi.Description(vmm)
    used = {template(description, method, path) for method, path, _ in launch.requests()}
    table = USED[vmm]
    assert used == {*table["start"], *table["restore"], *table["later"]}


def failures(vmm, part):
    description = openapi.Description(vmm)
    for name in USED[vmm][part]:
        # Also what is described nowhere, and a VMM has all the same.
        for status in sorted({*description.named(name).refusals(), 500, *([503] if part == "later" else [])}):
            yield name.replace("{drive_id}", "disk0"), status


def refusal(vmm, status):
    reason = f"reason {status} \x1b[31m"
    return {"status": status, "body": json.dumps(
        {"fault_message": reason} if vmm == "firecracker" else ["Error from API", reason])}


def assert_told(vmm, err, operation, status):
    assert f"{TITLES[vmm]} refused {operation} ({status}): " in err, err
    assert f"reason {status} \\x1b[31m" in err, err


def test_each_failure_of_a_start_is_told(host, launch, vmm, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(512))
    for operation, status in failures(vmm, "start"):
        script(launch.folder, **{operation: refusal(vmm, status)})
        _, err = launch(vmm, "--image", f"{tmp_path}/disk", "--virtio-mem", "128M", code=ANSWERED)
        assert "the VMM did not start" in err
        assert_told(vmm, err, operation, status)
        assert host.info("web")["status"] == "failed"


def test_each_failure_of_a_restore_is_told(host, launch, vmm, tmp_path):
    launch(vmm)
    host.run("snapshot", "web", f"{tmp_path}/kept")
    host.run("stop", "-f", "web")
    for operation, status in failures(vmm, "restore"):
        script(launch.folder, **{operation: refusal(vmm, status)})
        _, err = host.run("launch", "web", "--restore", f"{tmp_path}/kept", code=ANSWERED)
        assert_told(vmm, err, operation, status)


def test_each_failure_of_a_running_machine_is_told(host, launch, vmm, tmp_path):
    share = ["--share", f"{tmp_path}:/mnt/here"] if vmm == "cloud-hypervisor" else []
    launch(vmm, "--virtio-mem", "128M", *share)
    (tmp_path / "disk").write_bytes(bytes(512))
    if vmm == "cloud-hypervisor":
        launch(vmm, name="bare")
        (tmp_path / "plugged").write_bytes(bytes(512))
        host.run("disks", "attach", "web", f"{tmp_path}/plugged")
    for operation, status in failures(vmm, "later"):
        words = USED[vmm]["later"][operation]
        # A device that nobody knows is gone, and that was wanted (tested above).
        if words is None or (operation, status) == ("PUT /vm.remove-device", 404):
            continue
        words = [{"KEPT": f"{tmp_path}/kept", "DISK": f"{tmp_path}/disk",
                  "PLUGGED": f"{tmp_path}/plugged"}.get(word, word) for word in words]
        if words[0] == "snapshot" and share:
            words[1] = "bare"
        script(launch.folder, **{operation: refusal(vmm, status)})
        _, err = host.run(*words, code=ANSWERED)
        assert_told(vmm, err, operation, status)
        assert host.info("web")["state"] == "ready", (operation, status)
        script(launch.folder)


# ---- A VMM that a guest has taken over ----

HOSTILE = {
    "closed": ("", ABSENT, "closed the connection before it had answered"),
    "closed in the headers": ("HTTP/1.1 200 OK\r\nContent-Le", None, ""),
    "closed in the body": ("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", ABSENT, "closed the connection"),
    "no HTTP": ("\x16\x03\x01garbage\n", PROTOCOL, "broke its protocol"),
    "a header of 100 KiB": (f"HTTP/1.1 204 No Content\r\nX: {'x' * 100 * 1024}\r\n\r\n", PROTOCOL, "broke its protocol"),
    "100 KiB of headers": ("HTTP/1.1 204 No Content\r\n" + "X: y\r\n" * 20000 + "\r\n", PROTOCOL, "too large"),
    "answers before the answer": ("HTTP/1.1 100 Continue\r\n\r\n" * 2000, PROTOCOL, "too large"),
    "a body of 2 MiB": (f"HTTP/1.1 200 OK\r\nContent-Length: {2 * MIB}\r\n\r\n" + " " * 2 * MIB, PROTOCOL, "too large"),
    "an endless body": ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ("10000\r\n" + "x" * 65536 + "\r\n") * 17,
                        PROTOCOL, "too large"),
    "a refusal without end": (f"HTTP/1.1 400 Bad Request\r\nContent-Length: {2 * MIB}\r\n\r\n" + "x" * 2 * MIB,
                              PROTOCOL, "too large"),
    "a redirect": ("HTTP/1.1 302 Found\r\nLocation: http://localhost/vm\r\nContent-Length: 0\r\n\r\n", PROTOCOL, "302"),
    "another success": ("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", PROTOCOL, "202"),
    "no JSON": ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", PROTOCOL, "what is no JSON"),
    "no object": ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", PROTOCOL, "what is no JSON"),
    "deep JSON": ("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + '{"a":' * 40, None, ""),
    "a refusal of plain text": ("HTTP/1.1 400 Bad Request\r\nContent-Length: 8\r\n\r\nno\x1b[2J!\n", ANSWERED,
                                "no\\x1b[2J!"),
    "a refusal of nothing": ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", ANSWERED, "no reason given"),
}


def test_hostile_answers_are_bounded_and_told(host, launch, vmm):
    launch(vmm)
    operation = "PATCH /vm" if vmm == "firecracker" else "PUT /vm.pause"
    for name, (raw, code, words) in HOSTILE.items():
        script(launch.folder, **{operation: {"raw": raw, "times": 1}})
        process = host.start("pause", "web")
        _, err = process.communicate(timeout=20)
        assert process.returncode == code or (code is None and process.returncode in (ABSENT, PROTOCOL)), (name, err)
        assert words in err and TITLES[vmm] in err and "\x1b" not in err and len(err) < 1000, (name, err)
        # The command has failed; the machine has not.
        assert host.info("web")["state"] == "ready", name
    host.run("pause", "web")
    host.run("resume", "web")


def test_questions_must_be_answered_with_what_was_asked_for(host, launch, vmm):
    launch(vmm)
    operation = "GET /balloon/statistics" if vmm == "firecracker" else "GET /vm.info"
    script(launch.folder, **{operation: {"status": 204}})
    host.run("balloon-stats", "web", code=PROTOCOL)
    script(launch.folder, **{operation: {"status": 200, "body": "{}"}})
    stats = host.json("balloon-stats", "web")
    assert stats["free-memory"] is None
    script(launch.folder, **{operation: {"status": 200, "body": json.dumps(
        {"actual_pages": -5, "free_memory": "many", "memory_actual_size": -1, "config": [], "total_memory": 1 << 60})}})
    stats = host.json("balloon-stats", "web")
    assert stats["free-memory"] is None and stats["total-memory"] is None


def test_a_hostile_start(host, launch, vmm):
    first = "GET /version" if vmm == "firecracker" else "GET /vmm.ping"
    for raw, words in (("", "closed the connection"), ("garbage\n", "broke its protocol")):
        script(launch.folder, **{first: {"raw": raw}})
        _, err = launch(vmm, code=ANSWERED)
        assert words in err
    script(launch.folder, start="no /dev/kvm here")
    _, err = launch(vmm, code=ANSWERED)
    assert "the VMM did not start" in err and "no /dev/kvm here" in err


def test_events_that_are_none_end_the_machine(host, launch):
    launch("cloud-hypervisor")
    pid = host.info("web")["vmm_pid"]
    # The pipe's other end, which is the VMM's descriptor 3.
    with open(f"/proc/{pid}/fd/3", "wb", 0) as events:
        events.write(b'{"source": "vm", "event": 5}\n\n["no object"]\n\n')
    host.until(lambda: host.info("web")["status"] == "failed")
    with open(host.file("web", "supervisor.log")) as log:
        assert "Cloud Hypervisor's events are not what they should be" in log.read()


# ---- The descriptions' own checker ----

@pytest.mark.parametrize("vmm, method, target, body, words", [
    ("firecracker", "PUT", "/nonsense", {}, "no such operation"),
    ("firecracker", "DELETE", "/vsock", None, "no such operation"),
    ("firecracker", "PUT", "/vsock", {"guest_cid": 3}, "uds_path missing"),
    ("firecracker", "PUT", "/vsock", {"guest_cid": 2, "uds_path": "/x"}, "out of its range"),
    ("firecracker", "PUT", "/vsock", {"guest_cid": "3", "uds_path": "/x"}, "no integer"),
    ("firecracker", "PUT", "/vsock", {"guest_cid": True, "uds_path": "/x"}, "no integer"),
    ("firecracker", "PUT", "/vsock", {"guest_cid": 3, "uds_path": "/x", "more": 1}, "there is no more"),
    ("firecracker", "PUT", "/vsock", None, "a body is needed"),
    ("firecracker", "GET", "/version", {}, "has no body"),
    ("firecracker", "PUT", "/actions", {"action_type": "Explode"}, "is none of"),
    ("firecracker", "PUT", "/logger", {"level": False}, "no string"),
    ("cloud-hypervisor", "PUT", "/vm.create", {}, "not below /api/v1"),
    ("cloud-hypervisor", "PUT", "/api/v1/vm_create", {}, "no such operation"),
    ("cloud-hypervisor", "PUT", "/api/v1/vm.create", {"payload": {"kernel": 5}}, "no string"),
    ("cloud-hypervisor", "PUT", "/api/v1/vm.create", {"payload": {}, "serial": {"mode": "Loud"}}, "is none of"),
    ("cloud-hypervisor", "PUT", "/api/v1/vm.create", {"payload": {}, "disks": [{"pci_segment": 40000}]}, "out of its range"),
    ("cloud-hypervisor", "PUT", "/api/v1/vm.pause", {}, "has no body"),
])
def test_the_checker_refuses(vmm, method, target, body, words):
    description = openapi.Description(vmm)
    with pytest.raises(openapi.Invalid, match=words):
        description.check_request(description.find(method, target), body)


def test_the_checker_knows_levels_that_are_no_booleans():
    description = openapi.Description("firecracker")
    description.check_request(description.find("PUT", "/logger"), {"level": "Off"})
