# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which devices a machine has: what is asked for, what is the default, what is refused. QEMU, the vsock device and
the guest only talk (fake_vmm.py)."""

import subprocess

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, USAGE

DEFAULT = ["virtio-balloon", "virtio-console", "virtio-gpu", "virtio-rng", "virtio-vsock"]


@pytest.fixture
def launch(host, tmp_path):
    def run(*options, **guest):
        return fake_vmm.launch(host, tmp_path, *options, **{"boot": 0, "hint": 0.1, **guest})
    return run


def test_what_is_there_by_default(host, launch):
    launch()
    assert host.info("web")["devices"] == DEFAULT
    out, _ = host.run("list", "web")
    assert "Active devices:     virtio-balloon virtio-console virtio-gpu virtio-rng virtio-vsock\n" in out
    assert "Inactive devices:   virtio-sound virtio-sound-input virtio-net\n" in out


def test_what_was_asked_for(host, launch):
    launch("--virtio-balloon", "false", "--virtio-gpu=false", "--default-net", "true", "--virtio-sound", "false",
           "--virtio-console", "false")
    assert host.info("web")["devices"] == ["virtio-rng", "virtio-vsock", "virtio-net"]
    for words in ("balloon", "web", "16"), ("balloon-stats", "web"):
        _, err = host.run(*words, code=ANSWERED)
        assert "The guest has no balloon device" in err


def test_a_virtio_console(host, launch):
    """A second console beside the serial port, with readers and a file of its own."""
    launch(say="serial\n")
    assert "virtio-console" in host.info("web")["devices"]
    for words, said in (("serial", "web", "--virtio", "--linger", "300ms"), b"hvc0\n"), (
            ("serial", "web", "--linger", "300ms"), b"serial\n"):
        done = subprocess.run([host.postern, *words], env=host.env, input=b"typed\n", capture_output=True, timeout=20)
        assert done.stdout == said + b"typed\n" and done.returncode == 0, done
    with open(host.file("web", "hvc0.log")) as log:
        assert log.read() == "hvc0\ntyped\n"
    with open(host.file("web", "console.log")) as log:
        assert log.read() == "serial\ntyped\n"


def test_no_virtio_console(host, launch):
    launch("--virtio-console", "false")
    _, err = host.run("attach", "web", "--virtio", code=ANSWERED)
    assert err == "postern: Failed to attach to guest: The guest has no virtio console\n"


@pytest.mark.parametrize("options, streams", [((), 1), (("--virtio-sound-input", "true"), 2)])
def test_sound_where_qemu_has_it(host, launch, tmp_path, options, streams):
    (tmp_path / "sound").touch()
    launch(*options)
    assert "virtio-sound" in host.info("web")["devices"]
    with open(f"/proc/{host.info('web')['vmm_pid']}/cmdline") as file:
        words = file.read().split("\0")
    assert f"virtio-sound-pci,audiodev=audio0,streams={streams}" in words and "none,id=audio0" in words


def test_a_guest_without_vsock(host, launch):
    _, err = launch("--virtio-vsock", "false", code=USAGE)
    assert "without a vsock device no agent can be reached: --detach" in err
    launch("--virtio-vsock", "false", "--detach")
    assert "virtio-vsock" in host.info("web")["devices_off"]
    for words in ("ping", "web"), ("socat", "web", "22"):
        _, err = host.run(*words, code=ABSENT)
        assert "Guest lacks the required vsock device" in err
    host.run("stop", "-f", "web")


@pytest.mark.parametrize("words,why", [
    (("--virtio-sound", "true"), "virtio-sound: this QEMU has no such device (virtio-sound-pci, since version 8.2)"),
    (("--virtio-sound-input", "true"), "virtio-sound: this QEMU has no such device (virtio-sound-pci, since version 8.2)"),
    (("--virtio-sound", "false", "--virtio-sound-input", "true"),
     "virtio-sound-input: a part of virtio-sound, which is off"),
    (("--vmm", "firecracker", "--virtio-console", "true"),
     "virtio-console: Postern gives Firecracker no such device"),
    (("--vmm", "cloud-hypervisor", "--virtio-sound", "true"),
     "virtio-sound: Postern gives Cloud Hypervisor no such device"),
    (("--virtio-mem", "100M"), "memory to be plugged: a multiple of 128 MiB"),
    (("--virtio-mem", "32T"), "memory to be plugged: a multiple of 128 MiB, 16 TiB at most"),
    (("--virtio-mem", "lots"), "--virtio-mem: a size"),
    (("--virtio-mem", "128M", "--virtio-mem-block-size", "3M"), "a power of two from 2 MiB to 128 MiB"),
    (("--virtio-mem", "128M", "--virtio-mem-block-size", "1M"), "a power of two from 2 MiB to 128 MiB"),
    (("--virtio-mem-block-size", "2M"), "a size of blocks, but no memory to be plugged"),
    (("--interrupt", "5"), "no VMM here passes an interrupt of the host on"),
    (("--virtio-rng", "maybe"), "--virtio-rng: true or false"),
    (("--vmm", "firecracker", "--virtio-balloon", "false"), "Postern always gives Firecracker this device")])
def test_refused_before_anything_starts(host, launch, tmp_path, words, why):
    _, err = launch(*words, code=USAGE)
    assert why in err
    host.run("list", "web", code=ABSENT)
