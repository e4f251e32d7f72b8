# SPDX-License-Identifier: LGPL-2.1-or-later
"""--accel auto: hardware acceleration only where a guest has answered under it. Which machine has any is
not for a test to say: /dev/kvm is a file here, and QEMU one that only talks (fake_vmm.py)."""

import json
import time

import pytest

import fake_vmm
from machine import POSTERN, USAGE, Host

# postern with a /dev of its own; $KVM says what stands for /dev/kvm there.
WITH_DEV = """#!/bin/sh
exec unshare --mount --propagation private sh -eu -c '
mount -t tmpfs dev "$0/dev"
for node in null zero full random urandom; do : >"$0/dev/$node"; mount --bind "/dev/$node" "$0/dev/$node"; done
ln -s /proc/self/fd "$0/dev/fd"
mkdir "$0/dev/shm"
[ -z "${KVM:-}" ] || { : >"$0/dev/kvm"; mount --bind "$KVM" "$0/dev/kvm"; }
mount --move "$0/dev" /dev
exec "$@"' %s %s "$@"
"""

GOOD = {"boot": 0, "hint": 0.1}


@pytest.fixture
def host(tmp_path):
    (tmp_path / "dev").mkdir()
    program = tmp_path / "postern"
    program.write_text(WITH_DEV % (tmp_path, POSTERN))
    program.chmod(0o755)
    host = Host(postern=str(program))
    host.env |= {"KVM": "/dev/null", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    del host.env["POSTERN_ACCEL"]
    yield host
    host.close()


@pytest.fixture
def launch(host, tmp_path):
    """Launches and stops; which accelerations QEMU was started with, the one in use, and what was said."""
    def run(*options, **guest):
        fake_vmm.install(tmp_path, guest, host)
        (tmp_path / "log").write_text("")
        _, err = host.run("launch", "web", *options)
        accel = host.info("web")["accel"]
        # The machine of the trial leaves nothing.
        assert [vm["name"] for vm in host.json("list")["guests"]] == ["web"]
        host.run("stop", "-f", "web")
        return [e.split()[1] for e in fake_vmm.events(tmp_path) if e.startswith("qemu")], accel, err
    return run


def proofs(tmp_path):
    """Of acceleration; beside them is what was found out of the device for sound."""
    known = json.loads((tmp_path / "cache/postern/proofs.json").read_text())
    return {key: works for key, works in known.items() if not key.startswith("sound ")}


def test_a_guest_that_answers_is_the_proof_and_is_asked_once(launch, tmp_path):
    assert launch(kvm=GOOD, tcg=GOOD) == (["kvm", "kvm"], "kvm", "")
    assert launch(kvm=GOOD, tcg=GOOD) == (["kvm"], "kvm", "")
    (key, works), = proofs(tmp_path).items()
    boot_id = open("/proc/sys/kernel/random/boot_id").read().strip()
    assert works is True and boot_id in key and f"{tmp_path}/qemu" in key


def test_another_boot_qemu_or_kernel_is_another_matter(launch, tmp_path):
    launch(kvm=GOOD, tcg=GOOD)
    known = proofs(tmp_path)
    for part in range(6):
        # As it was for the same with one part of it changed: it says nothing.
        other = {" ".join(word + "0" if i == part else word for i, word in enumerate(key.split())): works
                 for key, works in known.items()}
        (tmp_path / "cache/postern/proofs.json").write_text(json.dumps(other))
        assert launch(kvm=GOOD, tcg=GOOD)[0] == ["kvm", "kvm"], part


def test_a_vmm_that_fails_means_emulation_and_is_said(launch):
    accels, accel, err = launch(kvm={"exit": 1}, tcg=GOOD)
    assert (accels, accel) == (["kvm", "tcg"], "tcg")
    assert err == "postern: /dev/kvm is there, but no guest answered under it: emulating\n"
    assert launch(kvm={"exit": 1}, tcg=GOOD) == (["tcg"], "tcg", "")


def test_a_guest_that_hangs_is_given_up_after_the_deadline(launch):
    start = time.monotonic()
    accels, accel, err = launch(kvm={}, tcg=GOOD)
    assert (accels, accel) == (["kvm", "tcg"], "tcg") and "emulating" in err
    assert 20 <= time.monotonic() - start < 30


def test_without_kvm_nothing_is_tried(host, launch):
    host.env["KVM"] = ""
    assert launch(kvm=GOOD, tcg=GOOD) == (["tcg"], "tcg", "")


def test_a_choice_is_not_proved(host, launch):
    assert launch("--accel", "tcg", kvm=GOOD, tcg=GOOD) == (["tcg"], "tcg", "")
    assert launch("--accel", "kvm", kvm=GOOD, tcg=GOOD) == (["kvm"], "kvm", "")
    host.env["POSTERN_ACCEL"] = "tcg"
    assert launch(kvm=GOOD, tcg=GOOD) == (["tcg"], "tcg", "")
    assert launch("--accel", "kvm", kvm=GOOD, tcg=GOOD) == (["kvm"], "kvm", "")
    host.env["POSTERN_ACCEL"] = "maybe"
    assert "POSTERN_ACCEL is auto, kvm or tcg" in host.run("launch", "web", code=USAGE)[1]
