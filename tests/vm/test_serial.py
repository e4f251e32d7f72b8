# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern serial with a shell on a real guest's serial port."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest

from machine import DONE, POSTERN

SHELL = """#!/usr/bin/busybox sh
[ "$1" ] || /etc/postern/start.d/shell hvc0 &
exec </dev/${1:-ttyS0} >/dev/${1:-ttyS0} 2>&1
exec /usr/bin/busybox setsid -c /usr/bin/busybox sh -i
"""


@pytest.fixture(scope="module")
def vm(host, tmp_path_factory):
    shell = tmp_path_factory.mktemp("serial") / "shell"
    shell.write_text(SHELL)
    shell.chmod(0o755)
    machine = host.launch("guest", "--add", f"{shutil.which('busybox')}:/usr/bin/busybox",
                          "--add", f"{shell}:/etc/postern/start.d/shell", "--virtio-console", "true",
                          witness=False)
    host.until(lambda: "# " in machine.console())
    return machine


def take(fd, until, seconds=30):
    data, end = b"", time.monotonic() + seconds
    while until not in data:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], data
        data += os.read(fd, 65536)
    return data


def test_a_command_and_what_it_prints(vm):
    done = subprocess.run([POSTERN, "serial", "guest", "--new", "--linger", "3s"], env=vm.host.env,
                          input=b"echo $((6 * 7))\n", capture_output=True, timeout=60)
    assert done.returncode == DONE, done.stderr
    # The guest's terminal echoes, and ends lines as terminals have it.
    assert done.stdout.startswith(b"echo $((6 * 7))\r\n42\r\n"), done.stdout


def test_the_virtio_console_is_another(vm):
    done = subprocess.run([POSTERN, "serial", "guest", "--virtio", "--linger", "3s"], env=vm.host.env,
                          input=b"echo $((6 * 7)); tty\n", capture_output=True, timeout=60)
    assert done.returncode == DONE, done.stderr
    assert b"42\r\n/dev/hvc0\r\n" in done.stdout, done.stdout
    with open(vm.host.file("guest", "hvc0.log"), "rb") as log:
        assert b"/dev/hvc0" in log.read()
    assert "/dev/hvc0" not in vm.console()


def test_two_readers_and_keys_that_are_signals_in_the_guest(vm):
    ours, theirs = pty.openpty()
    at_terminal = subprocess.Popen([POSTERN, "attach", "guest"], env=vm.host.env, stdin=theirs, stdout=theirs,
                                   stderr=subprocess.PIPE)
    reader = subprocess.Popen([POSTERN, "serial", "guest", "--read-only"], env=vm.host.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # What was said from the boot on comes first, for each of them.
    for fd in ours, reader.stdout.fileno():
        assert b"SeaBIOS" in take(fd, b"# ")
    # It says so itself once it is the one that keys are for.
    os.write(ours, b"(echo begun; exec sleep 1000); echo ended $?\r")
    for fd in ours, reader.stdout.fileno():
        take(fd, b"\r\nbegun\r\n")
    os.write(ours, b"\x03")
    # What is typed before the prompt the shell throws away.
    for fd in ours, reader.stdout.fileno():
        assert b"ended" not in take(fd, b"# ")
    os.write(ours, b"echo next\r")
    for fd in ours, reader.stdout.fileno():
        take(fd, b"\r\nnext\r\n")
    os.write(ours, b"~.")
    assert at_terminal.wait(20) == DONE
    assert b"Disconnected from guest after a successful attach" in at_terminal.stderr.read()
    vm.host.run("stop", "-f", "guest")
    assert reader.wait(20) == DONE
    os.close(ours)
    os.close(theirs)
