"""`obsctl setup` against real servers: made once, it finds nothing more to do, and leaves alone what others made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from obsctl.clients import connect
from obsctl.config.versions import IDENTITIES, parse
from obsctl.errors import Conflict, ServerFailed
from obsctl.local.cluster import LocalCluster
from obsctl.setup import consul_identity, nomad_policies
from tests.local_cluster import running_cluster

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with running_cluster() as running:
        yield running


def test_nomad_policies_are_made_once(cluster: LocalCluster) -> None:
    access, addresses = cluster.access, cluster.addresses
    acl = connect.nomad_acl(access.nomad_server(addresses), token=access.nomad_management())
    assert nomad_policies.changes(acl, "obs", "default") == []  # the cluster made them
    acl.put_policy("two-warden", "", description="somebody's")
    with pytest.raises(Conflict, match="two-warden is there, and obsctl did not make it"):
        nomad_policies.changes(acl, "two", "default")


def test_the_login_of_identities_is_made_once(cluster: LocalCluster) -> None:
    access, addresses = cluster.access, cluster.addresses
    acl = connect.consul_acl(access.consul_server(addresses), token=access.consul_management())
    nomad = connect.nomad(access.nomad_server(addresses), token=access.nomad_management())
    keys = consul_identity.Keys.of(addresses.nomad)
    if parse(nomad.agent_version()) < IDENTITIES.since:  # this Nomad has no such page, and Consul asks for it
        with pytest.raises(ServerFailed, match="JWKSURL"):
            consul_identity.changes(acl, "three", "default", keys)[0].apply()
        return
    for change in consul_identity.changes(acl, "three", "default", keys):
        change.apply()
    assert consul_identity.changes(acl, "three", "default", keys) == []
