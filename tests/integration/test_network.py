"""The network of a cluster of several machines, without its agents."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from obsctl.local import members, network
from obsctl.local.machines import Layout
from obsctl.local.network import CUT, DELAYED, OFF, Network
from tests.local_cluster import ON_MACHINES

pytestmark = [pytest.mark.real, ON_MACHINES]
RECEIVE = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
print("listens", flush=True)
connection, _ = server.accept()
count = 0
while some := connection.recv(65536):
    count += len(some)
connection.sendall(str(count).encode())
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(1, network.free_network(tmp_path))


@pytest.fixture
def cables(tmp_path: Path, layout: Layout) -> Iterator[Network]:
    """All machines are plugged in."""
    (tmp_path / "logs").mkdir()
    made = Network(tmp_path)
    try:
        made.raise_up(layout)
        for machine in layout.machines:
            made.plug_in(machine)
        yield made
    finally:
        made.remove()
        assert members.members(tmp_path) == []
        assert made.host_link not in psutil.net_if_stats()


def seconds(layout: Layout, name: str) -> float | None:
    """How long a machine takes to refuse a connection; None when it does not answer."""
    address = next(machine.address for machine in layout.machines if machine.name == name)
    began = time.monotonic()
    try:
        socket.create_connection((address, 9), timeout=1).close()
    except ConnectionRefusedError:
        return time.monotonic() - began
    except OSError:
        return None
    raise AssertionError("nobody listens there")


def link(cables: Network, name: str) -> str:
    return cables.links([name])[name]


def test_a_cut_and_a_lost_machine_do_not_answer(cables: Network, layout: Layout) -> None:
    assert seconds(layout, "client-1") is not None
    cables.cut("client-1")
    assert (link(cables, "client-1"), seconds(layout, "client-1")) == (CUT, None)
    cables.join("client-1")
    assert link(cables, "client-1") == ""
    assert seconds(layout, "client-1") is not None
    cables.switch_off("client-1")
    assert (link(cables, "client-1"), seconds(layout, "client-1")) == (OFF, None)
    cables.plug_in(layout.machines[-1])
    assert seconds(layout, "client-1") is not None
    assert seconds(layout, "server-1") is not None


def test_a_delay_loses_nothing_and_ends(cables: Network, layout: Layout) -> None:
    cables.delay("client-1", 100)
    seconds(layout, "client-1")  # at first it is asked for its hardware address
    took = seconds(layout, "client-1")
    assert took is not None
    assert 0.2 <= took < 0.4
    assert link(cables, "client-1") == DELAYED
    receiver = subprocess.Popen([*cables.enter("client-1"), sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE)
    assert receiver.stdout
    assert receiver.stdout.readline() == b"listens\n"
    with receiver, socket.create_connection((layout.machines[-1].address, 9000), timeout=20) as connection:
        connection.sendall(b"x" * 1_000_000)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"1000000"
    cables.delay("client-1", 0)
    assert link(cables, "client-1") == ""
    took = seconds(layout, "client-1")
    assert took is not None
    assert took < 0.1


def test_a_delay_whose_process_was_killed_is_a_cut_that_a_join_mends(cables: Network, layout: Layout) -> None:
    cables.delay("client-1", 100)
    for part in members.of_network(cables.state):
        if part.mark == members.RELAY:
            part.process.kill()
            part.process.wait()
    assert (link(cables, "client-1"), seconds(layout, "client-1")) == (CUT, None)
    cables.join("client-1")
    assert link(cables, "client-1") == ""
    assert seconds(layout, "client-1") is not None
