# SPDX-License-Identifier: LGPL-2.1-or-later
"""properties.*: keys with values between the host and programs of the guest's users."""

import os
import signal
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from users import as_user
from wire import Closed, Failed, frame, pb, varint

ALICE, BOB = 61001, 61002
VALUE_MAX = 32768


@pytest.fixture
def alice(agent):
    with as_user(agent, ALICE) as connected:
        yield connected


@pytest.fixture(autouse=True)
def empty(agent):
    """Each test begins with nothing there, and with what changes cost paid for."""
    yield
    with agent.client() as client:
        for key in keys(client):
            client.call("properties.remove", key=key)


def keys(client, **fields):
    return [found.key for found in client.call("properties.list", keys_only=True, **fields).properties]


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def test_set_get_list_remove(client):
    before = time.time_ns()
    first = client.call("properties.set", key="app/state", value=b"\0up\xff").revision
    found = client.call("properties.get", key="app/state").property
    assert (found.value, found.revision, found.set_by) == (b"\0up\xff", first, "local:0")
    assert before <= found.set_ns <= time.time_ns()
    assert not (found.read_only_host or found.read_only_guest or found.world_readable or found.ephemeral)
    assert not found.HasField("ttl_left_ms")
    client.call("properties.set", key="app/x")
    client.call("properties.set", key="apple", value=b"1")
    assert client.call("properties.get", key="app/x").property.value == b""
    assert keys(client) == ["app/state", "app/x", "apple"]
    assert keys(client, prefix="app/") == ["app/state", "app/x"]
    assert keys(client, after="app/state") == ["app/x", "apple"]
    assert keys(client, prefix="app/", after="app/x") == keys(client, prefix="b") == []
    assert not client.call("properties.list", keys_only=True).properties[0].HasField("value")
    client.call("properties.remove", key="app/x")
    assert failure(client, "properties.get", key="app/x").code == "NOT_FOUND"
    assert keys(client) == ["app/state", "apple"]


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", "..", "a/./b", "a b", "a\n", "é", "a" * 256])
def test_what_is_no_key(client, key):
    for method in ("get", "set", "remove"):
        assert failure(client, f"properties.{method}", key=key).code == "INVALID_ARGUMENT"
    assert keys(client) == []


@pytest.mark.parametrize("fields, code", [
    ({"value": bytes(VALUE_MAX + 1)}, "INVALID_ARGUMENT"),
    ({"value": bytes(60000)}, "INVALID_ARGUMENT"),
    ({"ttl_ms": 0}, "INVALID_ARGUMENT"),
    ({"ttl_ms": 31536000001}, "INVALID_ARGUMENT"),
    ({"if_revision": 12345}, "FAILED_PRECONDITION"),
    ({"read_only_guest": True}, "PERMISSION_DENIED"),
    ({"read_only_guest": False}, "PERMISSION_DENIED"),
])
def test_what_cannot_be_set(client, fields, code):
    failed = failure(client, "properties.set", key="a", **fields)
    assert failed.code == code and failed.error.outcome == 1  # NOT_DONE
    assert keys(client) == []


def test_no_key_at_all(client):
    for method in ("get", "set", "remove"):
        assert failure(client, f"properties.{method}").code == "INVALID_ARGUMENT"


def test_bad_bytes(client):
    client.next_id += 1
    client.start("properties.set", request=b"\xff\xff", id=client.next_id)
    assert client.take_response(client.next_id).error.code == 3
    assert keys(client) == []


def test_the_largest_value(client):
    value = os.urandom(VALUE_MAX)
    client.call("properties.set", key="k" * 255, value=value)
    assert client.call("properties.get", key="k" * 255).property.value == value


def test_only_if_it_is_as_was_seen(client):
    first = client.call("properties.set", key="a", value=b"1", if_revision=0).revision
    assert failure(client, "properties.set", key="a", value=b"2", if_revision=0).code == "FAILED_PRECONDITION"
    second = client.call("properties.set", key="a", value=b"2", if_revision=first).revision
    assert second > first
    assert client.call("properties.set", key="a", value=b"2").revision == second
    failed = failure(client, "properties.remove", key="a", if_revision=first)
    assert failed.code == "FAILED_PRECONDITION" and failed.error.outcome == 1
    client.call("properties.remove", key="a", if_revision=second)


def test_an_answer_that_is_too_large_comes_in_pages(client):
    value = os.urandom(VALUE_MAX)
    for i in range(20):
        client.call("properties.set", key=f"big/{i:02}", value=value)
    seen, after, pages = [], "", 0
    while True:
        reply = client.call("properties.list", prefix="big/", after=after)
        seen += [(found.key, found.value) for found in reply.properties]
        pages += 1
        if not reply.more:
            break
        after = reply.properties[-1].key
    assert seen == [(f"big/{i:02}", value) for i in range(20)] and pages == 4


def test_a_caller_with_small_frames(agent, client):
    client.call("properties.set", key="a", value=bytes(10000))
    with agent.client(max_frame=4096) as small:
        assert failure(small, "properties.get", key="a").code == "RESOURCE_EXHAUSTED"
        assert failure(small, "properties.list").code == "RESOURCE_EXHAUSTED"
        assert keys(small) == ["a"]


# ---- Whose ----

def test_a_user_has_what_is_his(client, alice, agent):
    mine, root = f"user/{ALICE}/a", "root/a"
    alice.call("properties.set", key=mine, value=b"1")
    client.call("properties.set", key=root, value=b"2")
    assert client.call("properties.get", key=mine).property.set_by == f"local:{ALICE}"
    assert keys(client) == [root, mine] and keys(alice) == [mine]
    assert failure(alice, "properties.get", key=root).code == "NOT_FOUND"
    for key in (root, "new", f"user/{BOB}/a", f"user/{ALICE}", "user/0/a"):
        for method in ("set", "remove"):
            failed = failure(alice, f"properties.{method}", key=key)
            assert failed.code == "PERMISSION_DENIED" and failed.error.outcome == 1, key
    with as_user(agent, BOB) as bob:
        assert failure(bob, "properties.get", key=mine).code == "NOT_FOUND" and keys(bob) == []
        client.call("properties.set", key=root, value=b"2", world_readable=True)
        assert bob.call("properties.get", key=root).property.value == b"2" and keys(bob) == [root]
        assert failure(bob, "properties.set", key=root).code == "PERMISSION_DENIED"
    client.call("properties.set", key=mine, value=b"3")
    assert alice.call("properties.get", key=mine).property.value == b"3"
    alice.call("properties.remove", key=mine)


def test_the_policy_decides_who_may_at_all():
    with Agent(policy=DEFAULT_POLICY + "deny local:* properties.set\n") as agent, agent.client() as client:
        failed = failure(client, "properties.set", key="a")
        assert failed.code == "PERMISSION_DENIED" and failed.error.rule and failed.error.outcome == 1
        assert keys(client) == []
    with Agent(policy="allow local:0 properties.*\nallow local:* system.ping\n") as agent, as_user(agent, ALICE) as alice:
        assert failure(alice, "properties.list").code == "PERMISSION_DENIED"


# ---- Ends ----

def test_an_end_by_time(client):
    client.call("notifications.subscribe", topics=["notify.properties.changed"])
    client.call("properties.set", key="short", value=b"x", ttl_ms=1000)
    client.call("properties.set", key="long", ttl_ms=86400000)
    client.call("properties.set", key="stays", ttl_ms=1000)
    client.call("properties.set", key="stays")
    assert 0 < client.call("properties.get", key="short").property.ttl_left_ms <= 1000
    told = [client.notification("notify.properties.changed")[1] for _ in range(4)]
    assert [(body.change, body.property.key) for body in told] == [
        (1, "short"), (1, "long"), (1, "stays"), (3, "short")]
    assert not told[3].HasField("by") and not told[3].property.HasField("value")
    assert failure(client, "properties.get", key="short").code == "NOT_FOUND"
    assert keys(client) == ["long", "stays"]


def test_an_end_with_the_connection(client, agent):
    client.call("notifications.subscribe", topics=["notify.properties.changed"])
    with agent.client() as other:
        other.call("properties.set", key="here", value=b"yes", ephemeral=True)
        other.call("properties.set", key="stays")
        assert client.call("properties.get", key="here").property.ephemeral
        for _ in range(2):
            client.notification("notify.properties.changed")
    _, body = client.notification("notify.properties.changed")
    assert (body.change, body.property.key) == (4, "here")
    assert keys(client) == ["stays"]


# ---- Watching ----

def test_changes_are_told(client, agent):
    client.call("notifications.subscribe", topics=["notify.properties.changed"])
    with agent.client() as other:
        other.call("properties.set", key="a", value=b"1")
        other.call("properties.set", key="a", value=b"1")  # nothing new
        other.call("properties.set", key="a", value=b"2", world_readable=True)
        other.call("properties.set", key="large", value=bytes(257))
        other.call("properties.remove", key="a")
    told = [client.notification("notify.properties.changed")[1] for _ in range(4)]
    assert [(body.change, body.property.key, body.property.value, body.value_bytes, body.by) for body in told] == [
        (1, "a", b"1", 1, "local:0"), (1, "a", b"2", 1, "local:0"), (1, "large", b"", 257, "local:0"),
        (2, "a", b"", 0, "local:0")]
    assert not told[2].property.HasField("value") and told[1].property.world_readable
    assert sorted(revisions := [body.property.revision for body in told]) == revisions and len(set(revisions)) == 4


def test_what_is_there_comes_first(client, alice):
    client.call("properties.set", key="a", value=b"1")
    client.call("properties.set", key="b", value=b"2", world_readable=True)
    alice.call("properties.set", key=f"user/{ALICE}/c", value=b"3")
    for who, expected in ((client, ["a", "b", f"user/{ALICE}/c"]), (alice, ["b", f"user/{ALICE}/c"])):
        who.call("notifications.subscribe", topics=["notify.properties.changed"], snapshot=True)
        got = [who.notification("notify.properties.changed") for _ in expected]
        assert [body.property.key for _, body in got] == expected and all(event.snapshot for event, _ in got)


def test_nobody_is_told_of_what_he_may_not_see(client, alice, agent):
    with as_user(agent, BOB) as bob:
        for who in (alice, bob):
            who.call("notifications.subscribe", topics=["notify.*"])
        client.call("properties.set", key="secret", value=b"1")
        alice.call("properties.set", key=f"user/{ALICE}/a", value=b"2")
        bob.call("properties.set", key=f"user/{BOB}/a", value=b"3")
        client.call("properties.set", key="open", value=b"4", world_readable=True)
        for who, own in ((alice, b"2"), (bob, b"3")):
            assert [who.notification("notify.properties.changed")[1].property.value for _ in range(2)] == [own, b"4"]


def test_users_hear_of_nothing_else(alice):
    topics = set(alice.call("notifications.subscribe", topics=["notify.*"]).topics)
    assert topics == {"notify.gap", "notify.properties.changed", "notify.heartbeat.missed",
                      "notify.heartbeat.recovered"}
    for method in ("system.info", "mounts.list", "exec.list"):
        assert failure(alice, method).code == "PERMISSION_DENIED"


# ---- Floods ----

def test_a_flood_is_its_users_own(client, alice):
    client.call("notifications.subscribe", topics=["notify.properties.changed"])
    refused = 0
    for i in range(200):
        try:
            alice.call("properties.set", key=f"user/{ALICE}/{i}", value=b"x" * 100)
        except Failed as failed:
            assert failed.code == "RESOURCE_EXHAUSTED" and failed.error.outcome == 1
            refused += 1
    assert 20 < refused < 200 and len(keys(alice)) <= 64
    # Nobody else is held up, and nothing that was told is lost.
    client.call("properties.set", key="root", value=b"1")
    told = []
    while "root" not in told:
        event, body = client.notification()
        assert event.topic == "notify.properties.changed"
        told.append(body.property.key)
    assert len(told) == 201 - refused


def test_a_flood_of_bytes(agent):
    uid, refused = BOB + 1, 0
    with as_user(agent, uid) as user:
        for i in range(8):
            try:
                user.call("properties.set", key=f"user/{uid}/{i}", value=bytes(VALUE_MAX))
            except Failed as failed:
                assert failed.code == "RESOURCE_EXHAUSTED"
                refused += 1
        assert refused == 5 and len(keys(user)) == 3


def test_many_at_once(client):
    """More than the pair with the watcher holds."""
    started = [client.start("properties.set", key=f"k{i}", value=bytes(VALUE_MAX)) for i in range(24)]
    for id in started:
        client.finish(id, "properties.set")
    assert len(keys(client)) == 24
    started = [client.start("properties.get", key=f"k{i}") for i in range(24)]
    assert all(client.finish(id, "properties.get").property.value == bytes(VALUE_MAX) for id in started)


def test_who_does_not_read_holds_up_nobody(client, agent):
    client.call("properties.set", key="a", value=bytes(VALUE_MAX))
    with agent.client() as deaf:
        for _ in range(3000):  # each answer has 32 KiB
            deaf.next_id += 1
            try:
                deaf.sock.settimeout(0.2)
                deaf.start("properties.get", key="a", id=deaf.next_id)
            except TimeoutError:
                break
        else:
            pytest.fail("it was read all the same")
        started = time.monotonic()
        for i in range(50):
            client.call("properties.set", key="b", value=b"%d" % i)
        assert time.monotonic() - started < 5


def test_a_caller_that_leaves_amid_its_calls(client, agent):
    for _ in range(20):
        with agent.client() as other:
            for i in range(10):
                other.start("properties.set", key="k", value=bytes(1000))
    assert client.call("system.ping", payload=b"x").payload == b"x"


def test_open_calls_are_answered_after_the_callers_last_word(agent):
    with agent.client() as other:
        other.call("notifications.subscribe", topics=["notify.properties.changed"])
        started = [other.start("properties.set", key=f"k{i}", value=bytes(VALUE_MAX)) for i in range(10)]
        other.sock.shutdown(1)
        for id in started:
            assert other.finish(id, "properties.set").revision > 0
        with pytest.raises(Closed):
            other.receive()


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", varint(100) + b"x",
                                     frame(b"\xff" * 50), frame(pb.ToAgent().SerializeToString() or b"\x08\x01")])
def test_a_hostile_user(client, agent, garbage):
    """What he says before or after a hello ends his connection, and nothing else."""
    for hello in (False, True):
        with as_user(agent, ALICE, hello=hello) as user:
            user.send_raw(garbage)
            user.sock.shutdown(1)
            with pytest.raises((Closed, ConnectionError)):
                while True:
                    user.receive()
    client.call("properties.set", key="a")
    with as_user(agent, ALICE) as user:
        assert keys(user) == []


def test_connections_of_users_leave_room(agent, client):
    """8 of one user, 16 of all of them."""
    def served(uids):
        held = []
        for uid in uids:
            try:
                held.append(as_user(agent, uid))
            except (Closed, ConnectionError):
                pass
        return held

    held = served([ALICE] * 12)
    try:
        assert len(held) == 8
        held += served(range(BOB, BOB + 20))
        assert len(held) == 16
        with agent.client() as root:
            assert root.call("system.ping", payload=b"1").payload == b"1"
    finally:
        for one in held:
            one.close()


# ---- Restarts ----

def pid_of(agent, name):
    return next(pid for pid, found in agent.children().items() if name in found)


def test_they_outlive_the_agent():
    with Agent() as agent:
        with agent.client() as client:
            assert os.stat(f"{agent.dir}/run/properties").st_size == 0
            client.call("properties.set", key="a", value=bytes(VALUE_MAX), world_readable=True)
            client.call("properties.set", key="b", value=b"1", ttl_ms=600000)
            client.call("properties.set", key="c", ephemeral=True)
            client.call("properties.set", key="short", ttl_ms=1)
            client.call("properties.set", key="gone")
            client.call("properties.remove", key="gone")
            before = client.call("properties.list", prefix="a").properties[0]
            last = client.call("properties.set", key="b", value=b"2", ttl_ms=600000).revision
        assert agent.stop() == 0
        assert os.stat(f"{agent.dir}/run/properties").st_mode & 0o777 == 0o600
        agent.start()
        with agent.client() as client:
            assert keys(client) == ["a", "b"]
            assert client.call("properties.get", key="a").property == before
            assert 0 < client.call("properties.get", key="b").property.ttl_left_ms <= 600000
            assert client.call("properties.set", key="new").revision > last
        os.kill(pid_of(agent, "watch"), signal.SIGKILL)
        with agent.client() as client:
            deadline = time.monotonic() + 10
            while True:
                try:
                    assert keys(client) == ["a", "b", "new"]
                    break
                except Failed as failed:
                    assert failed.code == "UNAVAILABLE" and time.monotonic() < deadline
                    time.sleep(0.05)


def test_a_file_of_rubbish_is_no_obstacle():
    with Agent() as agent:
        with agent.client() as client:
            client.call("properties.set", key="a")
        assert agent.stop() == 0
        with open(f"{agent.dir}/run/properties", "r+b") as file:
            file.write(os.urandom(5000))
        agent.start()
        with agent.client() as client:
            assert keys(client) == []
            client.call("properties.set", key="b")
        assert agent.stop() == 0
        agent.start()
        with agent.client() as client:
            assert keys(client) == ["b"]


def test_a_watcher_that_hangs_costs_the_callers_time_only():
    with Agent() as agent, agent.client() as client:
        client.call("properties.set", key="a")
        watcher = pid_of(agent, "watch")
        os.kill(watcher, signal.SIGSTOP)
        try:
            failed = failure(client, "properties.set", key="a", value=b"1", timeout_ms=200)
            assert failed.code == "DEADLINE_EXCEEDED" and failed.error.outcome == 3  # OUTCOME_UNKNOWN
            id = client.start("properties.remove", key="a")
            client.cancel(id)
            with pytest.raises(Failed) as cancelled:
                client.finish(id, "properties.remove")
            assert cancelled.value.code == "CANCELLED" and cancelled.value.error.outcome == 3
            assert client.call("system.ping", payload=b"x").payload == b"x"
        finally:
            os.kill(watcher, signal.SIGCONT)
        assert keys(client) == []
