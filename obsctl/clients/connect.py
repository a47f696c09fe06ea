"""From configuration to clients. Nothing is called here: a client meets its server on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obsctl import names
from obsctl.clients.alertmanager_api import AlertmanagerClient
from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.grafana_api import GrafanaClient
from obsctl.clients.jaeger_api import JaegerClient
from obsctl.clients.logs_api import LogsClient
from obsctl.clients.nomad_api import NomadClient
from obsctl.clients.otlp_api import OtlpClient
from obsctl.clients.prometheus_api import PrometheusClient
from obsctl.clients.protocols import (
    AlertmanagerApi,
    ConsulApi,
    GrafanaApi,
    JaegerApi,
    LogsApi,
    NomadApi,
    OtlpApi,
    PrometheusApi,
    RegistryApi,
    SinkApi,
)
from obsctl.clients.registry_api import DOCKER_HUB, RegistryClient, address_of, parts_of
from obsctl.clients.server import Server
from obsctl.clients.sink_api import SinkClient

if TYPE_CHECKING:
    from obsctl.config.schema import ConsulServer, Images, NomadServer


_SEARCH_TIMEOUT = 30.0  # a search reads from disk


def nomad(server: NomadServer, *, token: str | None = None) -> NomadApi:
    """A client of this Nomad. token: the value that `server.token` refers to."""
    params = {"namespace": server.namespace, "region": server.region}
    return NomadClient(_configured("nomad", server, token, params))


def consul(server: ConsulServer, *, token: str | None = None) -> ConsulApi:
    """A client of this Consul. token: the value that `server.token` refers to."""
    return ConsulClient(_configured("consul", server, token, {"dc": server.datacenter}))


def prometheus(address: str, *, timeout: float = 10.0) -> PrometheusApi:
    return PrometheusClient(_own("Prometheus", names.PROMETHEUS, address, timeout))


def alertmanager(address: str, *, timeout: float = 10.0) -> AlertmanagerApi:
    return AlertmanagerClient(_own("Alertmanager", names.ALERTMANAGER, address, timeout))


def sink(address: str, *, timeout: float = 10.0) -> SinkApi:
    return SinkClient(_own(names.ALERT_SINK, names.ALERT_SINK, address, timeout))


def otlp(address: str) -> OtlpApi:
    return OtlpClient(_own(names.OTEL_AGENT, names.OTEL_AGENT, address, 10.0))


def grafana(address: str) -> GrafanaApi:
    return GrafanaClient(_own("Grafana", names.GRAFANA, address, 10.0))


def jaeger(address: str) -> JaegerApi:
    return JaegerClient(_own("Jaeger", names.JAEGER, address, _SEARCH_TIMEOUT))


def logs(address: str) -> LogsApi:
    return LogsClient(_own("VictoriaLogs", names.VICTORIALOGS, address, _SEARCH_TIMEOUT))


def _configured(
    key: str, server: NomadServer | ConsulServer, token: str | None, params: dict[str, str | None]
) -> Server:
    """A server that has the section `key` in obsctl.yaml."""
    name = key.capitalize()
    return Server(
        name=name,
        address=server.address,
        down=f"is it running? `obsctl dev up` starts one here; for another, set {key}.address in obsctl.yaml",
        key=key,
        timeout=server.timeout,
        token=token,
        token_header=f"X-{name}-Token",
        ca_file=server.tls.ca_file,
        cert_file=server.tls.cert_file,
        key_file=server.tls.key_file,
        verify=server.tls.verify,
        params=params,
    )


def registry(host: str, images: Images, *, password: str | None = None) -> RegistryApi:
    """A client of the registry that images name so: "docker.io", "mirror.example.org:5000".

    password: the value that `images.password` refers to; it goes to the mirror, or without one to Docker Hub.
    """
    home = parts_of(images.registry)[0] if images.registry else DOCKER_HUB
    login = (images.username, password) if images.username and password and host == home else None
    down = "is its address right (images.registry in obsctl.yaml, or the image's own), and can it be reached from here?"
    return RegistryClient(Server("the registry", address_of(host, images.registry), down, outside=True), login)


def _own(name: str, component: str, address: str, timeout: float) -> Server:
    """A server of the stack itself, which has no section of its own in obsctl.yaml."""
    down = f"`obsctl status` shows whether {component} runs, and why not"
    return Server(name=name, address=address, down=down, timeout=timeout)
