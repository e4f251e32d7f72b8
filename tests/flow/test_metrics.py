# SPDX-License-Identifier: LGPL-2.1-or-later
"""metrics.get."""

import os
import subprocess

import pytest

from agent import Agent
from wire import BUILD, Failed


def parse(text):
    """Families {name: (type, {labels: value})}; strict about what the format asks for."""
    lines = text.split("\n")
    assert lines[-1] == "" and lines[-2] == "# EOF" and "# EOF" not in lines[:-2]
    families, name = {}, None
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families
            families[name] = (kind, {})
        elif line.startswith("# HELP "):
            assert line.split(" ")[2] == name
        else:
            sample, value = line.rsplit(" ", 1)
            assert sample.split("{")[0] == name + ("_total" if families[name][0] == "counter" else "")
            assert sample not in families[name][1]
            families[name][1][sample] = float(value)
    return families


def test_what_it_has(client):
    families = parse(client.call("metrics.get").text.decode())
    memory = families["guest_memory_bytes"][1]
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) << 10
    assert memory['guest_memory_bytes{kind="total"}'] == total
    assert len(families["guest_cpu_seconds"][1]) == 8 * os.cpu_count()
    assert families["guest_forks"][1]["guest_forks_total"] > 0
    assert families["agent_processes"][1]['agent_processes{role="broker"}'] == 1
    assert families["agent_memory_bytes"][1]['agent_memory_bytes{role="session"}'] > 0
    assert families["agent_connections"][1]["agent_connections"] >= 1
    load = client.call("system_load.current")
    assert abs(families["guest_load_average"][1]['guest_load_average{minutes="15"}'] - load.load15) < 1


def test_for_a_script(agent):
    done = subprocess.run([os.path.join(BUILD, "postern"), "metrics", f"local:{agent.socket}"], capture_output=True,
                          text=True, check=True)
    assert parse(done.stdout)


def test_what_is_denied():
    with Agent(policy="allow local:0 system.ping\n") as agent, agent.client() as client:
        with pytest.raises(Failed) as failed:
            client.call("metrics.get")
        assert failed.value.code == "PERMISSION_DENIED"
    with Agent(policy="allow local:0 metrics.get\n") as agent, agent.client() as client:
        assert parse(client.call("metrics.get").text.decode())["guest_memory_bytes"]
