"""A real gateway, as it is rendered: what it samples on the way to Jaeger, and the exemplars of its span metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from obsctl.clients.protocols import JaegerApi
from obsctl.model import Json
from obsctl.stack.render import render
from obsctl.stack.telemetry_path import SERVICE
from obsctl.wait import wait_until
from tests.agents import answers, program, running, task, until_it_answers
from tests.otlp import attributes, send_spans, span
from tests.stores import running_jaeger
from tests.world import NOWHERE, config

pytestmark = pytest.mark.real

DECIDED = r'otelcol_processor_tail_sampling_global_count_traces_sampled(?:_total)?\{.*sampled="%s".*\} (\d+)'
OPERATIONS = 100
CALLS = r'traces_span_metrics_calls_total\{.*service_name="%s".*\} (\d+)'
COUNTED = CALLS % "web"


@dataclass
class Road:
    """A gateway and the Jaeger behind it."""

    jaeger: JaegerApi
    otlp: str
    metrics: str
    telemetry: str

    def send(self, *spans: Json) -> None:
        send_spans(self.otlp, spans)

    def total(self, page: str, pattern: str) -> int:
        return sum(int(value) for value in re.findall(pattern, requests.get(page, timeout=10).text))

    def spans_of(self, trace_id: str) -> int:
        groups = self.jaeger.trace(trace_id)
        return sum(len(scope["spans"]) for group in groups for scope in group["scopeSpans"])


@contextmanager
def running_gateway(
    folder: Path, jaeger: JaegerApi, intake: str, *, operations: int = 500, **sampling: Any
) -> Iterator[Road]:
    """Started as Nomad does it, from the shipped templates; it judges after a second."""
    parts = {
        "jaeger": {"enabled": True},
        "otel-gateway": {"enabled": True, "operations": operations, "sampling": {"wait": "1s", **sampling}},
    }
    files = render(config(timing="fast", components=parts), NOWHERE).files()
    (folder / "gateway.yml").write_text(files["kv/obsctl/obs/config/otel-gateway.yml"])
    (folder / "backends.yml").write_text(f'exporters: {{otlp_grpc/jaeger: {{endpoint: "{intake}"}}}}\n')
    environ = task("grpc", "http", "health")
    pages = {label: f"http://{environ[f'NOMAD_ADDR_{label}']}" for label in ("http", "health", "metrics", "telemetry")}
    with running([program("otelcol"), "--config=gateway.yml", "--config=backends.yml"], folder, **environ):
        until_it_answers(lambda: answers(pages["health"]), folder)
        yield Road(jaeger, pages["http"], f"{pages['metrics']}/metrics", f"{pages['telemetry']}/metrics")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """Of ordinary traces none is kept."""
    jaeger, gateway = tmp_path_factory.mktemp("jaeger"), tmp_path_factory.mktemp("gateway")
    with (
        running_jaeger(jaeger, "memory", "grpc") as (api, intake),
        running_gateway(gateway, api, intake, operations=OPERATIONS, keep=0, slower_than="1s") as found,
    ):
        yield found


EXEMPLAR = r'duration_milliseconds_bucket\{.*service_name="%s".*le="([^"]+)".* # \{.*trace_id="([0-9a-f]{32})"'


def exemplars(road: Road, service: str) -> dict[str, str]:
    """Bucket of the service's durations -> the trace that stands beside it."""
    page = requests.get(road.metrics, headers={"Accept": "application/openmetrics-text; version=1.0.0"}, timeout=10)
    return dict(re.findall(EXEMPLAR % service, page.text))


def until(condition: Any, what: str) -> None:
    wait_until(condition, timeout=60, failure=f"no sign of {what}", hint="", interval=0.1)


def test_errors_and_slow_ones_are_kept_whole_others_not_at_all_and_every_span_counts(road: Road) -> None:
    now = time.time_ns()
    ordinary, failed, slow, own = [uuid4().hex for _ in range(5)], uuid4().hex, uuid4().hex, uuid4().hex
    for trace_id in ordinary:
        road.send(span("web", "GET /", "a1", trace_id=trace_id, start=now))
    road.send(span("web", "GET /", "a1", trace_id=failed, start=now))
    road.send(span("web", "query", "a2", "a1", trace_id=failed, start=now, error="refused"))
    road.send(span("web", "GET /", "a1", trace_id=slow, start=now))
    road.send(span("web", "later", "a2", trace_id=slow, start=now, at=1500))
    road.send(span(SERVICE, "verify", "a1", trace_id=own, start=now))

    until(lambda: [road.spans_of(each) for each in (failed, slow, own)] == [2, 2, 1], "what is kept")
    until(lambda: road.total(road.telemetry, DECIDED % "false") == len(ordinary), "a decision on all others")
    assert [road.spans_of(each) for each in ordinary] == [0] * len(ordinary)
    until(lambda: road.total(road.metrics, COUNTED) == len(ordinary) + 4, "all spans in the span metrics")

    road.send(span("web", "much later", "a3", "a1", trace_id=failed, start=now))
    until(lambda: road.spans_of(failed) == 3, "a span that came after the decision")


def test_a_slow_request_among_many_quick_ones_is_an_exemplar(road: Road) -> None:
    now, slow, last = time.time_ns(), uuid4().hex, uuid4().hex
    quick = [span("shop", "GET /", "a1", trace_id=uuid4().hex, start=now) for _ in range(99)]
    late = span("shop", "GET /", "a1", trace_id=slow, start=now, took=700)
    road.send(*quick, late, span("shop", "GET /", "a1", trace_id=last, start=now))
    until(lambda: exemplars(road, "shop") == {"10.0": last, "1000.0": slow}, "one for each bucket")


def test_metrics_from_spans_say_where_and_not_how_a_program_was_started(road: Road) -> None:
    """A command line would be a label of every series, with what is secret in it."""
    begun = span("started", "GET /", "a1", trace_id=uuid4().hex, start=time.time_ns())
    given = attributes(nomad_alloc_id="4f", process_pid=7, process_command="web --secret=1", telemetry_sdk_name="o")
    begun["resource"]["attributes"] += given
    road.send(begun)
    labels = r'traces_span_metrics_calls_total\{(.*service_name="started".*)\}'
    until(lambda: re.search(labels, requests.get(road.metrics, timeout=10).text), "its metrics")
    [found] = re.findall(labels, requests.get(road.metrics, timeout=10).text)
    assert 'nomad_alloc_id="4f"' in found
    assert 'process_pid="7"' in found
    assert not re.search("secret|telemetry_", found)


def test_a_program_that_makes_up_names_has_no_more_series_than_it_may(road: Road) -> None:
    """What is beyond is counted, in one series that tells no operation; other programs do not notice."""
    sent, now = 5000, time.time_ns()
    trace_ids = [uuid4().hex for _ in range(sent)]
    road.send(*[
        span("made-up", f"GET /users/{number}", "a1", trace_id=trace_id, start=now)
        for number, trace_id in enumerate(trace_ids)
    ])  # fmt: skip
    road.send(span("plain", "GET /users", "a1", trace_id=uuid4().hex, start=now))
    until(lambda: road.total(road.metrics, CALLS % "made-up") == sent, "every span counted")
    page = requests.get(road.metrics, timeout=10).text
    calls = re.findall(r'(traces_span_metrics_calls_total\{.*service_name="made-up".*\}) (\d+)', page)
    folded = [int(count) for labels, count in calls if 'otel_metric_overflow="true"' in labels]
    assert len(calls) == OPERATIONS + 1
    assert folded == [sent - OPERATIONS]
    assert not re.search('service_name="plain".*otel_metric_overflow', page)
    assert len(re.findall('service_name="made-up"', page)) <= 16 * (OPERATIONS + 1)
