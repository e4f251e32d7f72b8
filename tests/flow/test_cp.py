# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern cp both ways, and the copy protocol with a sender or receiver that means harm."""

import contextlib
import filecmp
import json
import os
import random
import signal
import socket
import stat
import subprocess
import time

import pytest

from agent import Agent
from fake_agent import DANGEROUS, NASTY, FakeAgent
from gate import Gate
from jobs import ALLOW_EXEC, eventually, open_channel
from machine import PROTOCOL
from wire import BUILD, Failed, frame, modules

POSTERN = os.path.join(BUILD, "postern")
copy_pb = modules["copy"]


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=ALLOW_EXEC) as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


@pytest.fixture(params=["to", "from"])
def way(request, agent):
    """cp(source, target, ...) with the one or the other side in the guest."""
    def cp(*words, code=0):
        *options, source, target = words
        sources = source if isinstance(source, list) else [source]
        vm = f"[local:{agent.socket}]:"
        if request.param == "to":
            line = [*map(str, sources), f"{vm}{target}"]
        else:
            line = [*(f"{vm}{s}" for s in sources), str(target)]
        done = subprocess.run([POSTERN, "cp", "--json", *options, *line], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done
        return json.loads(done.stdout) if done.stdout else done.stderr

    cp.name = request.param
    return cp


def write(path, data=b"hello\n", mode=0o644):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def no_parts(path):
    return not [name for _, _, files in os.walk(path) for name in files if "postern-part" in name]


def test_a_file(way, tmp_path):
    source = write(tmp_path / "a", b"x" * 100000, 0o640)
    os.utime(source, ns=(1, 1234567890123456789))
    out = way(source, tmp_path / "b")
    assert (out["files"], out["bytes"], out["problems"]) == (1, 100000, [])
    st = (tmp_path / "b").stat()
    assert (tmp_path / "b").read_bytes() == source.read_bytes()
    assert stat.S_IMODE(st.st_mode) == 0o640 and st.st_mtime_ns == 1234567890123456789
    assert no_parts(tmp_path)


def test_into_a_folder_and_over_a_file(way, tmp_path):
    write(tmp_path / "a", b"new")
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "a", b"old")
    way(tmp_path / "a", tmp_path / "d")
    assert (tmp_path / "d" / "a").read_bytes() == b"new"


def test_several(way, tmp_path):
    sources = [write(tmp_path / f"f{i}", b"%d" % i) for i in range(10)]
    (tmp_path / "d").mkdir()
    assert way(sources, tmp_path / "d")["files"] == 10
    assert sorted(os.listdir(tmp_path / "d")) == [f"f{i}" for i in range(10)]
    way(sources, tmp_path / "missing", code=1 if way.name == "to" else 2)


def test_empty_files_and_names(way, tmp_path):
    for i, name in enumerate(["empty", " blank ", "-dash", "new\nline", "ünï", "x" * 255, ".hidden"]):
        source = write(tmp_path / name, b"" if i == 0 else b"x" * i)
        target = tmp_path / "d" / name
        target.parent.mkdir(exist_ok=True)
        way(source, tmp_path / "d")
        assert target.read_bytes() == source.read_bytes()
    assert no_parts(tmp_path / "d")


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


def test_a_tree(way, tmp_path):
    tree = make_tree(tmp_path / "tree", random.randrange(1 << 32))
    way(tree, tmp_path / "copy", code=2 if way.name == "to" else 1)
    out = way("-r", tree, tmp_path / "copy")
    assert out["problems"] == [] and same_tree(tree, tmp_path / "copy")
    # Once more into the folder that is there, and over itself.
    way("-r", tree, tmp_path / "copy")
    assert same_tree(tree, tmp_path / "copy" / "tree")
    way("-r", tree, tmp_path / "copy")
    assert no_parts(tmp_path / "copy")


def test_a_sparse_file(way, tmp_path):
    source = tmp_path / "sparse"
    with open(source, "wb") as file:
        file.seek(50 << 20)
        file.write(b"middle")
        file.truncate(200 << 20)
    out = way(source, tmp_path / "copy")
    assert out["bytes"] < 1 << 20
    copied = (tmp_path / "copy").stat()
    assert copied.st_size == 200 << 20 and copied.st_blocks * 512 < 1 << 20
    assert filecmp.cmp(source, tmp_path / "copy", shallow=False)


def test_links_that_lead_out_are_left_out(way, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    write(tree / "file")
    for name, target in (("ok", "file"), ("sub/up", "../file"), ("abs", "/etc/passwd"), ("out", "../../x"),
                         ("sub/out", "../../x")):
        (tree / name).symlink_to(target)
    out = way("-r", tree, tmp_path / "copy", code=1)
    assert sorted(os.path.basename(p["path"]) for p in out["problems"]) == ["abs", "out", "out"]
    assert os.readlink(tmp_path / "copy" / "sub" / "up") == "../file"
    assert not os.path.lexists(tmp_path / "copy" / "abs")


def test_what_is_neither_file_nor_folder(way, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write(tree / "file")
    out = way("-r", tree, tmp_path / "copy", code=1)
    assert sorted(os.path.basename(p["path"]) for p in out["problems"]) == ["fifo", "null"]
    assert os.listdir(tmp_path / "copy") == ["file"]
    way(tree / "fifo", tmp_path / "x", code=2 if way.name == "to" else 1)


def test_files_that_do_not_know_their_size(way, tmp_path):
    """As in /proc: nothing says that they are empty, and no file comes that is."""
    out = way("/proc/version", tmp_path / "x", code=1)
    assert "exec" in out["problems"][0]["message"] and out["files"] == 0
    out = way("-r", "/proc/sys/kernel/random", tmp_path / "tree", code=1)
    assert "uuid" in [os.path.basename(p["path"]) for p in out["problems"]]
    assert [name for name in os.listdir(tmp_path / "tree") if os.stat(tmp_path / "tree" / name).st_size == 0] == []
    assert not (tmp_path / "x").exists()


def test_over_a_folder(way, tmp_path):
    write(tmp_path / "a")
    (tmp_path / "d" / "a").mkdir(parents=True)
    out = way(tmp_path / "a", tmp_path / "d", code=1)
    assert "a folder" in out["problems"][0]["message"]
    (tmp_path / "tree" / "a").mkdir(parents=True)
    write(tmp_path / "e")
    (tmp_path / "into").mkdir()
    write(tmp_path / "into" / "tree")
    out = way("-r", tmp_path / "tree", tmp_path / "into", code=1)
    assert "something else" in out["problems"][0]["message"]
    assert no_parts(tmp_path)


def test_through_a_link_in_the_target(way, tmp_path):
    """A link where a folder should be made is not followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "tree").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree").mkdir()
    write(tmp_path / "tree" / "file")
    way("-r", tmp_path / "tree", tmp_path / "into", code=1)
    assert os.listdir(tmp_path / "elsewhere") == []
    # One in a file's place is replaced, not written through.
    write(tmp_path / "precious", b"precious")
    (tmp_path / "into" / "f").symlink_to(tmp_path / "precious")
    write(tmp_path / "f", b"new")
    way(tmp_path / "f", tmp_path / "into")
    assert (tmp_path / "precious").read_bytes() == b"precious" and not (tmp_path / "into" / "f").is_symlink()


def test_links_in_the_guests_path(agent, tmp_path):
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "file")
    (tmp_path / "link").symlink_to("real")
    vm = f"[local:{agent.socket}]:"
    for words in ((f"{vm}{tmp_path}/link/file", f"{tmp_path}/out"), (f"{tmp_path}/real/file", f"{vm}{tmp_path}/link/x")):
        done = subprocess.run([POSTERN, "cp", *words], capture_output=True, text=True)
        assert done.returncode == 1 and "symbolic link" in done.stderr
        done = subprocess.run([POSTERN, "cp", "-L", *words], capture_output=True, text=True)
        assert done.returncode == 0, done


@pytest.mark.xdist_group("mounts")
def test_a_full_disk(way, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        write(small / "big", b"old")
        sources = [write(tmp_path / "big", b"x" * (3 << 20)), write(tmp_path / "after", b"fits")]
        out = way(sources, small, code=1)
        assert out["problems"][0]["errno"] == 28 and out["files"] == 1
        assert (small / "big").read_bytes() == b"old" and (small / "after").read_bytes() == b"fits"
        assert no_parts(small)
    finally:
        # The agent's process has it open until it ends, a moment after we have.
        assert eventually(lambda: subprocess.run(["umount", small]).returncode == 0)


def test_errors_name_the_place(way, tmp_path):
    far = 1
    assert "No such file" in str(way(tmp_path / "missing", tmp_path / "x", code=far))
    write(tmp_path / "a")
    way(tmp_path / "a", tmp_path / "no" / "such" / "x", code=1 if way.name == "to" else 2)


def test_a_name_that_is_too_long(way, tmp_path):
    write(tmp_path / "a")
    out = way(tmp_path / "a", tmp_path / ("x" * 256), code=1 if way.name == "to" else 2)
    assert "too long" in str(out) and os.listdir(tmp_path) == ["a"]


def test_usage():
    for words in (("a", "b"), ("x:/a", "y:/b"), ("x:/a", "y:/b", "c"), ("x:a", "b"), ("a", "x:b")):
        assert subprocess.run([POSTERN, "cp", *words], capture_output=True).returncode == 2, words


# ---- a copy that is cut ----


@contextlib.contextmanager
def held(way, agent, limit, *words):
    """cp, held when so many bytes are through, and the gate that lets it go on."""
    *options, source, target = map(str, words)
    with Gate(agent.socket, limit) as gate:
        vm = f"[local:{gate.socket}]:"
        words = [source, vm + target] if way.name == "to" else [vm + source, target]
        running = subprocess.Popen([POSTERN, "cp", "--json", *options, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            assert eventually(lambda: gate.passed > limit), running.poll()
            yield running, gate
        finally:
            running.kill()
            running.communicate()


def agent_has_channels(agent):
    with agent.client() as client:
        return bool(client.call("channels.list").channels)


@pytest.mark.parametrize("kill", ["client", "worker"])
def test_resume(way, agent, tmp_path, kill):
    size = 30 << 20
    source = write(tmp_path / "big", os.urandom(size))
    target = write(tmp_path / "copy", b"old")
    part = tmp_path / ".copy.postern-part"
    with held(way, agent, 10 << 20, source, target) as (running, gate):
        assert eventually(lambda: part.exists() and part.stat().st_size > 5 << 20)
        if kill == "client":
            running.send_signal(signal.SIGINT)
        else:
            with agent.client() as client:
                channel, = [c for c in client.call("channels.list").channels if c.open]
                client.call("channels.kill", number=channel.number)
        gate.let()
        _, errors = running.communicate(timeout=20)
        assert running.returncode == (130 if kill == "client" else 4) and "goes on" in errors
    assert target.read_bytes() == b"old"
    assert eventually(lambda: not agent_has_channels(agent))
    have = part.stat().st_size
    assert 5 << 20 < have < 20 << 20
    # Cut once more, behind the file's record and before its bytes: nothing is lost.
    with held(way, agent, 70, source, target) as (running, gate):
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 143
    assert eventually(lambda: not agent_has_channels(agent)) and part.stat().st_size == have
    out = way(source, target)
    assert out["resumed"] == have and out["bytes"] == size - have
    assert filecmp.cmp(source, target, shallow=False) and no_parts(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_copy_that_is_interrupted_leaves_order(way, agent, tmp_path, number):
    """No temporary file of what is small, and no folder that is closed to others."""
    tree = tmp_path / "tree" / "sub"
    tree.mkdir(parents=True)
    for path in (tree, tree.parent):
        path.chmod(0o755)
    for i in range(4):
        write(tree / str(i), os.urandom(1 << 20))
    into = tmp_path / "into"
    with held(way, agent, 1 << 19, "-r", tmp_path / "tree", into) as (running, gate):
        assert eventually(lambda: (into / "sub").exists() and not no_parts(into))
        assert stat.S_IMODE((into / "sub").stat().st_mode) == 0o700
        running.send_signal(number)
        assert running.wait(20) == 128 + number
        gate.let()
        assert eventually(lambda: no_parts(into) and not agent_has_channels(agent))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (into, into / "sub")] == [0o755] * 2


def test_a_part_of_another_file_is_dropped(way, tmp_path):
    source = write(tmp_path / "big", os.urandom(9 << 20))
    write(tmp_path / ".copy.postern-part", os.urandom(5 << 20), 0o600)
    out = way(source, tmp_path / "copy")
    assert out["resumed"] == 0 and filecmp.cmp(source, tmp_path / "copy", shallow=False)


@pytest.mark.parametrize("trap", ["link", "writable", "linked"])
def test_a_part_that_others_can_touch_is_not_taken_up(way, tmp_path, trap):
    """It may be somebody's own file: it stays, and the copy says so."""
    source = write(tmp_path / "big", os.urandom(9 << 20))
    part = tmp_path / ".copy.postern-part"
    precious = write(tmp_path / "precious", b"precious", 0o600)
    if trap == "link":
        part.symlink_to(precious)
    elif trap == "linked":
        os.link(precious, part)
    else:
        write(part, b"x", 0o666)
    out = way(source, tmp_path / "copy", code=1)
    assert "postern-part" in out["problems"][0]["message"] and os.path.lexists(part)
    assert not (tmp_path / "copy").exists() and precious.read_bytes() == b"precious"
    part.unlink()
    way(source, tmp_path / "copy")
    assert filecmp.cmp(source, tmp_path / "copy", shallow=False)


def test_bytes_are_counted_meanwhile(way, agent, tmp_path):
    """What channels.list says of a copy that is under way."""
    source = write(tmp_path / "big", os.urandom(30 << 20))

    def counted():
        with agent.client() as client:
            channel, = client.call("channels.list").channels
        return channel.from_caller if way.name == "to" else channel.to_caller

    with held(way, agent, 10 << 20, source, tmp_path / "copy") as (running, gate):
        time.sleep(0.3)
        gate.let(2 << 20)
        assert eventually(lambda: counted() > 5 << 20)
        assert counted() < 20 << 20 and running.poll() is None


def test_a_file_that_becomes_shorter(way, agent, tmp_path):
    source = write(tmp_path / "big", os.urandom(30 << 20))
    target = write(tmp_path / "copy", b"old")
    with held(way, agent, 5 << 20, source, target) as (running, gate):
        os.truncate(source, 1 << 20)
        gate.let()
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 1 and "shorter" in json.loads(out)["problems"][0]["message"]
    assert target.read_bytes() == b"old" and no_parts(tmp_path)


# ---- a peer that means harm ----


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


def attack(agent, tmp_path, sent):
    """A sender's bytes to the agent: what is in the folder afterwards, and whether it says that all is well."""
    into = tmp_path / "into"
    into.mkdir()
    answer = b""
    with agent.client() as client:
        reply = client.call("copy.receive", path=str(into).encode(), into_folder=True)
        with open_channel(agent.socket, reply.channel) as stream:
            try:
                stream.sendall(sent)
                stream.shutdown(socket.SHUT_WR)
                while piece := stream.recv(65536):
                    answer += piece
            except (BrokenPipeError, ConnectionResetError):
                pass
    return sorted(os.listdir(into)), says_done(answer)


def test_a_sender_by_hand(agent, tmp_path):
    """What the bad ones below are made of is good."""
    long = b"0123456789" * 7
    sent = (whole(b"a", b"") + whole(b"b", b"x") + whole(b"c", long) + folder(b"d", whole(b"e")) +
            record(file={"name": b"f", "size": 9, "mode": 0o600}) + data(b"xy", 1) + data(b"z", 7) +
            end((1, b"xy"), (7, b"z")) + DONE)
    assert attack(agent, tmp_path, sent) == (["a", "b", "c", "d", "f"], True)
    into = tmp_path / "into"
    assert (into / "c").read_bytes() == long and (into / "f").read_bytes() == b"\0xy\0\0\0\0z\0"
    assert (into / "d" / "e").read_bytes() == b"evil"


# Each is followed by all that makes it whole, so that nothing but the fault itself is in the way.
X_END = end((0, b"x")) + DONE
BAD = {
    "slash": whole(b"../x") + DONE,
    "dots": folder(b"..", whole(b"x")) + DONE,
    "dot": folder(b".", whole(b"x")) + DONE,
    "dots as a file": whole(b"..") + DONE,
    "empty": whole(b"") + DONE,
    "nul": whole(b"a\0b") + DONE,
    "absolute": whole(b"/etc/postern-evil") + DONE,
    "long": whole(b"x" * 256) + DONE,
    "link at the top": link(b"l", b"x") + DONE,
    "slash in a link's name": folder(b"d", link(b"../l", b"x")) + DONE,
    "leave at the top": record(leave={}) + whole(b"a") + DONE,
    "data without a file": data(b"x") + DONE,
    "from without a file": record(**{"from": {"offset": 0}}) + whole(b"a") + DONE,
    "end without a file": end() + whole(b"a") + DONE,
    "two files at once": record(file={"name": b"a", "size": 1}) + whole(b"b", b"x") + DONE,
    "a folder in a file": record(file={"name": b"a", "size": 1}) + folder(b"d") + data(b"x") + X_END,
    "data beyond the size": record(file={"name": b"a", "size": 1}) + data(b"xx") + end((0, b"xx")) + DONE,
    "data far out": record(file={"name": b"a", "size": 1}) + data(b"x", 1 << 62) + end((1 << 62, b"x")) + DONE,
    "data again": record(file={"name": b"a", "size": 9}) + 2 * data(b"x") + end((0, b"x"), (0, b"x")) + DONE,
    "too much data": record(file={"name": b"a", "size": 1 << 40}) + record(data={"offset": 0, "length": 1 << 30}) +
    b"x" * (2 << 20),
    "no length": record(file={"name": b"a", "size": 1 << 40}) + record(data={"offset": 0}) + end() + DONE,
    "from beyond the size": record(file={"name": b"a", "size": 1}) + record(**{"from": {"offset": 2}}) + end() + DONE,
    "no digest": record(file={"name": b"a", "size": 0}) + record(end={}) + DONE,
    "half a digest": record(file={"name": b"a", "size": 0}) + record(end={"digest": xxh64(b"")[:4]}) + DONE,
    "no end": record(file={"name": b"a", "size": 1}) + data(b"x") + DONE,
    "cut": record(file={"name": b"a", "size": 1}) + data(b"x"),
    "done in a folder": record(folder={"name": b"d"}) + DONE,
    "what only a receiver says": record(have={"bytes": 0}) + whole(b"a") + DONE,
    "a frame of nothing": b"\x00" + whole(b"a") + DONE,
    "a huge frame": b"\xff\xff\xff\xff\x0f" + whole(b"a") + DONE,
    "no record": frame(b"\xff\xff") + whole(b"a") + DONE,
    "an empty record": frame(b"\x62\x00") + whole(b"a") + DONE,
    "deep": record(folder={"name": b"d"}) * 200 + record(leave={}) * 200 + DONE,
}


@pytest.mark.parametrize("name", BAD)
def test_a_sender_that_means_harm(agent, tmp_path, name):
    found, done = attack(agent, tmp_path, BAD[name])
    assert not done and found in ([], ["d"]), found
    assert os.listdir(tmp_path) == ["into"] and not os.path.exists("/etc/postern-evil")


# What cannot be written is left out, and the rest comes.
LEFT_OUT = {
    "size of 2^63": record(file={"name": b"a", "size": 1 << 63}) + end(),
    "wrong digest": record(file={"name": b"a", "size": 1}) + data(b"x") + end((0, b"y")),
    "broken": record(file={"name": b"a", "size": 1}) + data(b"x") + record(end={"broken": True}),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_cannot_take_its_place(agent, tmp_path, name):
    assert attack(agent, tmp_path, LEFT_OUT[name] + whole(b"b") + DONE) == (["b"], True)


def test_a_link_and_then_a_file_through_it(agent, tmp_path):
    sent = folder(b"t", link(b"l", b"x"), folder(b"l", whole(b"f"))) + DONE
    assert attack(agent, tmp_path, sent) == (["t"], True)
    assert os.listdir(tmp_path / "into" / "t") == ["l"] and os.readlink(tmp_path / "into" / "t" / "l") == "x"


def test_links_that_lead_out_together(agent, tmp_path):
    """Each stays inside by itself; the way of one through the other would not."""
    sent = folder(b"t", link(b"s", b"."), link(b"e", b"s/s/s/../../x"), link(b"f", b"s/.."), link(b"ok", b"s/s/x"),
                  folder(b"d", link(b"up", b"../s"), link(b"e", b"../../x"), link(b"f", b".././s/.."))) + DONE
    assert attack(agent, tmp_path, sent) == (["t"], True)
    assert sorted(os.listdir(tmp_path / "into" / "t")) == ["d", "ok", "s"]
    assert os.listdir(tmp_path / "into" / "t" / "d") == ["up"]


def test_random_bytes(agent, tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for i in range(30):
        sent = bytearray(BAD[rng.choice(list(BAD))] + whole(b"a", b"abcd") + DONE)
        for _ in range(rng.randrange(1, 4)):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
        place = tmp_path / str(i)
        place.mkdir()
        attack(agent, place, bytes(sent))
        assert os.listdir(place) == ["into"]


# ---- a guest that means harm, before the host's cp ----


def from_hostile(tmp_path, sent, *words, source="/etc/hostname", target="into/", code=PROTOCOL):
    """What `postern cp` makes of a guest that sends this: its standard error."""
    def channel(sock):
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    with FakeAgent(FakeAgent.grant, channel=channel) as guest:
        done = subprocess.run([POSTERN, "cp", *words, f"[{guest.address}]:{source}", f"{tmp_path}/{target}"],
                              capture_output=True, timeout=60)
    assert done.returncode == code, done
    return done.stderr.decode()


def test_a_guest_that_means_no_harm(tmp_path):
    from_hostile(tmp_path, whole(b"hostname", b"me") + DONE, code=0)
    assert (tmp_path / "into" / "hostname").read_bytes() == b"me"
    from_hostile(tmp_path, whole(b"hostname", b"you") + DONE, target="new", code=0)
    assert (tmp_path / "new").read_bytes() == b"you"
    from_hostile(tmp_path, folder(b"etc", whole(b"x")) + DONE, "-r", source="/etc/", code=0)
    assert os.listdir(tmp_path / "into" / "etc") == ["x"]
    from_hostile(tmp_path, folder(b"root", whole(b"x")) + DONE, "-r", source="/", code=0)
    assert os.listdir(tmp_path / "into" / "root") == ["x"]


# (words, source, target, records): the name that was asked for is "hostname".
HOSTILE = {
    "another name": ([], "into/", whole(b".bashrc") + DONE),
    "one more": ([], "into/", whole(b"hostname") + whole(b".bashrc") + DONE),
    "one more with a new name": ([], "new", whole(b"hostname") + whole(b"x") + DONE),
    "twice": ([], "into/", whole(b"hostname") * 2 + DONE),
    "the start of the name": ([], "into/", whole(b"host") + DONE),
    "more than the name": ([], "into/", whole(b"hostname2") + DONE),
    "a folder for a file": ([], "into/", folder(b"hostname", whole(b"x")) + DONE),
    "a folder for a file with a new name": ([], "new", folder(b"hostname", whole(b"x")) + DONE),
    "a folder that was not asked for": (["-r"], "into/", folder(b".ssh", whole(b"authorized_keys")) + DONE),
    "a link": ([], "into/", link(b"hostname", b"/etc/passwd") + DONE),
    "a link with a new name": ([], "new", link(b"hostname", b"/etc/passwd") + DONE),
    "a link where a folder may be": (["-r"], "into/", link(b"hostname", b"x") + DONE),
    "dots": (["-r"], "into/", folder(b"..", whole(b"evil")) + DONE),
    "dots with a new name": (["-r"], "new", folder(b"..", whole(b"evil")) + DONE),
    "dots below": (["-r"], "into/", folder(b"hostname", folder(b"..", whole(b"evil"))) + DONE),
    "nothing at all": ([], "into/", DONE),
    "data beyond the size": ([], "into/", record(file={"name": b"hostname", "size": 1}) + data(b"xx") +
                             end((0, b"xx")) + DONE),
    "a huge piece": ([], "into/", record(file={"name": b"hostname", "size": 1 << 40}) +
                     record(data={"offset": 0, "length": 0xFFFFFFFF}) + b"x" * (2 << 20)),
    "a huge frame": ([], "into/", b"\xff\xff\xff\xff\x0f" + bytes(1 << 20)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_guest_that_means_harm(tmp_path, name):
    words, target, sent = HOSTILE[name]
    assert "protocol" in from_hostile(tmp_path, sent, *words, target=target)
    left = [os.path.relpath(os.path.join(at, each), tmp_path) for at, _, files in os.walk(tmp_path) for each in files]
    # What was asked for has come before the fault, or nothing has.
    good = {"one more": ["into/hostname"], "twice": ["into/hostname"], "one more with a new name": ["new"]}
    assert left == good.get(name, [])


def test_sizes_without_end(tmp_path):
    """Neither takes any place on the disk."""
    most = (1 << 64) - 1
    sent = record(plan={"files": most, "bytes": most}) + record(file={"name": b"hostname", "size": most}) + end() + DONE
    said = from_hostile(tmp_path, sent, code=1)
    assert "hostname" in said and os.listdir(tmp_path / "into") == []


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
def test_what_a_guest_says_of_problems_is_escaped(tmp_path, words):
    sent = record(problem={"path": NASTY.encode(), "sys_errno": 5, "message": NASTY}) + DONE
    said = from_hostile(tmp_path, sent, *words, code=1)
    assert not DANGEROUS.search(said), repr(said)
    assert words or "title" in said


def test_the_policy_is_asked(tmp_path):
    with Agent() as agent, agent.client() as client:
        for method in ("copy.send", "copy.receive"):
            with pytest.raises(Failed) as failed:
                client.call(method)
            assert failed.value.code == "PERMISSION_DENIED"
