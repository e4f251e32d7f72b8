# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtual machines through the real command line, each test run with a runtime folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from wire import BUILD, Client

POSTERN = os.path.join(BUILD, "postern")

# Exit codes of postern.
DONE, ANSWERED, USAGE, REFUSED, ABSENT, TIMED_OUT, PROTOCOL = range(7)


class Host:
    """A user's set of machines, apart from all others."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-vm-")
        self.environment = {**os.environ, "POSTERN_RUNTIME_DIR": f"{self.dir}/run",
                            "XDG_CACHE_HOME": os.path.join(BUILD, "cache"), "POSTERN_ACCEL": "tcg"}
        os.mkdir(f"{self.dir}/run", 0o700)

    def start(self, *arguments):
        """Starts postern; the caller waits for it."""
        return subprocess.Popen([POSTERN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=self.environment, stdin=subprocess.DEVNULL)

    def run(self, *arguments, code=DONE, timeout=120):
        """Runs postern, which must end with this exit code: what it printed, and on standard error."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, \
            f"postern {' '.join(map(str, arguments))}: exit code {process.returncode}\n{out}{err}"
        return out, err

    def json(self, *arguments, **kwargs):
        return json.loads(self.run(*arguments, "--json", **kwargs)[0])

    def info(self, name):
        return self.json("list", name)

    def file(self, name, file):
        return f"{self.dir}/run/{name}/{file}"

    def supervisor(self, name):
        """The pid of a machine's supervisor, by its command line."""
        found = [pid for pid, line in self.processes().items()
                 if "postern-supervisor" in line.split()[0] and f"/run/{name}" in line]
        assert len(found) == 1, found
        return found[0]

    def children(self, name):
        """The processes of a machine, by program: {"virtiofsd": [pid, ...]}."""
        out = {}
        for pid, line in self.processes().items():
            if f"/run/{name}/" in line:
                out.setdefault(os.path.basename(line.split()[0]), []).append(pid)
        return out

    def until(self, condition, timeout=30):
        wait_until(condition, timeout)

    def until_nothing_runs(self):
        wait_until(lambda: not self.processes(), 20)

    def launch(self, name, *options, witness=True):
        adds = []
        if witness:
            adds += ["--add", f"{BUILD}/tests/witness:/etc/postern/start.d/witness"]
        self.run("launch", name, *adds, *options)
        return Machine(self, name)

    def processes(self):
        """Processes that belong to machines of this host: their command lines name its folder."""
        out = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if self.dir in line and int(pid) != os.getpid():
                out[int(pid)] = line
        return out

    def close(self):
        for name in os.listdir(f"{self.dir}/run"):
            if os.path.isdir(f"{self.dir}/run/{name}"):
                self.start("stop", "-f", name).communicate(timeout=60)
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)


class Machine:
    def __init__(self, host, name):
        self.host = host
        self.name = name
        self.dir = f"{host.dir}/run/{name}"

    @property
    def vsock(self):
        return f"{self.dir}/vsock.sock"

    def client(self, **kwargs):
        return Client.hybrid(self.vsock, **kwargs)

    def console(self):
        with open(f"{self.dir}/console.log", errors="replace") as file:
            return file.read()

    def witness(self, *words, timeout=20):
        """A command of tests/vm/witness.c: its text, or OSError with the guest's errno."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        deadline = time.monotonic() + timeout
        while True:
            # It may start later than the agent.
            try:
                sock.connect(self.vsock)
                sock.sendall(b"CONNECT 4000\n")
                line = b""
                while not line.endswith(b"\n"):
                    byte = sock.recv(1)
                    if not byte:
                        raise ConnectionError
                    line += byte
                break
            except ConnectionError:
                sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                sock.settimeout(timeout)
        with sock:
            sock.sendall(" ".join(map(str, words)).encode() + b"\n")
            head = b""
            while head.count(b" ") < 2:
                byte = sock.recv(1)
                if not byte:
                    raise ConnectionError(head)
                head += byte
            status, number = head.split()
            if status == b"no":
                raise OSError(int(number), os.strerror(int(number)), " ".join(map(str, words)))
            body = b""
            while len(body) < int(number):
                body += sock.recv(65536)
            return body.decode(errors="replace")

    def stop(self, *options):
        return self.host.run("stop", self.name, *options)


def wait_until(condition, timeout=20, step=0.05):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(step)
