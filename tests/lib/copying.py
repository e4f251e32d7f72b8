# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of copies share: files and trees, and the records of the protocol, made by hand."""

import contextlib
import filecmp
import os
import random

from agent import Agent
from jobs import ALLOW_EXEC
from wire import frame, messages_of

copy_pb = messages_of("copy")


@contextlib.contextmanager
def good_agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


def write(path, data=b"hello\n", mode=0o644):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def no_parts(path):
    return not [name for _, _, files in os.walk(path) for name in files if "postern-part" in name]


def make_tree(root, seed):
    """A random tree; the seed is printed."""
    print("seed", seed)
    rng = random.Random(seed)
    root.mkdir()
    folders = [root]
    for i in range(60):
        parent = rng.choice(folders)
        kind = rng.random()
        path = parent / f"n{i}"
        if kind < 0.25:
            path.mkdir()
            folders.append(path)
        elif kind < 0.35:
            path.symlink_to(f"n{i - 1}")
        else:
            write(path, rng.randbytes(rng.choice([0, 1, 100, 4096, 70000, 200001])), rng.choice([0o600, 0o644, 0o755]))
    return root


def same_tree(a, b):
    compared = filecmp.dircmp(a, b)
    if compared.left_only or compared.right_only or compared.funny_files:
        return False
    for name in os.listdir(a):
        left, right = os.path.join(a, name), os.path.join(b, name)
        if os.path.islink(left) != os.path.islink(right):
            return False
        if os.path.islink(left):
            if os.readlink(left) != os.readlink(right):
                return False
        elif os.path.isdir(left):
            if not same_tree(left, right):
                return False
        elif open(left, "rb").read() != open(right, "rb").read() or os.stat(left).st_mode != os.stat(right).st_mode:
            return False
    return True


def xxh64(data):
    """XXH64 with seed 0, as https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md has it."""
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                          0x27D4EB2F165667C5)
    mask = (1 << 64) - 1

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & mask

    def one(lane, acc=0):
        return rotate((acc + lane * p2) & mask, 31) * p1 & mask

    lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
    rest = data
    while len(rest) >= 32:
        lanes = [one(int.from_bytes(rest[8 * i:8 * i + 8], "little"), acc) for i, acc in enumerate(lanes)]
        rest = rest[32:]
    out = p5
    if len(data) >= 32:
        out = sum(rotate(acc, n) for acc, n in zip(lanes, (1, 7, 12, 18))) & mask
        for acc in lanes:
            out = ((out ^ one(acc)) * p1 + p4) & mask
    out = (out + len(data)) & mask
    while len(rest) >= 8:
        out = (rotate(out ^ one(int.from_bytes(rest[:8], "little")), 27) * p1 + p4) & mask
        rest = rest[8:]
    if len(rest) >= 4:
        out = (rotate(out ^ int.from_bytes(rest[:4], "little") * p1 & mask, 23) * p2 + p3) & mask
        rest = rest[4:]
    for byte in rest:
        out = rotate(out ^ byte * p5 & mask, 11) * p1 & mask
    for shift, factor in ((33, p2), (29, p3), (32, 1)):
        out = (out ^ out >> shift) * factor & mask
    return out.to_bytes(8, "big")


def record(**fields):
    return frame(copy_pb.CopyRecord(**fields).SerializeToString())


def data(content, offset=0):
    return record(data={"offset": offset, "length": len(content)}) + content


def end(*pieces):
    """With the digest of these (offset, bytes)."""
    return record(end={"digest": xxh64(b"".join(at.to_bytes(8, "little") + content for at, content in pieces))})


def whole(name, content=b"evil", **fields):
    """All of a file, as a good sender sends it."""
    fields = {"size": len(content), "mode": 0o644, **fields}
    pieces = [(0, content)] if content else []
    return record(file={"name": name, **fields}) + (data(content) if content else b"") + end(*pieces)


def folder(name, *inside):
    return record(folder={"name": name, "mode": 0o755}) + b"".join(inside) + record(leave={})


def link(name, target):
    return record(link={"name": name, "target": target})


DONE = record(done={})
DONE_FIELD = copy_pb.CopyRecord.DESCRIPTOR.fields_by_name["done"].number


def says_done(answer):
    """Whether the last thing that a receiver said is that all has arrived."""
    done = False
    while answer:
        length, answer = answer[0], answer[1:]
        if length >= 0x80:
            length, answer = length & 0x7F | answer[0] << 7, answer[1:]
        said = copy_pb.CopyRecord()
        said.ParseFromString(answer[:length])
        done, answer = said.HasField("done"), answer[length:]
    return done


def records(sock):
    """What a sender says, one record after the other, without the bytes of files."""
    held = b""

    def need(size):
        nonlocal held
        while len(held) < size:
            piece = sock.recv(65536)
            if not piece:
                raise EOFError
            held += piece

    while True:
        try:
            need(1)
            size, head = held[0], 1
            if size >= 0x80:
                need(2)
                size, head = size & 0x7F | held[1] << 7, 2
            need(head + size)
            said = copy_pb.CopyRecord()
            said.ParseFromString(held[head:head + size])
            held = held[head + size:]
            yield said
            if said.HasField("data"):
                need(said.data.length)
                held = held[said.data.length:]
        except (EOFError, ConnectionResetError):
            return
