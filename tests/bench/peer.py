# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern-vsockd beside vhost-device-vsock: the same small guest behind each, at the same time.

The peer is the package vhost-device-vsock of Debian's unstable suite, fetched with an apt
configuration of its own and only unpacked: nothing of it is installed.
"""

import contextlib
import os
import re
import subprocess
import time

import guest

PEER = f"{guest.BENCH}/peer"
BOOTS = 5
ROUNDS = 5  # of each boot, after one that warms up
MIB = 1 << 20
CELLS = {
    "rtt_p50_us": ("1001", "rtt", "64", "2000"),
    **{f"to_guest_{size >> 10}k_mib_s": ("1002", "sink", str(size), str(16 * MIB))
       for size in (4096, 65536, 262144)},
    **{f"from_guest_{size >> 10}k_mib_s": ("1003", "source", str(size), str(16 * MIB))
       for size in (4096, 65536, 262144)},
}


def mirror():
    """The Debian mirror that this machine's apt uses."""
    for folder, _, files in [*os.walk("/etc/apt/sources.list.d"), ("/etc/apt", [], ["sources.list"])]:
        for name in files:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(\S*/debian)/*\s", open(path).read(), re.M)
                if found:
                    return found[1]
    raise FileNotFoundError("apt has no Debian mirror configured")


def fetch():
    """The peer's program; what cannot be fetched is an error."""
    program = f"{PEER}/root/usr/bin/vhost-device-vsock"
    if os.path.exists(program):
        return program
    for folder in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{PEER}/{folder}", exist_ok=True)
    with open(f"{PEER}/sources.list", "w") as file:
        file.write(f"deb {mirror()} unstable main\n")
    with open(f"{PEER}/apt.conf", "w") as file:
        file.write(f'Dir::State::lists "{PEER}/lists";\nDir::Cache "{PEER}/cache";\n'
                   f'Dir::Etc::sourcelist "{PEER}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
                   'APT::Sandbox::User "root";\nAcquire::Languages "none";\n')
    environment = dict(os.environ, APT_CONFIG=f"{PEER}/apt.conf")
    for words in (["apt-get", "update", "-qq"], ["apt-get", "download", "-qq", "vhost-device-vsock"]):
        subprocess.run(words, cwd=PEER, env=environment, check=True, capture_output=True, timeout=300)
    package, = (name for name in os.listdir(PEER) if name.endswith(".deb"))
    subprocess.run(["dpkg", "-x", f"{PEER}/{package}", f"{PEER}/root"], check=True)
    return program


def boot_files(host):
    """Kernel, initramfs and processor of a small guest that runs vsock_server, as launch has them."""
    host.run("launch", "pattern", "--add", f"{guest.BENCH}/vsock_server:/etc/postern/start.d/vsock_server")
    pid, = (pid for command, pids in host.children("pattern").items() if command.startswith("qemu")
            for pid in pids)
    with open(f"/proc/{pid}/cmdline") as file:
        words = file.read().split("\0")
    host.run("stop", "-f", "pattern")
    return [word for option in ("-kernel", "-initrd", "-cpu") for word in (option, words[words.index(option) + 1])]


class Behind:
    """A guest behind one back-end."""

    def __init__(self, folder, back_end, boot):
        os.makedirs(folder, exist_ok=True)
        self.uds, device = f"{folder}/uds", f"{folder}/device"
        self.log = open(f"{folder}/log", "wb")
        options = dict(stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.running = [subprocess.Popen([word.format(device=device, uds=self.uds) for word in back_end],
                                         **options)]
        try:
            self.start(device, boot, options)
        except BaseException:
            self.close()
            raise

    def start(self, device, boot, options):
        self.wait(lambda: os.path.exists(device))
        self.running.append(subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
             "-machine", "q35,accel=tcg,memory-backend=ram0", "-m", "256M",
             "-object", "memory-backend-memfd,id=ram0,size=256M,share=on",
             "-chardev", f"socket,id=vsock0,path={device}", "-device", "vhost-user-vsock-pci,chardev=vsock0",
             "-append", "console=ttyS0 quiet panic=-1 no_timer_check", *boot], **options))
        self.wait(self.answers)

    def answers(self):
        try:
            return guest.read_port(self.uds, guest.ECHO_PORT, b"x", b"x") == b"x"
        except OSError:
            return False

    def wait(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"no answer; see {self.log.name}"
            assert all(process.poll() is None for process in self.running), f"ended; see {self.log.name}"
            time.sleep(0.1)

    def measure(self, words):
        done = subprocess.run([f"{guest.BENCH}/vsock_load", self.uds, *words], check=True, timeout=120,
                              capture_output=True, text=True)
        return float(done.stdout.split()[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.running[::-1]:
            process.terminate()
            process.wait(timeout=20)
        self.log.close()
        if os.path.exists(self.uds):
            os.unlink(self.uds)


def measure_round(results, pair, number):
    """Each cell of both, one right after the other; who is first changes."""
    for cell, words in CELLS.items():
        for kind in sorted(pair, reverse=number % 2 == 0):
            results.add(f"{kind}_{cell}", pair[kind].measure(words))
        name = cell.removesuffix("_p50_us").removesuffix("_mib_s")
        results.ratio(f"vsockd_over_peer_{name}_ratio", f"vsockd_{cell}", f"peer_{cell}")


def measure_vsockd(results, host, say):
    try:
        program = fetch()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        say(f"SKIPPED: vhost-device-vsock cannot be fetched: {error}")
        results.skip("vsockd", f"vhost-device-vsock cannot be fetched: {error}")
        return
    back_ends = {
        "vsockd": [f"{guest.BENCH}/../postern-vsockd", "--socket-path", "{device}", "--uds", "{uds}",
                   "--cid", "4", "--once"],
        "peer": [program, "--guest-cid", "4", "--socket", "{device}", "--uds-path", "{uds}"],
    }
    boot = boot_files(host)
    for boot_number in range(BOOTS):
        say(f"boot {boot_number + 1} of {BOOTS} behind both")
        with contextlib.ExitStack() as stack:
            pair = {kind: stack.enter_context(Behind(f"{host.dir}/{kind}{boot_number}", back_end, boot))
                    for kind, back_end in back_ends.items()}
            for behind in pair.values():
                for words in CELLS.values():
                    behind.measure(words)
            for number in range(ROUNDS):
                measure_round(results, pair, number)
