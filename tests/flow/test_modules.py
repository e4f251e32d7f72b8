# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern-kmod as its callers meet it. No module of this machine is touched."""

import os
import socket
import struct
import subprocess

import pytest

from wire import BUILD

LOAD, UNLOAD, INFO, ONLY_INFO = 2, 3, 4, 5
# kmod-helpers/wire.h: kind, number of parameters, name, the parameters.
REQUEST = struct.Struct("=II64s2560s")


@pytest.fixture
def kmod():
    """A postern-kmod and its connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)

    def pass_it():
        # Descriptor 3, as systemd and the keeper have it.
        os.dup2(theirs.fileno(), 3)
        os.set_inheritable(3, True)

    process = subprocess.Popen([os.path.abspath(f"{BUILD}/postern-kmod")], pass_fds=[3], preexec_fn=pass_it,
                               stderr=subprocess.DEVNULL)
    theirs.close()
    yield process, ours
    ours.close()
    process.wait(10)


def ask(connection, kind, name):
    connection.send(REQUEST.pack(kind, 0, name.encode(), b""))
    reply = connection.recv(65536)
    return struct.unpack_from("=i", reply)[0] if reply else None


def permitted(process):
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm"))


def test_a_connection_that_may_only_look(kmod):
    process, connection = kmod
    assert ask(connection, INFO, "no/module") != 0
    assert permitted(process) == 1 << 16
    connection.send(REQUEST.pack(ONLY_INFO, 0, b"", b""))
    assert ask(connection, INFO, "no-such-module-at-all") is not None
    assert permitted(process) == 0
    # Not even a refusal: whoever asks is not what the broker took it for.
    assert ask(connection, LOAD, "no-such-module-at-all") is None
    assert process.wait(10) == 1


def test_a_connection_that_may_load_has_its_list(kmod):
    process, connection = kmod
    assert ask(connection, LOAD, "floppy") == 1  # EPERM
    assert ask(connection, UNLOAD, "floppy") == 1
    connection.close()
    assert process.wait(10) == 0
