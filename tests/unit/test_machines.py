"""The machines of a cluster that has several, and their agents' configuration."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import click
import psutil
import pytest

from obsctl.cli.dev_node import node
from obsctl.clients import connect
from obsctl.config.api_servers import NomadServer
from obsctl.errors import ObsctlError
from obsctl.local import members, mirror, namespaces, network, processes
from obsctl.local.agents import Keys, config_text
from obsctl.local.cluster import LocalCluster
from obsctl.local.control import Control
from obsctl.local.folder import Folder
from obsctl.local.machines import CLIENT, CONSUL, HERE, SERVER, Layout
from obsctl.local.nodes import Nodes
from obsctl.local.ports import Ports
from obsctl.model import Json, silent
from tests.fakes import FakeNomad

LAYOUT = Layout(2, "10.9.8.0/24")
SERVERS = ["10.9.8.11", "10.9.8.12", "10.9.8.13"]
KEYS = Keys("consul gossip", "nomad gossip", "management", "of nomad")


def config(machine: str, kind: str) -> Json:
    owner = next(one for one in LAYOUT.machines if one.name == machine)
    return dict(json.loads(config_text(kind, Path("/state") / machine, Ports(), KEYS, machine=owner)))


def test_three_servers_and_so_many_clients_each_with_its_address_and_agents() -> None:
    assert {machine.name: machine.address for machine in LAYOUT.machines} == {
        "server-1": "10.9.8.11",
        "server-2": "10.9.8.12",
        "server-3": "10.9.8.13",
        "client-1": "10.9.8.21",
        "client-2": "10.9.8.22",
    }
    assert [agent.name for machine in LAYOUT.machines[2:4] for agent in machine.agents] == [
        "server-3/consul",
        "server-3/nomad-server",
        "client-1/consul",
        "client-1/nomad-client",
    ]
    assert [agent.name for agent in HERE.agents] == [CONSUL, SERVER, CLIENT]


def test_servers_wait_for_each_other() -> None:
    consul, nomad = config("server-2", CONSUL), config("server-2", SERVER)
    assert (consul["server"], consul["bootstrap_expect"], consul["retry_join"]) == (True, 3, SERVERS)
    assert nomad["server"]["bootstrap_expect"] == 3
    assert nomad["server"]["server_join"]["retry_join"] == SERVERS
    assert (consul["node_name"], nomad["name"]) == ("server-2", "server-2")
    assert nomad["advertise"] == dict.fromkeys(("http", "rpc", "serf"), "10.9.8.12")


def test_a_client_machine_has_agents_that_know_the_servers_and_no_management_token() -> None:
    consul, nomad = config("client-1", CONSUL), config("client-1", CLIENT)
    assert (consul["server"], consul["retry_join"]) == (False, SERVERS)
    assert "bootstrap_expect" not in consul
    assert "management" not in json.dumps(consul)
    assert nomad["client"]["servers"] == [f"{server}:4647" for server in SERVERS]
    assert nomad["client"]["network_interface"] == "eth0"
    assert nomad["client"]["meta"] == {"obsctl_volumes": "/state/client-1/volumes"}
    assert nomad["consul"]["address"] == "127.0.0.1:8500"


def test_the_folder_knows_the_machines_of_its_cluster(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.claim(silent)
    assert folder.layout() is None
    folder.keep_layout(LAYOUT)
    assert folder.layout() == LAYOUT


@pytest.mark.parametrize(
    "written",
    ['{"clients": 0, "network": "10.9.8.0/24"}', '{"clients": 51, "network": "10.9.8.0/24"}', "[]",
     '{"clients": 2, "network": "10.9.8.0"}', '{"clients": 2, "network": "nowhere/24"}',
     '{"clients": 2, "network": "fd00::/24"}', '{"clients": 2}'],
)  # fmt: skip
def test_what_nobody_writes_is_no_layout(tmp_path: Path, written: str) -> None:
    (tmp_path / "machines.json").write_text(written)
    assert Folder(tmp_path).layout() is None


def test_the_addresses_are_none_that_this_machine_reaches_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for `ip` tells its routes."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ip = tmp_path / "ip"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    ip.write_text('#!/bin/sh\necho \'[{"dst": "default"}]\'\n')
    ip.chmod(0o755)
    first = network.free_network(tmp_path)
    assert first.startswith("10.")
    ip.write_text(f'#!/bin/sh\necho \'[{{"dst": "default"}}, {{"dst": "{first}"}}]\'\n')
    second = network.free_network(tmp_path)
    assert second != first
    ip.write_text('#!/bin/sh\necho \'[{"dst": "10.0.0.0/8"}]\'\n')
    with pytest.raises(ObsctlError, match="no network below"):
        network.free_network(tmp_path)


def test_who_may_make_no_namespaces_is_told_so_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for `unshare` is refused by the kernel."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare: unshare failed: No space left on device' >&2; exit 1\n")
    unshare.chmod(0o755)
    with pytest.raises(ObsctlError, match="needs network namespaces, which you may not make here") as failure:
        namespaces.check_allowed()
    assert "as root or where users may make user namespaces" in failure.value.hint


def test_without_root_the_ports_of_its_apis_are_its_own_as_long_as_it_runs(tmp_path: Path) -> None:
    """Else whoever listens there would be sent its tokens."""
    layout = Layout(1, f"127.{random.randrange(64, 192)}.{random.randrange(256)}.0/24")
    addresses = [machine.address for machine in layout.machines]
    with (
        socket.create_server((addresses[-1], 4646)),
        pytest.raises(ObsctlError, match=rf"^{addresses[-1]}: port 4646 \(nomad http\) is taken by ") as failure,
    ):
        mirror.bind(addresses)
    assert "would be sent its tokens" in failure.value.hint
    with contextlib.ExitStack() as bound:
        for server in mirror.bind(addresses):
            bound.enter_context(server)
        for address, port in itertools.product(addresses, (8500, 4646, 5656)):
            with pytest.raises(OSError, match="in use"):
                socket.create_server((address, port))


def test_a_cluster_of_this_machine_alone_has_none_to_stop(tmp_path: Path) -> None:
    with pytest.raises(ObsctlError, match="has no machines of its own") as failure:
        Nodes(LocalCluster(tmp_path / "state"), silent).kill("client-1")
    assert "--nodes" in failure.value.hint


@pytest.mark.parametrize("change", [Nodes.stop, Nodes.kill, Nodes.start, Nodes.cut, Nodes.join])
def test_a_name_that_no_machine_has_is_told_with_those_that_there_are(
    tmp_path: Path, change: Callable[[Nodes, str], None]
) -> None:
    cluster = LocalCluster(tmp_path)
    cluster.folder.claim(silent)
    cluster.folder.keep_layout(LAYOUT)
    with pytest.raises(ObsctlError, match="no machine client-3") as failure:
        change(Nodes(cluster, silent), "client-3")
    assert failure.value.hint == "it has server-1, server-2, server-3, client-1, client-2"


@pytest.mark.parametrize("change", [Nodes.cut, Nodes.join])
def test_a_machine_that_is_off_has_no_cable(tmp_path: Path, change: Callable[[Nodes, str], None]) -> None:
    cluster = LocalCluster(tmp_path)
    cluster.folder.claim(silent)
    cluster.folder.keep_layout(LAYOUT)
    with pytest.raises(ObsctlError, match="client-1 is off") as failure:
        change(Nodes(cluster, silent), "client-1")
    assert failure.value.hint == "obsctl dev node start client-1"


@pytest.mark.parametrize("command", node.commands.values(), ids=lambda command: str(command.name))
def test_help_has_an_example(command: click.Command) -> None:
    assert "Example: obsctl dev node" in (command.help or "")


@pytest.mark.parametrize("reads", range(5))
def test_a_process_of_the_network_that_ends_meanwhile_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """`dev status` takes no lock. After so many looks at its environment the process has ended."""
    environment = {members.MARKER: str(tmp_path), members.HOLDER: "client-1"}
    processes.launch(["/bin/sleep", "60"], env=environment, log=tmp_path / "log")
    look, looks = processes.environment_of, itertools.count()

    def environment_of(process: psutil.Process) -> dict[str, str]:
        if next(looks) == reads:
            processes.end([process], grace=None)
        return look(process)

    monkeypatch.setattr(processes, "environment_of", environment_of)
    links = network.Network(tmp_path).links(["client-1"])
    assert links["client-1"] in (network.OFF, network.CUT)
    processes.end(members.members(tmp_path), grace=None)


@pytest.mark.parametrize(
    ("links", "off", "chosen"),
    [
        ({}, [], "server-1"),
        ({"server-1": network.CUT}, [], "server-2"),
        ({"server-1": network.OFF}, ["server-2"], "server-3"),
        ({"server-1": network.DELAYED}, [], "server-1"),
    ],
)
def test_nomad_is_asked_at_a_server_that_runs_and_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: dict[str, str], off: list[str], chosen: str
) -> None:
    cluster = LocalCluster(tmp_path)
    cluster.folder.claim(silent)
    cluster.folder.keep_layout(LAYOUT)
    monkeypatch.setattr(network.Network, "links", lambda _, names: {name: links.get(name, "") for name in names})
    monkeypatch.setattr(Control, "process", lambda _, agent: agent.machine.name not in off)
    address = next(machine.address for machine in LAYOUT.machines if machine.name == chosen)
    asked: list[str] = []

    def nomad(server: NomadServer, **_: object) -> FakeNomad:
        asked.append(server.address)
        return FakeNomad()

    monkeypatch.setattr(connect, "nomad", nomad)
    assert cluster.nomad.nodes()
    assert asked == [f"http://{address}:4646"]


def test_the_addresses_of_the_agents_that_run_are_known(tmp_path: Path) -> None:
    """Where none runs, somebody else may listen."""
    cluster = LocalCluster(tmp_path)
    cluster.folder.claim(silent)
    cluster.folder.keep_layout(LAYOUT)
    for name in ("server-1/nomad-server", "server-2/nomad-server", "client-2/consul"):
        cluster.folder.prepare(name.partition("/")[0])
        own = processes.StartedProcess(os.getpid(), psutil.Process().create_time())
        cluster.folder.keep_process(name, own)
    cluster.folder.keep_process("server-1/nomad-server", processes.StartedProcess(os.getpid(), 1.0))
    running = {"10.9.8.12:4646", "10.9.8.22:8500"}
    assert cluster.control.running() == {f"{scheme}://{each}" for each in running for scheme in ("http", "https")}
