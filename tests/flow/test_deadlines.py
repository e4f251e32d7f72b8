# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a request may take, whatever it waits for."""

import os
import signal
import socket
import threading
import time

import pytest

import error_pb2
from machine import halted, state_of, wait_until
from wire import Closed, Failed, frame, message, pb


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

def readers_of(client):
    """Once all of them wait for a request."""
    while True:
        readers = [process for process in client.call("system.info").agent.processes if process.role == "reader"]
        if readers and all(reader.spare for reader in readers):
            return [reader.pid for reader in readers]


def test_a_reader_that_was_killed_too_late_serves_nobody(agent):
    """Its caller cancels when the answer is on its way: it is not kept for the next."""
    with agent.client() as one, agent.client() as other:
        one.call("mounts.list")
        other.call("mounts.list")
        readers = readers_of(other)
        with halted(*readers):
            ids = [one.start("mounts.list") for _ in readers]
            wait_until(lambda: other.call("system.info").agent.calls >= len(ids))
            with halted(agent.process.pid):
                for id in ids:
                    one.cancel(id)
                one.call("system.ping")  # the session has passed them on
                for pid in readers:
                    os.kill(pid, signal.SIGCONT)
                for id in ids:
                    assert one.finish(id, "mounts.list").mounts
                wait_until(lambda: all(state_of(pid) == "S" for pid in readers))
                next_one = other.start("mounts.list")
                other.call("system.ping")
        assert other.finish(next_one, "mounts.list").mounts
