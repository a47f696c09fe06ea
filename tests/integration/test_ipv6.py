"""Servers on ::1: Prometheus finds Consul there, what Consul names there, and Consul's own metrics."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests

from obsctl.clients import connect
from obsctl.config.api_servers import ConsulServer
from obsctl.stack.render import render
from obsctl.wait import wait_until
from tests.agents import answers, program, running, until_it_answers
from tests.ports import free_port
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real


def test_everything_that_is_scraped_may_be_there(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("consul", "server", "serf-lan", "serf-wan", "prometheus", "service")}
    at = {name: f"http://[::1]:{port}" for name, port in ports.items()}
    agent = [program("consul"), "agent", "-dev", "-bind=::1", "-client=::1", f"-http-port={ports['consul']}"]
    agent += [f"-{name}-port={ports[name]}" for name in ("server", "serf-lan", "serf-wan")]
    agent += [f"-{name}-port=-1" for name in ("dns", "grpc", "grpc-tls")]
    (tmp_path / "metrics.hcl").write_text('telemetry { prometheus_retention_time = "60s" }\n')
    files = render(config(timing="fast", consul={"address": at["consul"]}), NOWHERE).files()
    (tmp_path / "prometheus.yml").write_text(files["kv/obsctl/obs/config/prometheus.yml"])
    ours = [sys.executable, "-m", "obsctl", "serve", "traffic", "--bind=::1", f"--port={ports['service']}"]
    prometheus = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        f"--web.listen-address=[::1]:{ports['prometheus']}",
    ]
    with (
        running([*agent, "-config-file=metrics.hcl"], tmp_path, "consul.log"),
        running([*ours, f"--consul={at['consul']}"], tmp_path, "ours.log"),
        running(prometheus, tmp_path, "prometheus.log"),
    ):
        consul = connect.consul(ConsulServer(address=at["consul"]))
        until_it_answers(consul.leader, tmp_path)
        until_it_answers(lambda: answers(f"{at['service']}/health"), tmp_path)
        service = {
            "Name": "app", "Address": "::1", "Port": 1, "Tags": ["obsctl.scrape"],
            "Meta": {"metrics_port": str(ports["service"])},
        }  # fmt: skip
        requests.put(f"{at['consul']}/v1/agent/service/register", json=service, timeout=10).raise_for_status()

        def up() -> set[str]:
            if not answers(f"{at['prometheus']}/-/ready"):
                return set()
            found = requests.get(f"{at['prometheus']}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
            return {target["scrapeUrl"].partition("?")[0] for target in found if target["health"] == "up"}

        wanted = {f"{at['service']}/metrics", f"{at['consul']}/v1/agent/metrics"}
        wait_until(lambda: up() >= wanted, timeout=30, failure="no sign of both targets", hint=str(tmp_path))
