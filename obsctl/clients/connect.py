"""From configuration to clients. Nothing is called here: a client meets its server on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.nomad_api import NomadClient
from obsctl.clients.protocols import ConsulApi, NomadApi, RegistryApi
from obsctl.clients.registry_api import DOCKER_HUB, RegistryClient, address_of, parts_of

if TYPE_CHECKING:
    from obsctl.config.api_servers import ConsulServer, Images, NomadServer


def nomad(server: NomadServer, *, token: str | None = None) -> NomadApi:
    """A client of this Nomad. token: the value that `server.token` refers to."""
    params = {"namespace": server.namespace, "region": server.region}
    return NomadClient(_configured("nomad", server, token, params))


def consul(server: ConsulServer, *, token: str | None = None) -> ConsulApi:
    """A client of this Consul. token: the value that `server.token` refers to."""
    return ConsulClient(_configured("consul", server, token, {"dc": server.datacenter}))


def _configured(
    key: str, server: NomadServer | ConsulServer, token: str | None, params: dict[str, str | None]
) -> Endpoint:
    """A server that has the section `key` in obsctl.yaml."""
    name = key.capitalize()
    return Endpoint(
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
    endpoint = Endpoint("the registry", address_of(host, images.registry), down, outside=True)
    return RegistryClient(endpoint, login, images.token_server)
