"""What a stack scrapes: by tag and meta, no sidecar, and nothing that another stack runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from obsctl.content.rules import availability_group
from obsctl.model import Json
from obsctl.wait import wait_until
from tests.deployed import Stack
from tests.world import config

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
TAGS = ["obsctl.scrape"]
SLEEP = {"Name": "sleep", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["300"]}}
RESIZE = {
    "ID": "resize",
    "Name": "resize",
    "Type": "batch",
    "Datacenters": ["*"],
    "ParameterizedJob": {"Payload": "optional"},
    "TaskGroups": [{"Name": "resize", "Count": 1, "Tasks": [SLEEP]}],
}


def availability(**keys: Any) -> list[Json]:
    rules: list[Json] = availability_group(config(**keys))["rules"]
    return rules


class Vault(BaseHTTPRequestHandler):
    """Has metrics in Prometheus' format where they are asked for with this parameter alone."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        right = path == "/v1/metrics" and "format=prometheus" in query.split("&")
        self.send_response(200 if right else 404)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"vault_up 1\n")

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def vault() -> Iterator[int]:
    """Its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vault)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


class Registry:
    """Services in Consul that no job registers."""

    def __init__(self, stack: Stack) -> None:
        self.session = stack.cluster.consul.session
        self.names: list[str] = []

    def add(self, name: str, port: int, **more: object) -> None:
        self.names.append(name)
        service = {"ID": name, "Name": name, "Port": port, "Address": "127.0.0.1", "Tags": TAGS, **more}
        self.session.put("/v1/agent/service/register", json=service)

    def clear(self) -> None:
        for name in self.names:
            self.session.put(f"/v1/agent/service/deregister/{name}")


@pytest.fixture
def registry(stack: Stack) -> Iterator[Registry]:
    made = Registry(stack)
    yield made
    made.clear()


def targets(stack: Stack) -> dict[str, Json]:
    return {target["labels"]["job"]: target for target in stack.programs.prometheus.targets()}


def test_parameters_reach_the_target_and_a_sidecar_is_none(stack: Stack, registry: Registry, vault: int) -> None:
    registry.add("plain", vault)
    registry.add("query", vault, Meta={"metrics_path": "/v1/metrics?format=prometheus"})
    registry.add("queries", vault, Meta={"metrics_path": "/v1/metrics?a=1&b=2&format=prometheus&d=4"})
    registry.add("parameter", vault, Meta={"metrics_path": "/v1/metrics", "metrics_param_format": "prometheus"})
    registry.add("mesh", vault, Connect={"SidecarService": {}}, Meta={"metrics_path": "/v1/metrics?format=prometheus"})
    working = {"query", "queries", "parameter", "mesh"}

    def settled() -> bool:
        health = {name: target["health"] for name, target in targets(stack).items()}
        return health.get("plain") == "down" and all(health.get(name) == "up" for name in working)

    wait_until(settled, timeout=30, failure=f"no sign of {working}", hint="")
    assert "mesh-sidecar-proxy" in stack.clients.consul.services(), "it has to be there, or this test shows nothing"
    assert "mesh-sidecar-proxy" not in targets(stack)
    assert targets(stack)["queries"]["scrapeUrl"].endswith("/v1/metrics?a=1&b=2&d=4&format=prometheus")


def test_doctor_names_meta_that_means_nothing(stack: Stack, registry: Registry, vault: int) -> None:
    registry.add("typo", vault, Meta={"metrics_pth": "/m"})
    found = [each["what"] for each in stack.json("doctor")["findings"] if each["where"] == "service typo"]
    assert found == ["its meta metrics_pth means nothing to Prometheus"]


def test_a_job_runs_while_a_run_of_it_does(stack: Stack) -> None:
    """Nomad counts each run of a dispatched job as a job of its own, and jobs of all namespaces."""
    nomad = stack.cluster.nomad
    [rule] = [rule for rule in availability(services={"resize": {}}) if rule["alert"] == "JobNotRunning"]

    def stopped() -> bool:
        return bool(stack.programs.prometheus.query(rule["expr"]))

    nomad.register_job(RESIZE)
    try:
        wait_until(stopped, timeout=30, failure="no sign of the job's summary", hint="")
        run = nomad.session.post("/v1/job/resize/dispatch", json={}).json()["DispatchedJobID"]
        wait_until(lambda: not stopped(), timeout=30, failure="no sign of the run", hint="")
        nomad.stop_job(run)
        wait_until(stopped, timeout=30, failure="no sign of the run's end", hint="")
    finally:
        nomad.stop_job("resize")
