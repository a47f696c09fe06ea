"""The configuration of the local cluster's three agents, as JSON, which Nomad and Consul read like HCL.

They listen on 127.0.0.1 alone.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from obsctl import names
from obsctl.config.versions import REJOIN_AGE, Version
from obsctl.local.ports import LOOPBACK, Ports
from obsctl.model import Json

CONSUL = "consul"
SERVER = "nomad-server"
CLIENT = "nomad-client"
AGENTS = (CONSUL, SERVER, CLIENT)


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the agents' HTTP APIs: "http://127.0.0.1:8500"."""

    consul: str
    nomad: str
    nomad_client: str

    @classmethod
    def of(cls, ports: Ports) -> Addresses:
        return cls(_url(ports.consul_http), _url(ports.nomad_http), _url(ports.client_http))

    def of_agent(self, agent: str) -> str:
        return {CONSUL: self.consul, SERVER: self.nomad, CLIENT: self.nomad_client}[agent]

    def exports(self) -> dict[str, str]:
        """The variables with which nomad, consul and obsctl use this cluster."""
        return {
            "NOMAD_ADDR": self.nomad,
            "CONSUL_HTTP_ADDR": self.consul,
            "OBSCTL_NOMAD__ADDRESS": self.nomad,
            "OBSCTL_CONSUL__ADDRESS": self.consul,
        }


def uses_of(agent: str) -> tuple[str, ...]:
    """The uses of the agent's ports, as in `Ports.by_use`."""
    first_word = {CONSUL: "consul", SERVER: "nomad", CLIENT: "client"}[agent]
    return tuple(use for use in Ports().by_use() if use.split()[0] == first_word)


def command(agent: str, programs: Path, config: Path) -> list[str]:
    """The command line that starts it. programs: the folder that has them."""
    program, option = ("consul", "-config-file") if agent == CONSUL else ("nomad", "-config")
    return [str(programs / program), "agent", f"{option}={config}"]


def config_text(agent: str, state: Path, ports: Ports, host_volumes: Iterable[Path] = (), version: Version = ()) -> str:
    """The text of the agent's configuration file. host_volumes: folders that the client offers to jobs by their names.

    version: of the agent's program, () when it is not known: an agent does not start with a key that it does not know.
    """
    build = {CONSUL: _consul, SERVER: _nomad_server, CLIENT: _nomad_client}[agent]
    config = build(state, ports)
    if agent == CONSUL and version >= REJOIN_AGE.since:
        # By default it refuses to start after a week, because the cluster may have gone on without it.
        config["server_rejoin_age_max"] = "87600h"
    if agent == CLIENT:
        config["client"]["host_volume"] |= {path.name: {"path": str(path)} for path in host_volumes}
    return json.dumps(config, indent=2) + "\n"


def _consul(state: Path, ports: Ports) -> Json:
    return {
        "node_name": "obsctl-dev",
        "data_dir": str(state / "data" / CONSUL),
        "bind_addr": LOOPBACK,
        "advertise_addr": LOOPBACK,
        "client_addr": LOOPBACK,
        "ports": {
            **{"http": ports.consul_http, "server": ports.consul_rpc, "serf_lan": ports.consul_serf},
            **dict.fromkeys(("serf_wan", "dns", "grpc", "grpc_tls"), -1),
        },
        "server": True,
        "bootstrap_expect": 1,
        "performance": {"raft_multiplier": 1},
        "connect": {"enabled": False},
        "ui_config": {"enabled": True},
        "telemetry": {"prometheus_retention_time": "60s", "disable_hostname": True},
        "disable_update_check": True,
    }


def _nomad_server(state: Path, ports: Ports) -> Json:
    return {
        **_nomad(SERVER, state, ports),
        "ports": {"http": ports.nomad_http, "rpc": ports.nomad_rpc, "serf": ports.nomad_serf},
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1},
    }


def _nomad_client(state: Path, ports: Ports) -> Json:
    return {
        **_nomad(CLIENT, state, ports),
        "ports": {"http": ports.client_http},
        "client": {
            "enabled": True,
            "servers": [f"{LOOPBACK}:{ports.nomad_rpc}"],
            "network_interface": _loopback_interface(),
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


def _nomad(name: str, state: Path, ports: Ports) -> Json:
    return {
        "name": name,
        "data_dir": str(state / "data" / name),
        "bind_addr": LOOPBACK,
        # Without this only a -dev agent advertises loopback.
        "advertise": {"http": LOOPBACK, "rpc": LOOPBACK, "serf": LOOPBACK},
        "consul": {"address": f"{LOOPBACK}:{ports.consul_http}"},
        "telemetry": {
            "prometheus_metrics": True,
            "publish_allocation_metrics": True,
            "publish_node_metrics": True,
            "disable_hostname": True,
            "collection_interval": "1s",
        },
        "disable_update_check": True,
    }


def _loopback_interface() -> str:
    """The name of the interface: lo on Linux, lo0 on macOS."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.family == socket.AF_INET and entry.address == LOOPBACK for entry in addresses):
            return name
    return "lo"


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"
