"""What a program may send at once goes all the way, through a real gateway to Jaeger and to the log store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import JaegerApi, LogsApi
from obsctl.clients.telemetry_apis import JaegerClient, LogsClient
from obsctl.stack.render import render
from obsctl.telemetry.lines import SECOND
from obsctl.telemetry.stored_logs import lines_of
from obsctl.wait import wait_until
from tests.agents import answers, program, running, task, until_it_answers
from tests.otlp import records, send_logs, send_spans, span
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

MB = 1024 * 1024


@dataclass
class Road:
    """A gateway and what is behind it. otlp: where it takes OTLP over HTTP."""

    otlp: str
    jaeger: JaegerApi
    logs: LogsApi


@contextmanager
def running_road(folder: Path) -> Iterator[Road]:
    """All of it started as Nomad does it."""
    on = {"enabled": True, "storage": {"kind": "host"}}
    rendered = render(config(timing="fast", components={"jaeger": on, "victorialogs": on, "otel-gateway": on}), NOWHERE)
    for name in ("jaeger", "otel-gateway"):
        (folder / f"{name}.yml").write_text(rendered.files()[f"kv/obsctl/obs/config/{name}.yml"])
    jaeger, logs, gateway = task("http", "grpc", "otlp", "health"), task("http"), task("grpc", "http", "health")
    store = f"http://{logs['NOMAD_ADDR_http']}"
    exporters = {
        "otlp_grpc/jaeger": {"endpoint": jaeger["NOMAD_ADDR_otlp"]},
        "otlp_http/logs": {"logs_endpoint": f"{store}/insert/opentelemetry/v1/logs"},
    }
    (folder / "backends.yml").write_text(json.dumps({"exporters": exporters}))
    with ExitStack() as stack:
        stack.enter_context(running([program("jaeger"), "--config=jaeger.yml"], folder, "jaeger", **jaeger))
        flags = [f"-httpListenAddr={logs['NOMAD_ADDR_http']}", "-storageDataPath=logs"]
        stack.enter_context(running([program("victoria-logs"), *flags], folder, "victoria-logs"))
        flags = ["--config=otel-gateway.yml", "--config=backends.yml"]
        stack.enter_context(running([program("otelcol"), *flags], folder, "gateway", **gateway))
        road = Road(
            f"http://{gateway['NOMAD_ADDR_http']}",
            JaegerClient(endpoint("jaeger", f"http://{jaeger['NOMAD_ADDR_http']}")),
            LogsClient(endpoint("victorialogs", store)),
        )
        until_it_answers(lambda: answers(f"http://{gateway['NOMAD_ADDR_health']}"), folder)
        until_it_answers(lambda: road.jaeger.services() is not None, folder)
        until_it_answers(lambda: answers(f"{road.logs.address}/health"), folder)
        yield road


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with running_road(tmp_path_factory.mktemp("road")) as found:
        yield found


def test_a_large_request_of_spans_comes_to_jaeger_whole(road: Road) -> None:
    """512 spans, as SDKs send them at once, with long statements."""
    trace_id, now = uuid4().hex, time.time_ns()
    spans = [
        span("web", "query", f"{n + 1:x}", trace_id=trace_id, start=now, statement="s" * 16000) for n in range(512)
    ]
    send_spans(road.otlp, spans)

    def arrived() -> int:
        groups = road.jaeger.trace(trace_id)
        return sum(len(scope["spans"]) for group in groups for scope in group["scopeSpans"])

    wait_until(lambda: arrived() == len(spans), timeout=30, failure="no sign of every span", hint="")


def lines(road: Road, service: str, since: int) -> list[str]:
    """What VictoriaLogs has of a service from then on (Unix nanoseconds)."""
    query = f'"service.name":="{service}"'
    found = lines_of(road.logs.lines(query, start=since, end=since + 3600 * SECOND, limit=10_000))
    return [line.text for line in found]


def test_a_large_request_of_lines_comes_to_the_store_whole(road: Road) -> None:
    now = time.time_ns()
    sent = [f"{n} {'x' * 16000}" for n in range(600)]
    assert sum(map(len, sent)) > 9 * MB
    send_logs(road.otlp, [records({"service_name": "web"}, *((now + n, text, {}) for n, text in enumerate(sent)))])
    wait_until(lambda: lines(road, "web", now) == sent, timeout=30, failure="no sign of every line", hint="")


def test_a_request_as_large_as_the_collector_takes_comes_whole(road: Road) -> None:
    now = time.time_ns()
    sent = [f"{n} {'y' * 950_000}" for n in range(20)]
    assert 18 * MB < sum(map(len, sent)) < 20 * MB
    send_logs(road.otlp, [records({"service_name": "large"}, *((now + n, text, {}) for n, text in enumerate(sent)))])
    wait_until(lambda: lines(road, "large", now) == sent, timeout=60, failure="no sign of every line", hint="")


def test_a_line_that_is_too_long_is_cut_and_not_thrown_away(road: Road) -> None:
    """Where that is in the middle of a letter, too."""
    now = time.time_ns()
    sent = ["before", "begins " + "é" * 2 * MB, "after"]
    send_logs(road.otlp, [records({"service_name": "long"}, *((now + n, text, {}) for n, text in enumerate(sent)))])
    wait_until(lambda: lines(road, "long", now), timeout=30, failure="no sign of the lines", hint="")
    before, text, after = lines(road, "long", now)
    assert (before, after) == ("before", "after")
    assert text[:9] == "begins éé"
    assert len(text.encode()) < MB
