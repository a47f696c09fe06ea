"""Requests with known trace ids, and where they must be found afterwards: Jaeger, VictoriaLogs, Prometheus."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import requests

from obsctl.clients.instances import url
from tests.deployed import DEMO, TELEMETRY, Stack, write_config
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

T = TypeVar("T")
SERVICES = ("hello-service", "response-service")


def direct_session() -> requests.Session:
    """For threads: one that looks for proxies in the environment fails when pytest writes there at the same moment."""
    session = requests.Session()
    session.trust_env = False
    return session


@dataclass
class Telemetry:
    """The backends of a deployed stack, asked directly: what they say is not seen through obsctl's eyes.

    begun_at: when this was made, Unix seconds; the fixture makes it as soon as the first deploy has ended.
    """

    stack: Stack
    begun_at: float = field(default_factory=time.time)
    http: requests.Session = field(default_factory=direct_session)

    def address(self, service: str) -> str:
        """Base URL, from Consul."""
        [entry] = self.stack.clients.consul.health(service)
        return url(entry)

    def say_hello(self, address: str) -> str:
        """Send one request with a trace id of our own, which is returned."""
        trace_id, answer = self._ask(address)
        assert answer.status_code == 200, answer.text
        return trace_id

    def _ask(self, address: str) -> tuple[str, requests.Response]:
        trace_id = secrets.token_hex(16)
        header = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        return trace_id, self.http.get(f"{address}/hello", headers=header, timeout=30)

    def spans(self, trace_id: str) -> list[tuple[str, str]]:
        """(service, span name) of what Jaeger has of a trace."""
        answer = self.http.get(f"{self.address('jaeger')}/api/v3/traces/{trace_id}", timeout=10)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        found = answer.json()["result"]["resourceSpans"]
        return [
            (_attribute(part["resource"], "service.name"), span["name"])
            for part in found
            for scope in part["scopeSpans"]
            for span in scope["spans"]
        ]

    def log_traces(self, since: float) -> set[tuple[str, str]]:
        """(service, trace id) of the demo's log lines since then (Unix seconds)."""
        services = ",".join(f'"{service}"' for service in SERVICES)
        query = f'{{"service.name" in ({services})}} trace_id:* | fields service.name, trace_id'
        return {(line["service.name"], line["trace_id"]) for line in self.lines(query, since)}

    def lines(self, logsql: str, since: float) -> list[dict[str, str]]:
        """What VictoriaLogs has since then (Unix seconds)."""
        form = {"query": logsql, "start": int(since * 1e9), "end": int((time.time() + 60) * 1e9)}
        answer = self.http.post(f"{self.address('victorialogs')}/select/logsql/query", data=form, timeout=30)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.content.split(b"\n") if line]

    def stream_fields(self) -> set[str]:
        """The fields by which VictoriaLogs has put lines into streams within the last hour."""
        address, form = self.address("victorialogs"), {"query": "*", "start": "1h"}
        answer = self.http.post(f"{address}/select/logsql/stream_field_names", data=form, timeout=10)
        answer.raise_for_status()
        return {field["value"] for field in answer.json()["values"]}

    def exemplars(self, metric: str, since: float) -> list[dict[str, Any]]:
        """What Prometheus has: [{"seriesLabels": {…}, "exemplars": [{"labels": {"trace_id": …}}]}]."""
        params = {"query": metric, "start": since, "end": time.time() + 60}
        answer = self.http.get(f"{self.address('prometheus')}/api/v1/query_exemplars", params=params, timeout=10)
        answer.raise_for_status()
        return list(answer.json()["data"])

    def is_gone(self, component: str) -> bool:
        return not self.stack.clients.consul.health(component)

    def resident_memory(self, component: str) -> float:
        """MB, as the collector itself measures it."""
        [entry] = self.stack.clients.consul.health(component)
        service = entry["Service"]
        answer = self.http.get(f"http://{service['Address']}:{service['Meta']['metrics_port']}/metrics", timeout=10)
        [line] = [line for line in answer.text.splitlines() if line.startswith("otelcol_process_memory_rss_bytes")]
        return float(line.split()[-1]) / 1024 / 1024

    def memory_limit(self, component: str) -> int:
        """MB, from obsctl.yaml."""
        return int(getattr(self.stack.loaded.config.components, component.replace("-", "_")).resources.memory)

    def watch_memory(self, *components: str) -> AbstractContextManager[dict[str, float]]:
        """While inside, the most memory that each was seen to have, in MB, is kept in the mapping."""
        most = dict.fromkeys(components, 0.0)

        def look() -> None:
            for component in components:
                most[component] = max(most[component], self.resident_memory(component))

        return repeating(look, every=1.0, result=most)

    def traffic(self, *, per_second: float) -> AbstractContextManager[list[str]]:
        """While inside, requests are sent; the trace ids of those that were answered are in the list."""
        address = self.address("hello-service")
        answered: list[str] = []

        def ask() -> None:
            trace_id, answer = self._ask(address)
            if answer.ok:  # a service may be away for a moment; that is not what is looked at here
                answered.append(trace_id)

        return repeating(ask, every=1 / per_second, result=answered)

    def sample(self, promql: str) -> float:
        """The value of a query that has one; 0 when it has none."""
        found = self.stack.programs.prometheus.query(promql)
        return float(found[0]["value"][1]) if found else 0.0


def calls_consul(spans: list[tuple[str, str]]) -> bool:
    """Whether the deepest span is there; of which key it reads, and whether that exists, is the demo's affair."""
    return any(service == "response-service" and name.startswith("GET /v1/kv/") for service, name in spans)


def traces_of(exemplars: list[dict[str, Any]]) -> set[str]:
    return {exemplar["labels"].get("trace_id", "") for series in exemplars for exemplar in series["exemplars"]}


@contextmanager
def repeating(action: Callable[[], None], *, every: float, result: T) -> Iterator[T]:
    """While inside, a thread does it again and again. Its first error ends it, and is raised at the end."""
    errors: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            while not stop.wait(every):
                action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join(timeout=40)
    assert not errors, errors


def _attribute(resource: dict[str, Any], key: str) -> str:
    return next(str(pair["value"]["stringValue"]) for pair in resource["attributes"] if pair["key"] == key)


class Everything:
    """Everything that a local cluster can have, on a cluster of its own that runs from the first use until `end`."""

    def __init__(self) -> None:
        self._telemetry: Telemetry | None = None
        self._ends = ExitStack()

    def running(self, folders: pytest.TempPathFactory) -> Telemetry:
        if self._telemetry is None:
            with ExitStack() as ends:
                stack = Stack(ends.enter_context(running_cluster()), folders.mktemp("telemetry"))
                write_config(stack.folder, stack.cluster, components=(*ALERT_PATH, *TELEMETRY), demo=DEMO[:2])
                stack.run("deploy", "--yes")
                self._telemetry = Telemetry(stack)
                self._ends = ends.pop_all()
        return self._telemetry

    def end(self) -> None:
        self._telemetry = None
        self._ends.close()
