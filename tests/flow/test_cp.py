# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern cp to a guest, from one, and from one to another."""

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
from copying import good_agent, make_tree, no_parts, same_tree, write
from gate import Gate
from jobs import eventually
from terminal import Terminal
from wire import BUILD, Failed

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def agent():
    with good_agent() as running:
        yield running


@pytest.fixture(scope="module")
def other():
    with good_agent() as running:
        yield running


@pytest.fixture(params=["to", "from", "between"])
def way(request, agent, other):
    """cp(source, target, ...) with the one or the other side in the guest, or each side in one."""
    def line(sources, target, socket=agent.socket):
        if request.param == "between":
            sources = [f"[local:{other.socket}]:{source}" for source in sources]
        vm = f"[local:{socket}]:"
        if request.param == "from":
            return [*(f"{vm}{source}" for source in sources), str(target)]
        return [*map(str, sources), f"{vm}{target}"]

    def cp(*words, code=0):
        *options, source, target = words
        sources = source if isinstance(source, list) else [source]
        done = subprocess.run([POSTERN, "cp", "--json", *options, *line(sources, target)], capture_output=True, text=True,
                              timeout=120)
        assert done.returncode == code, done
        return json.loads(done.stdout) if done.stdout else done.stderr

    cp.name = request.param
    cp.line = line
    return cp


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
    way(sources, tmp_path / "missing", code=2 if way.name == "from" else 1)


def test_empty_files_and_names(way, tmp_path):
    for i, name in enumerate(["empty", " blank ", "-dash", "new\nline", "ünï", "x" * 255, ".hidden"]):
        source = write(tmp_path / name, b"" if i == 0 else b"x" * i)
        target = tmp_path / "d" / name
        target.parent.mkdir(exist_ok=True)
        way(source, tmp_path / "d")
        assert target.read_bytes() == source.read_bytes()
    assert no_parts(tmp_path / "d")


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
    way(tmp_path / "a", tmp_path / "no" / "such" / "x", code=2 if way.name == "from" else 1)


def test_a_name_that_is_too_long(way, tmp_path):
    write(tmp_path / "a")
    out = way(tmp_path / "a", tmp_path / ("x" * 256), code=2 if way.name == "from" else 1)
    assert "too long" in str(out) and os.listdir(tmp_path) == ["a"]


def test_usage():
    for words in (("a", "b"), ("x:/a", "y:/b", "c"), ("x:/a", "y:/b", "z:/c"), ("x:/a", "b", "z:/c"), ("x:a", "b"),
                  ("a", "x:b"), ("x:a", "y:/b"), ("x:/a", "y:b")):
        assert subprocess.run([POSTERN, "cp", *words], capture_output=True).returncode == 2, words


# ---- a copy that is cut ----


@contextlib.contextmanager
def held(way, agent, limit, *words):
    """cp, held when so many bytes are through, and the gate that lets it go on."""
    *options, source, target = map(str, words)
    with Gate(agent.socket, limit) as gate:
        running = subprocess.Popen([POSTERN, "cp", "--json", *options, *way.line([source], target, gate.socket)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
        return channel.to_caller if way.name == "from" else channel.from_caller

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


# ---- between two guests ----


def between(one, other, source, target, *options, code=0, **how):
    done = subprocess.run([POSTERN, "cp", *options, f"[local:{one.socket}]:{source}", f"[local:{other.socket}]:{target}"],
                          capture_output=True, text=True, timeout=60, **how)
    assert done.returncode == code, done
    return done


def test_within_one_guest(agent, tmp_path):
    source = write(tmp_path / "a", os.urandom(100000))
    between(agent, agent, source, tmp_path / "b")
    assert filecmp.cmp(source, tmp_path / "b", shallow=False)
    # Over itself.
    between(agent, agent, source, source)
    assert filecmp.cmp(source, tmp_path / "b", shallow=False) and no_parts(tmp_path)


def test_an_error_says_which_guest(agent, other, tmp_path):
    write(tmp_path / "a")
    nobody = tmp_path / "none.sock"
    with Agent() as strict:
        for one, two, guilty, code in ((strict, agent, strict, 3), (agent, strict, strict, 3)):
            done = between(one, two, tmp_path / "a", tmp_path / "b", code=code)
            assert done.stderr.startswith(f"postern: local:{guilty.socket}: ") and "policy" in done.stderr, done
            error = json.loads(between(one, two, tmp_path / "a", tmp_path / "b", "--json", code=code).stdout)["error"]
            assert error["failure"] == "refused" and error["message"].startswith(f"local:{guilty.socket}: ")
    done = between(agent, other, tmp_path / "none", tmp_path / "b", code=1)
    assert done.stderr.startswith(f"postern: local:{agent.socket}: ") and "No such file" in done.stderr
    done = between(agent, other, tmp_path / "a", tmp_path / "no" / "such", code=1)
    assert done.stderr.startswith(f"postern: local:{other.socket}: ") and "No such file" in done.stderr
    for words in ((f"[local:{nobody}]:/a", f"[local:{agent.socket}]:/b"),
                  (f"[local:{agent.socket}]:/a", f"[local:{nobody}]:/b")):
        done = subprocess.run([POSTERN, "cp", *words], capture_output=True, text=True)
        assert done.returncode == 4 and str(nobody) in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_a_problem_says_which_guest(agent, other, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "fifo")
    write(tree / "file")
    (tree / "link").symlink_to("/etc/passwd")
    done = between(agent, other, tree, tmp_path / "copy", "-r", "--json", code=1)
    problems = {os.path.basename(each["path"]): each["vm"] for each in json.loads(done.stdout)["problems"]}
    assert problems == {"fifo": f"local:{agent.socket}", "link": f"local:{other.socket}"}
    said = between(agent, other, tree, tmp_path / "copy", "-r", code=1).stderr
    assert f"postern: local:{agent.socket}: {tree}/fifo: " in said
    assert f"postern: local:{other.socket}: tree/link: " in said


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_one_guest_goes(agent, other, tmp_path, end):
    """What was to be replaced stays, a part of what is large too, and the other guest hears of it."""
    source = write(tmp_path / "big", os.urandom(30 << 20))
    target = write(tmp_path / "copy", b"old")
    gone = other if end == "sender" else agent
    with Gate(agent.socket, 10 << 20) as gate:
        running = subprocess.Popen([POSTERN, "cp", f"[local:{other.socket}]:{source}",
                                    f"[local:{gate.socket}]:{target}"], stderr=subprocess.PIPE, text=True)
        assert eventually(lambda: gate.passed > 10 << 20)
        with gone.client() as client:
            channel, = [each for each in client.call("channels.list").channels if each.open]
            client.call("channels.kill", number=channel.number)
        gate.let()
        _, errors = running.communicate(timeout=20)
    name = other.socket if end == "sender" else gate.socket
    assert running.returncode == 4 and errors.startswith(f"postern: local:{name}: the copy was cut"), errors
    assert target.read_bytes() == b"old"
    assert eventually(lambda: not agent_has_channels(agent) and not agent_has_channels(other))
    have = (tmp_path / ".copy.postern-part").stat().st_size
    assert have > 5 << 20
    out = json.loads(between(other, agent, source, target, "--json").stdout)
    assert out["resumed"] == have and filecmp.cmp(source, target, shallow=False) and no_parts(tmp_path)


def test_it_shows_how_far_it_is(way, agent, tmp_path):
    source = write(tmp_path / "big", os.urandom(30 << 20))
    with Gate(agent.socket, 10 << 20) as gate:
        line = way.line([source], tmp_path / "copy", gate.socket)
        terminal = Terminal(line[0], "cp", *line[1:])
        try:
            terminal.expect(b"[....")
            assert eventually(lambda: gate.passed > 10 << 20)
            time.sleep(0.3)
            gate.let(10 << 20)
            terminal.expect(b"[##")
            shown = terminal.expect(b" left, ")
            assert b"% " in shown and b"of 30 MiB, " in shown and b"/s, " in shown, shown
            gate.let()
            terminal.expect(b"1 file, 30 MiB in ")
            assert terminal.end() == 0
        finally:
            terminal.close()
    assert filecmp.cmp(source, tmp_path / "copy", shallow=False)


def test_the_policy_is_asked(tmp_path):
    with Agent() as agent, agent.client() as client:
        for method in ("copy.send", "copy.receive"):
            with pytest.raises(Failed) as failed:
                client.call(method)
            assert failed.value.code == "PERMISSION_DENIED"


# ---- What is in the way, and what does not stand still ----

def identity_of(path):
    """What a replacement would change; not the time of access, which a look at a link moves."""
    found = os.lstat(path)
    return (found.st_ino, found.st_mode, found.st_rdev, found.st_size, found.st_mtime_ns,
            found.st_ctime_ns)


def test_nothing_special_is_replaced(way, tmp_path):
    source = write(tmp_path / "a", b"new")
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("null")
    for name in ("fifo", "null", "socket", "link"):
        before = identity_of(tmp_path / name)
        out = way(source, tmp_path / name, code=1)
        if name == "link" and way.name != "from":
            assert "symbolic link" in out["error"]["message"], "of a guest's path at all"
        else:
            assert "is not replaced" in out["problems"][0]["message"]
        assert identity_of(tmp_path / name) == before
    listener.close()


def test_a_link_here_is_replaced(agent, tmp_path):
    write(tmp_path / "a", b"new")
    (tmp_path / "link").symlink_to("other")
    subprocess.run([POSTERN, "cp", f"[local:{agent.socket}]:{tmp_path}/a", tmp_path / "link"], check=True)
    assert not (tmp_path / "link").is_symlink() and not (tmp_path / "other").exists()


def test_a_folder_where_no_file_can_be_made(way, tmp_path):
    problem, = way(write(tmp_path / "a"), "/proc/postern-test", code=1)["problems"]
    assert "another copy" not in problem["message"]


def test_two_of_one_name(way, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "d").mkdir()
    sources = [write(tmp_path / "1" / "x", b"1"), write(tmp_path / "2" / "x", b"2")]
    way(sources, tmp_path / "d", code=2)
    assert os.listdir(tmp_path / "d") == []
    assert way([sources[0], sources[0]], tmp_path / "d")["files"] == 2


@pytest.mark.parametrize("change", ["grows", "is written to"])
def test_a_source_that_does_not_stand_still(way, tmp_path, change):
    """The bytes may be of two moments: that is said, and what came is kept."""
    source = write(tmp_path / "a", os.urandom(1 << 20) * 64)
    process = subprocess.Popen([POSTERN, "cp", "--json", *way.line([source], tmp_path / "b")], stdout=subprocess.PIPE)
    with open(source, "r+b", buffering=0) as file:
        eventually(lambda: any(name.endswith("part") for name in os.listdir(tmp_path)) or process.poll() is not None)
        file.seek(0, os.SEEK_END if change == "grows" else os.SEEK_SET)
        while process.poll() is None:
            file.write(b"changed")
            time.sleep(0.001)
    out = json.loads(process.stdout.read())
    assert process.returncode == 1 and "changed while it was sent" in out["problems"][0]["message"]
    assert (tmp_path / "b").stat().st_size == 64 << 20


def test_names_are_shown_escaped(tmp_path, agent):
    name = tmp_path / "a\x1b[31m"
    name.mkdir()
    done = subprocess.run([POSTERN, "cp", name, f"[local:{agent.socket}]:{tmp_path}/x"], capture_output=True)
    assert done.returncode == 2 and b"\x1b" not in done.stderr and b"\\x1b[31m" in done.stderr
