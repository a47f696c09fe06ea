"""A real agent, as it is rendered: of the logs of a node's allocations no line is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from obsctl.clients.protocols import Json
from obsctl.services.log_links import path_of
from obsctl.stack.render import render
from obsctl.wait import wait_until
from tests.contract.agents import answers, program, running, task, until_it_answers
from tests.stub_server import Answer, StubServer, stub_server
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

AWAY = Answer(status=503)
HERE = Answer()
REFUSED = r"otelcol_exporter_enqueue_failed_log_records\S* (\d+)"


@dataclass
class Agent:
    """An agent, and a gateway that remembers what it took."""

    gateway: StubServer
    links: Path
    telemetry: str

    def write(self, alloc: str, *lines: str, job: str = "web") -> None:
        """As Nomad has them once log-links has named them."""
        told = {"JobID": job, "Job": {"ID": job}, "Namespace": "default", "TaskGroup": "server", "ID": alloc}
        path = path_of(told)
        assert path
        file = self.links / path / "server.stdout.0"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as log:
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
def running_agent(folder: Path, *, queue: int) -> Iterator[Agent]:
    """Started as Nomad does it, from the shipped templates; its gateway takes JSON that is not compressed."""
    on: dict[str, Any] = {"enabled": True}
    parts = {"victorialogs": on, "otel-gateway": on, "otel-agent": {**on, "queue": queue}}
    files = render(config(timing="fast", components=parts), NOWHERE).files()
    (folder / "agent.yml").write_text(files["kv/obsctl/obs/config/otel-agent.yml"])
    environ = {**task("grpc", "http", "health"), "NODE_ID": "n", "NODE_NAME": "n", "DATACENTER": "dc1"}
    environ["NOMAD_ALLOC_DIR"] = str(folder)
    with stub_server() as gateway:
        exporter = f"{{endpoint: '{gateway.address}', encoding: json, compression: none}}"
        (folder / "gateway.yml").write_text(f"exporters: {{otlp_http/gateway: {exporter}}}\n")
        with running([program("otelcol-agent"), "--config=agent.yml", "--config=gateway.yml"], folder, **environ):
            until_it_answers(lambda: answers(f"http://{environ['NOMAD_ADDR_health']}"), folder)
            yield Agent(gateway, folder / "links", f"http://{environ['NOMAD_ADDR_telemetry']}/metrics")


def test_allocations_whose_logs_begin_alike_are_each_read_whole(tmp_path: Path) -> None:
    """A banner without times, as programs on the JVM print it, is longer than what tells files apart by default."""
    banner = ["=" * 78] * 30
    with running_agent(tmp_path, queue=64) as agent:
        agent.write("old", *banner, "the old one is ready")
        wait_until(lambda: "the old one is ready" in agent.arrived(), timeout=30, what="the first log", hint="")
        agent.write("new", *banner, "the new one is ready")
        wait_until(lambda: "the new one is ready" in agent.arrived(), timeout=30, what="the second log", hint="")
    assert sorted(agent.arrived()) == sorted([*banner, *banner, "the old one is ready", "the new one is ready"])


def test_lines_for_which_the_queue_has_no_room_are_read_again(tmp_path: Path) -> None:
    lines = [f"{number:06d} {'x' * 500}" for number in range(8000)]
    with running_agent(tmp_path, queue=1) as agent:
        agent.gateway.answers = [AWAY]
        agent.write("one", *lines)
        wait_until(lambda: agent.refused() > 0, timeout=30, what="a full queue", hint="")
        agent.gateway.asked.clear()
        agent.gateway.answers = [HERE]
        wait_until(lambda: set(lines) <= set(agent.arrived()), timeout=60, what="every line", hint="")


@pytest.mark.parametrize("job", ["team/app", "50%", "..", "%2F"])
def test_a_job_has_its_own_name_whatever_that_is(job: str, tmp_path: Path) -> None:
    with running_agent(tmp_path, queue=64) as agent:
        agent.write("one", "ready", job=job)
        wait_until(lambda: agent.arrived() == ["ready"], timeout=30, what="the line", hint="")
        [(resource, _)] = agent.records()
    assert (resource["service.name"], resource["nomad.job"], resource["nomad.group"]) == (job, job, "server")
