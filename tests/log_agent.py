"""A real agent, as it is rendered, that reads logs of allocations; its gateway remembers what it took."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from obsctl.model import Json
from obsctl.names import LOG_LANES
from obsctl.services.log_links import logs_of
from obsctl.stack.render import render
from tests.agents import answers, program, running, task, until_it_answers
from tests.stub_server import StubServer, stub_server
from tests.world import NOWHERE, config

REFUSED = r"otelcol_exporter_enqueue_failed_log_records\S* (\d+)"


@dataclass
class Agent:
    """An agent, and what its gateway took. folder: what it has, the tree of log-links among it."""

    gateway: StubServer
    folder: Path
    otlp: str
    telemetry: str

    def logs(self, alloc: str, *, job: str = "web") -> Path:
        """The folder of the tree of log-links that has the allocation's logs; its path tells whose they are."""
        told = {"JobID": job, "Job": {"ID": job}, "Namespace": "default", "TaskGroup": "server", "ID": alloc}
        folder = self.folder / "links" / LOG_LANES[0] / logs_of(told).place
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, alloc: str, *lines: str, job: str = "web", stream: str = "stdout") -> None:
        """As Nomad writes them: each line with its end."""
        with (self.logs(alloc, job=job) / f"server.{stream}.0").open("a") as log:
            log.writelines(f"{line}\n" for line in lines)

    def arrived(self) -> list[str]:
        return [record["body"]["stringValue"] for _, record in self.records()]

    def records(self) -> list[tuple[dict[str, str], Json]]:
        """What the gateway took: attributes of the resource, and the record."""
        bodies = [json.loads(asked.body) for asked in self.gateway.asked if asked.path == "/v1/logs"]
        return [
            ({each["key"]: each["value"]["stringValue"] for each in group["resource"]["attributes"]}, record)
            for body in bodies
            for group in body["resourceLogs"]
            for scope in group["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def refused(self) -> int:
        """Lines for which the agent's queue had no room, each try counted."""
        return sum(int(count) for count in re.findall(REFUSED, requests.get(self.telemetry, timeout=10).text))


@contextmanager
def running_agent(folder: Path, *, queue: int = 64, retention: str = "7d", **keys: Any) -> Iterator[Agent]:
    """Started as Nomad does it, from the shipped templates; its gateway takes JSON that is not compressed.

    retention: of the log store. keys: more of obsctl.yaml.
    """
    on: dict[str, Any] = {"enabled": True}
    parts = {"victorialogs": {**on, "retention": retention}, "otel-gateway": on, "otel-agent": {**on, "queue": queue}}
    files = render(config(timing="fast", components=parts, **keys), NOWHERE).files()
    (folder / "agent.yml").write_text(files["kv/obsctl/obs/config/otel-agent.yml"])
    environ = {**task("grpc", "http", "health"), "NODE_ID": "n", "NODE_NAME": "n", "DATACENTER": "dc1"}
    environ["LINKS"] = str(folder / "links")
    with stub_server() as gateway:
        exporter = f"{{endpoint: '{gateway.address}', encoding: json, compression: none}}"
        (folder / "gateway.yml").write_text(f"exporters: {{otlp_http/gateway: {exporter}}}\n")
        with running([program("otelcol"), "--config=agent.yml", "--config=gateway.yml"], folder, **environ):
            until_it_answers(lambda: answers(f"http://{environ['NOMAD_ADDR_health']}"), folder)
            telemetry = f"http://{environ['NOMAD_ADDR_telemetry']}/metrics"
            yield Agent(gateway, folder, f"http://{environ['NOMAD_ADDR_http']}", telemetry)
