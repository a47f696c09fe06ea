"""The alert path, telemetry and the demo, without Grafana, on three servers and three clients with ACLs and mutual TLS,
each command by its smallest policies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from obsctl.local.cluster import LocalCluster
from tests.deployed import TELEMETRY, Stack, write_config
from tests.local_cluster import ON_MACHINES, running_nodes
from tests.roles import TOKENS, Administrator
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.xdist_group("nodes"), ON_MACHINES]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with running_nodes(tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def roles(cluster: LocalCluster) -> dict[str, dict[str, str]]:
    return Administrator(cluster).roles("obs")


@pytest.fixture(scope="module")
def stack(cluster: LocalCluster, roles: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = tmp_path_factory.mktemp("stack")
    addresses = cluster.addresses
    servers = {
        "nomad": {"address": addresses.nomad, **TOKENS["nomad"]},
        "consul": {"address": addresses.consul, **TOKENS["consul"]},
    }
    write_config(folder, cluster, components=(*ALERT_PATH, *TELEMETRY), **servers)
    stack = Stack(cluster, folder)
    said = stack.json("doctor", **roles["deploy"])
    assert [finding for finding in said["findings"] if finding["severity"] == "error"] == []
    stack.run("deploy", "--yes", **roles["deploy"])
    return stack


def test_what_doctor_finds_no_error_in_is_deployed(stack: Stack, roles: dict[str, dict[str, str]]) -> None:
    assert "Nothing to change" in stack.run("plan", **roles["plan"]).stdout
    components = stack.json("status", **roles["read"])["components"]
    assert {each["component"]: each["state"] for each in components} == dict.fromkeys(
        (each["component"] for each in components), "healthy"
    )
    [agents] = [each for each in components if each["component"] == "otel-agent"]
    assert agents["running"] == 3


def test_metrics_logs_and_traces_arrive(stack: Stack, roles: dict[str, dict[str, str]]) -> None:
    stack.run("verify", "--wait", "60s", **roles["read"])


def test_the_drill_is_proven(stack: Stack, roles: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, token in roles["drill"].items():
        monkeypatch.setenv(name, token)  # for the look that this process takes
    stack.wait_steady()
    assert "PROVEN" in stack.run("drill", "stop", "response-service", "--yes", **roles["drill"]).stdout
