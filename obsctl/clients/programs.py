"""The stack's own programs, found through Nomad and Consul, and the servers beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

from obsctl import names
from obsctl.clients.alert_apis import AlertmanagerClient, PrometheusClient, SinkClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.instances import of_job, passes, url
from obsctl.clients.protocols import ConsulApi, GrafanaApi, JaegerApi, LogsApi, NomadApi, OtlpApi, SinkApi
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.clients.telemetry_apis import GrafanaClient, JaegerClient, LogsClient, OtlpClient
from obsctl.errors import Unreachable
from obsctl.model import Json

Api = TypeVar("Api")

_TITLES = {
    names.PROMETHEUS: "Prometheus",
    names.ALERTMANAGER: "Alertmanager",
    names.GRAFANA: "Grafana",
    names.JAEGER: "Jaeger",
    names.VICTORIALOGS: "VictoriaLogs",
}
_SEARCHED = (names.JAEGER, names.VICTORIALOGS)
_SEARCH_TIMEOUT = 30.0  # a search reads from disk
_DEPLOY = "obsctl deploy brings it up"


def endpoint(service: str, address: str) -> Endpoint:
    """A program of the stack at this URL."""
    down = f"`obsctl status` shows whether {service} runs, and why not"
    timeout = _SEARCH_TIMEOUT if service in _SEARCHED else 10.0
    return Endpoint(_TITLES.get(service, service), address, down, timeout=timeout)


@dataclass(frozen=True)
class Programs:
    """The programs of one stack.

    Each is found when it is first asked for; the replicated ones anew at each call. Raises Unreachable when Consul
    knows no instance that the stack's own job has registered.
    """

    stack: str
    nomad: NomadApi
    consul: ConsulApi

    def require(self, *services: str) -> None:
        """Raises Unreachable when one of them is not registered."""
        for service in services:
            self._instances(service)

    @cached_property
    def prometheus(self) -> PrometheusReplicas:
        return PrometheusReplicas(self._finder(names.PROMETHEUS, PrometheusClient))

    @cached_property
    def alertmanager(self) -> AlertmanagerReplicas:
        return AlertmanagerReplicas(self._finder(names.ALERTMANAGER, AlertmanagerClient))

    @cached_property
    def sink(self) -> SinkApi:
        return SinkClient(self._endpoint(names.ALERT_SINK))

    @cached_property
    def otel_agent(self) -> OtlpApi:
        return OtlpClient(self._endpoint(names.OTEL_AGENT))

    @cached_property
    def jaeger(self) -> JaegerApi:
        return JaegerClient(self._endpoint(names.JAEGER))

    @cached_property
    def logs(self) -> LogsApi:
        return LogsClient(self._endpoint(names.VICTORIALOGS))

    @cached_property
    def grafana(self) -> GrafanaApi:
        return GrafanaClient(self._endpoint(names.GRAFANA))

    @cached_property
    def hello_service(self) -> str:
        """The demo's base URL."""
        return self._endpoint(names.HELLO_SERVICE, hint="obsctl demo up brings it up").address

    def _endpoint(self, service: str, *, hint: str = _DEPLOY) -> Endpoint:
        """An instance that passes its checks if there is one."""
        return endpoint(service, url(self._instances(service, hint)[0]))

    def _finder(self, service: str, connect: Callable[[Endpoint], Api]) -> Callable[[], Sequence[Api]]:
        """Finds the instances that pass their checks; all of them when none does."""
        client_at = cache(lambda address: connect(endpoint(service, address)))

        def find() -> list[Api]:
            instances = self._instances(service)
            return [client_at(url(entry)) for entry in list(filter(passes, instances)) or instances]

        return find

    def _instances(self, service: str, hint: str = _DEPLOY) -> list[Json]:
        """At least one, those that pass their checks first."""
        allocations = self.nomad.job_allocations(names.job_id(self.stack, service))
        instances = of_job(self.consul.health(service), allocations)
        if not instances:
            raise Unreachable(f"{service} of stack {self.stack} is not registered in Consul", hint=hint)
        return instances


@dataclass(frozen=True)
class Clients:
    """The two servers that every command talks to, and the stack's own programs."""

    nomad: NomadApi
    consul: ConsulApi
    programs: Programs
