# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern socat and socat-listen: standard input and output as the ends of a vsock stream. The guest is a
hybrid socket, whose other side is this program."""

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import threading
import time

import pytest

import fake_vmm
from machine import ABSENT, DONE, POSTERN, PROTOCOL, REFUSED, TIMED_OUT, USAGE

SIZE = 20 << 20


@pytest.fixture
def uds(tmp_path):
    return str(tmp_path / "vsock.sock")


@contextlib.contextmanager
def guest(uds, serve, answer=b"OK 1073741824\n"):
    """Takes one connection, its CONNECT line, and has it served."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(uds)
    listener.listen(1)

    def take():
        peer, _ = listener.accept()
        line = b""
        while not line.endswith(b"\n"):
            line += peer.recv(1)
        assert re.fullmatch(rb"CONNECT \d+\n", line)
        if answer:
            peer.sendall(answer)
            serve(peer)
        peer.close()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


def read_all(peer):
    data = b""
    while more := peer.recv(65536):
        data += more
    return data


def socat(*words, input=b"", code=DONE):
    done = subprocess.run([POSTERN, "socat", *words], input=input, capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.decode()


def test_the_end_of_input_is_passed_on_and_the_answer_still_comes(uds):
    def serve(peer):
        peer.sendall(read_all(peer)[::-1])

    with guest(uds, serve):
        out, err = socat(f"unix:{uds}", "5000", input=b"desserts")
    assert out == b"stressed" and err == "Disconnected after a successful connect\n"


def test_both_directions_at_once(uds):
    """More than all the buffers between hold, and neither side reads before it has written."""
    data = os.urandom(SIZE)
    got = []

    def serve(peer):
        writer = threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)))
        writer.start()
        got.append(hashlib.sha256(read_all(peer)).digest())
        writer.join()

    with guest(uds, serve):
        out, err = socat(f"unix:{uds}", "5000", "--json", input=data)
    assert hashlib.sha256(out).digest() == got[0] == hashlib.sha256(data).digest()
    assert err == f'{{"sent":{SIZE},"received":{SIZE}}}\n'


def test_who_listens_no_more_has_still_said_something(uds):
    def serve(peer):
        peer.sendall(b"goodbye")

    with guest(uds, serve):
        out, _ = socat(f"unix:{uds}", "5000", input=b"x" * SIZE)
    assert out == b"goodbye"


def test_what_comes_is_shown_as_it_comes(uds):
    go_on = threading.Event()

    def serve(peer):
        peer.sendall(b"first")
        go_on.wait(20)
        assert peer.recv(100) == b"typed"

    with guest(uds, serve):
        process = subprocess.Popen([POSTERN, "socat", f"unix:{uds}", "5000"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert os.read(process.stdout.fileno(), 100) == b"first"
        process.stdin.write(b"typed")
        process.stdin.flush()
        go_on.set()
        # The guest ends it, whatever could still be typed.
        assert process.wait(20) == DONE
        process.communicate()


def test_a_reader_that_has_had_enough(uds):
    def serve(peer):
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"y\n" * 4096)

    with guest(uds, serve):
        done = subprocess.run(f"{POSTERN} socat unix:{uds} 5000 </dev/null | head -n 1", shell=True,
                              capture_output=True, timeout=30)
    assert done.stdout == b"y\n" and b"error" not in done.stderr


@pytest.mark.parametrize("answer,code,words", [
    (b"", ABSENT, "No listener on port 5000"),
    (b"what?\n", PROTOCOL, "did not answer CONNECT with OK"),
])
def test_nobody_listens(uds, answer, code, words):
    with guest(uds, lambda peer: None, answer):
        _, err = socat(f"unix:{uds}", "5000", code=code)
    assert words in err


def test_nobody_answers(uds):
    with guest(uds, lambda peer: time.sleep(1), b"OK"):
        _, err = socat(f"unix:{uds}", "5000", "--timeout", "300ms", code=TIMED_OUT)
    assert "port 5000 of the guest does not answer" in err


@pytest.mark.parametrize("words,code", [
    (["unix:/none", "5000"], ABSENT), (["nobody", "5000"], ABSENT), (["unix:/none", "x"], USAGE),
    (["unix:/none", "4294967295"], USAGE), (["local:", "5000"], USAGE), (["unix:/none"], USAGE)])
def test_refused(words, code):
    socat(*words, code=code)


# ---- The other way ----

@pytest.fixture
def web(host, tmp_path):
    """A machine that only talks."""
    fake_vmm.launch(host, tmp_path, boot=0, hint=0.1)
    return host


def listens(path):
    """A socket's name is there a moment before anyone can connect to it."""
    with open("/proc/net/unix") as file:
        sockets = [line.split() for line in file]
    # __SO_ACCEPTCON
    return any(words[3] == "00010000" and words[-1] == path for words in sockets)


def listen(host, *words):
    process = subprocess.Popen([POSTERN, "socat-listen", *words], env=host.env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    path = host.file("web", "vsock.sock_6000")
    host.until(lambda: listens(path) or process.poll() is not None)
    return process, path


def test_one_connection_and_no_more(web):
    process, path = listen(web, "web", "6000")
    _, err = web.run("socat-listen", "web", "6000", code=REFUSED)
    assert "Already a listener on port 6000" in err
    peer = socket.socket(socket.AF_UNIX)
    # That the second one looked did not take the first one's place.
    peer.connect(path)
    peer.sendall(b"from the guest")
    assert os.read(process.stdout.fileno(), 100) == b"from the guest"
    assert not os.path.exists(path)
    process.stdin.write(b"from the host")
    process.stdin.close()
    assert read_all(peer) == b"from the host"
    peer.close()
    assert process.wait(20) == DONE
    assert process.stderr.read() == b"Stopped listening on port 6000\n"


def test_a_socket_file_that_was_left_behind(web):
    process, path = listen(web, "web", "6000")
    process.kill()
    process.communicate()
    assert os.path.exists(path)
    process, path = listen(web, "web", "6000", "--timeout", "500ms")
    _, err = process.communicate(timeout=20)
    assert process.returncode == TIMED_OUT and b"nobody connected to port 6000 in time" in err
    assert not os.path.exists(path)
