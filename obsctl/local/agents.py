"""The configuration of the local cluster's agents, as JSON, which Nomad and Consul read like HCL.

They listen where nobody outside reaches them, want a token for every call, and encrypt their gossip.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from obsctl import names
from obsctl.config.versions import IDENTITIES, REJOIN_AGE, SERVICE_IDENTITY, Version
from obsctl.local.machines import CLIENT, CONSUL, HERE, SERVER, Machine
from obsctl.local.ports import LOOPBACK, Ports
from obsctl.model import Json
from obsctl.setup.consul_identity import AUDIENCE

IDENTITY: Json = {"aud": [AUDIENCE], "ttl": "1h"}
"""What Nomad writes into the workload identities with which tasks and services get tokens of Consul."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the agents' HTTP APIs: "http://127.0.0.1:8500"."""

    consul: str
    nomad: str
    nomad_client: str

    @classmethod
    def of(cls, ports: Ports, scheme: str = "http", host: str = LOOPBACK) -> Addresses:
        numbers = (ports.consul_http, ports.nomad_http, ports.client_http)
        return cls(*(f"{scheme}://{host}:{port}" for port in numbers))

    def of_agent(self, agent: str) -> str:
        return {CONSUL: self.consul, SERVER: self.nomad, CLIENT: self.nomad_client}[agent]


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets in the configuration of the agents. nomad_agent: the Consul token of Nomad's agents."""

    consul_gossip: str = field(repr=False)
    nomad_gossip: str = field(repr=False)
    consul_management: str = field(repr=False)
    nomad_agent: str = field(repr=False)


def uses_of(agent: str) -> tuple[str, ...]:
    """The uses of the agent's ports, as in `Ports.by_use`."""
    first_word = {CONSUL: "consul", SERVER: "nomad", CLIENT: "client"}[agent]
    return tuple(use for use in Ports().by_use() if use.split()[0] == first_word)


def command(agent: str, programs: Path, config: Path) -> list[str]:
    """The command line that starts it. programs: the folder that has them."""
    program, option = ("consul", "-config-file") if agent == CONSUL else ("nomad", "-config")
    return [str(programs / program), "agent", f"{option}={config}"]


def config_text(
    agent: str,
    state: Path,
    ports: Ports,
    keys: Keys,
    host_volumes: Iterable[Path] = (),
    versions: Mapping[str, Version] = {},
    certificate: Json | None = None,
    machine: Machine = HERE,
) -> str:
    """The text of the agent's configuration file. host_volumes: folders that the client offers to jobs by their names.

    state: the folder for what the agents of this machine keep.
    versions: "nomad" and "consul" -> that of the program, where it is known: an agent does not start with a key that it
    does not know.
    certificate: with it the agent talks by TLS alone.
    """
    build = {CONSUL: _consul, SERVER: _nomad_server, CLIENT: _nomad_client}[agent]
    config = build(state, ports, keys, machine)
    nomad, consul = versions.get("nomad", ()), versions.get("consul", ())
    if agent == CONSUL and consul >= REJOIN_AGE.since:
        # By default it refuses to start after a week, because the cluster may have gone on without it.
        config["server_rejoin_age_max"] = "87600h"
    if agent != CONSUL and nomad >= IDENTITIES.since:
        config["consul"]["task_identity"] = IDENTITY
        if consul >= SERVICE_IDENTITY.since:
            config["consul"]["service_identity"] = IDENTITY
    if certificate and agent == CONSUL:
        _add_consul_tls(config, certificate)
    elif certificate:
        _add_nomad_tls(config, certificate, nomad)
    if agent == CLIENT:
        config["client"]["host_volume"] |= {path.name: {"path": str(path)} for path in host_volumes}
    return json.dumps(config, indent=2) + "\n"


def _consul(state: Path, ports: Ports, keys: Keys, machine: Machine) -> Json:
    tokens = {"tokens": {"initial_management": keys.consul_management}} if machine.is_server else {}
    role = {"server": True, "bootstrap_expect": len(machine.servers)} if machine.is_server else {"server": False}
    return {
        "node_name": machine.name or "obsctl-dev",
        "data_dir": str(state / "data" / CONSUL),
        "bind_addr": machine.address,
        "advertise_addr": machine.address,
        "client_addr": machine.listen,
        "ports": {
            **{"http": ports.consul_http, "server": ports.consul_rpc, "serf_lan": ports.consul_serf},
            **dict.fromkeys(("serf_wan", "dns", "grpc", "grpc_tls"), -1),
        },
        **role,
        **_join(machine),
        # A client leaves the cluster when it is stopped, and by default takes 5 s for that.
        "performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"},
        "encrypt": keys.consul_gossip,
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            # The token of the agent itself is set over its API, and lies in its data folder from then on.
            "enable_token_persistence": True,
            **tokens,
        },
        # By default an agent keeps what a failing check says to itself for minutes.
        "check_update_interval": "0s",
        "connect": {"enabled": False},
        "ui_config": {"enabled": True},
        "telemetry": {"prometheus_retention_time": "60s", "disable_hostname": True},
        "disable_update_check": True,
    }


def _nomad_server(state: Path, ports: Ports, keys: Keys, machine: Machine) -> Json:
    join = {"server_join": _join(machine)} if _join(machine) else {}
    quorum = {"bootstrap_expect": len(machine.servers), "raft_multiplier": 1}
    return {
        **_nomad(SERVER, state, ports, keys, machine),
        "ports": {"http": ports.nomad_http, "rpc": ports.nomad_rpc, "serf": ports.nomad_serf},
        "server": {"enabled": True, **quorum, **join, "encrypt": keys.nomad_gossip},
    }


def _join(machine: Machine) -> Json:
    """Whom an agent joins: the servers, where there are several machines. It asks again soon, as all start at once."""
    return {"retry_join": list(machine.servers), "retry_interval": "1s"} if machine.name else {}


def _nomad_client(state: Path, ports: Ports, keys: Keys, machine: Machine) -> Json:
    return {
        **_nomad(CLIENT, state, ports, keys, machine),
        "ports": {"http": ports.client_http},
        "client": {
            "enabled": True,
            "servers": [f"{server}:{ports.nomad_rpc}" for server in machine.servers],
            "network_interface": machine.interface or _loopback_interface(),
            "min_dynamic_port": ports.tasks_first,
            "max_dynamic_port": ports.tasks_last,
            # Short, because the path of the Task API's socket below it must not be too long.
            "alloc_dir": str(state / "alloc"),
            "meta": {names.VOLUMES_META: str(state / "volumes")},
            # Through these a collector in a container sees the logs of all tasks, and the disks of the node.
            "host_volume": {
                names.ALLOC_VOLUME: {"path": str(state / "alloc"), "read_only": False},
                names.ROOT_VOLUME: {"path": "/", "read_only": True},
            },
            # They ask for metadata that only a cloud has. That takes time and can keep the agent from starting.
            "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
        },
        "plugin": {"raw_exec": {"config": {"enabled": True}}},
    }


def _nomad(kind: str, state: Path, ports: Ports, keys: Keys, machine: Machine) -> Json:
    return {
        "name": machine.name or kind,
        "data_dir": str(state / "data" / kind),
        "bind_addr": machine.listen,
        # Without this only a -dev agent advertises loopback.
        "advertise": dict.fromkeys(("http", "rpc", "serf"), machine.address),
        "acl": {"enabled": True},
        "consul": {"address": f"{LOOPBACK}:{ports.consul_http}", "token": keys.nomad_agent},
        "telemetry": {
            "prometheus_metrics": True,
            "publish_allocation_metrics": True,
            "publish_node_metrics": True,
            "disable_hostname": True,
            "collection_interval": "1s",
        },
        "disable_update_check": True,
    }


def _add_consul_tls(config: Json, certificate: Json) -> None:
    config["ports"] |= {"https": config["ports"]["http"], "http": -1}
    config["tls"] = {
        "defaults": {**certificate, "verify_incoming": True, "verify_outgoing": True},
        "internal_rpc": {"verify_server_hostname": True},
    }


def _add_nomad_tls(config: Json, certificate: Json, version: Version) -> None:
    config["consul"] |= {"ssl": True, **certificate}
    config["tls"] = {
        **{"http": True, "rpc": True, "verify_server_hostname": True, **certificate},
        # Consul has no certificate to show when it asks for the keys that sign workload identities.
        "verify_https_client": version < IDENTITIES.since,
    }


def _loopback_interface() -> str:
    """The name of the interface: lo on Linux, lo0 on macOS."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.family == socket.AF_INET and entry.address == LOOPBACK for entry in addresses):
            return name
    return "lo"
