# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtual machines through the real command line, with a registry of their own: exit codes, processes,
and what is left behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from streams import hybrid_stream
from wire import BUILD, Client, Closed

BUILD = os.path.abspath(BUILD)
POSTERN = f"{BUILD}/postern"

# Exit codes of postern.
DONE, ANSWERED, USAGE, REFUSED, ABSENT, TIMED_OUT, PROTOCOL = range(7)


# What the shipped policy lets the host not do: it would make it root of the guest, changes what is the guest's own, or
# is for programs of the guest.
DENIED = ("exec.", "copy.", "forward.", "identity.set_", "users.add_", "users.remove_", "users.replace_", "users.set_",
          "time.set_zone", "sysctl.set", "network.set_", "cpus.set", "memory.set_", "memory.probe", "memory.reclaim",
          "heartbeat.beat", "heartbeat.end")
# Of files and disks only these are allowed.
READING = ("stat", "list", "read", "get_footprint", "watch", "list_disks", "list_files", "read_file",
           "get_file_footprint", "stats", "grow")


def is_denied(name):
    service, rpc = name.split(".")
    return name.startswith(DENIED) or (service in ("files", "disks") and rpc not in READING)


def check_methods(client):
    """As shipped, everything works but what is denied."""
    for method in client.call("system.methods").methods:
        expected = 2 if is_denied(method.name) else 1
        assert method.availability == expected, (method.name, method.reason)


class Host:
    """A registry of machines apart from all others, and the command line that looks into it."""

    def __init__(self, postern=POSTERN):
        self.postern = postern
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self.env = dict(os.environ, POSTERN_RUNTIME_DIR=f"{self.dir}/run", POSTERN_ACCEL="tcg",
                        XDG_CACHE_HOME=f"{BUILD}/cache")
        self.env.setdefault("POSTERN_GUEST_DIR", f"{BUILD}/guest")

    def start(self, *words):
        """Starts postern; the caller waits for it."""
        return subprocess.Popen([self.postern, *words], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words, code=DONE, timeout=120):
        """Runs postern, checks its exit code, returns (stdout, stderr)."""
        done = subprocess.run([self.postern, *words], env=self.env, text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=timeout)
        assert done.returncode == code, (
            f"postern {' '.join(words)}: exit code {done.returncode}, not {code}\n"
            f"{done.stdout}{done.stderr}{self.logs()}")
        return done.stdout, done.stderr

    def json(self, *words, **options):
        return json.loads(self.run(*words, "--json", **options)[0])

    def info(self, name):
        return self.json("list", name)

    def file(self, name, file):
        return f"{self.dir}/run/{name}/{file}"

    def children(self, name):
        """The processes of a VM: {"virtiofsd": [pid, ...], ...}."""
        supervisor = self.supervisor(name)
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    command, rest = stat.read().split("(", 1)[1].rsplit(")", 1)
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if int(parent) == supervisor and state != "Z":
                found.setdefault(command, []).append(int(pid))
        return found

    def supervisor(self, name):
        return int(subprocess.run(["pgrep", "-f", f"postern-supervisor --dir {self.dir}/run/{name}$"],
                                  capture_output=True, text=True, check=True).stdout)

    def processes(self):
        """The command lines of everything that runs for this registry."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    line = file.read().replace("\0", " ")
            except OSError:
                continue
            if self.dir in line and int(pid) != os.getpid():
                found.append(line)
        return found

    def launch(self, name, *options, witness=True):
        """A guest with the tests' own program inside."""
        adds = ["--add", f"{BUILD}/tests/witness:/etc/postern/start.d/witness"] if witness else []
        self.run("launch", name, *adds, *options)
        return Machine(self, name)

    def until(self, what, seconds=20):
        deadline = time.monotonic() + seconds
        while True:
            result = what()
            if result:
                return result
            assert time.monotonic() < deadline, f"it did not happen in {seconds} s\n{self.logs()}"
            time.sleep(0.05)

    def until_nothing_runs(self):
        self.until(lambda: not self.processes())

    def logs(self):
        text = ""
        for folder, _, files in os.walk(f"{self.dir}/run"):
            for file in files:
                if file in ("supervisor.log", "console.log"):
                    with open(os.path.join(folder, file), errors="replace") as log:
                        text += f"--- {folder}/{file}\n{log.read()[-3000:]}\n"
        return text

    def close(self):
        for env in self.json("list", "--all-envs")["environments"]:
            for vm in env["guests"]:
                if vm["status"] in ("starting", "running", "paused", "asleep", "stopping", "unavailable"):
                    self.run("stop", "-f", f"{env['env']}/{vm['name']}")
        self.until_nothing_runs()
        logs = self.logs()
        shutil.rmtree(self.dir)
        assert "Sanitizer" not in logs and "runtime error" not in logs, logs


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
        deadline = time.monotonic() + timeout
        while True:
            # It may start later than the agent.
            try:
                sock = hybrid_stream(self.vsock, 4000, timeout)
                break
            except ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
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

    def shell(self, line, status=0, timeout=60):
        """A shell's command line in the guest, by the witness: its output."""
        code, _, output = self.witness("run", line, timeout=timeout).lstrip().partition(" ")
        assert int(code) == status, f"{line}: exit code {code}, not {status}\n{output}"
        return output

    def boot_id(self):
        """Of the boot whose agent answers; None while none does."""
        try:
            with self.client(timeout=5) as client:
                return client.hello_reply.boot_id
        except (OSError, Closed):
            return None

    def wait_for_boot(self, before=None, timeout=300):
        """Until an agent answers, of another boot than that."""
        wait_until(lambda: self.boot_id() not in (None, before), timeout=timeout, step=0.2)

    def boot_anew(self, reboot, *launch_words):
        """Has the guest reboot itself, up to the moment of its reset, and starts a new machine with its disk.
        Emulated, the second boot of one machine takes minutes at times."""
        reboot()
        self.host.until(lambda: self.host.info(self.name)["state"] != "ready", 200)
        self.stop("-f")
        self.host.run("launch", self.name, *launch_words, timeout=400)

    def stop(self, *options):
        return self.host.run("stop", self.name, *options)


def wait_until(condition, timeout=20, step=0.05):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(step)


def state_of(pid):
    """As proc_pid_stat(5) has it: "S" asleep, "T" stopped."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


@contextlib.contextmanager
def halted(*pids):
    """These do nothing meanwhile, and go on where they were."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(pid) == "T" for pid in pids))
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it may have been killed
                os.kill(pid, signal.SIGCONT)
