"""The local cluster's ports: who has them, and which are free."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from obsctl.errors import ObsctlError
from obsctl.local import ports
from obsctl.local.ports import LOOPBACK, Ports, free_block, ports_in_use


@pytest.fixture
def block() -> Iterator[Ports]:
    """A block that no other test is given meanwhile."""
    with free_block() as given:
        yield given


@pytest.fixture
def listener() -> Iterator[int]:
    """A TCP port of 127.0.0.1 that this test listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_its_holder(listener: int) -> None:
    taken = ports_in_use(Ports(nomad_http=listener), ["nomad http"])
    assert [str(conflict) for conflict in taken] == [
        f"port {listener} (nomad http) is taken by {psutil.Process().name()} (pid {os.getpid()})"
    ]


def test_a_listener_on_all_addresses_counts() -> None:
    with socket.create_server(("", 0)) as server:
        assert ports_in_use(Ports(consul_http=server.getsockname()[1]), ["consul http"])


def test_only_the_wanted_ports_are_tried(listener: int, block: Ports) -> None:
    mixed = Ports(nomad_http=listener, client_http=block.client_http)
    assert ports_in_use(mixed, ["client http"]) == []


def test_gossip_needs_udp_too(block: Ports) -> None:
    port = block.nomad_serf
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK, port))
        assert ports_in_use(Ports(nomad_serf=port), ["nomad serf"])
        assert not ports_in_use(Ports(nomad_rpc=port), ["nomad rpc"])


def test_a_holder_that_may_not_be_seen(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert "a process that this user may not see" in str(ports_in_use(Ports(nomad_http=listener), ["nomad http"])[0])


def test_a_block_has_ports_for_the_agents_and_for_tasks(block: Ports) -> None:
    numbers = list(block.by_use().values())
    assert numbers == list(range(numbers[0], numbers[0] + 7))
    assert numbers[0] in ports.BLOCKS
    assert numbers[-1] < block.tasks_first < block.tasks_last < numbers[0] + ports.BLOCK
    assert not ports_in_use(block)


@pytest.fixture
def only_block(monkeypatch: pytest.MonkeyPatch, block: Ports) -> Ports:
    """There is no other one to be given."""
    first = block.consul_http
    monkeypatch.setattr(ports, "BLOCKS", range(first, first + ports.BLOCK, ports.BLOCK))
    return block


def test_no_block_is_given_twice_while_its_agents_start(only_block: Ports) -> None:
    with pytest.raises(ObsctlError, match="no 200 ports in a row are free"), free_block():
        pass


@pytest.mark.parametrize("use", ["client_http", "tasks_first", "tasks_last"])
def test_a_block_in_which_somebody_listens_is_passed_over(
    use: str, only_block: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "CLAIM", ports.CLAIM - 1)  # past this test's own claim, which keeps others away
    listener = socket.create_server((LOOPBACK, getattr(only_block, use)))
    with listener, pytest.raises(ObsctlError, match="no 200 ports in a row are free"), free_block():
        pass
    with free_block() as given:
        assert given == only_block
