# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real `postern` with a registry of its own: exit codes, processes and what is left behind."""

import json
import os
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(os.environ.get("POSTERN_BUILD", os.path.join(ROOT, "build")))

DONE, ANSWERED, USAGE, REFUSED, ABSENT, TIMED_OUT, PROTOCOL = range(7)


class Launcher:
    """A registry, and the command line that looks into it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="postern-test-")
        self.env = dict(os.environ, POSTERN_RUNTIME_DIR=f"{self.dir}/run", POSTERN_ACCEL="tcg")
        self.env.setdefault("POSTERN_GUEST_DIR", f"{BUILD}/guest")

    def start(self, *words):
        return subprocess.Popen([f"{BUILD}/postern", *words], env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words, code=DONE, timeout=90):
        """Runs postern, checks its exit code, returns (stdout, stderr)."""
        done = subprocess.run([f"{BUILD}/postern", *words], env=self.env, text=True,
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

    def until(self, what, seconds=10):
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
        for vm in self.json("list")["guests"]:
            if vm["status"] in ("starting", "running", "stopping", "unavailable"):
                self.run("stop", "-f", vm["name"])
        self.until_nothing_runs()
        logs = self.logs()
        shutil.rmtree(self.dir)
        assert "Sanitizer" not in logs and "runtime error" not in logs, logs
