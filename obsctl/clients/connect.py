"""From configuration to clients. Nothing is called here: a client meets its server on first use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.clients.consul_api import ConsulClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.nomad_api import NomadClient
from obsctl.clients.protocols import ConsulApi, NomadApi, RegistryApi
from obsctl.clients.registry_api import DOCKER_HUB, RegistryClient, address_of, parts_of

if TYPE_CHECKING:
    from obsctl.config.api_servers import ConsulServer, Images, NomadServer

HEADER = "X-{}-Token"


def nomad(server: NomadServer, *, token: str | None = None, origin: str = "") -> NomadApi:
    """A client of this Nomad. token: the value that `server.token` refers to, or of what origin says."""
    return NomadClient(replace(_nomad(server, token), origin=origin))


def consul(server: ConsulServer, *, token: str | None = None, origin: str = "") -> ConsulApi:
    """A client of this Consul. token, origin: as with Nomad."""
    return ConsulClient(replace(_consul(server, token), origin=origin))


def task_api(socket: str, namespace: str, *, token: str | None) -> NomadApi:
    """Nomad as a task reaches it: by the socket in its folder of secrets, as itself. token: its workload identity."""
    down = "the Nomad client of this node makes it anew when it starts: see that it runs"
    return NomadClient(
        Endpoint(
            "Nomad's Task API", "http://localhost", down, token=token, token_header=HEADER.format("Nomad"),
            socket=socket, params={"namespace": namespace},
        )
    )  # fmt: skip


def nomad_acl(server: NomadServer, *, token: str | None, origin: str = "") -> NomadAcl:
    """The ACLs of this Nomad. token: a management token. origin: whence it is, where not from obsctl.yaml."""
    return NomadAcl(replace(_nomad(server, token), origin=origin))


def consul_acl(server: ConsulServer, *, token: str | None, origin: str = "") -> ConsulAcl:
    """The ACLs of this Consul. token, origin: as with Nomad."""
    return ConsulAcl(replace(_consul(server, token), origin=origin))


def _nomad(server: NomadServer, token: str | None) -> Endpoint:
    return _configured("nomad", server, token, {"namespace": server.namespace, "region": server.region})


def _consul(server: ConsulServer, token: str | None) -> Endpoint:
    return _configured("consul", server, token, {"dc": server.datacenter})


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
        token_header=HEADER.format(name),
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
