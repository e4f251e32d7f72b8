# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent as a service of a systemd guest, under the shipped unit, with a disk."""

import json
import os
import time

import pytest

import debian
from machine import ABSENT, ANSWERED, Host, Machine, REFUSED, check_methods, wait_until
from wire import Closed, Failed, pb


@pytest.fixture(scope="module")
def host():
    machines = Host()
    yield machines
    machines.close()


# A service of the guest whose end takes its own command: a kill would not run it.
CLEAN = """[Unit]
Description=Says that it was stopped
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c "echo stopped >>/var/clean-stop"
[Install]
WantedBy=multi-user.target
"""

UNITS = "/etc/systemd/system"


def add_clean(tree):
    debian.write(f"{tree}{UNITS}/clean.service", CLEAN)
    debian.chroot(tree, "systemctl", "enable", "clean.service")


@pytest.fixture(scope="module")
def image(host):
    path = f"{host.dir}/disk.img"
    debian.make_image(path, add_clean, install=False)
    return path


def placed(vm):
    return set(vm.shell(f"find {UNITS} /etc/init.d /etc/rc*.d /usr/lib/systemd | sort").splitlines())


@pytest.fixture(scope="module")
def vm(host, image):
    """Boots without the agent's service, which is then installed as a person would."""
    host.run("launch", "systemd", "--detach", *debian.launch_options(image), timeout=400)
    machine = Machine(host, "systemd")
    machine.shell("true", timeout=400)
    machine.files_before = placed(machine)
    machine.printed = machine.shell("posternd install")
    host.until(lambda: host.info("systemd")["state"] == "ready", 200)
    return machine


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


def test_install_says_what_it_does_and_starts_the_agent(vm):
    assert [line for line in vm.printed.splitlines() if "symlink" not in line] == [
        f"installed {UNITS}/posternd.service",
        f"installed {UNITS}/postern-kmod.socket",
        f"installed {UNITS}/postern-kmod@.service",
        f"installed {UNITS}/postern-job.socket",
        f"installed {UNITS}/postern-job@.service",
        f"installed {UNITS}/postern-share@.service",
        "systemctl daemon-reload",
        "systemctl enable posternd.service",
        "systemctl restart posternd.service",
        "the agent is enabled and started (systemd)"]
    assert vm.shell("systemctl is-enabled posternd.service") == "enabled\n"
    assert vm.shell("systemctl is-active posternd.service postern-kmod.socket") == "active\nactive\n"


def test_install_again_changes_no_file(vm):
    before = placed(vm)
    printed = vm.shell("posternd install")
    assert printed.count("unchanged ") == 6 and "installed " not in printed
    assert placed(vm) == before
    with vm.client(timeout=60) as client:
        assert client.call("system.info").init == "systemd"


@pytest.mark.parametrize("command", ["install", "install --no-start", "uninstall"])
def test_only_root_installs(vm, command):
    before = placed(vm)
    out = vm.shell(f"setpriv --reuid 65534 --clear-groups posternd {command}", status=REFUSED)
    assert "only root may do this" in out
    assert placed(vm) == before


PIECES = {"/usr/libexec/postern/postern-worker": "postern-worker: No such file",
          "/usr/share/postern/postern-kmod.socket": "postern-kmod.socket: No such file",
          "/etc/postern/policy.d/50-default.policy": "policy"}


def test_uninstall_removes_what_install_placed_and_nothing_else(host, vm):
    vm.shell(f"mkdir -p {UNITS}/posternd.service.d; touch {UNITS}/posternd.service.d/mine.conf")
    out = vm.shell("posternd uninstall")
    assert "removed /etc/systemd/system/posternd.service" in out
    assert "its programs, settings and state are left" in out
    vm.shell(f"rm -r {UNITS}/posternd.service.d")
    assert placed(vm) == vm.files_before
    assert "loaded failed" not in vm.shell("systemctl --all --no-legend list-units 'postern*'")
    assert vm.shell("cat /proc/[0-9]*/comm 2>/dev/null | grep ^postern", status=1) == ""
    assert not exists(vm, "/run/postern/agent.sock") and not exists(vm, "/run/postern/kmod.sock")
    host.run("ping", "systemd", code=ABSENT)
    assert vm.shell("posternd uninstall") == "the service is not installed: nothing to do (systemd)\n"
    # An agent that is not complete is not installed.
    for piece, words in PIECES.items():
        vm.shell(f"mv {piece} /root/piece")
        out = vm.shell("posternd install", status=ANSWERED)
        vm.shell(f"mv /root/piece {piece}")
        assert words in out and "nothing was installed" in out
        assert placed(vm) == vm.files_before
    vm.shell("posternd install")
    with vm.client(timeout=60) as client:
        client.call("system.ping")


def unit_of(vm, target):
    return [line for line in vm.witness("mounts").splitlines() if f" {target} " in line]


def test_it_is_systemd(client):
    info = client.call("system.info")
    assert info.init == "systemd" and info.os.id == b"debian"
    check_methods(client)


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
    client.call("notifications.subscribe", topics=["notify.shares.mount"], snapshot=True)
    _, body = client.notification("notify.shares.mount")
    assert body.share == share
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


def test_an_overlay_is_a_unit_too(vm, client):
    vm.shell("mkdir -p /var/tmp/lay/low /var/tmp/lay/up /var/tmp/lay/work && echo below >/var/tmp/lay/low/file")
    options = [dict(key=key, value=f"/var/tmp/lay/{name}".encode())
               for key, name in (("lowerdir", "low"), ("upperdir", "up"), ("workdir", "work"))]
    share = client.call("shares.mount", target=b"/mnt/lay", type="overlay", options=options).share
    assert share.unit == "mnt-lay.mount" and share.state == 1
    line, = unit_of(vm, "/mnt/lay")
    assert "overlay" in line and "lowerdir=/var/tmp/lay/low,upperdir=/var/tmp/lay/up" in line and "nosuid" in line
    assert vm.shell("systemctl is-active mnt-lay.mount") == "active\n"
    assert vm.shell("echo above >>/mnt/lay/file; cat /var/tmp/lay/up/file") == "below\nabove\n"
    client.call("shares.unmount", target=b"/mnt/lay")
    assert not unit_of(vm, "/mnt/lay")
    # A layer that is not there is the kernel's error to the caller, before any unit is made.
    options[0]["value"] = b"/var/tmp/lay/none"
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/lay", type="overlay", options=options)
    assert failed.value.code == "NOT_FOUND" and "/var/tmp/lay/none" in failed.value.message
    assert not exists(vm, "/run/systemd/transient/mnt-lay.mount")


def test_a_block_device_that_is_waited_for(vm, client):
    """It appears while a mount waits for it, by the name that udev would give it."""
    id = client.start("mounts.mount", source=b"/dev/disk/by-id/late", target=b"/mnt/late", type="ext4",
                      create_target=True, wait_ms=50000, timeout_ms=55000)
    image = "/var/tmp/late.img"
    device = vm.shell(f"modprobe loop && truncate -s 4M {image} && mke2fs -q {image} && losetup -f --show {image}").strip()
    assert not client.responses
    vm.shell(f"mkdir -p /dev/disk/by-id && ln -s ../../{device.removeprefix('/dev/')} /dev/disk/by-id/late")
    mount = client.finish(id, "mounts.mount").mount
    assert mount.target == b"/mnt/late" and mount.type == b"ext4"
    client.call("mounts.unmount", target=b"/mnt/late")
    vm.shell(f"rm /dev/disk/by-id/late; losetup -d {device}; rm {image}")


def test_a_jump_of_the_clock_is_a_new_generation(vm):
    """As when a guest is restored: callers that come after it see that they cannot go on where they were."""
    def generation():
        with vm.client(timeout=60) as client:
            seen = client.hello_reply.generation
            assert client.call("system.info").generation == seen
            return seen

    first = generation()
    assert generation() == first
    vm.shell("date -s @$(($(date +%s) + 3600))")
    second = generation()
    assert second not in (0, first) and generation() == second
    vm.shell("date -s @$(($(date +%s) - 3600))")
    assert generation() not in (0, first, second)


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
    # By a connection that answers questions alone.
    info = client.call("modules.info", name="dummy")
    assert info.allowed and info.loaded
    client.call("modules.unload", name="dummy")
    assert not client.call("modules.info", name="dummy").loaded


def test_the_units_have_no_fault(vm):
    assert vm.shell("systemd-analyze verify --man=no posternd.service postern-kmod.socket postern-kmod@1.service "
                    "postern-job.socket postern-job@1.service postern-share@mnt-x.service "
                    "| grep postern", status=1) == ""


def logs(vm, *words):
    """Entries, as postern logs has them."""
    return [json.loads(line) for line in vm.host.run("logs", "systemd", "--json", *words)[0].splitlines()]


def said(entries):
    return [entry["message"] for entry in entries]


def test_the_journal_by_unit_priority_and_time(vm):
    vm.shell("printf '[Service]\\nType=oneshot\\nExecStart=sh -c \"echo one; echo \\\\<3\\\\>two\"\\n' "
             ">/run/systemd/system/talker.service; systemctl start talker")
    entries = logs(vm, "-u", "talker")
    assert [m for m in said(entries) if m in ("one", "two")] == ["one", "two"]
    # What systemd says of it, too.
    assert any("Starting talker.service" in message for message in said(entries)), entries
    assert {e.get("unit") for e in entries if e["message"] in ("one", "two")} == {"talker.service"}
    one, two = (e for e in entries if e["message"] in ("one", "two"))
    assert (one["priority"], two["priority"], one["identifier"], one["source"]) == (6, 3, "sh", "JOURNAL")
    assert said(logs(vm, "-u", "talker.service", "-p", "err")) == ["two"]
    assert said(logs(vm, "-t", "sh", "-g", "on")) == ["one"]
    at = one["realtime_us"] // 1000000
    assert "one" in said(logs(vm, "-u", "talker", "-S", f"@{at}"))
    assert "one" not in said(logs(vm, "-u", "talker", "-S", f"@{at + 3600}"))
    assert "one" not in said(logs(vm, "-u", "talker", "-U", f"@{at}"))
    assert "one" not in said(logs(vm, "-u", "talker", "--after", one["cursor"]))
    assert "two" in said(logs(vm, "-u", "talker", "--after", one["cursor"]))


def test_a_line_of_the_kernel_comes_once(vm):
    vm.shell("echo '<28>doubled[5]: only once' >/dev/kmsg; journalctl --sync")
    assert "only once" in vm.shell("journalctl -t doubled")
    for words in ([], ["-n", "50"], ["-b", "all"], ["-k"]):
        assert said(logs(vm, "-t", "doubled", *words)) == ["only once"], words
    # All that the journal has, from the kernel's first line on, and nothing twice.
    theirs = int(vm.shell("journalctl -b -o json | wc -l"))
    entries = logs(vm)
    assert len(entries) >= theirs and entries[0]["message"].startswith("Linux version")
    kernel = [(e["monotonic_us"], e["message"]) for e in entries if e["source"] == "KERNEL"]
    assert len(kernel) > 100 and len(set(kernel)) == len(kernel)


def test_the_journal_as_it_comes(vm):
    # Names that no other line has.
    tag = f"comes{time.monotonic_ns()}"
    follower = vm.host.start("logs", "systemd", "-f", "-t", tag, "-t", f"kernel{tag}", "--json")
    try:
        for i in range(3):
            vm.shell(f"echo line-{i} | systemd-cat -t {tag}")
            assert json.loads(follower.stdout.readline())["message"] == f"line-{i}"
            vm.shell(f"echo '<28>kernel{tag}: up' >/dev/kmsg")
            assert json.loads(follower.stdout.readline())["message"] == "up"
            # The file at hand becomes another.
            vm.shell("journalctl --rotate")
        vm.shell(f"systemctl stop posternd.service; echo meanwhile | systemd-cat -t {tag}; "
                 f"echo '<28>kernel{tag}: meanwhile' >/dev/kmsg; systemctl start posternd.service")
        assert [json.loads(follower.stdout.readline())["message"] for _ in range(2)] == ["meanwhile"] * 2
        vm.shell(f"echo after | systemd-cat -t {tag}")
        assert json.loads(follower.stdout.readline())["message"] == "after"
    finally:
        follower.kill()
        _, errors = follower.communicate()
    assert "waiting for the agent\n" in errors and errors.endswith("postern: the agent is there again\n")


def stop_and_start(vm):
    """How many milliseconds the first takes."""
    return int(vm.shell("a=$(date +%s%N); systemctl stop posternd.service; b=$(date +%s%N); "
                        "systemctl start posternd.service; echo $(((b - a) / 1000000))"))


def test_a_stop_with_callers_is_quick(vm):
    with vm.client(timeout=60) as client:
        with_callers = stop_and_start(vm)
        with pytest.raises(Closed) as closed:
            client.dispatch()
        assert closed.value.goodbye.reason == pb.GOODBYE_REASON_STOPPING
    # systemctl takes its own time; once is enough, since whoever waits for callers does so each time.
    for _ in range(3):
        without = stop_and_start(vm)
        if with_callers < without + 1000:
            break
        with vm.client(timeout=60):
            with_callers = stop_and_start(vm)
    else:
        pytest.fail(f"{with_callers} ms with callers, {without} without")


@pytest.fixture(scope="module")
def may_exec(vm):
    vm.shell("echo 'allow host exec.*' >/etc/postern/policy.d/60-exec.policy; systemctl restart posternd.service")
    vm.host.until(lambda: vm.host.info("systemd")["state"] == "ready", 60)


def test_programs_have_nothing_of_the_sandbox(vm, may_exec):
    run = ["exec", "systemd", "--"]
    out, _ = vm.host.run(*run, "cat", "/proc/self/status")
    status = dict(line.split(":", 1) for line in out.splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == int(
        vm.shell("grep CapBnd /proc/1/status").split()[1], 16)
    assert status["NoNewPrivs"].strip() == status["Seccomp"].strip() == "0"
    for name in ("mnt", "pid", "net", "user", "cgroup"):
        assert vm.host.run(*run, "readlink", f"/proc/self/ns/{name}")[0] == vm.shell(f"readlink /proc/1/ns/{name}")
    assert vm.host.run(*run, "cat", "/proc/self/oom_score_adj")[0] == "0\n"
    assert "postern-job@" in vm.host.run(*run, "cat", "/proc/self/cgroup")[0]
    # What it mounts is mounted for all.
    vm.host.run(*run, "mount", "-t", "tmpfs", "none", "/mnt")
    assert vm.shell("umount /mnt; echo $?") == "0\n"
    vm.host.run(*run, "su", "nobody", "-s", "/bin/sh", "-c", "exit 42", code=42)


def test_limits_of_a_program_in_its_unit(vm, may_exec):
    out, _ = vm.host.run("exec", "systemd", "--pids", "20", "--memory", "32M", "--", "sh", "-c",
                         "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat pids.max memory.max")
    assert out == "20\n33554432\n"


def test_what_a_program_leaves_behind_goes_on(vm, may_exec):
    out, _ = vm.host.run("exec", "systemd", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
    pid = int(out)
    assert vm.shell(f"sleep 1; kill -0 {pid}; echo $?; kill {pid}") == "0\n"


def test_no_unit_stays(vm, may_exec):
    vm.host.until(lambda: vm.shell("systemctl list-units --no-legend --state=failed 'postern*'; "
                                   "systemctl list-units --no-legend 'postern-job@*' | wc -l").strip() in ("0", "1"), 30)


def test_without_the_socket_no_program_runs(vm, may_exec):
    vm.shell("systemctl stop postern-job.socket 'postern-job@*'")
    try:
        _, errors = vm.host.run("exec", "systemd", "--", "true", code=ANSWERED)
        assert "RESOURCE_EXHAUSTED" in errors or "no process could be started" in errors
        assert "systemctl start postern-job.socket" in vm.shell("journalctl -u posternd -n 5")
    finally:
        vm.shell("systemctl start postern-job.socket")
    vm.host.run("exec", "systemd", "--", "true")


@pytest.mark.parametrize("state,breaks,mends", [
    ("inactive", "mv postern-kmod.socket /root; systemctl daemon-reload; rm -f /run/postern/kmod.sock",
     "mv /root/postern-kmod.socket ."),
    # Where the socket should be there is a folder.
    ("failed", "mkdir -p /run/postern/kmod.sock/x", "rmdir -p /run/postern/kmod.sock/x"),
])
def test_the_agent_starts_without_the_socket_of_kmod(vm, state, breaks, mends):
    vm.shell(f"cd {UNITS}; systemctl stop posternd.service postern-kmod.socket; {breaks}")
    try:
        vm.shell("systemctl start posternd.service")
        assert vm.shell("systemctl is-active posternd.service") == "active\n"
        assert vm.shell("systemctl is-active postern-kmod.socket", status=3) == f"{state}\n"
        with vm.client(timeout=60) as client:
            with pytest.raises(Failed) as failed:
                client.call("modules.load", name="dummy")
            assert failed.value.code in ("PERMISSION_DENIED", "UNAVAILABLE"), failed.value
            client.call("mounts.list")
    finally:
        vm.shell(f"cd {UNITS}; {mends}; systemctl daemon-reload; systemctl reset-failed 'postern*'; "
                 "systemctl restart posternd.service")
    with vm.client(timeout=60) as client:
        assert client.call("modules.load", name="dummy").loaded_now
        client.call("modules.unload", name="dummy")


def shut_down(vm, mode):
    with vm.client(timeout=60) as client:
        reply = client.call("power.shutdown", mode=mode)
        assert reply.by == "systemd" and reply.mode == mode


def test_persistent_shares_come_back_after_a_reboot(host, image, vm):
    with vm.client(timeout=60) as client:
        share = client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True).share
        assert share.unit == "mnt-kept.mount"
        assert exists(vm, "/etc/systemd/system/mnt-kept.mount")
    vm.boot_anew(lambda: shut_down(vm, 2), *debian.launch_options(image))
    # Services were stopped, not killed.
    assert vm.shell("cat /var/clean-stop") == "stopped\n"
    wait_until(lambda: unit_of(vm, "/mnt/kept"), timeout=200)
    with vm.client(timeout=60) as client:
        wait_until(lambda: client.call("shares.list").shares)
        share, = client.call("shares.list").shares
        assert share.persistent and share.state == 1
        client.call("shares.unmount", target=b"/mnt/kept", timeout_ms=60000)
    assert not exists(vm, "/etc/systemd/system/mnt-kept.mount")
    assert not exists(vm, "/etc/systemd/system/multi-user.target.wants/mnt-kept.mount")


def test_stop_asks_systemd(host, vm):
    out, _ = host.run("stop", "systemd", "-t", "120", timeout=200)
    assert "finished stopping" in out
    host.until_nothing_runs()
