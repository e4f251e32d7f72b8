# SPDX-License-Identifier: LGPL-2.1-or-later
"""files.watch and files.touched: what happens beneath a folder, however it is named, moved and flooded."""

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
import subprocess

import pytest

from agent import DEFAULT_POLICY, Agent
from disk import disk
from jobs import eventually, open_channel
from watching import ATTRIBUTES, AWAY, CREATED, HERE, MODIFIED, REMOVED, WRITTEN, Watch
from wire import Failed

pytestmark = pytest.mark.xdist_group("mounts")

GONE, UNMOUNTED = 1, 2
IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE = 0x2, 0x4, 0x8, 0x100, 0x200


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return os.path.realpath(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def agent(base):
    with Agent(policy=DEFAULT_POLICY + "allow local:0 files.*\n", files_roots=base) as running:
        yield running
        assert running.process.poll() is None, running.read_log()
        assert running.stop() == 0, running.read_log()
        assert "Sanitizer" not in running.read_log() and "runtime error" not in running.read_log()


@pytest.fixture
def root(base):
    path = os.path.join(base, "test")
    os.mkdir(path)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture
def watch(agent, client):
    with contextlib.ExitStack() as stack:
        yield lambda *args, **fields: stack.enter_context(
            Watch(client, lambda channel: open_channel(agent.socket, channel), *args, **fields))


def put(path, data=b"some bytes"):
    with open(path, "wb") as file:
        file.write(data)


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


# ---- what is told ----


def test_what_can_happen_to_a_file(watch, root):
    watched = watch(root)
    assert watched.folders == 1
    put(f"{root}/a")
    watched.until(lambda: watched.has(f"{root}/a", CREATED, MODIFIED, WRITTEN))
    watched.forget()
    os.chmod(f"{root}/a", 0o600)
    watched.until(lambda: watched.told() == {os.fsencode(f"{root}/a"): {ATTRIBUTES}})
    watched.forget()
    os.rename(f"{root}/a", f"{root}/b")
    watched.until(lambda: watched.has(f"{root}/b", HERE) and watched.has(f"{root}/a", AWAY))
    (here,) = [c for c in watched.of_kind("change") if HERE in c.kinds]
    assert here.old_path == os.fsencode(f"{root}/a") and not here.folder
    watched.forget()
    os.remove(f"{root}/b")
    watched.until(lambda: watched.has(f"{root}/b", REMOVED))
    assert not watched.of_kind("overflow") and not watched.of_kind("problem")


def test_changes_of_a_window_come_as_one(watch, root):
    watched = watch(root, window_ms=500)
    put(f"{root}/a")
    for _ in range(1000):
        with open(f"{root}/a", "ab") as file:
            file.write(b"x")
    os.remove(f"{root}/a")
    watched.until(lambda: watched.has(f"{root}/a", REMOVED))
    changes = [c for c in watched.of_kind("change") if c.path == os.fsencode(f"{root}/a")]
    assert len(changes) <= 3 and set(changes[0].kinds) >= {CREATED, MODIFIED, WRITTEN}


def test_only_the_folder_itself_unless_recursive(watch, root):
    os.makedirs(f"{root}/below")
    flat, deep = watch(root, recursive=False), watch(root)
    assert flat.folders == 1 and deep.folders == 2
    put(f"{root}/below/a")
    put(f"{root}/b")
    deep.until(lambda: deep.has(f"{root}/below/a", WRITTEN) and deep.has(f"{root}/b", WRITTEN))
    flat.until(lambda: flat.has(f"{root}/b", WRITTEN))
    assert not flat.has(f"{root}/below/a")


def test_folders_that_come_later(watch, root):
    watched = watch(root)
    os.makedirs(f"{root}/x/y/z")
    put(f"{root}/x/y/z/file")
    for path in ("x", "x/y", "x/y/z", "x/y/z/file"):
        watched.until(lambda path=path: watched.has(f"{root}/{path}", CREATED))
    watched.forget()
    put(f"{root}/x/y/z/file")
    watched.until(lambda: watched.has(f"{root}/x/y/z/file", MODIFIED, WRITTEN))
    watched.forget()
    subprocess.run(["rm", "-rf", f"{root}/x"], check=True)
    for path in ("x/y/z/file", "x/y/z", "x/y", "x"):
        watched.until(lambda path=path: watched.has(f"{root}/{path}", REMOVED))
    os.makedirs(f"{root}/x/y")
    watched.until(lambda: watched.has(f"{root}/x/y", CREATED))
    watched.forget()
    put(f"{root}/x/y/file")
    watched.until(lambda: watched.has(f"{root}/x/y/file", WRITTEN))


NAMES = [b"new\nline", b"\xff\xfe\x80", b"x" * 255, b" ", b"\x1b[2J", "\u00e9".encode(), b"-rf", b"\xc3"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_bytes(watch, root, name):
    watched = watch(root)
    folder = os.fsencode(root) + b"/" + name
    os.mkdir(folder)
    watched.until(lambda: watched.has(folder, CREATED))
    put(folder + b"/" + name)
    watched.until(lambda: watched.has(folder + b"/" + name, WRITTEN))


def test_a_folder_that_is_moved_is_told_by_its_new_path(watch, root, base):
    os.makedirs(f"{root}/a/deep/er")
    os.mkdir(f"{root}/b")
    watched = watch(root)
    os.rename(f"{root}/a", f"{root}/b/c")
    watched.until(lambda: watched.has(f"{root}/b/c", HERE) and watched.has(f"{root}/a", AWAY))
    watched.forget()
    put(f"{root}/b/c/deep/er/file")
    watched.until(lambda: watched.has(f"{root}/b/c/deep/er/file", CREATED, WRITTEN))
    # Where nobody watches, and back.
    outside = f"{base}/outside"
    os.rename(f"{root}/b/c", outside)
    watched.until(lambda: watched.has(f"{root}/b/c", AWAY))
    watched.forget()
    put(f"{outside}/deep/er/unseen")
    os.rename(outside, f"{root}/back")
    watched.until(lambda: watched.has(f"{root}/back", HERE))
    put(f"{root}/back/deep/er/seen")
    watched.until(lambda: watched.has(f"{root}/back/deep/er/seen", WRITTEN))
    assert not [path for path in watched.told() if b"unseen" in path or path.startswith(outside.encode())]


def test_two_folders_that_change_places(watch, root):
    os.makedirs(f"{root}/a/in_a")
    os.makedirs(f"{root}/b/in_b")
    watched = watch(root, window_ms=10)
    for _ in range(200):
        os.rename(f"{root}/a", f"{root}/t")
        os.rename(f"{root}/b", f"{root}/a")
        os.rename(f"{root}/t", f"{root}/b")
    watched.forget(0.5)
    put(f"{root}/a/in_a/1")
    put(f"{root}/b/in_b/2")
    watched.until(lambda: watched.has(f"{root}/a/in_a/1", WRITTEN) and watched.has(f"{root}/b/in_b/2", WRITTEN))
    # The whole of what is told has the names that are there, or were.
    assert not [path for path in watched.told() if path.split(b"/")[-1] in (b"1", b"2")
                and not os.path.exists(path)]


def test_folders_that_come_and_go_in_a_hurry(watch, root):
    """However they are moved and made anew: in the end all of them are watched by the names they have."""
    watched = watch(root, window_ms=10)
    for i in range(300):
        os.makedirs(f"{root}/d{i % 7}/e", exist_ok=True)
        with contextlib.suppress(OSError):
            os.rename(f"{root}/d{i % 7}", f"{root}/d{(i + 3) % 7}/e/moved{i}")
        with contextlib.suppress(OSError):
            os.rename(f"{root}/d{(i + 1) % 7}", f"{root}/f{i % 5}")
        if i % 50 == 49:
            subprocess.run(["rm", "-rf", f"{root}/f1", f"{root}/d2"], check=True)
    watched.forget(1)
    places = [dirpath for dirpath, _, _ in os.walk(root)]
    assert len(places) > 20
    for place in places:
        put(f"{place}/mark")
    for place in places:
        watched.until(lambda place=place: watched.has(f"{place}/mark", WRITTEN))
    told = {path for path in watched.told() if path.endswith(b"/mark")}
    assert told == {os.fsencode(f"{place}/mark") for place in places}
    assert not watched.of_kind("problem")


# ---- too much ----


def test_a_caller_that_does_not_read_is_told_that_it_missed_something(agent, watch, root):
    watched = watch(root, window_ms=10)
    for i in range(40000):
        open(f"{root}/{'n' * 200}{i}", "wb").close()
    watched.until(lambda: watched.of_kind("overflow"))
    watched.forget(1)
    put(f"{root}/after")
    watched.until(lambda: watched.has(f"{root}/after", WRITTEN))
    usage = [line for child in agent.children() for line in open(f"/proc/{child}/status") if line.startswith("VmRSS")]
    assert max(int(line.split()[1]) for line in usage) < 100 << 10


def watcher_of(agent):
    """The process that serves the only watch."""
    def watches(pid):
        with contextlib.suppress(OSError):
            return any("inotify" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
        return False

    (pid,) = [pid for pid, name in agent.children().items() if name == "postern-worker" and watches(pid)]
    return pid


def test_what_the_kernel_lost_is_looked_for_again(agent, watch, root):
    """More events than the kernel keeps, while nobody takes them: folders came and went unseen."""
    for i in range(20):
        os.makedirs(f"{root}/{i}/deep")
    watched = watch(root, window_ms=10)
    pid = watcher_of(agent)
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        most = int(file.read())
    os.kill(pid, signal.SIGSTOP)
    try:
        for i in range(most // 2 + 10):
            os.mkdir(f"{root}/d")
            os.rmdir(f"{root}/d")
        for i in range(20):
            os.rename(f"{root}/{i}", f"{root}/new{i}")
        os.makedirs(f"{root}/x/y")
    finally:
        os.kill(pid, signal.SIGCONT)
    watched.until(lambda: watched.of_kind("overflow"))
    # By now all is watched again: only then is it told.
    places = [f"{root}/x/y", *(f"{root}/new{i}/deep" for i in range(20))]
    for place in places:
        put(f"{place}/file")
    for place in places:
        watched.until(lambda place=place: watched.has(f"{place}/file", WRITTEN))
    assert len(watched.of_kind("overflow")) == 1 and not watched.of_kind("overflow")[0].HasField("lost")


def test_many_files_cost_no_watches(watch, root):
    for i in range(10000):
        open(f"{root}/{i}", "wb").close()
    watched = watch(root)
    assert watched.folders == 1
    put(f"{root}/777")
    watched.until(lambda: watched.has(f"{root}/777", WRITTEN))


# ---- what ends it ----


def test_the_folder_is_removed_or_renamed(watch, root):
    os.mkdir(f"{root}/one")
    os.mkdir(f"{root}/two")
    one, two = watch(f"{root}/one"), watch(f"{root}/two")
    os.rmdir(f"{root}/one")
    assert one.ended() == GONE
    os.rename(f"{root}/two", f"{root}/three")
    assert two.ended() == GONE


def test_its_file_system_is_unmounted(watch, root):
    """A watch keeps nothing from being unmounted."""
    place = f"{root}/disk"
    os.mkdir(place)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        os.makedirs(f"{place}/x/y")
        watched = watch(place)
        put(f"{place}/x/y/file")
        watched.until(lambda: watched.has(f"{place}/x/y/file", WRITTEN))
    finally:
        subprocess.run(["umount", place], check=True)
    assert watched.ended() == UNMOUNTED


def test_what_is_mounted_below_is_told_and_not_entered(watch, root):
    os.makedirs(f"{root}/a/inner")
    subprocess.run(["mount", "-t", "tmpfs", "none", f"{root}/a/inner"], check=True)
    try:
        os.mkdir(f"{root}/a/inner/deep")
        watched = watch(root)
        assert watched.folders == 2
        watched.until(lambda: watched.of_kind("problem"))
        (problem,) = watched.of_kind("problem")
        assert problem.path == os.fsencode(f"{root}/a/inner") and problem.sys_errno == errno.EXDEV
        put(f"{root}/a/inner/unseen")
        put(f"{root}/a/seen")
        watched.until(lambda: watched.has(f"{root}/a/seen", WRITTEN))
        assert not watched.has(f"{root}/a/inner/unseen")
    finally:
        subprocess.run(["umount", f"{root}/a/inner"], check=True)


def test_links_are_not_followed(watch, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", f"{root}/link")
    watched = watch(root)
    assert watched.folders == 1
    os.symlink(tmp_path / "elsewhere", f"{root}/another")
    watched.until(lambda: watched.has(f"{root}/another", CREATED))
    put(tmp_path / "elsewhere" / "unseen")
    watched.forget()
    put(f"{root}/seen")
    watched.until(lambda: watched.has(f"{root}/seen", WRITTEN))
    assert list(watched.told()) == [os.fsencode(f"{root}/seen")]


def test_who_leaves_ends_the_watch(agent, client, watch, root):
    watched = watch(root)
    put(f"{root}/a")
    watched.until(lambda: watched.has(f"{root}/a", WRITTEN))
    number = {c.number for c in client.call("channels.list").channels}
    assert len(number) == 1
    watched.sock.close()
    eventually(lambda: not client.call("channels.list").channels)


# ---- errors ----


def test_where_nothing_can_be_watched(client, root, base):
    put(f"{root}/file")
    os.symlink(root, f"{root}/link")
    assert failure(client, "files.watch", path=os.fsencode(f"{root}/missing")).code == "NOT_FOUND"
    assert failure(client, "files.watch", path=os.fsencode(f"{root}/file")).error.sys_errno == errno.ENOTDIR
    assert failure(client, "files.watch", path=os.fsencode(f"{root}/link")).code == "INVALID_ARGUMENT"
    assert failure(client, "files.watch", path=b"/etc").code == "PERMISSION_DENIED"
    assert failure(client, "files.watch", path=b"x").code == "INVALID_ARGUMENT"
    for window in (0, 9, 60001):
        assert failure(client, "files.watch", path=os.fsencode(root), window_ms=window).code == "INVALID_ARGUMENT"
    assert not client.call("channels.list").channels


# ---- files.touched ----


class Inotify:
    """What any program of the guest would hear."""
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, path):
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0
        mask = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE
        assert self.libc.inotify_add_watch(self.fd, os.fsencode(path), mask) > 0

    def heard(self):
        """[(mask, name)]"""
        out = []
        while select.select([self.fd], [], [], 0)[0]:
            data = os.read(self.fd, 1 << 16)
            while data:
                _, mask, _, length = struct.unpack_from("iIII", data)
                out.append((mask & 0xFFF, data[16:16 + length].rstrip(b"\0")))
                data = data[16 + length:]
        return out

    def close(self):
        os.close(self.fd)


@pytest.fixture
def inotify():
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(contextlib.closing(Inotify(path)))


def touched(client, *paths):
    return client.call("files.touched", paths=[os.fsencode(path) for path in paths]).files


def test_watchers_hear_of_a_file(client, root, inotify):
    put(f"{root}/file", b"x" * 100)
    os.utime(f"{root}/file", ns=(1_000_000_001, 2_000_000_002))
    before = os.stat(f"{root}/file")
    of_folder, of_file = inotify(root), inotify(f"{root}/file")
    (told,) = touched(client, f"{root}/file")
    assert told.modified and told.written and not told.attributes and not told.HasField("message")
    assert of_folder.heard() == [(IN_MODIFY, b"file"), (IN_CLOSE_WRITE, b"file")]
    assert of_file.heard() == [(IN_MODIFY, b""), (IN_CLOSE_WRITE, b"")]
    after = os.stat(f"{root}/file")
    for field in ("st_mtime_ns", "st_atime_ns", "st_size", "st_mode", "st_ino", "st_blocks"):
        assert getattr(after, field) == getattr(before, field)


def test_watchers_hear_of_a_folder(client, root, inotify):
    os.mkdir(f"{root}/folder")
    before = os.stat(f"{root}/folder")
    heard = inotify(f"{root}/folder")
    (told,) = touched(client, f"{root}/folder")
    assert told.attributes and not told.modified and not told.written
    assert heard.heard() == [(IN_ATTRIB, b"")]
    assert os.stat(f"{root}/folder").st_mtime_ns == before.st_mtime_ns


def test_our_own_watch_hears_it_too(client, watch, root):
    put(f"{root}/file")
    watched = watch(root)
    touched(client, f"{root}/file")
    watched.until(lambda: watched.told() == {os.fsencode(f"{root}/file"): {MODIFIED, WRITTEN}})


def test_each_path_has_its_own_answer(client, root, inotify):
    put(f"{root}/file")
    put(f"{root}/new\nline")
    os.mkfifo(f"{root}/fifo")
    os.symlink(f"{root}/file", f"{root}/link")
    subprocess.run(["cp", "/bin/sleep", f"{root}/runs"], check=True)
    heard = inotify(root)
    with subprocess.Popen([f"{root}/runs", "60"]) as runs:
        answers = touched(client, f"{root}/missing", f"{root}/fifo", f"{root}/link", "/etc/passwd", f"{root}/runs",
                          f"{root}/new\nline", f"{root}/file")
        runs.kill()
    assert [answer.sys_errno for answer in answers] == [
        errno.ENOENT, errno.ENOTSUP, errno.ELOOP, errno.EACCES, 0, 0, 0]
    assert [answer.modified for answer in answers] == [False] * 4 + [True] * 3
    assert [answer.written for answer in answers] == [False] * 5 + [True] * 2
    assert all(answer.message for answer in answers[:4]) and answers[0].path == os.fsencode(f"{root}/missing")
    assert heard.heard() == [(IN_MODIFY, b"runs"), (IN_MODIFY, b"new\nline"), (IN_CLOSE_WRITE, b"new\nline"),
                             (IN_MODIFY, b"file"), (IN_CLOSE_WRITE, b"file")]


def test_nobody_hears_where_nothing_can_be_written(client, root):
    with disk(root) as place:
        put(f"{place}/file")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        (told,) = touched(client, f"{place}/file")
        assert told.sys_errno == errno.EROFS and not told.modified and not told.written


def test_how_many_paths(client, root):
    assert failure(client, "files.touched").code == "INVALID_ARGUMENT"
    assert failure(client, "files.touched", paths=[os.fsencode(root)] * 1025).code == "INVALID_ARGUMENT"
    assert len(touched(client, *[root] * 1024)) == 1024


def test_the_host_may_watch_and_not_touch(root, base):
    with Agent(files_roots=base) as agent, agent.client() as client:
        assert client.call("files.watch", path=os.fsencode(root)).folders == 1
        assert failure(client, "files.touched", paths=[os.fsencode(root)]).code == "PERMISSION_DENIED"
