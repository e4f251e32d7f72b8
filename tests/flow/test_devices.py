# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which devices a machine has: what is asked for, what is the default, what is refused. QEMU, the vsock device and
the guest only talk (fake_vmm.py)."""

import pytest

import fake_vmm
from machine import ABSENT, ANSWERED, USAGE

DEFAULT = ["virtio-balloon", "virtio-gpu", "virtio-rng", "virtio-vsock"]


@pytest.fixture
def launch(host, tmp_path):
    def run(*options, **guest):
        return fake_vmm.launch(host, tmp_path, *options, **{"boot": 0, "hint": 0.1, **guest})
    return run


def test_what_is_there_by_default(host, launch):
    launch()
    assert host.info("web")["devices"] == DEFAULT
    out, _ = host.run("list", "web")
    assert "Active devices:     virtio-balloon virtio-gpu virtio-rng virtio-vsock\n" in out
    assert "Inactive devices:   virtio-console virtio-sound virtio-sound-input virtio-net\n" in out


def test_what_was_asked_for(host, launch):
    launch("--virtio-balloon", "false", "--virtio-gpu=false", "--default-net", "true", "--virtio-sound", "false")
    assert host.info("web")["devices"] == ["virtio-rng", "virtio-vsock", "virtio-net"]
    for words in ("balloon", "web", "16"), ("balloon-stats", "web"):
        _, err = host.run(*words, code=ANSWERED)
        assert "The guest has no balloon device" in err


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
    (("--virtio-sound", "true"), "virtio-sound: Postern gives QEMU no such device"),
    (("--virtio-sound-input", "true"), "virtio-sound-input: Postern gives QEMU no such device"),
    (("--virtio-console", "true"), "virtio-console: Postern gives QEMU no such device"),
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
