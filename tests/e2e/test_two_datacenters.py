"""Two datacenters of Nomad with one Consul are one cluster to obsctl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obsctl.local.machines import CLIENT
from obsctl.model import Json
from tests.deployed import TELEMETRY, Stack, write_config
from tests.local_cluster import ON_MACHINES, configured, running_nodes
from tests.world import ALERT_PATH

pytestmark = [
    pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(600), pytest.mark.xdist_group("nodes"), ON_MACHINES,
]  # fmt: skip
FAR = "client-3"


def in_two(agent: str, machine: str, config: Json) -> None:
    """The machine FAR is in the datacenter dc2."""
    if (agent, machine) == (CLIENT, FAR):
        config["datacenter"] = "dc2"


def place_far(file: Path, service: str) -> None:
    config = json.loads(file.read_text())
    config["nomad"]["datacenters"] = ["dc1", "dc2"]
    config["demo"][service]["placement"] = {"constraints": [{"attribute": "${node.datacenter}", "value": "dc2"}]}
    config["components"]["prometheus"]["placement"] = {
        "constraints": [{"attribute": "${node.datacenter}", "value": "dc1"}]
    }
    file.write_text(json.dumps(config, indent=2))


def test_agents_targets_logs_and_a_drill_are_in_both(tmp_path: Path) -> None:
    with configured(in_two), running_nodes() as cluster:
        write_config(tmp_path, cluster, components=(*ALERT_PATH, *TELEMETRY))
        place_far(tmp_path / "obsctl.yaml", "response-service")
        stack = Stack(cluster, tmp_path)
        refused = stack.run("doctor", code=1, OBSCTL_NOMAD__DATACENTERS='["dc1"]').stdout
        assert "obs-response-service" in refused, refused

        stack.run("deploy", "--yes")
        stack.wait_steady()
        stack.wait_all_up(within=60)
        stack.run("verify", "--wait", "60s")  # an agent that has just been told of its gateway starts anew
        rows = {row["component"]: row for row in stack.json("status")["components"]}
        assert {each["node"] for each in rows["response-service"]["instances"]} == {FAR}
        assert {each["node"] for each in rows["otel-agent"]["instances"]} == {"client-1", "client-2", FAR}
        assert FAR not in {each["node"] for each in rows["prometheus"]["instances"]}
        assert stack.json("logs", "response-service", "--where", "nomad.datacenter=dc2")["lines"]
        assert "PROVEN" in stack.run("drill", "stop", "response-service", "--yes").stdout
