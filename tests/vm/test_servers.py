# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shares of servers, NFSv4 and SMB, in a systemd guest that is its own server: the kernel's nfsd and
ksmbd over the loopback interface."""

import base64
import os
import time

import pytest

import debian
from machine import ANSWERED, USAGE, Host, wait_until
from wire import Failed

NAME = "served"
PASSWORD = "hunter,2=x y"
CIFS = ["--type", "cifs", "-o", "username=tester"]

# What the programs of nfs-kernel-server would tell the kernel: who may have what. The number of the
# export is 0, which makes it the root of NFSv4.
NFSD = r"""
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
cd /proc/fs/nfsd
[ "$(cat threads)" = 0 ] || exit 0
echo 10 >nfsv4leasetime
echo 10 >nfsv4gracetime
echo '-2 -3 +4 +4.1 +4.2' >versions
echo 'nfsd 127.0.0.1 4102444800 everybody' >/proc/net/rpc/auth.unix.ip/channel
echo 'everybody /srv/nfs 4102444800 9218 65534 65534 0' >/proc/net/rpc/nfsd.export/channel
echo 'everybody 1 \x00000000 4102444800 /srv/nfs' >/proc/net/rpc/nfsd.fh/channel
echo 2 >threads
"""

NFSD_UNIT = """[Unit]
Wants=modprobe@nfsd.service
After=modprobe@nfsd.service
Before=remote-fs-pre.target
Wants=remote-fs-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -e /usr/local/sbin/start-nfsd
[Install]
WantedBy=multi-user.target
"""

LISTEN_ASIDE = "cd /proc/fs/nfsd; grep -q 2052 portlist || echo 'tcp 2052' >portlist"

KSMBD = """[global]
	workgroup = TEST
	netbios name = TEST
	map to guest = never
[data]
	path = /srv/smb
	read only = no
	guest ok = no
"""


@pytest.fixture(scope="module")
def host():
    machines = Host()
    yield machines
    machines.close()


def put(vm, path, text):
    encoded = base64.b64encode(text.encode()).decode()
    vm.shell(f"mkdir -p $(dirname {path}); echo {encoded} | base64 -d >{path}")


@pytest.fixture(scope="module")
def image(host):
    path = f"{host.dir}/disk.img"
    debian.make_image(path)
    return path


@pytest.fixture(scope="module")
def vm(host, image):
    machine = host.launch(NAME, *debian.launch_options(image), witness=False)
    for name, content in (("nfs", "from nfs"), ("smb", "from smb")):
        put(machine, f"/srv/{name}/from-server", content)
        machine.shell(f"chmod 0777 /srv/{name}")
    put(machine, "/usr/local/sbin/start-nfsd", NFSD)
    put(machine, "/etc/systemd/system/nfsd-here.service", NFSD_UNIT)
    put(machine, "/etc/ksmbd/ksmbd.conf", KSMBD)
    put(machine, "/etc/systemd/system/ksmbd.service.d/order.conf", "[Unit]\nBefore=remote-fs-pre.target\n")
    machine.shell(f"ksmbd.adduser -a tester -p '{PASSWORD}' -i /etc/ksmbd/ksmbdpwd.db")
    machine.shell("systemctl daemon-reload; systemctl enable --now nfsd-here ksmbd", timeout=240)
    # Both: it listens, and its helper has told it the shares.
    wait_until(lambda: ":01BD " in machine.witness("read", "/proc/net/tcp6"))
    return machine


@pytest.fixture
def client(vm):
    with vm.client(timeout=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def secret_file(host):
    path = f"{host.dir}/secret"
    with open(path, "w") as file:
        file.write(PASSWORD + "\n")
    return path


def line_of(vm, target):
    return next((line for line in vm.witness("mounts").splitlines() if f" {target} " in line), None)


def add(host, *words, code=0):
    return host.run("shares", "add", NAME, *words, code=code)


def test_nfs(host, vm):
    add(host, "--type", "nfs4", "127.0.0.1:/", "/mnt/nfs")
    line = line_of(vm, "/mnt/nfs")
    assert " nfs4 rw,nosuid,nodev" in line and "vers=4.2" in line and "addr=127.0.0.1" in line
    assert vm.witness("read", "/mnt/nfs/from-server") == "from nfs"
    vm.witness("write", "/mnt/nfs/from-guest", "x")
    assert vm.witness("read", "/srv/nfs/from-guest") == "x"
    share, = host.json("shares", "list", NAME)["shares"]
    assert (share["source"], share["type"], share["state"]) == ("127.0.0.1:/", "nfs4", "SHARE_MOUNTED")
    assert not share["persistent"] and "unit" not in share
    host.run("shares", "remove", NAME, "/mnt/nfs")
    assert not line_of(vm, "/mnt/nfs") and not host.json("shares", "list", NAME)["shares"]


def test_nfs_as_it_is_asked_for(host, vm):
    add(host, "--type", "nfs4", "nas:/", "/mnt/nfs", "-o", "addr=127.0.0.1", "-o", "vers=4.1", "-o", "soft", "--read-only")
    line = line_of(vm, "/mnt/nfs")
    assert line.startswith("nas:/ ") and "vers=4.1" in line and "soft" in line and " ro," in line.replace("nfs4 ", "nfs4  ")
    with pytest.raises(OSError):
        vm.witness("write", "/mnt/nfs/new", "x")
    host.run("shares", "remove", NAME, "/mnt/nfs")


def test_cifs(host, vm, secret_file):
    add(host, *CIFS, "--secret-file", secret_file, "//127.0.0.1/data", "/mnt/smb")
    line = line_of(vm, "/mnt/smb")
    assert " cifs rw,nosuid,nodev" in line and "vers=3.1.1" in line and "username=tester" in line
    assert vm.witness("read", "/mnt/smb/from-server") == "from smb"
    vm.witness("write", "/mnt/smb/from-guest", "y")
    assert vm.witness("read", "/srv/smb/from-guest") == "y"
    host.run("shares", "remove", NAME, "/mnt/smb")
    assert not line_of(vm, "/mnt/smb")


def test_refused_by_the_server(host, vm, client, secret_file):
    def mount(**fields):
        with pytest.raises(Failed) as failed:
            client.call("shares.mount", target=b"/mnt/x", **fields)
        return failed.value

    user = [dict(key="username", value=b"tester")]
    error = mount(type="cifs", source=b"//127.0.0.1/data", options=user, secret=b"wrong")
    assert error.code == "PERMISSION_DENIED" and error.error.sys_errno == 13 and not error.error.rule
    assert "//127.0.0.1/data" in error.message and "wrong" not in error.message
    error = mount(type="cifs", source=b"//127.0.0.1/nothing", options=user, secret=PASSWORD.encode())
    assert error.code == "NOT_FOUND" and PASSWORD not in error.message
    assert mount(type="nfs4", source=b"127.0.0.1:/nothing").code == "NOT_FOUND"
    # And what the command line makes of them.
    with open(f"{host.dir}/wrong", "w") as file:
        file.write("wrong")
    _, err = add(host, *CIFS, "--secret-file", f"{host.dir}/wrong", "//127.0.0.1/data", "/mnt/x", code=ANSWERED)
    assert "the server refuses it" in err
    add(host, *CIFS, "--secret-file", f"{host.dir}/none", "//127.0.0.1/data", "/mnt/x", code=USAGE)
    _, err = add(host, *CIFS, "-o", "pass=hunter2", "//127.0.0.1/data", "/mnt/x", code=ANSWERED)
    assert "field of its own" in err
    _, err = add(host, "--type", "nfs4", "nas:/", "/mnt/x", code=ANSWERED)
    assert "nas is no address" in err
    assert not client.call("shares.list").shares and not line_of(vm, "/mnt/x")


@pytest.mark.parametrize("fields", [dict(type="nfs4", source=b"127.0.0.1:/"),
                                    dict(type="cifs", source=b"//127.0.0.1/data", secret=b"x")])
def test_no_server(client, fields):
    start = time.monotonic()
    with pytest.raises(Failed) as failed:
        client.call("shares.mount", target=b"/mnt/x", options=[dict(key="port", value=b"9")], **fields)
    assert failed.value.code == "UNAVAILABLE" and "Connection refused" in failed.value.message
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("port,fields", [
    (2050, dict(type="nfs4", source=b"127.0.0.1:/")),
    (2051, dict(type="cifs", source=b"//127.0.0.1/data", secret=b"x")),
])
def test_a_server_that_says_nothing(vm, client, port, fields):
    """It ends at the deadline, and meanwhile holds up nobody."""
    vm.witness("listen", port)
    start = time.monotonic()
    waiting = client.start("shares.mount", target=b"/mnt/x", timeout_ms=5000,
                           options=[dict(key="port", value=str(port).encode())], **fields)
    assert client.call("system.ping", payload=b"p").payload == b"p"
    client.call("mounts.mount", target=b"/mnt/other", type="tmpfs", create_target=True)
    client.call("mounts.unmount", target=b"/mnt/other")
    assert time.monotonic() - start < 5
    error = client.take_response(waiting).error
    assert 4 < time.monotonic() - start < 12
    assert error.code == 4 and error.outcome == 1  # DEADLINE_EXCEEDED, NOT_DONE
    assert not client.call("shares.list").shares and not line_of(vm, "/mnt/x")
    wait_until(lambda: not client.call("system.info").agent.stuck, timeout=60)


def test_a_server_that_goes_away(host, vm, client):
    add(host, "--type", "nfs4", "127.0.0.1:/", "/mnt/nfs", "-o", "timeo=50", "-o", "retrans=1")
    vm.shell("echo 0 >/proc/fs/nfsd/threads")
    start = time.monotonic()
    entry, = client.call("mounts.list", usage=True, target=b"/mnt/nfs").mounts
    assert entry.state == 2 and time.monotonic() - start < 8  # NOT_RESPONDING
    client.call("system.ping", payload=b"p")
    host.run("shares", "remove", NAME, "/mnt/nfs", "--lazy")
    assert not line_of(vm, "/mnt/nfs") and not client.call("shares.list").shares
    vm.shell("bash -e /usr/local/sbin/start-nfsd")
    wait_until(lambda: not client.call("system.info").agent.stuck, timeout=60)


def places_of_the_secret(host, vm):
    """Every file of the guest and the host that holds the password, but for the two that should."""
    put(vm, "/root/pattern", PASSWORD + "\n")
    inside = vm.shell("grep -rlsF -f /root/pattern /run /etc /var /tmp /usr/lib/systemd"
                   " /proc/[0-9]*/cmdline /proc/[0-9]*/environ; journalctl -o export --no-pager"
                   " | grep -acF -f /root/pattern; systemctl show '*' | grep -cF -f /root/pattern; exit 0").split()
    outside = [path for folder, _, files in os.walk(host.dir) for path in (os.path.join(folder, f) for f in files)
               if not path.endswith((".img", "/secret", ".sock")) and "sock_" not in path
               and PASSWORD.encode() in open(path, "rb").read()]
    return inside, outside


def active(vm, name):
    return vm.shell(f"systemctl is-active 'postern-share@{name}.service' || true").strip()


def shut_down(vm):
    with vm.client(timeout=60) as client:
        client.call("power.shutdown", mode=2)


def test_persistent_shares_and_their_secret(host, vm, image, secret_file):
    # The first of them has a server of its own, which will not be there after the boot.
    vm.shell(LISTEN_ASIDE)
    add(host, "--type", "nfs4", "127.0.0.1:/", "/mnt/a-dead", "-o", "port=2052", "--persistent")
    add(host, "--type", "nfs4", "127.0.0.1:/", "/mnt/nfs", "--persistent")
    add(host, *CIFS, "--secret-file", secret_file, "//127.0.0.1/data", "/mnt/smb", "--persistent")
    add(host, "--type", "nfs4", "127.0.0.1:/", "/mnt/passing")

    def check_secret():
        inside, outside = places_of_the_secret(host, vm)
        kept = "/var/lib/postern/shares/.mnt-smb.secret"
        assert inside == [kept, "0", "0"] and not outside
        assert vm.witness("exists", kept).split()[2] == "100600"
        assert PASSWORD not in host.run("shares", "list", NAME)[0] + host.run("shares", "list", NAME, "--json")[0]
        assert not vm.shell("grep -rls 127.0.0.1 /etc/systemd /run/systemd/transient; exit 0")

    check_secret()
    with vm.client(timeout=60) as client:
        # Each has a service that asks for it after a boot; what is not persistent has none.
        assert {s.target.decode(): s.unit for s in client.call("shares.list").shares} == {
            "/mnt/a-dead": r"postern-share@mnt-a\x2ddead.service", "/mnt/nfs": "postern-share@mnt-nfs.service",
            "/mnt/smb": "postern-share@mnt-smb.service", "/mnt/passing": ""}
        wait_until(lambda: active(vm, "mnt-nfs") == active(vm, "mnt-smb") == "active", timeout=60)
        # One that was unmounted, and asked for again.
        vm.shell("umount /mnt/nfs")
        vm.shell("posternd remount /mnt/nfs")
        assert line_of(vm, "/mnt/nfs")
    vm.boot_anew(lambda: shut_down(vm), *debian.launch_options(image))
    with vm.client(timeout=60) as client:
        def states():
            return {s.target.decode(): s.state for s in client.call("shares.list").shares}

        wait_until(lambda: states() == {"/mnt/a-dead": 3, "/mnt/nfs": 1, "/mnt/smb": 1}, timeout=90)
        wait_until(lambda: active(vm, "mnt-nfs") == active(vm, "mnt-smb") == "active", timeout=60)
        assert active(vm, r"mnt-a\x2ddead") == "activating"
        dead = next(s for s in client.call("shares.list").shares if s.state == 3)
        assert "Connection refused" in dead.problem
        assert vm.witness("read", "/mnt/nfs/from-server") == "from nfs"
        assert vm.witness("read", "/mnt/smb/from-server") == "from smb"
        vm.witness("write", "/mnt/smb/after", "z")
        assert not line_of(vm, "/mnt/passing")
        check_secret()
        # Its server comes back, later than the guest: so does the share.
        vm.shell(LISTEN_ASIDE)
        wait_until(lambda: states()["/mnt/a-dead"] == 1, timeout=90)
    for name in ("a-dead", "nfs", "smb"):
        host.run("shares", "remove", NAME, f"/mnt/{name}")
    assert "postern-share" not in vm.shell("ls /etc/systemd/system/multi-user.target.wants; "
                                           "systemctl list-units 'postern-share@*' --no-legend")
    assert vm.shell("ls -A /var/lib/postern/shares") == ""
    assert places_of_the_secret(host, vm)[0] == ["0", "0"]
