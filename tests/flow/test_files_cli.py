# SPDX-License-Identifier: LGPL-2.1-or-later
"""postern files and postern disks list, as people use them."""

import hashlib
import json
import os
import stat
import subprocess

import pytest

from agent import DEFAULT_POLICY, Agent
from jobs import eventually
from wire import BUILD

POSTERN = os.path.join(BUILD, "postern")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return os.path.realpath(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def agent(root):
    with Agent(policy=DEFAULT_POLICY + "allow local:0 files.*\n", files_roots=root) as running:
        yield running
        assert running.stop() == 0, running.read_log()


@pytest.fixture
def files(agent, root):
    """files(verb, path, ...): paths that begin with a colon are the guest's."""
    def files(verb, *words, code=0, **kwargs):
        words = [f"[local:{agent.socket}]{word}" if word.startswith(":") else word for word in words]
        done = subprocess.run([POSTERN, "files", verb, *words], capture_output=True, timeout=60, **kwargs)
        assert done.returncode == code, done
        return done.stdout if code == 0 else done.stderr.decode()

    return files


def test_put_and_look(files, root, tmp_path):
    path = f"{root}/file"
    files("put", "-", f":{path}", input=b"hello\0world")
    assert files("cat", f":{path}") == b"hello\0world"
    assert files("sum", f":{path}").split() == [hashlib.sha256(b"hello\0world").hexdigest().encode(), path.encode()]
    assert files("sum", "-a", "md5", f":{path}").startswith(hashlib.md5(b"hello\0world").hexdigest().encode())
    told = files("stat", f":{path}").decode()
    assert "Type:       regular\n" in told and "-rw-r--r-- (0644)" in told and "Size:       11 " in told
    assert json.loads(files("stat", "--json", f":{path}"))["file"]["size"] == 11
    assert "No such file" in files("cat", f":{root}/missing", code=1)


@pytest.mark.parametrize("size", [0, (512 << 10) - 1, 512 << 10, 1300001])
def test_files_of_any_size(files, root, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "local").write_bytes(data)
    path = f"{root}/sized"
    for mode in (None, 0o640):
        if mode:
            os.chmod(path, mode)
            os.chown(path, 1234, 2345)
        files("put", str(tmp_path / "local"), f":{path}")
        with open(path, "rb") as file:
            assert file.read() == data
        st = os.stat(path)
        assert stat.S_IMODE(st.st_mode) == (mode or 0o644) and st.st_uid == (1234 if mode else 0)
    assert files("cat", f":{path}") == data
    assert not [name for name in os.listdir(root) if name.startswith(".postern")]
    os.unlink(path)


def test_a_put_that_fails_leaves_nothing(files, root, tmp_path):
    os.makedirs(f"{root}/taken/below")
    (tmp_path / "local").write_bytes(bytes(700 << 10))
    before = sorted(os.listdir(root))
    files("put", str(tmp_path / "local"), f":{root}/taken", code=1)
    files("put", str(tmp_path / "missing"), f":{root}/x", code=2)
    assert sorted(os.listdir(root)) == before


def test_a_tree(files, root):
    files("mkdir", "-p", f":{root}/a/b")
    files("mkdir", f":{root}/a/c")
    assert "File exists" in files("mkdir", f":{root}/a/c", code=1)
    files("put", "-", f":{root}/a/b/one", input=b"x")
    files("mv", f":{root}/a/b/one", f"{root}/a/c/two")
    os.symlink("a", f"{root}/link")
    lines = files("list", "-r", f":{root}/a").decode().splitlines()
    assert lines[0].split() == ["Mode", "Owner", "Group", "Size", "Modified", "Name"]
    assert {line.split()[-1] for line in lines[1:]} == {"b", "c", "c/two"}
    assert any(line.startswith("drwxr-xr-x") for line in lines) and any(line.startswith("-rw-r--r--") for line in lines)
    assert "symbolic link" in files("list", f":{root}/link", code=1)
    assert len(files("list", "-L", f":{root}/link").splitlines()) == 3
    assert "not empty" in files("rm", f":{root}/a", code=1)
    files("rm", "-r", f":{root}/a")
    files("rm", f":{root}/link")
    assert not os.path.lexists(f"{root}/a") and not os.path.lexists(f"{root}/link")


def test_names_are_shown_harmlessly(files, root):
    name = b"\x1b[31m\nred\xff"
    os.mkdir(f"{root}/odd")
    os.close(os.open(os.fsencode(f"{root}/odd/") + name, os.O_CREAT | os.O_WRONLY))
    shown = files("list", f":{root}/odd")
    assert b"\x1b" not in shown and len(shown.splitlines()) == 2
    files("rm", b":".decode() + f"{root}/odd/" + os.fsdecode(name))
    assert os.listdir(f"{root}/odd") == []


def test_what_is_wrong_with_a_word(files, root):
    assert "expected VM:PATH" in files("list", root, code=2)
    assert "expected VM:PATH" in files("stat", ":relative", code=2)
    assert "absolute path" in files("mv", f":{root}/a", "b", code=2)
    assert "files_roots" in files("list", ":/etc", code=1)


def test_disks(agent):
    shown = subprocess.run([POSTERN, "disks", "list", f"local:{agent.socket}"], capture_output=True, check=True,
                           text=True).stdout.splitlines()
    told = json.loads(subprocess.run([POSTERN, "disks", "list", "--json", f"local:{agent.socket}"],
                                     capture_output=True, check=True, text=True).stdout)["disks"]
    assert shown[0].split()[:3] == ["Disk", "Size", "Bus"]
    steady = {disk["name"] for disk in told if disk["bus"] != "loop"}
    assert steady == {line.split()[0] for line in shown[1:] if not line.startswith("loop")}


def test_watch(agent, root):
    os.makedirs(f"{root}/watched/below", exist_ok=True)
    words = [f"[local:{agent.socket}]:{root}/watched"]
    with subprocess.Popen([POSTERN, "files", "watch", "-r", *words], stdout=subprocess.PIPE, text=True) as shown, \
         subprocess.Popen([POSTERN, "files", "watch", "-r", "--json", "-w", "50", *words], stdout=subprocess.PIPE,
                          text=True) as told:
        with agent.client() as client:
            eventually(lambda: len(client.call("channels.list").channels) == 2)
        name = "new\nline\x1b[2J"
        with open(f"{root}/watched/below/{name}", "w"):
            pass
        line = shown.stdout.readline()
        assert line.startswith("created,written  ") and "\x1b" not in line and "[2J" in line
        change = json.loads(told.stdout.readline())["change"]
        assert change == {"path": f"{root}/watched/below/{name}", "kinds": ["FILE_CREATED", "FILE_WRITTEN"],
                          "folder": False}
        os.rename(f"{root}/watched/below", f"{root}/watched/other")
        lines = {shown.stdout.readline(), shown.stdout.readline()}
        assert lines == {f"moved away  {root}/watched/below/\n",
                         f"moved here  {root}/watched/other/  (was {root}/watched/below)\n"}
        os.rename(f"{root}/watched", f"{root}/gone")
        assert shown.stdout.readline() == "end  the folder was removed, renamed, or is another one now\n"
        *_, end = map(json.loads, told.stdout)
        assert end["end"]["reason"] == "WATCH_FOLDER_GONE"
        assert shown.wait(10) == told.wait(10) == 0


def test_watching_ends_with_its_reader(agent, root):
    watch = subprocess.Popen([POSTERN, "files", "watch", f"[local:{agent.socket}]:{root}"], stdout=subprocess.PIPE)
    with agent.client() as client:
        eventually(lambda: len(client.call("channels.list").channels) == 1)
        watch.stdout.close()
        assert watch.wait(10) == 1
        eventually(lambda: not client.call("channels.list").channels)


def test_touched(files, root):
    files("put", "-", f":{root}/file", input=b"x")
    assert files("touched", f":{root}/file", f"{root}/file") == b""
    told = json.loads(files("touched", "--json", f":{root}/file"))
    assert told == {"files": [{"path": f"{root}/file", "modified": True, "written": True, "attributes": False}]}
    assert f"{root}/missing: No such file" in files("touched", f":{root}/file", f"{root}/missing", code=1)
