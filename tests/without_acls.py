"""Servers without ACLs, as doctor meets them."""

from __future__ import annotations

from typing import Never

from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.clients.endpoint import Endpoint
from obsctl.doctor.site import Logins
from obsctl.errors import Forbidden, Rejected
from tests.world import World


class _NomadAcl(NomadAcl):
    def policy(self, name: str) -> Never:
        raise Rejected("Nomad answered 400: ACL support disabled", hint="")


class _ConsulAcl(ConsulAcl):
    def auth_method(self, name: str) -> Never:
        raise Forbidden("Consul answered 401: ACL support disabled", hint="")


def without_acls(world: World) -> Logins:
    acls = _NomadAcl(Endpoint("Nomad", "http://nomad", "")), _ConsulAcl(Endpoint("Consul", "http://consul", ""))
    servers = {"nomad": world.nomad, "consul": world.consul}
    return Logins(lambda _: world.nomad, lambda _: world.consul, *acls, lambda name, *_: servers[name])
