# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent as a service of OpenRC under sysvinit, with a disk."""

import os

import pytest

import debian
from machine import ABSENT, REFUSED, Host, Machine, check_methods, wait_until
from wire import Closed, pb

REBOOT, HALT = 2, 3
SCRIPT = "/etc/init.d/posternd"


@pytest.fixture(scope="module")
def host():
    machines = Host()
    yield machines
    machines.close()


@pytest.fixture(scope="module")
def image(host):
    path = f"{host.dir}/disk.img"
    debian.make_image(path, source=debian.OPENRC_TREE, install=False)
    return path


@pytest.fixture(scope="module")
def vm(host, image):
    """Boots without the agent's service, which is then installed as a person would."""
    host.run("launch", "rc", "--detach", *debian.launch_options(image), timeout=400)
    machine = Machine(host, "rc")
    machine.shell("true", timeout=400)
    machine.files_before = placed(machine)
    machine.printed = machine.shell("posternd install")
    host.until(lambda: host.info("rc")["state"] == "ready", 200)
    return machine


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


def placed(vm):
    return set(vm.shell("find /etc/init.d /etc/runlevels /etc/rc*.d | sort").splitlines())


def shut_down(vm, mode):
    with vm.client(timeout=60) as client:
        reply = client.call("power.shutdown", mode=mode)
        assert reply.by == "sysvinit" and reply.mode == mode
        return client.hello_reply.boot_id


def test_install_enables_and_starts(vm, client):
    assert f"installed {SCRIPT}" in vm.printed
    assert "the agent is enabled and started (OpenRC)" in vm.printed
    assert placed(vm) - vm.files_before == {SCRIPT, "/etc/runlevels/default/posternd"}
    assert "started" in vm.shell("rc-service posternd status")
    assert client.call("system.info").init == "sysvinit"
    check_methods(client)


def test_install_again_changes_no_file(vm):
    before = placed(vm)
    assert f"unchanged {SCRIPT}" in vm.shell("posternd install")
    assert placed(vm) == before
    vm.wait_for_boot()


def test_only_root_installs(vm):
    for command in ("install", "uninstall"):
        assert "only root may do this" in vm.shell(
            f"setpriv --reuid 65534 --clear-groups posternd {command}", status=REFUSED)


def test_modules_by_a_child(vm, client):
    """No unit holds a socket for it here."""
    vm.shell("test -e /run/postern/kmod.sock", status=1)
    assert client.call("modules.load", name="dummy").loaded_now
    client.call("modules.unload", name="dummy")


def test_mounts_and_shares(host, vm, client):
    client.call("mounts.mount", target=b"/mnt/a", type="tmpfs", create_target=True)
    assert " /mnt/a tmpfs " in vm.witness("mounts")
    client.call("mounts.unmount", target=b"/mnt/a")
    share = client.call("shares.mount", target=b"/mnt/b", type="tmpfs").share
    assert share.unit == "" and " /mnt/b tmpfs " in vm.witness("mounts")
    client.call("shares.unmount", target=b"/mnt/b")
    assert " /mnt/b " not in vm.witness("mounts")
    folder = f"{host.dir}/folder"
    os.mkdir(folder)
    with open(f"{folder}/file", "w") as file:
        file.write("hello")
    host.run("shares", "add", "rc", folder, "/mnt/share")
    assert vm.witness("read", "/mnt/share/file") == "hello"


def stop_and_start(vm):
    """How many milliseconds the first takes. OpenRC takes its own time, too."""
    return int(vm.shell("a=$(date +%s%N); rc-service posternd stop >/dev/null; b=$(date +%s%N); "
                        "rc-service posternd start >/dev/null; echo $(((b - a) / 1000000))").split()[-1])


def test_restart_keeps_this_boots_state_and_does_not_wait_for_callers(vm, client):
    generation = client.hello_reply.generation
    with_callers = stop_and_start(vm)
    with pytest.raises(Closed) as closed:
        client.dispatch()
    assert closed.value.goodbye.reason == pb.GOODBYE_REASON_STOPPING
    vm.wait_for_boot()
    with vm.client(timeout=60) as after:
        assert after.hello_reply.generation == generation
        assert [share.target for share in after.call("shares.list").shares] == [b"/mnt/share"]
    # Once is enough: whoever waits for callers does so each time.
    for _ in range(3):
        without = stop_and_start(vm)
        vm.wait_for_boot()
        if with_callers < without + 1000:
            break
        with vm.client(timeout=60):
            with_callers = stop_and_start(vm)
        vm.wait_for_boot()
    else:
        pytest.fail(f"{with_callers} ms with callers, {without} without")
    assert "started" in vm.shell("rc-service posternd restart; rc-service posternd status")
    vm.wait_for_boot()


def test_a_killed_agent_is_started_again(vm):
    pid = vm.shell("cat /run/posternd.pid /run/supervise-posternd.pid 2>/dev/null | head -n 1").strip()
    broker = vm.shell(f"cat /proc/{pid}/task/{pid}/children").split()[0]
    vm.witness("kill", broker, 9)
    vm.wait_for_boot()
    assert vm.shell(f"cat /proc/{pid}/task/{pid}/children").split()[0] != broker


def test_it_comes_back_after_a_reboot(host, vm, image):
    with vm.client(timeout=60) as client:
        client.call("shares.mount", target=b"/mnt/kept", type="tmpfs", persistent=True)
    vm.boot_anew(lambda: shut_down(vm, REBOOT), *debian.launch_options(image))
    wait_until(lambda: " /mnt/kept tmpfs " in vm.witness("mounts"), timeout=100)
    assert host.info("rc")["problems"] == []


def test_uninstall_removes_what_install_placed(host, vm):
    with vm.client(timeout=60) as client:
        client.call("shares.unmount", target=b"/mnt/kept")
    assert f"removed {SCRIPT}" in vm.shell("posternd uninstall")
    assert placed(vm) == vm.files_before
    assert vm.shell("cat /proc/[0-9]*/comm 2>/dev/null | grep ^postern", status=1) == ""
    host.run("ping", "rc", code=ABSENT)
    assert vm.shell("posternd uninstall") == "the service is not installed: nothing to do (OpenRC)\n"
    vm.shell("posternd install")
    vm.wait_for_boot()


def test_stop_asks_sysvinit(host, vm):
    out, _ = host.run("stop", "rc", "-t", "120", timeout=200)
    assert "finished stopping" in out
    host.until_nothing_runs()


def test_halt_under_sysvinit(host, vm, image):
    host.run("launch", "rc", *debian.launch_options(image), timeout=400)
    shut_down(vm, HALT)
    wait_until(lambda: "System halted" in vm.console(), timeout=200, step=0.2)
    host.run("stop", "-f", "rc")
