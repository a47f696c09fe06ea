"""Tokens with exactly the rights of a role."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl import rights
from obsctl.clients import connect
from obsctl.local.cluster import LocalCluster

TOKENS = {"nomad": {"token": "env:N"}, "consul": {"token": "env:C"}}
"""How obsctl.yaml refers to them."""


@dataclass
class Administrator:
    """Who makes tokens. Each has a policy of its own."""

    cluster: LocalCluster
    count: int = 0

    def tokens(self, policies: rights.Policies) -> dict[str, str]:
        """The variables with a token of each server that has these policies alone."""
        self.count += 1
        name, addresses, access = f"test-{self.count}", self.cluster.addresses, self.cluster.access
        nomad = connect.nomad_acl(access.nomad_server(addresses), token=access.nomad_management())
        consul = connect.consul_acl(access.consul_server(addresses), token=access.consul_management())
        nomad.put_policy(name, policies.nomad)
        consul.put_policy(name, policies.consul)
        secret = f"00000000-0000-4000-8000-{self.count:012}"
        consul.put_token(name, secret, (name,))
        return {"N": nomad.put_token(name, (name,)), "C": secret}

    def roles(self, stack: str) -> dict[str, dict[str, str]]:
        """Those of each role of people."""
        return {role: self.tokens(rights.policies(role, stack, "default")) for role in rights.PEOPLE}
