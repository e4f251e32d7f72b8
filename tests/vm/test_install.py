# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `make install` puts where, for two prefixes, and that the installed programs find each other there:
beside them is no build folder."""

import glob
import os
import subprocess

import pytest

from machine import BUILD, Host

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
KERNEL = ("boot", "lib/modules")

AGENT = {"PREFIX/sbin": ["postern-init", "posternd"],
         "PREFIX/libexec/postern": ["postern-ctl", "postern-job", "postern-kmod", "postern-session", "postern-watch", "postern-worker"],
         "PREFIX/share/postern": ["postern-job.socket", "postern-job@.service", "postern-kmod.socket",
                             "postern-kmod@.service", "postern-share@.service", "posternd.initd",
                                  "posternd.service"],
         "PREFIX/share/man/man7": ["postern-protocol.7"],
         "PREFIX/share/man/man8": ["postern-init.8", "postern-kmod.8", "posternd.8"],
         "PREFIX/lib/sysusers.d": ["postern.conf"],
         "/etc/postern": ["postern.conf"],
         "/etc/postern/policy.d": ["50-default.policy"],
         "/etc/postern/modules.d": ["local.allow"]}
HOST = {"PREFIX/bin": ["postern"],
        "PREFIX/libexec/postern": ["postern-supervisor", "postern-vsockd"],
        "PREFIX/share/postern/guest/etc/postern/policy.d": ["50-default.policy"],
        "PREFIX/lib/tmpfiles.d": ["postern-host.conf"],
        "PREFIX/share/man/man1": ["postern.1"],
        "PREFIX/share/man/man8": ["postern-vsockd.8"]}
LIBRARY = {"PREFIX/lib": ["libpostern.a", "libpostern.so", "libpostern.so.0"],
           "PREFIX/lib/pkgconfig": ["libpostern.pc"],
           "PREFIX/include/postern": ["channel.h", "client.h", "disks.h", "postern.h", "ride.h", "subscribe.h", "text.h"],
           "PREFIX/share/postern/proto": [os.path.basename(path) for path in glob.glob(f"{ROOT}/proto/*.proto")],
           "PREFIX/share/man/man3": ["libpostern.3"]}


def files_below(tree):
    return {f"{folder.removeprefix(tree)}/{file}" for folder, _, files in os.walk(tree) for file in files}


def expected(prefix, *parts):
    return {f"{folder.replace('PREFIX', prefix)}/{file}" for part in parts for folder, files in part.items()
            for file in files}


@pytest.fixture(scope="module", params=["/usr", "/opt/x"])
def prefix(request):
    return request.param


@pytest.fixture(scope="module")
def make(tmp_path_factory, prefix):
    """make with this prefix, in a copy of the build: the programs under test are left alone."""
    build = tmp_path_factory.mktemp("build")
    subprocess.run(["cp", "-a", *(f"{BUILD}/{name}" for name in ("obj", "gen", "flags")), build], check=True)

    def run(target, tree):
        subprocess.run(["make", "-s", target, f"B={build}", f"DESTDIR={tree}", f"PREFIX={prefix}"], cwd=ROOT,
                       check=True, stdout=subprocess.DEVNULL)
    return run


@pytest.fixture(scope="module")
def tree(make, tmp_path_factory):
    tree = str(tmp_path_factory.mktemp("tree"))
    make("install", tree)
    return tree


def test_each_file_has_its_place(make, tree, prefix, tmp_path):
    assert files_below(tree) == expected(prefix, AGENT, HOST, LIBRARY)
    make("install-agent", tmp_path / "agent")
    assert files_below(str(tmp_path / "agent")) == expected(prefix, AGENT)
    make("install-host", tmp_path / "host")
    assert files_below(str(tmp_path / "host")) == expected(prefix, HOST)
    make("install-library", tmp_path / "library")
    assert files_below(str(tmp_path / "library")) == expected(prefix, LIBRARY)
    for file in files_below(tree):
        mode = os.stat(tree + file).st_mode & 0o7777
        assert mode == (0o755 if os.path.dirname(file).endswith(("bin", "libexec/postern")) else 0o644), file


def test_texts_and_programs_name_the_prefix_and_no_other(tree, prefix):
    def read(file):
        with open(tree + file, "rb") as content:
            return content.read()
    sbin, libexec = f"{prefix}/sbin/posternd".encode(), f"{prefix}/libexec/postern".encode()
    share = f"{prefix}/share/postern"
    assert b"ExecStart=" + sbin + b"\n" in read(f"{share}/posternd.service")
    assert b"command=" + sbin + b"\n" in read(f"{share}/posternd.initd")
    assert b"ExecStart=" + libexec + b"/postern-kmod\n" in read(f"{share}/postern-kmod@.service")
    assert b"#libexec_dir = " + libexec + b"\n" in read("/etc/postern/postern.conf")
    assert libexec in read(f"{prefix}/sbin/posternd")
    if prefix != "/usr":
        for file in files_below(tree):
            for other in (b"/usr/sbin/postern", b"/usr/libexec/postern", b"/usr/share/postern"):
                assert other not in read(file), (file, other)


@pytest.fixture
def guest(tree, prefix):
    """A kernel where an installed postern looks for one."""
    for name in KERNEL:
        os.makedirs(os.path.dirname(f"{tree}{prefix}/share/postern/guest/{name}"), exist_ok=True)
        os.symlink(f"{BUILD}/guest/{name}", f"{tree}{prefix}/share/postern/guest/{name}")


def test_an_installed_postern_launches_its_own_guest(tree, prefix, guest, tmp_path):
    host = Host(postern=f"{tree}{prefix}/bin/postern")
    try:
        for name in ("POSTERN_GUEST_DIR", "POSTERN_LIBEXEC_DIR"):
            host.env.pop(name, None)
        host.env["XDG_CACHE_HOME"] = str(tmp_path)
        host.run("launch", "own")
        assert os.readlink(f"/proc/{host.supervisor('own')}/exe").startswith(f"{tree}{prefix}/libexec/postern/")
        processes = host.json("call", "own", "system.info")["agent"]["processes"]
        assert {"broker", "session"} <= {process["role"] for process in processes}
        host.run("modules", "load", "own", "dummy")
        host.run("stop", "own")
    finally:
        host.close()
