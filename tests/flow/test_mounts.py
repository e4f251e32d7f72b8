# SPDX-License-Identifier: LGPL-2.1-or-later
"""mounts.*, shares.* and their notifications, on file systems of this machine's own kernel."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from quarantine import Quarantine
from wire import Failed, errors, message

pytestmark = pytest.mark.xdist_group("mounts")


def mounted(path):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == path for line in file)


@pytest.fixture
def target(agent):
    path = os.path.join(os.path.realpath(agent.dir), "mnt")
    os.makedirs(path, exist_ok=True)
    yield path
    while mounted(path):
        subprocess.run(["umount", "-l", path], check=True)


def tmpfs(client, target, **fields):
    return client.call("mounts.mount", target=target.encode(), type="tmpfs", **fields)


def failure(call):
    with pytest.raises(Failed) as failed:
        call()
    return failed.value


def test_list_is_the_kernels_table(client):
    listed = [(m.id, m.target) for m in client.call("mounts.list").mounts]
    with open("/proc/self/mountinfo", "rb") as file:
        kernel = [(int(line.split()[0]), line.split()[4].decode("unicode_escape").encode("latin1"))
                  for line in file]
    assert listed == kernel


def test_list_by_type_and_target(client):
    procs = client.call("mounts.list", types=["proc"]).mounts
    assert procs and all(m.type == b"proc" for m in procs)
    assert [m.target for m in client.call("mounts.list", target=b"/proc").mounts] == [b"/proc"]
    assert not client.call("mounts.list", target=b"/nothing").mounts


def test_usage_is_statvfs(client, target):
    tmpfs(client, target, options=[dict(key="size", value=b"1m")])
    with open(f"{target}/file", "wb") as file:
        file.write(b"x" * 65536)
    entry = client.call("mounts.list", usage=True, target=target.encode()).mounts[0]
    assert entry.usage.total == 1 << 20
    assert entry.usage.used == 65536
    assert not client.call("mounts.list", target=target.encode()).mounts[0].HasField("usage")


def test_mount_and_unmount(client, target):
    reply = tmpfs(client, target, options=[dict(key="size", value=b"64k"), dict(key="noexec")])
    assert mounted(target)
    assert reply.mount.target == target.encode() and reply.mount.type == b"tmpfs"
    assert {b"nosuid", b"nodev", b"noexec"} <= set(reply.mount.options)
    assert b"size=64k" in reply.mount.fs_options
    gone = client.call("mounts.unmount", target=target.encode())
    assert gone.mount.id == reply.mount.id
    assert not mounted(target)


def test_read_only(client, target):
    reply = tmpfs(client, target, options=[dict(key="ro")])
    assert b"ro" in reply.mount.options
    with pytest.raises(OSError):
        open(f"{target}/file", "w")


def test_suid_and_dev_only_on_request(client, target):
    reply = tmpfs(client, target, options=[dict(key="suid"), dict(key="dev")])
    assert not {b"nosuid", b"nodev"} & set(reply.mount.options)


def test_create_target(client, agent, target):
    deep = f"{target}/a/b/c"
    error = failure(lambda: tmpfs(client, deep))
    assert error.code == "NOT_FOUND" and "create_target" in error.message
    tmpfs(client, deep, create_target=True)
    assert mounted(deep)
    client.call("mounts.unmount", target=deep.encode())


@pytest.mark.parametrize("fields,code,words", [
    (dict(type="tmpfs"), "INVALID_ARGUMENT", "target: must be given"),
    (dict(type="tmpfs", target=b"relative"), "INVALID_ARGUMENT", "absolute path"),
    (dict(type="tmpfs", target=b"/tmp/../etc"), "INVALID_ARGUMENT", "without . and .."),
    (dict(type="tmpfs", target=b"/a\0b"), "INVALID_ARGUMENT", "NUL"),
    (dict(type="tmpfs", target=b"/" + b"x" * 5000), "INVALID_ARGUMENT", "longer than"),
    (dict(type="tmpfs", target=b"/"), "FAILED_PRECONDITION", "never mounted over"),
    (dict(type="tmpfs", target=b"/proc"), "FAILED_PRECONDITION", "never mounted over"),
    (dict(target=b"/mnt"), "INVALID_ARGUMENT", "type: must be given"),
    (dict(type="fuse", target=b"/mnt"), "INVALID_ARGUMENT", "not one of the types"),
    (dict(type="tmpfs,ext4", target=b"/mnt"), "INVALID_ARGUMENT", "not one of the types"),
    (dict(type="tmpfs", target=b"/mnt", source=b"x"), "INVALID_ARGUMENT", "tmpfs has none"),
    (dict(type="ext4", target=b"/mnt"), "INVALID_ARGUMENT", "source: must be given"),
    (dict(type="ext4", target=b"/mnt", source=b"/etc/passwd"), "INVALID_ARGUMENT", "below /dev"),
    (dict(type="ext4", target=b"/mnt", source=b"/dev/../mnt/dead/x"), "INVALID_ARGUMENT", "without . and .."),
    (dict(type="ext4", target=b"/mnt", source=b"/dev/fd"), "INVALID_ARGUMENT", "out of /dev"),
    (dict(type="ext4", target=b"/mnt", source=b"/dev/no-such"), "NOT_FOUND", "no such device"),
    (dict(type="ext4", target=b"/mnt", source_serial=b"none"), "NOT_FOUND", "no disk with the serial number none"),
    (dict(type="ext4", target=b"/mnt", source_serial=b"none", source_partition=3, wait_ms=150), "NOT_FOUND",
     "or it has no such partition, although it was waited for"),
    (dict(type="ext4", target=b"/mnt", source_serial=b"none", source=b"/dev/vda"), "INVALID_ARGUMENT", "one of them"),
    (dict(type="tmpfs", target=b"/mnt", source_serial=b"none"), "INVALID_ARGUMENT", "tmpfs is on no disk"),
    (dict(type="ext4", target=b"/mnt", source_serial=b"x" * 256), "INVALID_ARGUMENT", "source_serial"),
    (dict(type="ext4", target=b"/mnt", source=b"/dev/null"), "INVALID_ARGUMENT", "Block device required"),
    (dict(type="virtiofs", target=b"/mnt", source=b"x" * 37), "INVALID_ARGUMENT", "at most 36"),
    (dict(type="virtiofs", target=b"/mnt", source=b"a,b"), "INVALID_ARGUMENT", "commas"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="loop")]), "INVALID_ARGUMENT", "loop is not an option"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="helper", value=b"x")]), "INVALID_ARGUMENT", "helper"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="size"), dict(key="size")]), "INVALID_ARGUMENT", "twice"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="ro", value=b"1")]), "INVALID_ARGUMENT", "takes no value"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(value=b"x")]), "INVALID_ARGUMENT", "key is missing"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="size", value=b"1\0,suid")]), "INVALID_ARGUMENT", "NUL"),
    (dict(type="tmpfs", target=b"/mnt", options=[dict(key="size", value=b"lots")]), "INVALID_ARGUMENT", "size"),
])
def test_refused_mounts(client, fields, code, words):
    before = open("/proc/self/mountinfo").read()
    error = failure(lambda: client.call("mounts.mount", **fields))
    assert error.code == code and words in error.message, error
    assert open("/proc/self/mountinfo").read() == before


@pytest.mark.parametrize("to", ["/etc/passwd", "../../etc/passwd", "../null"])
def test_a_device_is_not_looked_up_where_others_make_links(client, to):
    """Anyone may, in /dev/shm, and to a file system that does not answer."""
    link = f"/dev/shm/postern-test-{os.getpid()}"
    os.symlink(to, link)
    try:
        error = failure(lambda: client.call("mounts.mount", type="ext4", target=b"/mnt", source=link.encode()))
        assert error.code == "INVALID_ARGUMENT" and "out of /dev" in error.message
    finally:
        os.unlink(link)


def test_links_between_devices_are_followed(client):
    os.makedirs("/dev/postern-test/by-id")
    try:
        os.symlink("../../null", "/dev/postern-test/by-id/x")
        error = failure(lambda: client.call("mounts.mount", type="ext4", target=b"/mnt",
                                            source=b"/dev/postern-test/by-id/x"))
        assert error.code == "INVALID_ARGUMENT" and "Block device required" in error.message
    finally:
        shutil.rmtree("/dev/postern-test")


def test_comma_in_a_value_is_no_second_option(client, target):
    error = failure(lambda: tmpfs(client, target, options=[dict(key="size", value=b"64k,suid")]))
    assert error.code == "INVALID_ARGUMENT"
    assert not mounted(target)


def test_mount_twice(client, target):
    tmpfs(client, target)
    error = failure(lambda: tmpfs(client, target))
    assert error.code == "ALREADY_EXISTS"
    client.call("mounts.unmount", target=target.encode())
    assert not mounted(target)


def test_several_mount_at_one_place(agent, client, target):
    """One of them has it; none lies upon another, not even for the one who answers; the others are told so, even one
    who opened the place where another's mount was, which has gone meanwhile: every 100th round."""
    params = message("mounts.mount", "Request")(target=target.encode(), type="tmpfs")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(agent.client()) for _ in range(8)]
        end = time.monotonic() + 3
        while time.monotonic() < end:
            ids = [other.start("mounts.mount", params) for other in clients]
            responses = [other.take_response(id) for other, id in zip(clients, ids)]
            won = [response for response in responses if response.HasField("result")]
            lost = [response.error for response in responses if response.HasField("error")]
            assert len(won) <= 1 and {error.code for error in lost} == {errors.ALREADY_EXISTS}, responses
            assert {error.outcome for error in lost} == {1}, responses
            there = [m for m in client.call("mounts.list").mounts if m.target == target.encode()]
            assert len(there) == len(won)
            if won:
                reply = message("mounts.mount", "Reply")()
                reply.ParseFromString(won[0].result)
                assert reply.mount.id == there[0].id
                client.call("mounts.unmount", target=target.encode())


def test_symbolic_links_are_not_followed(client, agent, target):
    link = f"{os.path.realpath(agent.dir)}/link"
    os.symlink(target, link)
    try:
        error = failure(lambda: tmpfs(client, link))
        assert error.code == "INVALID_ARGUMENT" and "symbolic link" in error.message
        error = failure(lambda: tmpfs(client, link + "/below", create_target=True))
        assert "symbolic link" in error.message
        assert not os.path.exists(f"{target}/below")
    finally:
        os.unlink(link)


def test_wait_for_a_device_has_a_deadline(client):
    start = time.monotonic()
    error = failure(lambda: client.call("mounts.mount", type="ext4", source=b"/dev/no-such",
                                        target=b"/mnt", wait_ms=500))
    assert error.code == "NOT_FOUND" and "waited for" in error.message
    assert 0.4 < time.monotonic() - start < 3


def test_a_late_deadline_says_what_became_of_it(client, target):
    error = failure(lambda: client.call("mounts.mount", type="ext4", source=b"/dev/no-such",
                                        target=target.encode(), wait_ms=60000, timeout_ms=300))
    assert error.code == "DEADLINE_EXCEEDED"
    assert error.error.outcome == 1 and "nothing was changed" in error.message


def test_a_cancelled_mount_says_what_became_of_it(client, target):
    id = client.start("mounts.mount", type="ext4", source=b"/dev/no-such", target=target.encode(),
                      wait_ms=60000)
    time.sleep(0.2)
    client.cancel(id)
    error = client.take_response(id).error
    assert error.code == 1 and error.outcome == 1


def test_a_client_that_vanishes_with_a_mount_under_way(agent, target):
    with agent.client() as other:
        client = agent.client()
        client.call("system.ping")
        deadline = time.monotonic() + 10
        spares, seen = None, set()
        # What an earlier test has set off is over when nothing changes any more.
        while not seen or seen != spares:
            assert time.monotonic() < deadline
            spares = seen
            time.sleep(0.3)
            seen = {process.pid for process in other.call("system.info").agent.processes
                    if process.role == "worker" and process.spare}
        before = other.call("system.info").agent.connections
        for pid in spares:
            os.kill(pid, signal.SIGSTOP)
        try:
            client.start("mounts.mount", type="tmpfs", target=target.encode())
            while not other.call("system.info").agent.calls:
                assert time.monotonic() < deadline
            client.close()
            while other.call("system.info").agent.connections >= before:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert not mounted(target)
        finally:
            # Its caller has gone; the change goes on to its end.
            for pid in spares:
                os.kill(pid, signal.SIGCONT)
        while other.call("system.info").agent.calls:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert mounted(target)
        other.call("mounts.unmount", target=target.encode())


def test_unmount_what_is_not_mounted(client, target):
    for path in (target, "/no/such/path"):
        error = failure(lambda: client.call("mounts.unmount", target=path.encode()))
        assert error.code == "NOT_FOUND"


@pytest.mark.parametrize("path", [b"/", b"/proc", b"/dev", b"/sys", b"/run"])
def test_protected_paths(client, path):
    assert failure(lambda: client.call("mounts.unmount", target=path)).code == "FAILED_PRECONDITION"


def test_two_clients_unmount_the_same(agent, target):
    with agent.client() as one, agent.client() as two:
        for _ in range(5):
            tmpfs(one, target)
            ids = [(c, c.start("mounts.unmount", target=target.encode())) for c in (one, two)]
            answers = [c.take_response(id) for c, id in ids]
            assert sorted(a.WhichOneof("outcome") for a in answers) == ["error", "result"]
            error = next(a.error for a in answers if a.HasField("error"))
            assert error.code == 5  # NOT_FOUND
            assert not mounted(target)


# ---- who holds it ----

def holders(error):
    return {(h.pid, use.kind): (h, use) for h in error.error.details.holders for use in h.uses}


def test_busy_by_an_open_file(client, target):
    tmpfs(client, target)
    with open(f"{target}/held", "w"):
        error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
        assert error.code == "FAILED_PRECONDITION" and error.error.sys_errno == 16
        assert error.error.outcome == 1
        holder, use = holders(error)[os.getpid(), 1]
        assert use.path.decode() == f"{target}/held"
        assert holder.user == b"root" and holder.command
        assert f"(pid {os.getpid()}) has open {target}/held" in error.message
        assert mounted(target)
    client.call("mounts.unmount", target=target.encode())


@pytest.mark.parametrize("kind,how", [
    (2, lambda path: dict(args=["sleep", "60"], cwd=path)),
    (4, lambda path: dict(args=[f"{path}/sleep", "60"])),
    (5, lambda path: dict(args=[f"{path}/sleep", "60"])),
], ids=["current directory", "executable", "mapping"])
def test_busy_by_a_process(client, target, kind, how):
    tmpfs(client, target)
    with open("/usr/bin/sleep", "rb") as source, open(f"{target}/sleep", "wb") as copy:
        copy.write(source.read())
    os.chmod(f"{target}/sleep", 0o755)
    with subprocess.Popen(**how(target)) as process:
        time.sleep(0.2)
        error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
        process.kill()
    assert (process.pid, kind) in holders(error)
    client.call("mounts.unmount", target=target.encode())


def test_busy_by_a_root_directory(client, target):
    tmpfs(client, target)
    code = f"import os,time; os.chroot({target!r}); time.sleep(60)"
    with subprocess.Popen(["/usr/bin/python3", "-c", code]) as process:
        time.sleep(0.5)
        error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
        process.kill()
    assert (process.pid, 3) in holders(error)


def test_busy_by_a_nested_mount(client, target):
    tmpfs(client, target)
    tmpfs(client, f"{target}/inner", create_target=True)
    error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
    holder, use = holders(error)[0, 6]
    assert use.path.decode() == f"{target}/inner"
    client.call("mounts.unmount", target=f"{target}/inner".encode())
    client.call("mounts.unmount", target=target.encode())


def test_held_in_another_mount_namespace(client, target):
    tmpfs(client, target)
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                           f"cd {target}; exec sleep 60"]) as process:
        time.sleep(0.5)
        reply = client.call("mounts.unmount", target=target.encode(), mode=3)
        process.kill()
    uses = {(h.pid, use.kind) for h in reply.holders for use in h.uses}
    assert (process.pid, 9) in uses
    assert not mounted(target)


def test_lazy_unmount_names_the_holders(client, target):
    tmpfs(client, target)
    with open(f"{target}/held", "w"):
        reply = client.call("mounts.unmount", target=target.encode(), mode=3)
    assert not mounted(target)
    assert os.getpid() in [holder.pid for holder in reply.holders]


def test_uses_that_do_not_fit_are_counted(client, target):
    tmpfs(client, target)
    files = [open(f"{target}/{i}", "w") for i in range(100)]
    error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
    holder, = error.error.details.holders
    assert holder.pid == os.getpid() and len(holder.uses) == 64 and holder.more_uses == 36
    for file in files:
        file.close()


def test_holders_that_do_not_fit_are_counted_once_each(client, target):
    tmpfs(client, target)
    children = []
    ready, done = os.pipe()
    try:
        for _ in range(260):
            child = os.fork()
            if child == 0:
                os.chdir(target)
                held = [open(f"{target}/{os.getpid()}-{i}", "w") for i in range(3)]
                os.write(done, b"." if len(held) == 3 else b"")
                signal.pause()
                os._exit(0)
            children.append(child)
        seen = 0
        while seen < 260:
            seen += len(os.read(ready, 4096))
        error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
        details = error.error.details
        assert {holder.pid for holder in details.holders} < set(children)
        assert len(details.holders) == 256 and details.more_holders == 4
        assert all(len(holder.uses) == 4 and not holder.more_uses for holder in details.holders)
        assert error.message.endswith("and 259 more")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(ready)
        os.close(done)


def test_holders_with_long_paths_are_named_as_far_as_there_is_room(client, target):
    """What they hold in all would fill the memory of a request several times, and that of the error."""
    tmpfs(client, target)
    deep = target + "".join("/" + "x" * 250 for _ in range(14))
    os.makedirs(deep)
    held = [open(f"{deep}/{i}", "w") for i in range(64)]
    children = []
    try:
        for _ in range(40):
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
        error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
        assert error.code == "FAILED_PRECONDITION" and error.error.sys_errno == 16 and error.error.outcome == 1
        found = error.error.details.holders
        assert {holder.pid for holder in found} <= {os.getpid(), *children}
        assert len(found) + error.error.details.more_holders == 41
        # Nobody counts for less than he holds.
        assert found[0].uses and all(len(holder.uses) + holder.more_uses == 64 for holder in found)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for file in held:
            file.close()


def test_each_mount_namespace_is_looked_at(client, target):
    tmpfs(client, target)
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 60"],
            stdout=subprocess.PIPE)) for _ in range(70)]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            process.stdout.readline()
        reply = client.call("mounts.unmount", target=target.encode(), mode=3)
    assert {p.pid for p in processes} <= {h.pid for h in reply.holders for use in h.uses if use.kind == 9}


def test_forced_unmount_of_a_busy_mount(client, target):
    """MNT_FORCE makes file systems of a server give up; what a process holds stays held."""
    tmpfs(client, target)
    with open(f"{target}/held", "w"):
        error = failure(lambda: client.call("mounts.unmount", target=target.encode(), mode=2))
        assert error.code == "FAILED_PRECONDITION" and error.error.sys_errno == 16
        assert [holder.pid for holder in error.error.details.holders] == [os.getpid()]
        assert mounted(target)
    gone = client.call("mounts.unmount", target=target.encode(), mode=2)
    assert gone.mount.target.decode() == target and not gone.holders
    assert not mounted(target)


# ---- shares ----

def test_a_share_is_remembered_and_forgotten(client, agent, target):
    share = client.call("shares.mount", target=target.encode(), type="tmpfs",
                        options=[dict(key="size", value=b"64k")]).share
    assert mounted(target) and share.state == 1
    listed = client.call("shares.list").shares
    assert [(s.target.decode(), s.type, s.state) for s in listed] == [(target, "tmpfs", 1)]
    subprocess.run(["umount", target], check=True)
    assert client.call("shares.list").shares[0].state == 2  # GONE
    client.call("shares.unmount", target=target.encode())
    assert not client.call("shares.list").shares
    error = failure(lambda: client.call("shares.unmount", target=target.encode()))
    assert error.code == "NOT_FOUND"


def test_a_busy_share_stays(client, target):
    client.call("shares.mount", target=target.encode(), type="tmpfs")
    with open(f"{target}/held", "w"):
        error = failure(lambda: client.call("shares.unmount", target=target.encode()))
        assert error.code == "FAILED_PRECONDITION" and error.error.details.holders
        assert len(client.call("shares.list").shares) == 1
    client.call("shares.unmount", target=target.encode())


@pytest.mark.parametrize("fields,words", [
    (dict(type="ext4", source=b"/dev/vda"), "is no share"),
    (dict(type="tmpfs", secret=b"s"), "takes none"),
    (dict(type="cifs", source=b"//h/s", secret=b"a\0b"), "NUL"),
])
def test_refused_shares(client, target, fields, words):
    error = failure(lambda: client.call("shares.mount", target=target.encode(), **fields))
    assert error.code == "INVALID_ARGUMENT" and words in error.message
    assert not client.call("shares.list").shares


def test_a_persistent_share_comes_back(target):
    from agent import Agent
    agent = Agent(sample_interval=1)
    place = f"{os.path.realpath(agent.dir)}/persistent"
    try:
        agent.start()
        with agent.client() as client:
            client.call("shares.mount", target=place.encode(), type="tmpfs", persistent=True)
        agent.stop()
        subprocess.run(["umount", place], check=True)
        subprocess.run(["rm", "-rf", f"{agent.dir}/run/shares"], check=True)
        agent.start()
        deadline = time.monotonic() + 10
        while not mounted(place):
            assert time.monotonic() < deadline, agent.read_log()
            time.sleep(0.05)
        with agent.client() as client:
            while not client.call("shares.list").shares:
                assert time.monotonic() < deadline
            share = client.call("shares.list").shares[0]
            assert share.persistent and share.state == 1
            client.call("shares.unmount", target=place.encode())
        assert not os.listdir(f"{agent.dir}/state/shares")
    finally:
        while mounted(place):
            subprocess.run(["umount", "-l", place], check=True)
        agent.close()


# ---- notifications ----

def test_mounts_are_told_whoever_makes_them(client, target):
    client.call("notifications.subscribe", topics=["notify.mounts.*"])
    tmpfs(client, target)
    _, body = client.notification("notify.mounts.mount")
    assert body.mount.target.decode() == target
    subprocess.run(["umount", target], check=True)
    _, body = client.notification("notify.mounts.unmount")
    assert body.mount.target.decode() == target
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target], check=True)
    _, body = client.notification("notify.mounts.mount")
    assert body.mount.target.decode() == target


def test_shares_are_told(client, target):
    client.call("notifications.subscribe", topics=["notify.shares.*"])
    client.call("shares.mount", target=target.encode(), type="tmpfs")
    _, body = client.notification("notify.shares.mount")
    assert body.share.target.decode() == target
    client.call("shares.unmount", target=target.encode())
    _, body = client.notification("notify.shares.unmount")
    assert body.share.target.decode() == target


def test_snapshot_then_changes_converges(client, target):
    """The table rebuilt from snapshot and events is the kernel's, under changes by others."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            subprocess.run(["mount", "-t", "tmpfs", "churn", target], check=True)
            subprocess.run(["umount", target], check=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        time.sleep(0.1)
        client.call("notifications.subscribe", topics=["notify.mounts.*"], snapshot=True)
        time.sleep(0.5)
    finally:
        stop.set()
        thread.join()
    subprocess.run(["mount", "-t", "tmpfs", "last", target], check=True)
    table = {}
    while True:
        got, body = client.notification()
        key = (body.mount.id, body.mount.target)
        if got.topic == "notify.mounts.mount":
            table[key] = body.mount
        else:
            table.pop(key, None)
        if not got.snapshot and body.mount.source == b"last":
            break
    kernel = {(m.id, m.target) for m in client.call("mounts.list").mounts}
    assert set(table) == kernel


def test_replay_after_a_cursor(agent, client, target):
    reply = client.call("notifications.subscribe", topics=["notify.mounts.*"])
    tmpfs(client, target)
    got, _ = client.notification("notify.mounts.mount")
    client.call("mounts.unmount", target=target.encode())
    client.notification("notify.mounts.unmount")
    with agent.client() as later:
        later.call("notifications.subscribe", topics=["notify.mounts.*"],
                   after=dict(epoch=reply.cursor.epoch, seq=reply.cursor.seq))
        # What the test before this one has unmounted may only now be seen.
        while (first := later.notification())[1].mount.target.decode() != target:
            pass
        assert first[0].seq == got.seq
        first, (second, _) = first[0], later.notification()
        assert second.topic == "notify.mounts.unmount" and second.seq > first.seq
    with agent.client() as stranger:
        stranger.call("notifications.subscribe", topics=["notify.mounts.*"],
                      after=dict(epoch=reply.cursor.epoch ^ 1, seq=1))
        gap, body = stranger.notification()
        assert gap.topic == "notify.gap" and body.missed == 0


def test_a_slow_subscriber_gets_a_gap_and_holds_up_nobody(agent, client, target):
    import socket
    slow = agent.client()
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.call("notifications.subscribe", topics=["notify.mounts.*"])
    client.call("notifications.subscribe", topics=["notify.mounts.*"])
    # Large entries, so that the ring's bytes run out before its patience; each is waited for, since a mount
    # that comes and goes between two looks need not be told.
    for _ in range(300):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "s" * 3900, target], check=True)
        client.notification("notify.mounts.mount")
        subprocess.run(["umount", target], check=True)
        client.notification("notify.mounts.unmount")
    told, missed = 0, 0
    while told + missed < 600:
        got, body = slow.notification()
        if got.topic == "notify.gap":
            missed += body.missed
        else:
            told += 1
    assert missed > 0 and told + missed == 600
    slow.close()


def test_patterns_match_by_parts_and_cost_nothing(client):
    """The watcher is asked for what a pattern stands for; one of many stars ends as soon as others."""
    def names(pattern):
        with pytest.raises(Failed) as failed:
            client.call("notifications.subscribe", topics=[pattern])
        return failed.value.code

    for pattern in ("notify.*.mount", "notify.m*ts.mo*", "n*y.*", "*.mounts.*", "**", "notify.mounts.m**t"):
        reply = client.call("notifications.subscribe", topics=[pattern])
        client.call("notifications.unsubscribe", subscription=reply.subscription)
    for pattern in ("*mount", "notify*mount", "notify.*mount", "notify.*.moun", "otify.*", "", "notify.*.*.*x"):
        assert names(pattern) == "NOT_FOUND", pattern
    started = time.monotonic()
    assert names("*" * 20000 + "x") == "NOT_FOUND"
    assert time.monotonic() - started < 5


def test_load_events_by_interval(client):
    reply = client.call("notifications.subscribe", topics=["notify.system_load"], interval_ms=1000)
    first, body = client.notification("notify.system_load")
    second, _ = client.notification("notify.system_load")
    assert body.sample.memory_total > 0
    assert 0.8e9 < second.time_ns - first.time_ns < 3e9
    client.call("notifications.unsubscribe", subscription=reply.subscription)


@pytest.mark.parametrize("field,always,never", [
    ("load1_above", -1, 1e9),
    ("memory_available_below", 1 << 60, 1),
    ("cpu_pressure_above", -1, 100),
    ("memory_pressure_above", -1, 100),
    ("io_pressure_above", -1, 100),
])
def test_load_events_by_threshold(client, field, always, never):
    def subscribe(value):
        return client.call("notifications.subscribe", topics=["notify.system_load"], interval_ms=1000,
                           threshold={field: value}).subscription

    silent, told = subscribe(never), subscribe(always)
    for _ in range(2):
        assert client.notification("notify.system_load")[0].subscription == told != silent


@pytest.mark.parametrize("fields,code", [
    (dict(), "INVALID_ARGUMENT"),
    (dict(topics=["notify.nothing"]), "NOT_FOUND"),
    (dict(topics=["*"], interval_ms=10), "INVALID_ARGUMENT"),
    (dict(topics=["*"], snapshot=True, after=dict(epoch=1, seq=1)), "INVALID_ARGUMENT"),
])
def test_refused_subscriptions(client, fields, code):
    assert failure(lambda: client.call("notifications.subscribe", **fields)).code == code


def test_subscriptions_are_bounded_and_can_be_ended(client):
    numbers = [client.call("notifications.subscribe", topics=["notify.*"]).subscription for _ in range(16)]
    assert failure(lambda: client.call("notifications.subscribe", topics=["notify.*"])).code == "RESOURCE_EXHAUSTED"
    for number in numbers:
        client.call("notifications.unsubscribe", subscription=number)
    assert failure(lambda: client.call("notifications.unsubscribe", subscription=numbers[0])).code == "NOT_FOUND"
    client.call("notifications.subscribe", topics=["notify.*"])


# ---- one place has one spelling ----

@pytest.mark.parametrize("spelling", ["{}/", "{}//", "/{}"])
def test_slashes_do_not_hide_a_place(client, target, spelling):
    path = spelling.format(target)
    reply = tmpfs(client, path)
    assert reply.mount.target.decode() == target
    assert failure(lambda: tmpfs(client, path)).code == "ALREADY_EXISTS"
    client.call("mounts.unmount", target=path.encode())
    assert not mounted(target)


@pytest.mark.parametrize("path", [b"/etc/", b"//proc", b"/usr//", b"//"])
def test_protected_paths_by_any_spelling(client, path):
    assert failure(lambda: client.call("mounts.mount", target=path, type="tmpfs")).code == "FAILED_PRECONDITION"


def test_two_mounts_of_a_device_have_one_usage(client, agent, target):
    tmpfs(client, target, options=[dict(key="size", value=b"1m")])
    twin = f"{os.path.realpath(agent.dir)}/twin"
    os.makedirs(twin, exist_ok=True)
    subprocess.run(["mount", "--bind", target, twin], check=True)
    try:
        entries = {m.target.decode(): m for m in client.call("mounts.list", usage=True).mounts}
        assert entries[target].usage == entries[twin].usage and entries[twin].usage.total == 1 << 20
        # The second one alone is asked just as well.
        alone, = client.call("mounts.list", usage=True, target=twin.encode()).mounts
        assert alone.usage.total == 1 << 20
    finally:
        subprocess.run(["umount", twin], check=True)


def layers(target):
    """Folders for an overlay, and its options."""
    for name in ("low", "up", "work", "all"):
        os.mkdir(f"{target}/{name}")
    with open(f"{target}/low/file", "w") as file:
        file.write("below")
    return [dict(key=key, value=f"{target}/{name}".encode())
            for key, name in (("lowerdir", "low"), ("upperdir", "up"), ("workdir", "work"))]


def test_a_share_that_is_an_overlay(client, target):
    tmpfs(client, target)
    options = layers(target)
    share = client.call("shares.mount", target=f"{target}/all".encode(), type="overlay", options=options).share
    assert share.type == "overlay" and share.state == 1 and not share.source
    with open(f"{target}/all/file", "a") as file:
        file.write(" and above")
    assert open(f"{target}/up/file").read() == "below and above"
    assert open(f"{target}/low/file").read() == "below"
    listed, = client.call("shares.list").shares
    assert [(o.key, o.value.decode()) for o in listed.options] == [(o["key"], o["value"].decode()) for o in options]
    client.call("shares.unmount", target=f"{target}/all".encode())
    assert not mounted(f"{target}/all") and not client.call("shares.list").shares
    # A layer by way of a symbolic link could be swapped.
    os.symlink("low", f"{target}/link")
    error = failure(lambda: client.call("shares.mount", target=f"{target}/all".encode(), type="overlay",
                                        options=[dict(key="lowerdir", value=f"{target}/link".encode())]))
    assert error.code == "INVALID_ARGUMENT" and "symbolic link" in error.message
    client.call("mounts.unmount", target=target.encode())


def test_a_writable_overlay(client, target):
    tmpfs(client, target)
    options = layers(target)
    os.chown(f"{target}/low/file", 1234, 1234)
    client.call("mounts.mount", target=f"{target}/all".encode(), type="overlay", options=options)
    with open(f"{target}/all/file", "a") as file:
        file.write(" and above")
    assert open(f"{target}/up/file").read() == "below and above"
    assert os.stat(f"{target}/up/file").st_uid == 1234
    client.call("mounts.unmount", target=f"{target}/all".encode())
    client.call("mounts.unmount", target=target.encode())


# ---- where somebody hangs ----

@pytest.fixture
def quarantine(agent):
    write = Quarantine(agent)
    yield write
    write()


def test_nothing_is_touched_where_somebody_hangs(client, target, quarantine):
    """At a mount that does not respond, and wherever a path leads through it: an error at once."""
    tmpfs(client, target)
    for name in ("inner", "low", "new"):
        os.mkdir(f"{target}/{name}")
    inner = f"{target}/inner"
    tmpfs(client, inner)
    quarantine(target)
    for refused in (
        lambda: tmpfs(client, f"{target}/new"),
        lambda: tmpfs(client, f"{target}/more/below", create_target=True),
        lambda: tmpfs(client, f"{inner}/below", create_target=True),
        lambda: client.call("shares.mount", target=f"{target}/share".encode(), type="tmpfs"),
        lambda: client.call("mounts.mount", target=b"/mnt", type="overlay", options=[
            dict(key="lowerdir", value=f"/srv:{target}/low".encode())]),
        lambda: client.call("mounts.unmount", target=inner.encode()),
        lambda: client.call("mounts.unmount", target=inner.encode(), mode=3),
        lambda: client.call("mounts.unmount", target=target.encode()),
    ):
        error = failure(refused)
        assert error.code == "UNAVAILABLE" and "does not respond" in error.message, error.message
    assert not os.path.exists(f"{target}/more") and not os.listdir(inner)
    assert not client.call("shares.list").shares
    # What is below it is not asked, and not blamed.
    entries = {m.target.decode(): m for m in client.call("mounts.list", usage=True).mounts}
    assert entries[target].state == 2 and not entries[target].HasField("usage")
    assert entries[inner].state == 1 and not entries[inner].HasField("usage")
    client.call("mounts.unmount", target=target.encode(), mode=3)
    assert not mounted(target) and not mounted(inner)


def test_where_somebody_waits_to_write_others_look(client, target, quarantine):
    """A frozen disk: what only leads through it goes on."""
    tmpfs(client, target)
    os.mkdir(f"{target}/inner")
    quarantine(target, writes_only=True)
    error = failure(lambda: tmpfs(client, f"{target}/new", create_target=True))
    assert error.code == "UNAVAILABLE" and "takes no writes" in error.message
    assert not os.path.exists(f"{target}/new")
    tmpfs(client, f"{target}/inner")
    entries = {m.target.decode(): m for m in client.call("mounts.list", usage=True).mounts}
    assert entries[target].state == 2 and entries[f"{target}/inner"].HasField("usage")
    client.call("mounts.unmount", target=f"{target}/inner".encode())
    error = failure(lambda: client.call("mounts.unmount", target=target.encode()))
    assert error.code == "UNAVAILABLE"
    quarantine()
    client.call("mounts.unmount", target=target.encode())
    assert not mounted(target)
