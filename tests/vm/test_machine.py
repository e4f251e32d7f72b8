# SPDX-License-Identifier: LGPL-2.1-or-later
"""Launching, watching, changing and losing virtual machines."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from machine import ABSENT, ANSWERED, BUILD, REFUSED, TIMED_OUT, USAGE, Host
from streams import unix_stream
from wire import Client, Closed


@pytest.fixture
def host():
    host = Host()
    yield host
    host.close()


@pytest.fixture(scope="module")
def running():
    """A host with a VM `web` that tests may change but must leave as it was."""
    host = Host()
    host.run("launch", "web")
    yield host
    host.close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_text("from the host\n")
    return str(tmp_path)


def sockets(host, name):
    folder = host.file(name, "")
    return [f for f in os.listdir(folder) if f.endswith(".sock") or "_" in f]


# ---- Life ----

def test_launch_list_stop(host):
    out, _ = host.run("launch", "web")
    assert out == "Successfully launched the guest web\n"
    info = host.info("web")
    assert info["status"] == "running" and info["state"] == "ready"
    assert info["cid"] == 3 and info["accel"] == "tcg" and info["problems"] == []
    assert info["agent_version"]
    # Nobody asked before the agent said that it was there.
    with open(host.file("web", "supervisor.log")) as log:
        assert log.read() == "postern-supervisor: info: the agent answered, having said that it was ready\n"
    table = host.run("list")[0].splitlines()
    assert table[0].split() == ["Guest", "Status", "Uptime", "CID", "Problems"]
    assert table[1].split()[:2] == ["web", "Running"]
    events = host.start("events", "web", "--snapshot")
    while "vm.state " not in events.stdout.readline():
        pass
    out, _ = host.run("stop", "web")
    # Who follows the machine sees it go, and that is no failure.
    told, err = events.communicate(timeout=20)
    assert events.returncode == 0 and err == ""
    assert [line.split()[1:] for line in told.splitlines() if " vm." in line] == [
        ["vm.state", "stopping"], ["vm.state", "ended"]]
    assert out.startswith("Guest finished stopping in ") and out.endswith("ms\n")
    info = host.info("web")
    assert info["status"] == "stopped" and info["reason"] == "Clean shutdown"
    host.until_nothing_runs()
    assert sockets(host, "web") == []
    assert host.run("stop", "web")[0] == "Nothing to do - the guest is not running\n"
    host.run("forget", "web")
    host.run("list", "web", code=ABSENT)
    host.run("stop", "web", code=ABSENT)


def test_force_does_not_ask(host):
    host.run("launch", "web")
    start = time.monotonic()
    assert host.run("stop", "-f", "web")[0].startswith("Guest forced to stop in ")
    assert time.monotonic() - start < 3
    assert host.info("web")["reason"] == "Forced to stop"


def test_name_and_cid_in_use(running):
    _, err = running.run("launch", "web", code=ANSWERED)
    assert "a VM web is running already" in err
    _, err = running.run("launch", "other", "--cid", "3", code=ANSWERED)
    assert "another VM has the CID 3" in err
    running.run("list", "other", code=ABSENT)
    assert running.info("web")["status"] == "running"


@pytest.mark.parametrize("words", [
    ["Upper"], ["a", "b"], ["a", "--memory", "1"], ["a", "--memory", "much"], ["a", "--cpus", "0x2"],
    ["a", "--cid", "2"], ["a", "--accel", "maybe"], ["a", "--vsock", "none"], ["a", "--share", "x"],
    ["a", "--share", "/nonexistent:/mnt"], ["a", "--kernel", "/nonexistent"], ["a", "--nonsense"],
    ["a", "--memory"], ["a", "--image", "/nonexistent"], ["a", "--image", "/dev/null"]])
def test_bad_launches_start_nothing(running, words):
    running.run("launch", *words, code=USAGE)
    running.run("list", "a", code=ABSENT)


def test_devices_that_were_chosen(host):
    vm = host.launch("web", "--virtio-rng", "false", "--virtio-balloon", "false", "--default-net", "true")
    # Found by their numbers (virtio 1.x: net 1, balloon 5, gpu 16, vsock 19), whether the guest has a driver or not.
    kinds = set()
    for i in range(8):
        with contextlib.suppress(OSError):
            kinds.add(int(vm.witness("read", f"/sys/bus/virtio/devices/virtio{i}/device"), 16))
    assert {1, 16, 19} <= kinds and not kinds & {4, 5}
    vm.stop()


def test_guest_without_agent_ends_after_the_deadline(host):
    _, err = host.run("launch", "web", "-a", "postern.vsock=no", "-t", "8", code=TIMED_OUT)
    assert "no agent answered within 8 s" in err
    assert host.info("web")["status"] == "failed"
    host.until_nothing_runs()


def test_guest_without_agent_may_be_kept(host):
    host.run("launch", "web", "-a", "postern.vsock=no", "-t", "6", "--detach")
    host.until(lambda: host.info("web")["problems"], 15)
    info = host.info("web")
    assert info["status"] == "running"
    assert info["problems"][0]["problem"] == "no agent answers"
    # Its power button still works, or the last resort does.
    host.run("stop", "-t", "1", "web")


def test_guest_that_panics_is_told_with_its_last_words(host):
    _, err = host.run("launch", "web", "-a", "rdinit=/nonexistent root=/dev/none", code=ABSENT)
    assert "ended by itself" in err and "before an agent answered" in err
    assert "panic" in err
    host.until_nothing_runs()


def test_vmm_that_does_not_start(host):
    _, err = host.run("launch", "web", "-m", "999999G", code=ANSWERED)
    assert "the VMM did not start" in err
    host.until_nothing_runs()


def test_launch_that_is_interrupted_leaves_nothing(host):
    launch = host.start("launch", "web", "-a", "postern.vsock=no")
    host.until(lambda: os.path.exists(host.file("web", "control.sock")))
    host.until(lambda: host.info("web")["state"] == "booting")
    launch.send_signal(signal.SIGINT)
    launch.communicate(timeout=10)
    host.until_nothing_runs()
    assert host.info("web")["status"] == "stopped"


# ---- Losses ----

def test_killed_vmm_ends_all(host, folder):
    host.run("launch", "web", "--share", f"{folder}:/mnt/x")
    os.kill(host.info("web")["vmm_pid"], signal.SIGKILL)
    host.until_nothing_runs()
    info = host.info("web")
    assert info["status"] == "failed" and "signal 9" in info["reason"]
    assert sockets(host, "web") == []


def test_a_vmm_that_stands_still_is_not_lost(host, folder):
    host.run("launch", "web")
    pid = host.info("web")["vmm_pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        stats = host.start("balloon-stats", "web")
        _, err = host.run("shares", "add", "web", folder, "/mnt/late", code=TIMED_OUT)
        assert "QEMU has not answered" in err
        assert stats.wait(60) == TIMED_OUT
        assert [problem["problem"] for problem in host.info("web")["problems"]] == ["the VMM does not answer"]
    finally:
        os.kill(pid, signal.SIGCONT)
    host.until(lambda: not host.info("web")["problems"])
    host.run("ping", "web")
    # What was plugged too late is gone again, with what served it.
    host.until(lambda: "virtiofsd" not in host.children("web"))
    assert not host.json("shares", "list", "web")["shares"]
    host.run("shares", "add", "web", folder, "/mnt/late")
    host.run("balloon-stats", "web")
    host.run("stop", "web")


def test_killed_supervisor_ends_all(host, folder):
    host.run("launch", "web", "--share", f"{folder}:/mnt/x")
    os.kill(host.supervisor("web"), signal.SIGKILL)
    host.until_nothing_runs()
    info = host.info("web")
    assert info["status"] == "terminated"
    assert sockets(host, "web") == []
    assert "VMM Unexpectedly Terminated" in host.run("list")[0]
    # The name is free, and its CID.
    host.run("launch", "web", "--cid", "3")


def test_lost_channel_is_a_problem_not_an_end(host):
    host.run("launch", "web")
    os.kill(host.info("web")["vsockd_pid"], signal.SIGKILL)
    host.until(lambda: host.info("web")["problems"])
    info = host.info("web")
    assert info["status"] == "running"
    assert info["problems"] == [{"problem": "channel lost", "help": "the VM must be restarted"}]
    host.run("ping", "web", code=ABSENT)
    # The monitor still works.
    host.run("balloon-stats", "web")
    host.run("stop", "web")


def test_terminated_supervisor_takes_its_vm_along(host):
    host.run("launch", "web")
    os.kill(host.supervisor("web"), signal.SIGTERM)
    host.until_nothing_runs()
    assert host.info("web")["status"] == "stopped"


# ---- Balloon ----

def test_balloon_takes_pages(running):
    assert running.run("balloon", "web", "8192")[0] == "Resizing memory balloon to 8192 pages!\n"
    running.until(lambda: running.json("balloon-stats", "web")["current-pages"] == 8192)
    small = running.json("balloon-stats", "web")
    running.run("balloon", "web", "0")
    running.until(lambda: running.json("balloon-stats", "web")["current-pages"] == 0)
    large = running.json("balloon-stats", "web")
    assert large["free-memory"] - small["free-memory"] > 16 << 20
    assert large["total-memory"] <= 256 << 20


def test_balloon_labels_in_order(running):
    labels = [line.split()[0] for line in running.run("balloon-stats", "web")[0].splitlines()]
    assert labels == ["current-pages", "requested-pages", "swap-in", "swap-out", "major-faults",
                      "minor-faults", "hugetlb-allocations", "hugetlb-failures", "free-memory",
                      "total-memory", "available-memory", "disk-caches"]


@pytest.mark.parametrize("pages", ["65536", "18446744073709551615", "1Z", "-1", "1000B"])
def test_balloon_refuses_what_cannot_be(running, pages):
    running.run("balloon", "web", "--", pages, code=USAGE)
    assert running.json("balloon-stats", "web")["requested-pages"] == 0


# ---- Shares ----

def test_a_paused_guest_stands_still_and_goes_on(running):
    before = running.info("web")["boot_id"]
    running.run("pause", "web")
    try:
        assert running.info("web")["status"] == "paused"
        with pytest.raises((OSError, Closed)):
            Client.hybrid(running.file("web", "vsock.sock"), timeout=1).close()
    finally:
        running.run("resume", "web")
    running.run("ping", "web")
    info = running.info("web")
    assert (info["status"], info["boot_id"]) == ("running", before)


def test_a_disk_is_plugged_and_pulled(host, tmp_path):
    web = host.launch("web")
    path = tmp_path / "a,disk"
    path.write_bytes(b"from the host".ljust(4096, b"\0"))

    def serial():
        try:
            return web.witness("read", "/sys/block/vda/serial").strip()
        except OSError:
            return None

    for _ in range(2):  # its place can be taken again
        disk = host.json("disks", "add", "web", str(path), "--read-only")["id"]
        host.until(lambda: serial() == disk)
        assert web.witness("read", "/dev/vda") == "from the host"
        with pytest.raises(OSError):
            web.witness("write", "/dev/vda", "x")
        host.run("disks", "remove", "web", disk)
        assert serial() is None and host.info("web")["disks"] == []


def test_qemu_refuses_to_save_our_vsock_device(tmp_path):
    """Which is why snapshots are refused for QEMU. Should it ever save one, they can be had."""
    ours, theirs = socket.socketpair()
    device = subprocess.Popen([f"{BUILD}/postern-vsockd", f"--fd={theirs.fileno()}", f"--uds={tmp_path}/vsock.sock",
                               "--cid=5"], pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-m", "64M",
         "-machine", "q35,accel=tcg,memory-backend=ram0", "-object", "memory-backend-memfd,id=ram0,size=64M,share=on",
         "-qmp", "stdio", "-chardev", f"socket,id=vsock0,fd={ours.fileno()}",
         "-device", "vhost-user-vsock-pci,chardev=vsock0"],
        pass_fds=[ours.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ours.close()
    theirs.close()
    with device, qemu:
        qemu.stdin.write('{"execute": "qmp_capabilities"}\n')
        qemu.stdin.write(json.dumps({"execute": "migrate", "arguments": {"uri": f"unix:{tmp_path}/state"}}) + "\n")
        qemu.stdin.flush()
        _, _, said = (qemu.stdout.readline() for _ in range(3))  # the greeting, and both answers
        qemu.kill()
        device.kill()
    assert "non-migratable device" in said and "vhost-user-vsock" in said


def test_share_is_plugged_and_unplugged(running, folder):
    running.run("shares", "add", "web", folder, "/mnt/data")
    share, = running.info("web")["shares"]
    assert share["source"] == folder and share["target"] == "/mnt/data"
    assert share["state"] == "plugged"
    assert "/mnt/data" in running.run("mounts", "list", "web")[0]
    running.run("shares", "remove", "web", "/mnt/data")
    assert running.info("web")["shares"] == []
    assert "/mnt/data" not in running.run("mounts", "list", "web")[0]
    running.until(lambda: "virtiofsd" not in running.children("web"))


def test_share_that_cannot_be_mounted_is_undone(running, folder):
    running.run("shares", "add", "web", folder, "/proc/none", code=ANSWERED)
    assert running.info("web")["shares"] == []
    running.until(lambda: "virtiofsd" not in running.children("web"))


def test_read_only_share_is_read_only_on_the_host(running, folder):
    running.run("shares", "add", "web", folder, "/mnt/ro", "--read-only")
    for pid in running.children("web")["virtiofsd"]:
        with open(f"/proc/{pid}/mountinfo") as table:
            own = [line.split() for line in table if line.split()[3].endswith(folder)]
        assert own and all("ro" in line[5].split(",") for line in own)
    running.run("shares", "remove", "web", "/mnt/ro")


def test_shares_are_bounded_and_unique(running, tmp_path):
    for i in range(8):
        running.run("shares", "add", "web", str(tmp_path), f"/mnt/{i}", "--tag", f"tag{i}")
    _, err = running.run("shares", "add", "web", str(tmp_path), "/mnt/8", code=ANSWERED)
    assert "all 8 places" in err
    running.run("shares", "remove", "web", "/mnt/3")
    _, err = running.run("shares", "add", "web", str(tmp_path), "/mnt/x", "--tag", "tag5", code=ANSWERED)
    assert "has a share tag5 already" in err
    for i in (0, 1, 2, 4, 5, 6, 7):
        running.run("shares", "remove", "web", f"tag{i}")
    assert running.info("web")["shares"] == []


def test_dead_share_is_told_and_can_be_removed_and_added_again(running, folder):
    running.run("shares", "add", "web", folder, "/mnt/dead", "--tag", "dead")
    for pid in running.children("web")["virtiofsd"]:
        os.kill(pid, signal.SIGKILL)
    running.until(lambda: running.info("web")["problems"])
    assert running.info("web")["problems"] == [
        {"problem": "share dead dead", "help": "remove it and add it again"}]
    assert "dead" in running.run("list")[0]
    running.run("shares", "remove", "web", "/mnt/dead")
    running.run("shares", "add", "web", folder, "/mnt/dead", "--tag", "dead")
    assert running.info("web")["problems"] == []
    running.run("shares", "remove", "web", "/mnt/dead")


def test_share_at_launch_and_persistent_share_at_the_next(host, folder):
    host.run("launch", "web", "--share", f"{folder}:/mnt/now")
    assert "/mnt/now" in host.run("mounts", "list", "web")[0]
    host.run("shares", "add", "web", folder, "/mnt/later", "--tag", "kept", "--persistent")
    host.run("stop", "web")
    host.run("launch", "web")
    share, = host.info("web")["shares"]
    assert share["tag"] == "kept" and share["persistent"] and share["state"] == "plugged"


# ---- Those who talk to the supervisor, and to the readiness port ----

def is_closed(client):
    """The other side has closed it, with bytes of ours unread or not."""
    try:
        return client.recv(100) == b""
    except (BrokenPipeError, ConnectionResetError):
        return True


def test_bad_control_clients_are_dropped(running):
    path = running.file("web", "control.sock")
    for junk in (b"junk\n", b"[" * 60000 + b"\n", b"{" + b"x" * 200000):
        client = unix_stream(path)
        try:
            client.sendall(junk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert is_closed(client)
        client.close()
    idle = [unix_stream(path) for _ in range(31)]
    assert running.info("web")["status"] == "running"
    for client in idle:
        client.close()


def test_readiness_port_takes_junk(running):
    path = running.file("web", "vsock.sock_7670")
    for junk in (b"", b"\x00", b"\xff" * 5000, b"\x03abc", struct.pack("B", 200) + b"x" * 200):
        client = unix_stream(path)
        client.sendall(junk)
        client.shutdown(socket.SHUT_WR)
        assert is_closed(client)
        client.close()
    held = [unix_stream(path) for _ in range(10)]
    assert running.info("web")["state"] == "ready"
    for client in held:
        client.close()


def test_readiness_alone_proves_nothing(host):
    """A guest process can say "ready": without a hello from the agent the launch goes on waiting."""
    launch = host.start("launch", "web", "-a", "postern.vsock=no", "-t", "8")
    path = host.file("web", "vsock.sock_7670")
    host.until(lambda: os.path.exists(path))
    host.until(lambda: host.info("web")["state"] == "booting")
    ready = b"\x0a\x051.2.3"
    with unix_stream(path) as client:
        client.sendall(bytes([len(ready)]) + ready)
    launch.communicate(timeout=30)
    assert launch.returncode == TIMED_OUT


def test_an_agent_that_says_nothing_is_reached_all_the_same(host):
    start = time.monotonic()
    host.run("launch", "web", "-a", "postern.ready_port=0", "-t", "36")
    assert time.monotonic() - start >= 18
    with open(host.file("web", "supervisor.log")) as log:
        assert "the agent answered, having said nothing" in log.read()


def test_two_machines_side_by_side(running, folder):
    """Of one user: each has a CID of its own without being given one, and is talked to by its name."""
    running.run("launch", "second", "--cmdline-add", "postern.sample_interval=1")
    infos = {name: running.info(name) for name in ("web", "second")}
    assert infos["web"]["cid"] != infos["second"]["cid"] and infos["second"]["cid"] >= 3
    assert [line.split()[:2] for line in running.run("list")[0].splitlines()[1:]] == [
        ["second", "Running"], ["web", "Running"]]
    for name, info in infos.items():
        answer = running.json("call", name, "system.info")
        assert answer["boot_id"] == info["boot_id"]
    assert infos["web"]["boot_id"] != infos["second"]["boot_id"]
    running.run("shares", "add", "second", folder, "/mnt/second")
    assert "/mnt/second" in running.run("mounts", "list", "second")[0]
    assert "/mnt/second" not in running.run("mounts", "list", "web")[0]
    running.run("launch", "third", "--cid", str(infos["second"]["cid"]), code=ANSWERED)
    running.run("stop", "second")
    assert running.info("web")["status"] == "running"
    running.run("ping", "web")
    for name in ("second", "third"):
        if name in [vm["name"] for vm in running.json("list")["guests"]]:
            running.run("forget", name)


def test_registry_of_others_is_refused(tmp_path):
    os.chmod(tmp_path, 0o755)
    env = dict(os.environ, POSTERN_RUNTIME_DIR=str(tmp_path))
    done = subprocess.run([f"{BUILD}/postern", "list"], env=env, capture_output=True, text=True)
    assert done.returncode == REFUSED and "0700" in done.stderr
