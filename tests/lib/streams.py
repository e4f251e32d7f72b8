# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connected streams, for all who talk to an agent, a device or a program in a guest."""

import socket
import struct


def unix_stream(path, timeout=20):
    """A UNIX socket, connected. Where others wait to be accepted it waits behind them, which a socket of
    Python with a time-out would not: that one is non-blocking."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.connect(path)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def hybrid_stream(path, port, timeout=20):
    """A port of a guest through the UNIX socket of its vsock device: CONNECT port, OK n."""
    sock = unix_stream(path, timeout)
    try:
        sock.sendall(b"CONNECT %d\n" % port)
        # Byte by byte: what follows the line is the guest's.
        line = b""
        while not line.endswith(b"\n"):
            byte = sock.recv(1)
            if not byte:
                raise ConnectionRefusedError(f"nobody answers on port {port}")
            line += byte
        if not line.startswith(b"OK "):
            raise ConnectionError(f"CONNECT {port}: {line}")
    except BaseException:
        sock.close()
        raise
    return sock
