# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's guest agent on vsock, run beside ours in one guest to see whether both say the same."""

import json

from streams import hybrid_stream

PORT = 1234

UNIT = f"""[Unit]
DefaultDependencies=no
Wants=modprobe@vmw_vsock_virtio_transport.service
After=modprobe@vmw_vsock_virtio_transport.service systemd-remount-fs.service
[Service]
ExecStart=/usr/sbin/qemu-ga -m vsock-listen -p 3:{PORT}
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""


class QemuGa:
    """call("guest-ping", key=value): what it returns. It has one client at a time."""

    def __init__(self, uds, timeout=60):
        self.sock = hybrid_stream(uds, PORT, timeout)
        self.sock.settimeout(timeout)
        self.file = self.sock.makefile("rb")

    def call(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise OSError(answer["error"]["desc"])
        return answer["return"]

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
