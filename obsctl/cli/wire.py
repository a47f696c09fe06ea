"""From the configuration to the clients a command needs. Nothing here is kept: a command builds and passes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from obsctl import names
from obsctl.clients import connect
from obsctl.clients.instances import of_stack, passes, url
from obsctl.clients.protocols import ConsulApi, JaegerApi, LogsApi, NomadApi, OtlpApi, RegistryApi, SinkApi
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.config.schema import Config
from obsctl.config.secrets import Secret, SecretRef, resolve
from obsctl.errors import ObsctlError, Unreachable
from obsctl.model import Json

if TYPE_CHECKING:
    from obsctl.local.cluster import Cluster

Client = TypeVar("Client")


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

    consul: ConsulApi
    prometheus: PrometheusReplicas
    alertmanager: AlertmanagerReplicas
    sink: SinkApi


def clients(config: Config) -> Clients:
    return Clients(
        nomad=connect.nomad(config.nomad, token=_token(config.nomad.token, "nomad.token")),
        consul=connect.consul(config.consul, token=_token(config.consul.token, "consul.token")),
    )


def stack_clients(config: Config, consul: ConsulApi) -> StackClients:
    """Raises ObsctlError when one of the programs is not registered in Consul."""
    found = StackClients(
        consul=consul,
        prometheus=PrometheusReplicas(_finder(consul, config.stack, names.PROMETHEUS, connect.prometheus)),
        alertmanager=AlertmanagerReplicas(_finder(consul, config.stack, names.ALERTMANAGER, connect.alertmanager)),
        sink=connect.sink(_address(consul, config.stack, names.ALERT_SINK)),
    )
    found.prometheus.each()
    found.alertmanager.each()
    return found


def hello_service(config: Config, consul: ConsulApi) -> str:
    """The demo's base URL. Raises ObsctlError when it is not registered in Consul."""
    return _address(consul, config.stack, names.HELLO_SERVICE, hint="obsctl demo up brings it up")


def otel_agent(config: Config, consul: ConsulApi) -> OtlpApi:
    """One of the agents, a healthy one if there is any. Raises ObsctlError when none is registered in Consul."""
    return connect.otlp(_address(consul, config.stack, names.OTEL_AGENT))


def jaeger(config: Config, consul: ConsulApi) -> JaegerApi:
    """Raises ObsctlError when it is not registered in Consul."""
    return connect.jaeger(_address(consul, config.stack, names.JAEGER))


def logs(config: Config, consul: ConsulApi) -> LogsApi:
    """Raises ObsctlError when it is not registered in Consul, or is another store than VictoriaLogs."""
    if config.logs.endpoint:
        hint = "look there or in Grafana; obsctl logs COMPONENT reads what Nomad has"
        raise ObsctlError(f"lines go to {config.logs.endpoint}, from which obsctl cannot read", hint=hint)
    return connect.logs(_address(consul, config.stack, names.VICTORIALOGS))


def registries(config: Config) -> Callable[[str], RegistryApi]:
    """Makes the client of the image registry with a host's name."""
    password = _token(config.images.password, "images.password")
    return lambda host: connect.registry(host, config.images, password=password)


def _token(reference: SecretRef | None, key: str) -> str | None:
    if reference is None:
        return None
    return resolve(reference, key=key, environ=os.environ, read_variable=lambda _: None).reveal()


def _address(consul: ConsulApi, stack: str, service: str, hint: str = "obsctl deploy brings it up") -> str:
    return url(_instances(consul, stack, service, hint)[0])


def _finder(
    consul: ConsulApi, stack: str, service: str, connected: Callable[[str], Client]
) -> Callable[[], Sequence[Client]]:
    """Finds the instances that pass their checks; all of them when none does."""
    connected = cache(connected)

    def find() -> list[Client]:
        found = _instances(consul, stack, service, "obsctl deploy brings it up")
        return [connected(url(entry)) for entry in [entry for entry in found if passes(entry)] or found]

    return find


def _instances(consul: ConsulApi, stack: str, service: str, hint: str) -> list[Json]:
    """At least one, those that pass their checks first."""
    found = of_stack(consul.health(service), stack)
    if not found:
        raise Unreachable(f"{service} of stack {stack} is not registered in Consul", hint=hint)
    return found


def local_cluster(config: Config) -> Cluster | None:
    """The local cluster, if the configuration is of it."""
    from obsctl.local.cluster import Cluster
    from obsctl.local.folder import default_state_dir

    cluster = Cluster(Path(os.environ.get("OBSCTL_DEV_STATE_DIR") or default_state_dir()))
    is_meant = cluster.folder.is_ours() and cluster.addresses.nomad == config.nomad.address.rstrip("/")
    return cluster if is_meant else None


def check_tools(config: Config) -> dict[str, Path | None]:
    """The programs that check configuration, where they are at hand."""
    from obsctl.local.binaries import find
    from obsctl.stack.checks import TOOLS

    return {name: find(name, config.servers) for name in TOOLS}
