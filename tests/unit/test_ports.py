"""The local cluster's ports: who has them, and which are free."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from obsctl.errors import ObsctlError
from obsctl.local import ports
from obsctl.local.ports import Ports, choose_free, conflicts


@pytest.fixture
def listener() -> Iterator[int]:
    """A TCP port of 127.0.0.1 that this test listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_its_holder(listener: int) -> None:
    taken = conflicts(Ports(nomad_http=listener), ["nomad http"])
    assert [str(conflict) for conflict in taken] == [
        f"port {listener} (nomad http) is taken by {psutil.Process().name()} (pid {os.getpid()})"
    ]


def test_a_listener_on_all_addresses_counts() -> None:
    with socket.create_server(("", 0)) as server:
        assert conflicts(Ports(consul_http=server.getsockname()[1]), ["consul http"])


def test_only_the_wanted_ports_are_tried(listener: int) -> None:
    free = choose_free()
    mixed = Ports(nomad_http=listener, client_http=free.client_http)
    assert conflicts(mixed, ["client http"]) == []


def test_gossip_needs_udp_too() -> None:
    port = choose_free().nomad_serf
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        assert conflicts(Ports(nomad_serf=port), ["nomad serf"])
        assert not conflicts(Ports(nomad_rpc=port), ["nomad rpc"])


def test_a_holder_that_may_not_be_seen(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert "a process that this user may not see" in str(conflicts(Ports(nomad_http=listener), ["nomad http"])[0])


def test_free_ports_are_neighbours_that_can_be_bound() -> None:
    numbers = list(choose_free().by_use().values())
    assert numbers == list(range(numbers[0], numbers[0] + 7))
    assert numbers[0] in ports.QUIET_RANGE
    assert not conflicts(Ports(*numbers))


def test_no_free_ports(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "QUIET_RANGE", range(listener, listener + 10, 10))
    with pytest.raises(ObsctlError, match="no 7 ports in a row are free"):
        choose_free()
