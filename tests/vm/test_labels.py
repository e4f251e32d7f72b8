# SPDX-License-Identifier: LGPL-2.1-or-later
"""Labels of SELinux on files that are replaced: kept where the kernel goes by them, and no hindrance where it does
not, as after a boot without."""

import os
import subprocess

import pytest

LABEL = b"system_u:object_r:ssh_home_t:s0"
ONE, TWO = b"ssh-ed25519 AAAA one", b"ssh-ed25519 AAAA two"
FILE = ".ssh/authorized_keys"


@pytest.fixture
def image(tmp_path):
    """The home of a guest's root, on a disk."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / FILE).write_bytes(ONE + b"\n")
    (home / FILE).chmod(0o600)
    os.setxattr(home / FILE, "security.selinux", LABEL)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", home, tmp_path / "image", "64M"], check=True)
    return tmp_path / "image"


def label_of(image, tmp_path):
    """As it is on the disk."""
    subprocess.run(["debugfs", "-R", f"ea_get -f {tmp_path}/label /{FILE} security.selinux", image], check=True,
                   capture_output=True)
    file = tmp_path / "label"
    return file.read_bytes().rstrip(b"\0") or None if file.exists() else None


@pytest.mark.parametrize("lsm, kept", [("selinux", LABEL), ("apparmor", None)])
def test_a_file_of_keys_is_replaced(host, image, tmp_path, lsm, kept):
    policy = tmp_path / "users.policy"
    policy.write_text("allow host users.*\n")
    vm = host.launch("guest", "--cmdline-add", f"lsm={lsm} selinux={int(lsm == 'selinux')}",
                     "--add", f"{policy}:/etc/postern/policy.d/60-users.policy")
    host.run("disks", "attach", "guest", str(image), "--mount", "/root", "--type", "ext4")
    with vm.client() as client:
        assert client.call("users.add_keys", user=b"root", keys=[TWO]).added == 1
        assert list(client.call("users.get_keys", user=b"root").keys) == [ONE, TWO]
    host.run("disks", "detach", "guest", str(image))
    vm.stop()
    assert label_of(image, tmp_path) == kept
