# SPDX-License-Identifier: LGPL-2.1-or-later
"""Name servers of a guest whose systemd-resolved says whom programs ask."""

import pytest

import debian
from machine import Host

RESOLVED = 2  # DnsOwner
SERVERS, SEARCH = ["192.0.2.53", "2001:db8::53"], ["example.org", "lan"]


@pytest.fixture(scope="module")
def vm(tmp_path_factory):
    def add(tree):
        debian.chroot(tree, "systemctl", "unmask", "dbus.socket", "dbus.service")
        debian.chroot(tree, "systemctl", "enable", "systemd-resolved")
        debian.write(f"{tree}/etc/postern/policy.d/60-dns.policy", "allow host network.*\n")

    host = Host()
    image = str(tmp_path_factory.mktemp("resolved") / "image")
    debian.make_image(image, add)
    machine = host.launch("resolved", *debian.launch_options(image))
    machine.shell("systemctl is-active --wait systemd-resolved || systemctl start systemd-resolved", timeout=120)
    yield machine
    host.close()


def told(vm):
    """By resolved itself."""
    words = {}
    for kind in ("dns", "domain"):
        line, = [line for line in vm.shell(f"resolvectl {kind}").splitlines() if line.startswith("Global:")]
        words[kind] = line.split()[1:]
    return words["dns"], words["domain"]


def test_resolved_is_told(vm):
    with vm.client(timeout=60) as client:
        before = client.call("network.dns")
        assert before.owner == RESOLVED and before.file.startswith(b"/run/systemd/resolve/")
        reply = client.call("network.set_dns", servers=SERVERS, search=SEARCH)
        assert (list(reply.dns.servers), list(reply.dns.search)) == (SERVERS, SEARCH)
        assert (list(reply.before.servers), list(reply.before.search)) == (list(before.servers), list(before.search))
        assert told(vm) == (SERVERS, SEARCH)
        assert vm.shell("readlink /etc/resolv.conf").strip().endswith("stub-resolv.conf")
        # Other settings of resolved's are not ours, and stay.
        assert vm.shell("ls /etc/systemd/resolved.conf.d").split() == ["postern.conf"]
        reply = client.call("network.set_dns")
        assert not reply.dns.servers and told(vm) == ([], [])
        assert not vm.shell("ls /etc/systemd/resolved.conf.d").split()
