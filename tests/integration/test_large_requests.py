"""What a program may send at once goes all the way, through a real gateway to Jaeger and Loki, all as rendered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from obsctl.clients import connect
from obsctl.clients.protocols import JaegerApi, LokiApi
from obsctl.stack.render import render
from obsctl.wait import wait_until
from tests.contract.agents import answers, program, running, task, until_it_answers
from tests.otlp import records, send_logs, send_spans, span
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

MB = 1024 * 1024


@dataclass
class Road:
    """A gateway and what is behind it. otlp: where it takes OTLP over HTTP."""

    otlp: str
    jaeger: JaegerApi
    loki: LokiApi


@contextmanager
def running_road(folder: Path) -> Iterator[Road]:
    """All of it started as Nomad does it."""
    on = {"enabled": True, "storage": {"kind": "host"}}
    files = render(config(timing="fast", components={"jaeger": on, "loki": on, "otel-gateway": on}), NOWHERE).files()
    for name in ("jaeger", "loki", "otel-gateway"):
        (folder / f"{name}.yml").write_text(files[f"kv/obsctl/obs/config/{name}.yml"])
    jaeger, loki, gateway = task("http", "grpc", "otlp", "health"), task("http", "grpc"), task("grpc", "http", "health")
    intake, logs = jaeger["NOMAD_ADDR_otlp"], f"http://{loki['NOMAD_ADDR_http']}"
    (folder / "backends.yml").write_text(
        f'exporters: {{otlp_grpc/jaeger: {{endpoint: "{intake}"}}, otlp_http/loki: {{endpoint: "{logs}/otlp"}}}}\n'
    )
    with ExitStack() as stack:
        stack.enter_context(running([program("jaeger"), "--config=jaeger.yml"], folder, "jaeger", **jaeger))
        flags = ["-config.file=loki.yml", "-config.expand-env=true"]
        stack.enter_context(running([program("loki"), *flags], folder, "loki", **loki))
        flags = ["--config=otel-gateway.yml", "--config=backends.yml"]
        stack.enter_context(running([program("otelcol-gateway"), *flags], folder, "gateway", **gateway))
        road = Road(
            f"http://{gateway['NOMAD_ADDR_http']}",
            connect.jaeger(f"http://{jaeger['NOMAD_ADDR_http']}"),
            connect.loki(logs),
        )
        until_it_answers(lambda: answers(f"http://{gateway['NOMAD_ADDR_health']}"), folder)
        until_it_answers(lambda: road.jaeger.services() is not None, folder)
        until_it_answers(road.loki.ready, folder)
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

    wait_until(lambda: arrived() == len(spans), timeout=30, what="every span", hint="")


def test_a_large_request_of_lines_comes_to_loki_whole(road: Road) -> None:
    now = time.time_ns()
    lines = [(now + n, f"{n} {'x' * 16000}", {}) for n in range(600)]
    assert sum(len(text) for _, text, _ in lines) > 9 * MB
    send_logs(road.otlp, [records({"service_name": "web"}, *lines)])

    def arrived() -> int:
        found = road.loki.lines('{service_name="web"}', start=now, end=now + len(lines), limit=len(lines))
        return sum(len(stream["values"]) for stream in found)

    wait_until(lambda: arrived() == len(lines), timeout=30, what="every line", hint="")


def test_a_line_that_is_too_long_is_cut_and_not_thrown_away(road: Road) -> None:
    now = time.time_ns()
    send_logs(road.otlp, [records({"service_name": "long"}, (now, "begins " + "x" * MB, {}))])

    def arrived() -> list[str]:
        found = road.loki.lines('{service_name="long"}', start=now, end=now + 1, limit=1)
        return [text for stream in found for _, text in stream["values"]]

    wait_until(arrived, timeout=30, what="the line", hint="")
    [text] = arrived()
    assert text.startswith("begins xxx")
    assert len(text) < MB
