# SPDX-License-Identifier: LGPL-2.1-or-later
"""Callers of other users of this machine."""

import os

from streams import unix_stream
from wire import Client


def as_user(agent, uid, **kwargs):
    """A client whom the kernel tells as this user: who connects counts, not who speaks then."""
    os.seteuid(uid)
    try:
        sock = unix_stream(agent.socket)
    finally:
        os.seteuid(0)
    return Client(sock, **kwargs)
