# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a request may take, whatever it waits for."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

import error_pb2
from machine import halted, state_of, wait_until
from wire import Closed, Failed, frame, message, pb


LANES, LANES_EACH = 16, 12  # proto/limits.h: processes that serve one request after another


def request(id, method, **fields):
    return frame(pb.ToAgent(request=pb.Request(id=id, method=method, **fields)).SerializeToString())


def send_pings(client, n, method, **fields):
    """Large pings, odd ids, each with another request behind it, even ids, in one piece: the answers fill what
    waits for the reader, and of what comes behind that some is read already."""
    body = message("system.ping", "Request")(payload=b"z" * 100000).SerializeToString()
    raw = b"".join(request(2 * i + 1, "system.ping", params=body) + request(2 * i + 2, method, **fields)
                   for i in range(n))
    sender = threading.Thread(target=client.sock.sendall, args=(raw,))
    sender.start()
    return sender


def test_time_runs_from_a_frames_last_byte(agent):
    """Also while it is held back, since the caller does not take what was answered before."""
    with agent.client() as client:
        sender = send_pings(client, 15, "system.ping", timeout_ms=300)
        time.sleep(1)
        late = []
        for id in range(1, 31):
            response = client.take_response(id)
            if not response.HasField("result"):
                assert response.error.code == error_pb2.DEADLINE_EXCEEDED
                late.append(id)
        sender.join()
        # Those that were not even read while nobody took the answers have their time before them.
        assert late and all(id % 2 == 0 for id in late)


def test_a_late_change_is_not_begun(agent):
    params = message("mounts.unmount", "Request")(target=b"/nothing").SerializeToString()
    with agent.client() as client:
        sender = send_pings(client, 15, "mounts.unmount", params=params, timeout_ms=700)
        time.sleep(1.5)
        errors = [client.take_response(id).error for id in range(1, 31) if id % 2 == 0]
        sender.join()
        assert all(error.code in (error_pb2.NOT_FOUND, error_pb2.DEADLINE_EXCEEDED) for error in errors), errors
        late = [error for error in errors if error.code == error_pb2.DEADLINE_EXCEEDED]
        assert late and all(error.outcome == error_pb2.NOT_DONE for error in late)


def test_frames_held_back_are_answered_after_a_half_close(agent):
    with agent.client() as client:
        sender = send_pings(client, 15, "system.ping")
        time.sleep(0.5)
        closer = threading.Thread(target=lambda: (sender.join(), client.sock.shutdown(socket.SHUT_WR)))
        closer.start()
        for id in range(1, 31):
            assert client.take_response(id).HasField("result")
        closer.join()
        with pytest.raises(Closed):
            client.dispatch()


def stopped(pid):
    """Stopped while the block runs."""
    class Stopped:
        def __enter__(self):
            os.kill(pid, signal.SIGSTOP)

        def __exit__(self, *_):
            os.kill(pid, signal.SIGCONT)

    return Stopped()


def test_what_waits_for_the_watcher_has_a_deadline(agent):
    watcher, = [pid for pid, name in agent.children().items() if name == "postern-watch"]
    with agent.client() as client:
        with stopped(watcher):
            with pytest.raises(Failed) as failed:
                client.call("notifications.subscribe", topics=["notify.*"], timeout_ms=300)
            assert failed.value.code == "DEADLINE_EXCEEDED"
            assert client.call("system.ping", payload=b"p").payload == b"p"
        # It is not there when the watcher answers after all.
        for _ in range(16):
            client.call("notifications.subscribe", topics=["notify.gap"])


def test_what_waits_for_the_broker_has_a_deadline(agent):
    with agent.client() as client:
        with stopped(agent.process.pid):
            with pytest.raises(Failed) as failed:
                client.call("system.info", timeout_ms=300)
            assert failed.value.code == "DEADLINE_EXCEEDED"
        assert client.call("system.info").agent.version


# ---- What is said in the moment of an end ----

def lanes_of(client):
    """The readers that serve somebody: who and how many is the broker's to know."""
    return [process.pid for process in client.call("system.info").agent.processes
            if process.role == "reader" and not process.spare]


def test_a_reader_that_was_killed_too_late(agent):
    """Its caller cancels when the answer is on its way, and what it asks next is on its way to the same reader
    when that is killed: somebody else answers it."""
    with agent.client() as one, agent.client() as other:
        wait_until(lambda: not lanes_of(other))  # of callers that have just left
        one.call("mounts.list")
        reader, = lanes_of(other)
        with halted(reader):
            id = one.start("mounts.list")
            # A request that takes its time is told to the broker.
            wait_until(lambda: other.call("system.info").agent.calls == 1)
            with halted(agent.process.pid):
                one.cancel(id)
                one.call("system.ping")  # the session has passed it on
                os.kill(reader, signal.SIGCONT)
                assert one.finish(id, "mounts.list").mounts
                wait_until(lambda: state_of(reader) == "S")
                os.kill(reader, signal.SIGSTOP)
                next_one = one.start("mounts.list")
                one.call("system.ping")
        assert one.finish(next_one, "mounts.list").mounts
        # It may have answered that, too, before it was killed.
        wait_until(lambda: reader not in lanes_of(other), timeout=5)
        assert one.call("mounts.list").mounts
        assert other.call("system.info").agent.calls == 0


def test_a_reader_leaves_for_those_who_wait(agent):
    """There are fewer readers than connections may have some; between two requests one leaves its caller."""
    clients = [agent.client() for _ in range(LANES + 8)]
    for _ in range(3):
        ids = [client.start("mounts.list") for client in clients]
        for client, id in zip(clients, ids):
            assert client.finish(id, "mounts.list").mounts
    assert len(lanes_of(clients[0])) <= LANES
    for client in clients:
        client.close()
    with agent.client() as client:
        wait_until(lambda: not lanes_of(client))


def test_who_keeps_all_his_readers_busy(agent):
    """A connection has so many at once. What it asks beyond that is refused; others are served."""
    with agent.client() as one, agent.client() as other, contextlib.ExitStack() as stack:
        ids, readers = [], set()
        while len(readers) < LANES_EACH:
            ids.append(one.start("mounts.list"))
            one.call("system.ping")
            for reader in set(lanes_of(other)) - readers:
                stack.enter_context(halted(reader))
                readers.add(reader)
        # Some of them had answered before they were halted.
        ids += [one.start("mounts.list") for _ in range(LANES_EACH + 1)]
        one.call("system.ping")
        assert other.call("mounts.list").mounts
        stack.close()
        codes = [one.take_response(id).error.code for id in ids]
        assert set(codes) == {0, error_pb2.RESOURCE_EXHAUSTED} and codes[-1] == error_pb2.RESOURCE_EXHAUSTED
        assert one.call("mounts.list").mounts
