"""From the configuration to the clients a command needs. Nothing here is kept: a command builds and passes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from obsctl.clients import connect
from obsctl.clients.instances import url
from obsctl.clients.protocols import AlertmanagerApi, ConsulApi, NomadApi, PrometheusApi, SinkApi
from obsctl.config.schema import Config
from obsctl.config.secrets import Secret, SecretRef, resolve
from obsctl.errors import ObsctlError


@dataclass(frozen=True)
class Clients:
    """The two servers that every command talks to."""

    nomad: NomadApi
    consul: ConsulApi

    def resolve(self, reference: str, key: str) -> Secret:
        """The secret behind a reference; `key` names the place in error messages."""
        return resolve(SecretRef(reference), key=key, read_variable=self._read_variable)

    def _read_variable(self, path: str) -> Mapping[str, str] | None:
        variable = self.nomad.variable(path)
        return variable.items if variable else None


@dataclass(frozen=True)
class StackClients:
    """The stack's own programs, found through Consul."""

    prometheus: PrometheusApi
    alertmanager: AlertmanagerApi
    sink: SinkApi


def clients(config: Config) -> Clients:
    return Clients(
        nomad=connect.nomad(config.nomad, token=_token(config.nomad.token, "nomad.token")),
        consul=connect.consul(config.consul, token=_token(config.consul.token, "consul.token")),
    )


def stack_clients(config: Config, consul: ConsulApi) -> StackClients:
    """Raises ObsctlError when one of the programs is not registered in Consul."""
    return StackClients(
        prometheus=connect.prometheus(_address(consul, config.stack, "prometheus")),
        alertmanager=connect.alertmanager(_address(consul, config.stack, "alertmanager")),
        sink=connect.sink(_address(consul, config.stack, "alert-sink")),
    )


def _token(reference: SecretRef | None, key: str) -> str | None:
    if reference is None:
        return None
    return resolve(reference, key=key, environ=os.environ, read_variable=lambda _: None).reveal()


def _address(consul: ConsulApi, stack: str, service: str) -> str:
    for entry in consul.health(service):
        if (entry["Service"].get("Meta") or {}).get("obsctl_stack") == stack:
            return url(entry)
    raise ObsctlError(f"{service} of stack {stack} is not registered in Consul", hint="obsctl deploy brings it up")


def check_tools(config: Config) -> dict[str, Path | None]:
    """promtool and amtool where they are at hand."""
    from obsctl.local.binaries import find

    return {name: find(name, config.servers) for name in ("promtool", "amtool")}
