"""From configuration to clients. Nothing is called here: a client meets its server on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obsctl.clients.alertmanager_api import AlertmanagerClient
from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.nomad_api import NomadClient
from obsctl.clients.prometheus_api import PrometheusClient
from obsctl.clients.protocols import AlertmanagerApi, ConsulApi, NomadApi, PrometheusApi, SinkApi
from obsctl.clients.server import Server
from obsctl.clients.sink_api import SinkClient

if TYPE_CHECKING:
    from obsctl.config.schema import ConsulServer, NomadServer


def nomad(server: NomadServer, *, token: str | None = None) -> NomadApi:
    """A client of this Nomad. token: the value that `server.token` refers to."""
    params = {"namespace": server.namespace, "region": server.region}
    return NomadClient(_configured("nomad", server, token, params))


def consul(server: ConsulServer, *, token: str | None = None) -> ConsulApi:
    """A client of this Consul. token: the value that `server.token` refers to."""
    return ConsulClient(_configured("consul", server, token, {"dc": server.datacenter}))


def prometheus(address: str, *, timeout: float = 10.0) -> PrometheusApi:
    return PrometheusClient(_own("Prometheus", "prometheus", address, timeout))


def alertmanager(address: str, *, timeout: float = 10.0) -> AlertmanagerApi:
    return AlertmanagerClient(_own("Alertmanager", "alertmanager", address, timeout))


def sink(address: str, *, timeout: float = 10.0) -> SinkApi:
    return SinkClient(_own("alert-sink", "alert-sink", address, timeout))


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


def _own(name: str, component: str, address: str, timeout: float) -> Server:
    """A server of the stack itself, which has no section of its own in obsctl.yaml."""
    down = f"`obsctl status` shows whether {component} runs, and why not"
    return Server(name=name, address=address, down=down, timeout=timeout)
