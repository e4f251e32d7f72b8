# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real agent on this machine, with folders and sockets of its own and no vsock."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from streams import unix_stream
from wire import BUILD, Client

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DEFAULT_POLICY = open(os.path.join(ROOT, "packaging/policy/50-default.policy")).read()


class Agent:
    def __init__(self, policy=DEFAULT_POLICY, build=BUILD, within=(), **settings):
        """within: a command that starts another one in its own place, as unshare does."""
        self.within = within
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        os.chmod(self.dir, 0o755)
        self.settings = {
            "vsock": "no",
            "socket": f"{self.dir}/agent.sock",
            "run_dir": f"{self.dir}/run",
            "state_dir": f"{self.dir}/state",
            "policy_dir": f"{self.dir}/policy.d",
            "hooks_dir": f"{self.dir}/hooks.d",
            "libexec_dir": os.path.abspath(build),
            "log_level": "debug",
        }
        self.settings.update({key: str(value) for key, value in settings.items()})
        self.build = build
        self.process = None
        os.mkdir(f"{self.dir}/policy.d")
        with open(f"{self.dir}/policy.d/50-test.policy", "w") as file:
            file.write(policy)

    @property
    def socket(self):
        return self.settings["socket"]

    def write_config(self):
        with open(f"{self.dir}/postern.conf", "w") as file:
            for key, value in self.settings.items():
                file.write(f"{key} = {value}\n")

    def start(self, wait=True, stderr=None):
        self.write_config()
        self.log = open(f"{self.dir}/log", "ab")
        self.process = subprocess.Popen(
            [*self.within, os.path.join(self.build, "posternd"), "--config", f"{self.dir}/postern.conf"],
            stdout=self.log, stderr=stderr or self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while wait and not self.listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the agent did not start:\n" + self.read_log())
            time.sleep(0.005)
        return self

    def listens(self):
        """The socket's name is there a moment before it can be connected."""
        try:
            unix_stream(self.socket).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def read_log(self):
        with open(f"{self.dir}/log", errors="replace") as file:
            return file.read()

    def client(self, **kwargs):
        return Client.unix(self.socket, **kwargs)

    def children(self):
        """The agent's processes but the broker: {pid: name}."""
        out = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    stat = file.read()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == self.process.pid:
                out[int(pid)] = stat[stat.index("(") + 1 : stat.rindex(")")]
        return out

    def stop(self):
        """Ends the agent as a service manager does; its exit code."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process else None

    def close(self):
        self.stop()
        if self.process:
            self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
