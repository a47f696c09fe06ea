"""Nomad and Consul behind certificates of a private authority: what obsctl.yaml trusts, the stack's programs trust."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.tls_front import make_authority, tls_front
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    authority = make_authority(folder / "authority")
    with running_cluster() as cluster, ExitStack() as fronts:
        servers = {
            name: {
                **own,  # the tokens
                "address": fronts.enter_context(tls_front(authority.parent, own["address"])),
                "tls": {"ca_file": str(authority)},
            }
            for name, own in json.loads(cluster.access.overlay.read_text()).items()
        }
        stack = Stack(cluster, folder)
        components = (*ALERT_PATH, "otel-gateway", "otel-agent")
        write_config(folder, cluster, components=components, demo=("response-service",), **servers)
        yield stack


def test_a_deploy_ends_well_with_everything_that_asks_them_healthy(stack: Stack) -> None:
    """warden asks both, log-links Nomad, Prometheus and response-service Consul; each says when it cannot."""
    stack.run("deploy", "--yes")
    rows = {row["component"]: row["state"] for row in stack.json("status")["components"]}
    assert set(rows.values()) == {"healthy"}, rows
    assert {"warden", "prometheus", "otel-agent", "response-service"} <= set(rows)
    assert "Nothing to change" in stack.run("deploy", "--yes").stdout
