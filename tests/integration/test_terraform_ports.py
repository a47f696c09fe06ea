"""The ruleset of terraform/ports-nftables, loaded by nft: who is meant to connect does, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.machines import Machine, neighbours
from tests.tofu import Tofu

pytestmark = pytest.mark.real
NODE = "10.0.1.21"
OTHER_NODE, PERSON, STRANGER = "10.0.1.22", "10.20.0.5", "192.0.2.9"
OPEN = (9090, 3000, 9093, 16686)
CLOSED = (4646, 8500, 9094, 9428, 4317, 8098, 25000)
UNTOUCHED = 2222


@pytest.fixture(scope="module")
def ruleset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tofu")
    tofu = Tofu(folder)
    values = {"nodes": ["10.0.1.0/24"], "cidrs": ["10.20.0.0/16"]}
    file = folder / "obsctl.nft"
    file.write_text(tofu.outputs(tofu.use("ports-nftables", folder / "use", values))["ruleset"])
    return file


@pytest.fixture(scope="module")
def wire() -> Iterator[tuple[Machine, Machine]]:
    """A node that listens on all of these ports, and a machine with everybody's addresses."""
    with neighbours([NODE], [OTHER_NODE, PERSON, STRANGER]) as (node, far), node.listening((*OPEN, *CLOSED, UNTOUCHED)):
        yield node, far


def reached(far: Machine, source: str) -> set[int]:
    ports = (*OPEN, *CLOSED, UNTOUCHED)
    with ThreadPoolExecutor(len(ports)) as pool:  # what is dropped is waited for
        found = pool.map(lambda port: far.connects(source, NODE, port), ports)
    return {port for port, connected in zip(ports, found, strict=True) if connected}


def test_everybody_gets_what_is_theirs(wire: tuple[Machine, Machine], ruleset: Path) -> None:
    node, far = wire
    everything = {*OPEN, *CLOSED, UNTOUCHED}
    assert reached(far, STRANGER) == everything  # before: the wire leads everywhere
    node.run("nft", "-c", "-f", str(ruleset))
    node.run("nft", "-f", str(ruleset))
    assert reached(far, STRANGER) == {UNTOUCHED}
    assert reached(far, PERSON) == {*OPEN, UNTOUCHED}
    assert reached(far, OTHER_NODE) == everything
    assert all(node.connects(source, source, 8500) for source in (NODE, "127.0.0.1"))


def test_it_replaces_its_own_table_and_no_other(wire: tuple[Machine, Machine], ruleset: Path) -> None:
    node, _ = wire
    node.run("nft", "add table inet somebody")
    for _ in range(2):
        node.run("nft", "-f", str(ruleset))
    listed = node.run("nft", "list", "tables").split("\n")
    assert listed.count("table inet obsctl") == 1
    assert "table inet somebody" in listed
    assert node.run("nft", "list", "chain", "inet", "obsctl", "input").count("jump guard") == 1


def test_a_port_that_docker_publishes_is_guarded_too(wire: tuple[Machine, Machine], ruleset: Path) -> None:
    """Docker leads it to a container before the chain input is asked."""
    node, far = wire
    node.run("nft", "-f", str(ruleset))
    node.run("nft", "add table ip docker")
    node.run("nft", "add chain ip docker pre { type nat hook prerouting priority dstnat; }")
    node.run("nft", f"add rule ip docker pre tcp dport 9428 redirect to :{UNTOUCHED}")
    assert not far.connects(STRANGER, NODE, 9428)
    assert far.connects(OTHER_NODE, NODE, 9428)
    node.run("nft", "delete table ip docker")
