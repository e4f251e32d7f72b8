# SPDX-License-Identifier: LGPL-2.1-or-later
"""network.*, in a network namespace that the agent was started in: nothing of this machine's own is looked at or
changed. What is said is compared with what ip(8) says of the same namespace."""

import json
import os
import subprocess
import time

import pytest

from agent import DEFAULT_POLICY, Agent
from machine import wait_until
from wire import Failed


class Space:
    """The namespace of the agent."""

    def __init__(self, agent):
        self.pid = agent.process.pid

    def run(self, *words, **options):
        return subprocess.run(["nsenter", "-t", str(self.pid), "-n", *words], check=True, text=True,
                              capture_output=True, **options).stdout

    def ip(self, line):
        return self.run("ip", *line.split())

    def json(self, line):
        return json.loads(self.run("ip", "-j", *line.split()) or "[]")


@pytest.fixture(scope="module")
def agent():
    with Agent(policy=DEFAULT_POLICY + "allow local:0 network.*\n", within=("unshare", "-n")) as running:
        yield running
        assert running.process.poll() is None, "the agent died:\n" + running.read_log()
        assert running.stop() == 0, running.read_log()
        log = running.read_log()
        assert "Sanitizer" not in log and "runtime error" not in log, log


@pytest.fixture
def space(agent):
    """Two ends of a cable, one of them with addresses, as each test finds it."""
    here = Space(agent)
    here.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.accept_dad=0")
    here.ip("link set lo up")
    here.ip("link add left type veth peer name right")
    try:
        here.ip("link set left address 52:54:00:12:34:56 mtu 1400 up")
        here.ip("link set right up")
        here.ip("addr add 192.0.2.1/24 dev left")
        here.ip("addr add 2001:db8::1/64 dev left nodad")
        yield here
    finally:
        here.ip("link del left")
        here.ip("route flush type blackhole")


def failure(client, method, **fields):
    with pytest.raises(Failed) as failed:
        client.call(method, **fields)
    return failed.value


def interface(client, name):
    told, = client.call("network.interfaces", interface=name.encode()).interfaces
    return told


# ---- Interfaces ----

def test_interfaces_are_those_that_ip_shows(client, space):
    told = client.call("network.interfaces").interfaces
    links = {link["ifname"]: link for link in space.json("-s -d addr show")}
    assert {link.name.decode() for link in told} == set(links)
    assert [link.index for link in told] == sorted(link.index for link in told)
    for link in told:
        wanted = links[link.name.decode()]
        assert (link.index, link.mtu) == (wanted["ifindex"], wanted["mtu"])
        assert link.up == ("UP" in wanted["flags"]) and link.state == wanted["operstate"].lower()
        assert link.running == ("LOWER_UP" in wanted["flags"] and link.up)
        assert ("broadcast" in link.flags) == ("BROADCAST" in wanted["flags"])
        assert sorted((a.address, a.prefix, a.scope) for a in link.addresses) == sorted(
            (a["local"], a["prefixlen"], a["scope"]) for a in wanted["addr_info"])
    assert links["left"]["stats64"]["rx"]["bytes"] > 0


def test_an_interface_in_full(client, space):
    space.ip("link add bridge type bridge")
    try:
        space.ip("link set right master bridge")
        left, right, lo = (interface(client, name) for name in ("left", "right", "lo"))
        assert (left.kind, left.mac, left.mtu, left.up, left.running) == (
            "veth", "52:54:00:12:34:56", 1400, True, True)
        assert not left.HasField("master") and not left.primary
        assert right.master == interface(client, "bridge").index and interface(client, "bridge").kind == "bridge"
        assert lo.kind == "loopback" and lo.mac == "" and list(lo.flags) == ["loopback"]
        four, six = (next(a for a in left.addresses if a.address == text) for text in ("192.0.2.1", "2001:db8::1"))
        assert (four.prefix, four.scope, list(four.flags)) == (24, "global", ["permanent"])
        assert "nodad" in six.flags and not six.HasField("valid_s") and not six.HasField("peer")
    finally:
        space.ip("link del bridge")


def test_addresses_that_go_by_themselves_and_those_of_two_ends(client, space):
    space.ip("addr add 198.51.100.1/32 peer 198.51.100.2 dev left valid_lft 1000 preferred_lft 500")
    told = next(a for a in interface(client, "left").addresses if a.address == "198.51.100.1")
    assert (told.peer, told.prefix) == ("198.51.100.2", 32)
    assert 990 <= told.valid_s <= 1000 and 490 <= told.preferred_s <= 500 and "permanent" not in told.flags


def test_counters_are_of_64_bits(client, space):
    before = interface(client, "left").counters
    space.ip("neigh add 192.0.2.77 lladdr 52:54:00:00:00:77 dev left")
    space.run("bash", "-c", "for i in 1 2 3; do echo twelve-bytes > /dev/udp/192.0.2.77/9; done")
    after = interface(client, "left").counters
    assert after.tx_packets - before.tx_packets >= 3 and after.tx_bytes - before.tx_bytes >= 3 * (14 + 20 + 8 + 13)
    wait_until(lambda: interface(client, "right").counters.rx_bytes >= after.tx_bytes)


def primary(client):
    return [link.name.decode() for link in client.call("network.interfaces").interfaces if link.primary]


def test_which_one_is_primary(client, space):
    assert primary(client) == []
    space.ip("-6 route add default via 2001:db8::9 dev left")
    assert primary(client) == ["left"]
    space.ip("addr add 203.0.113.1/24 dev right")
    space.ip("route add default via 203.0.113.9 dev right metric 300")
    assert primary(client) == ["right"], "IPv4 comes first"
    space.ip("route add default via 192.0.2.9 dev left metric 200")
    assert primary(client) == ["left"], "the least metric wins"
    space.ip("route add blackhole default metric 1")
    assert primary(client) == ["left"], "nothing goes there"
    space.ip("route del blackhole default metric 1")
    space.ip("route add default metric 100 nexthop via 203.0.113.9 dev right nexthop via 192.0.2.9 dev left")
    assert primary(client) == ["right"], "the first of several ways"


@pytest.mark.parametrize("name,code", [(b"nowhere", "NOT_FOUND"), (b"", "INVALID_ARGUMENT"),
                                       (b"x" * 16, "INVALID_ARGUMENT"), (b"a\0b", "INVALID_ARGUMENT")])
def test_an_interface_that_is_not_there(client, space, name, code):
    assert failure(client, "network.interfaces", interface=name).code == code


def test_many_interfaces_come_in_parts(agent, space):
    """Whose frames are small gets them all."""
    space.run("ip", "-b", "-", input="".join(f"link add a{i} type veth peer name b{i}\n" for i in range(60)))
    try:
        with agent.client(max_frame=4096) as client:
            names = [link.name.decode() for link in client.call("network.interfaces").interfaces]
        assert sorted(names) == sorted(link["ifname"] for link in space.json("link show"))
        assert len(names) > 120
    finally:
        space.run("ip", "-b", "-", input="".join(f"link del a{i}\n" for i in range(60)))


# ---- Routes ----

def shown(route):
    """As ip(8) writes a destination."""
    if route.prefix == 0:
        return "default"
    whole = 128 if ":" in route.destination else 32
    return route.destination if route.prefix == whole else f"{route.destination}/{route.prefix}"


def test_routes_are_those_that_ip_shows(client, space):
    space.ip("route add default via 192.0.2.9 metric 50")
    space.ip("route add 198.51.100.0/24 via 192.0.2.9 src 192.0.2.1 proto static")
    space.ip("route add blackhole 203.0.113.0/24")
    space.ip("-6 route add 2001:db8:1::/48 via 2001:db8::9 metric 7")
    told = client.call("network.routes")
    assert not told.changed
    wanted = space.json("-4 route show") + space.json("-6 route show")
    assert [(shown(r), r.gateway, r.interface.decode(), r.metric) for r in told.routes] == [
        (r["dst"], r.get("gateway", ""), r.get("dev", ""), r.get("metric", 0)) for r in wanted]
    by = {shown(route): route for route in told.routes}
    assert by["198.51.100.0/24"].source == "192.0.2.1" and by["198.51.100.0/24"].protocol == "static"
    assert by["203.0.113.0/24"].type == "blackhole" and not by["203.0.113.0/24"].HasField("index")
    assert by["192.0.2.0/24"].scope == "link" and by["192.0.2.0/24"].protocol == "kernel"
    assert by["default"].type == "unicast" and {route.table for route in told.routes} == {254}


def test_routes_with_several_ways(client, space):
    space.ip("addr add 203.0.113.1/24 dev right")
    space.ip("route add 198.51.100.0/24 nexthop via 192.0.2.9 weight 3 nexthop via 203.0.113.9 dev right")
    route = next(r for r in client.call("network.routes").routes if shown(r) == "198.51.100.0/24")
    assert [(hop.gateway, hop.interface, hop.weight) for hop in route.hops] == [
        ("192.0.2.9", b"left", 3), ("203.0.113.9", b"right", 1)]


def test_a_gateway_of_the_other_family(client, space):
    space.ip("route add 198.51.100.0/24 via inet6 2001:db8::9 dev left")
    route = next(r for r in client.call("network.routes").routes if shown(r) == "198.51.100.0/24")
    assert route.gateway == "2001:db8::9"


def test_tables(client, space):
    space.ip("route add 198.51.100.0/24 dev left table 77")
    space.ip("route add 198.51.101.0/24 dev left table 100000")
    for table, wanted in ((77, ["198.51.100.0/24"]), (100000, ["198.51.101.0/24"]), (78, [])):
        assert [shown(r) for r in client.call("network.routes", table=table).routes] == wanted
    every = client.call("network.routes", table=0).routes
    assert {77, 100000, 254, 255} <= {route.table for route in every}
    assert "local" in {route.type for route in every}


def test_thousands_of_routes_come_in_parts(agent, space):
    space.run("ip", "-b", "-", input="".join(f"route add 10.{i // 250}.{i % 250}.0/24 dev left\n" for i in range(5000)))
    with agent.client() as client:
        told = client.call("network.routes").routes
    assert len({(r.destination, r.index) for r in told if r.destination.startswith("10.")}) == 5000 < len(told)


# ---- Neighbours ----

def test_neighbours_are_those_that_ip_shows(client, space):
    space.ip("neigh add 192.0.2.5 lladdr 52:54:00:00:00:05 dev left")
    space.ip("neigh add 192.0.2.6 lladdr 52:54:00:00:00:06 dev left nud stale")
    space.ip("neigh add 2001:db8::5 lladdr 52:54:00:00:00:05 dev left router")
    told = client.call("network.neighbours")
    assert sorted((n.address, n.mac, n.interface.decode(), n.state) for n in told.neighbours) == sorted(
        (n["dst"], n.get("lladdr", ""), n["dev"], n["state"][0].lower()) for n in space.json("neigh show"))
    by = {n.address: n for n in told.neighbours}
    assert (by["192.0.2.5"].mac, by["192.0.2.5"].state) == ("52:54:00:00:00:05", "permanent")
    assert by["192.0.2.6"].state == "stale"
    assert by["2001:db8::5"].router and not by["192.0.2.5"].router
    assert by["192.0.2.5"].index == interface(client, "left").index


# ---- Names ----

def test_who_is_asked_for_names(client):
    with open("/etc/resolv.conf") as file:
        lines = [line.split() for line in file if line.strip()]
    told = client.call("network.dns")
    assert list(told.servers) == [line[1] for line in lines if line[0] == "nameserver"]
    assert told.owner in (1, 2, 3) and told.file.startswith(b"/")


# ---- Changes ----

def test_links_are_switched(client, space):
    told = client.call("network.set_link", interface=b"left", up=False).interface
    assert not told.up and "UP" not in space.json("link show left")[0]["flags"]
    told = client.call("network.set_link", interface=b"left", up=True, mtu=1300).interface
    assert told.up and told.mtu == 1300 and space.json("link show left")[0]["mtu"] == 1300
    assert client.call("network.set_link", interface=b"left", mtu=1280).interface.up, "as it was"


def refused(client, method, code, **fields):
    """Refused, and nothing done."""
    failed = failure(client, method, **fields)
    assert (failed.code, failed.error.outcome) == (code, 1), failed
    return failed


@pytest.mark.parametrize("code,fields", [
    ("INVALID_ARGUMENT", {}), ("NOT_FOUND", {"up": True, "interface": b"nowhere"}),
    ("INVALID_ARGUMENT", {"mtu": 1}), ("INVALID_ARGUMENT", {"mtu": 1 << 31})])
def test_links_that_cannot_be(client, space, code, fields):
    refused(client, "network.set_link", code, **{"interface": b"left", **fields})
    assert space.json("link show left")[0]["mtu"] == 1400


@pytest.mark.parametrize("address,prefix", [("198.51.100.7", 25), ("2001:db8:5::7", 96)])
def test_addresses_come_and_go(client, space, address, prefix):
    def of(told):
        return [(a.address, a.prefix) for a in told.interface.addresses]

    def there():
        return [(a["local"], a["prefixlen"]) for a in space.json("addr show left")[0]["addr_info"]]

    fields = {"interface": b"left", "address": address}
    assert (address, prefix) in of(client.call("network.set_address", prefix=prefix, **fields))
    assert (address, prefix) in there()
    refused(client, "network.set_address", "ALREADY_EXISTS", prefix=prefix, **fields)
    refused(client, "network.set_address", "NOT_FOUND", prefix=prefix - 1, remove=True, **fields)
    assert (address, prefix) not in of(client.call("network.set_address", remove=True, **fields))
    assert (address, prefix) not in there()
    refused(client, "network.set_address", "NOT_FOUND", remove=True, **fields)
    client.call("network.set_address", **fields)
    assert (address, 128 if ":" in address else 32) in there()


@pytest.mark.parametrize("fields", [{}, {"address": "300.1.1.1"}, {"address": "192.0.2.1/24"}, {"address": "::g"},
                                    {"address": "192.0.2.7", "prefix": 33}, {"address": "::1", "prefix": 129}])
def test_addresses_that_are_none(client, space, fields):
    refused(client, "network.set_address", "INVALID_ARGUMENT", interface=b"left", **fields)


def routes(client):
    return {shown(route): route for route in client.call("network.routes").routes}


def test_routes_come_and_go(client, space):
    client.call("network.set_route", gateway="192.0.2.9")
    default = routes(client)["default"]
    assert (default.gateway, default.protocol, default.interface) == ("192.0.2.9", "static", b"left")
    refused(client, "network.set_route", "ALREADY_EXISTS", gateway="192.0.2.8")
    client.call("network.set_route", gateway="192.0.2.8", replace=True)
    assert routes(client)["default"].gateway == "192.0.2.8"
    fields = {"destination": "198.51.100.0", "prefix": 24}
    client.call("network.set_route", interface=b"left", metric=9, source="192.0.2.1", **fields)
    told = routes(client)["198.51.100.0/24"]
    assert (told.metric, told.source, told.scope, told.gateway) == (9, "192.0.2.1", "link", "")
    assert "198.51.100.0/24 dev left" in space.ip("route show")
    client.call("network.set_route", remove=True, **fields)
    assert "198.51.100.0/24" not in routes(client)
    refused(client, "network.set_route", "NOT_FOUND", remove=True, **fields)
    client.call("network.set_route", gateway="192.0.2.8", remove=True)
    assert "default" not in routes(client)
    client.call("network.set_route", destination="2001:db8:9::", prefix=48, gateway="2001:db8::9")
    assert "2001:db8:9::/48 via 2001:db8::9" in space.ip("-6 route show")
    client.call("network.set_route", destination="198.51.100.9", interface=b"left", table=70000)
    assert "198.51.100.9" in space.ip("route show table 70000")


@pytest.mark.parametrize("fields,words", [
    ({}, "expected destination"), ({"destination": "x"}, "destination: expected"),
    ({"destination": "192.0.2.0", "prefix": 33}, "32 bits at most"),
    ({"destination": "2001:db8::", "gateway": "192.0.2.9"}, "not all of IPv4"),
    ({"destination": "198.51.100.1", "prefix": 24, "gateway": "192.0.2.9"}, "Invalid"),
    ({"gateway": "192.0.2.9", "source": "2001:db8::1"}, "not all of IPv4")])
def test_routes_that_are_none(client, space, fields, words):
    assert words in refused(client, "network.set_route", "INVALID_ARGUMENT", **fields).message


def test_the_kernels_own_words(client, space):
    failed = failure(client, "network.set_route", destination="198.51.100.0", prefix=24, gateway="203.0.113.7")
    assert failed.error.sys_errno == 101 and "Nexthop has invalid gateway" in failed.message
    assert failed.error.outcome == 1


# ---- Notifications ----

def watch_processes(agent):
    return [pid for pid, name in agent.children().items() if name == "postern-watch"]


def changed(client):
    return client.notification("notify.network.changed")[1]


def test_what_changes_is_told(agent, client, space):
    with agent.client() as follower:
        follower.call("notifications.subscribe", topics=["notify.network.*"])
        index = interface(client, "left").index
        space.ip("addr add 198.51.100.1/24 dev left")
        told = changed(follower)
        assert told.addresses and told.routes and not told.links and list(told.interfaces) == [index]
        space.ip("route add 203.0.113.0/24 dev left")
        told = changed(follower)
        assert (told.links, told.addresses, told.routes, list(told.interfaces)) == (False, False, True, [])
        client.call("network.set_link", interface=b"left", mtu=1300)
        told = changed(follower)
        assert told.links and list(told.interfaces) == [index]


def test_what_comes_together_is_told_together(agent, space):
    with agent.client() as follower:
        follower.call("notifications.subscribe", topics=["notify.network.*"])
        space.run("ip", "-b", "-", input="".join(f"link add a{i} type veth peer name b{i}\n" for i in range(40)))
        told = [changed(follower)]
        space.run("ip", "-b", "-", input="".join(f"link del a{i}\n" for i in range(40)))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                told.append(client_notification(follower))
            except TimeoutError:
                break
        assert all(event.links for event in told)
        assert len(told) < 20, "one for each would be 160"
        assert any(not list(event.interfaces) for event in told), "more than are named"


def client_notification(client):
    return client.notification("notify.network.changed", timeout=0.5)[1]


def test_nothing_is_watched_that_nobody_may_be_told():
    """Its socket opens with the first who may hear of it."""
    def sockets(agent):
        watcher, = watch_processes(agent)
        with open("/proc/net/netlink") as file:
            lines = [line.split() for line in file]
        own = {os.readlink(f"/proc/{watcher}/fd/{fd}") for fd in os.listdir(f"/proc/{watcher}/fd")}
        return sum(f"socket:[{line[-1]}]" in own and line[1] == "0" for line in lines[1:])

    for policy, wanted in (("allow local:0 notify.mounts.* notifications.*\n", 0),
                           ("allow local:0 notify.network.* notify.mounts.* notifications.*\n", 1)):
        with Agent(policy=policy) as agent, agent.client() as client:
            assert sockets(agent) == 0
            client.call("notifications.subscribe", topics=["notify.mounts.*"])
            assert sockets(agent) == wanted
