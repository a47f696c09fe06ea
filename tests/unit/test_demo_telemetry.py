"""Traces, log lines and exemplars of the demo services: real servers on 127.0.0.1, a stub in the place of Consul."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests
from flask import Flask
from flask.typing import ResponseReturnValue
from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from obsctl.demo import hello, response, telemetry
from obsctl.demo.discovery import Discovery, consul_at
from obsctl.demo.telemetry import COMPLAIN_EVERY, JsonLines, Seldom
from obsctl.demo.traffic import Traffic
from obsctl.services.web import WebServer
from obsctl.wait import wait_until
from tests.fakes import FakeClock

SPANS = InMemorySpanExporter()
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


@pytest.fixture(scope="module", autouse=True)
def tracing() -> Iterator[None]:
    """OpenTelemetry takes one provider a process; calls are traced in this module alone."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(provider)
    telemetry.trace_calls()
    yield
    RequestsInstrumentor().uninstrument()


@pytest.fixture(autouse=True)
def _forget_spans() -> None:
    SPANS.clear()


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """The app on a free port."""
    server = WebServer(app, bind="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(timeout=30)


INDEX = {"X-Consul-Index": "1"}


class StubConsul:
    """Knows the services that are registered here, and the phrases."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.keys = {"minion_phrases": ["Bello!"]}
        self.app = Flask("consul")
        self.app.get("/v1/health/service/<name>")(self.instances)
        self.app.get("/v1/kv/<key>")(self.value)

    def instances(self, name: str) -> ResponseReturnValue:
        port = self.ports.get(name)
        instance = {
            "Node": {"Address": ""},
            "Service": {"ID": name, "Address": "127.0.0.1", "Port": port},
            "Checks": [],
        }
        return [instance] if port else [], INDEX

    def value(self, key: str) -> ResponseReturnValue:
        if key not in self.keys:
            return "", 404, INDEX
        value = b64encode(json.dumps(self.keys[key]).encode()).decode()
        return [{"Key": key, "Value": value, "ModifyIndex": 1, "CreateIndex": 1}], INDEX


@dataclass
class Demo:
    consul: StubConsul
    traffic: Traffic
    hello: str
    response: str


@pytest.fixture(params=[False])
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    """Both services, as started by Nomad. Parametrized with True: without the bug."""
    stub = StubConsul()
    with serving(stub.app) as consul_port:
        consul = consul_at(f"http://127.0.0.1:{consul_port}")
        answering = response.create_app(consul, CollectorRegistry(), fixed=request.param)
        greeting = hello.create_app(Discovery(consul), CollectorRegistry())
        with serving(answering) as response_port, serving(greeting) as hello_port:
            stub.ports = {"response-service": response_port, "hello-service": hello_port}
            urls = (f"http://127.0.0.1:{port}" for port in (hello_port, response_port))
            yield Demo(stub, Traffic(Discovery(consul), CollectorRegistry()), *urls)


def get(url: str, **headers: str) -> requests.Response:
    """As a program that knows nothing of traces would."""
    with suppress_instrumentation():
        return requests.get(url, headers=headers, timeout=10)


def named(answer: requests.Response) -> str:
    """The trace that the answer's header names."""
    return answer.headers["traceresponse"].split("-")[1]


def tree(trace_id: str, size: int) -> list[str]:
    """The spans of a trace, `size` of them, each indented below its parent; lookups in Consul's catalog left out."""

    def found() -> list[ReadableSpan] | None:
        spans = [
            span for span in SPANS.get_finished_spans() if trace.format_trace_id(span.context.trace_id) == trace_id
        ]
        spans = [span for span in spans if "/v1/health/" not in span.name]
        return spans if len(spans) == size else None

    spans = wait_until(found, timeout=30, failure=f"no sign of {size} spans", hint="", interval=0.01)
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time):
        below.setdefault(span.parent.span_id if span.parent else None, []).append(span)

    def lines(parent: int | None, depth: int) -> Iterator[str]:
        for span in below.get(parent, []):
            failed = " ✗" if span.status.status_code is StatusCode.ERROR else ""
            yield f"{'  ' * depth}{span.kind.name} {span.name}{failed}"
            yield from lines(span.context.span_id, depth + 1)

    return list(lines(None, 0))


def span_of(trace_id: str, name: str, kind: SpanKind) -> ReadableSpan:
    return next(
        span
        for span in SPANS.get_finished_spans()
        if (span.name, span.kind, trace.format_trace_id(span.context.trace_id)) == (name, kind, trace_id)
    )


def exemplars(service: str) -> set[str]:
    """The traces that the buckets of the histogram point at."""
    return set(re.findall(r'# \{trace_id="(\w+)"\}', get(f"{service}/metrics", **OPENMETRICS).text))


# Traces


def test_a_request_is_one_trace_through_all_programs(demo: Demo) -> None:
    assert demo.traffic.send() == "ok"
    root = next(span for span in SPANS.get_finished_spans() if span.name == "send request")
    trace_id = trace.format_trace_id(root.context.trace_id)
    assert tree(trace_id, 7) == [
        "INTERNAL send request",
        "  CLIENT GET /hello",
        "    SERVER GET /hello",
        "      INTERNAL call response-service",
        "        CLIENT GET /phrase",
        "          SERVER GET /phrase",
        "            CLIENT GET /v1/kv/minion_phrases",
    ]
    assert span_of(trace_id, "call response-service", SpanKind.INTERNAL).attributes == {"call.attempt": 1}
    server = span_of(trace_id, "GET /phrase", SpanKind.SERVER)
    assert {"http.route": "/phrase", "http.response.status_code": 200, "phrases.key": "minion_phrases"}.items() <= dict(
        server.attributes or {}
    ).items()


def test_a_trace_begun_elsewhere_is_continued_and_named_in_the_answer(demo: Demo) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    answer = get(f"{demo.hello}/hello", traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
    assert named(answer) == trace_id
    wait_until(
        lambda: len(SPANS.get_finished_spans()) >= 5,
        timeout=30,
        failure="no sign of the spans",
        hint="",
        interval=0.01,
    )
    assert {trace.format_trace_id(span.context.trace_id) for span in SPANS.get_finished_spans()} == {trace_id}


def test_probes_and_scrapes_are_no_traces(demo: Demo) -> None:
    for path in ("/health", "/alive", "/metrics"):
        for service in (demo.hello, demo.response):
            answer = get(f"{service}{path}")
            assert answer.status_code == 200
            assert "traceresponse" not in answer.headers
    assert SPANS.get_finished_spans() == ()


def test_each_attempt_is_a_span_and_each_retry_an_event(demo: Demo) -> None:
    demo.consul.keys["minion_phrases"] = []
    answer = get(f"{demo.hello}/hello")
    assert answer.status_code == 502
    attempt = [
        "  INTERNAL call response-service ✗",
        "    CLIENT GET /phrase ✗",
        "      SERVER GET /phrase ✗",
        "        CLIENT GET /v1/kv/minion_phrases",
    ]
    assert tree(named(answer), 13) == ["SERVER GET /hello ✗", *attempt * 3]
    numbers = [
        (span.attributes or {})["call.attempt"]
        for span in SPANS.get_finished_spans()
        if span.name == "call response-service"
    ]
    assert numbers == [1, 2, 3]
    events = span_of(named(answer), "GET /hello", SpanKind.SERVER).events
    assert [event.name for event in events] == ["retry", "retry", "exception"]
    assert [(event.attributes or {})["call.attempt"] for event in events[:2]] == [1, 2]
    assert "answered 500" in str((events[2].attributes or {})["exception.message"])
    server = span_of(named(answer), "GET /phrase", SpanKind.SERVER)
    [event] = server.events
    assert "minion_phrases is not a JSON list" in str((event.attributes or {})["exception.message"])


def test_an_open_circuit_is_seen_in_the_span(demo: Demo) -> None:
    del demo.consul.ports["response-service"]
    answers = [get(f"{demo.hello}/hello") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503] * 3
    answer = answers[-1]
    assert "is not called for a moment" in answer.json()["error"]
    assert tree(named(answer), 1) == ["SERVER GET /hello ✗"]
    assert (span_of(named(answer), "GET /hello", SpanKind.SERVER).attributes or {})["circuit.state"] == "open"


# The planted bug


def phrases(demo: Demo, number: int) -> list[tuple[str, str]]:
    """(phrase, trace id) of as many requests."""
    answers = [get(f"{demo.response}/phrase") for _ in range(number)]
    assert {answer.status_code for answer in answers} == {200}
    return [(answer.json()["phrase"], named(answer)) for answer in answers]


def test_the_bug_every_fifth_phrase_is_empty_the_metrics_are_fine_and_the_span_knows(demo: Demo) -> None:
    answers = phrases(demo, 10)
    assert [phrase for phrase, _ in answers] == ["Bello!", "Bello!", "Bello!", "Bello!", ""] * 2
    trace_id = answers[4][1]
    assert tree(trace_id, 2) == ["SERVER GET /phrase ✗", "  CLIENT GET /v1/kv/minion_songs ✗"]
    span = span_of(trace_id, "GET /phrase", SpanKind.SERVER)
    assert span.status.description == "Consul has no key minion_songs"
    assert (span.attributes or {})["phrases.key"] == "minion_songs"
    assert [(event.name, (event.attributes or {})["exception.message"]) for event in span.events] == [
        ("exception", "Consul has no key minion_songs")
    ]
    metrics = get(f"{demo.response}/metrics").text
    assert "response_service_successful_responses_total 10.0" in metrics
    assert "response_service_failed_responses_total 0.0" in metrics


def test_a_caller_sees_nothing_but_a_greeting_that_ends_too_early(demo: Demo) -> None:
    answers = [get(f"{demo.hello}/hello") for _ in range(5)]
    assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [(200, "Hello! Bello!")] * 4 + [
        (200, "Hello! ")
    ]


@pytest.mark.parametrize("demo", [True], indirect=True)
def test_the_fixed_version_has_a_phrase_each_time(demo: Demo) -> None:
    assert [phrase for phrase, _ in phrases(demo, 10)] == ["Bello!"] * 10


# Exemplars


def test_the_histogram_points_at_traces_that_fell_into_its_buckets(demo: Demo) -> None:
    trace_id = named(get(f"{demo.hello}/hello"))
    assert exemplars(demo.hello) == exemplars(demo.response) == {trace_id}
    assert "# {" not in get(f"{demo.hello}/metrics").text, "the old text format has no exemplars"


def test_a_trace_that_is_not_sampled_is_no_exemplar(demo: Demo) -> None:
    get(f"{demo.hello}/hello", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    assert exemplars(demo.hello) == set()


# Logs


def test_every_request_is_one_line_in_each_service_with_its_trace(demo: Demo, caplog: pytest.LogCaptureFixture) -> None:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonLines("hello-service"))
    logger = logging.getLogger("obsctl")
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger="obsctl"):
            trace_id = named(get(f"{demo.hello}/hello"))
            get(f"{demo.hello}/metrics")
    finally:
        logger.removeHandler(handler)
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [re.sub(r"\d+ ms", "N ms", line["message"]) for line in written] == [
        "GET /phrase 200 in N ms",
        "GET /hello 200 in N ms",
    ]
    assert {line["trace_id"] for line in written} == {trace_id}
    assert written[1]["span_id"] == format(span_of(trace_id, "GET /hello", SpanKind.SERVER).context.span_id, "016x")
    facts = {"http.request.method": "GET", "http.route": "/hello", "http.response.status_code": 200}
    assert facts.items() <= vars(caplog.records[-1]).items()


def record(name: str = "obsctl", message: str = "a\nb") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, message, None, None)


def test_a_line_is_one_json_object() -> None:
    line = JsonLines("hello-service").format(record())
    assert "\n" not in line
    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document.pop("ts"))
    assert document == {"level": "WARNING", "logger": "obsctl", "service": "hello-service", "message": "a\nb"}


def test_an_exception_is_in_its_line() -> None:
    try:
        raise ZeroDivisionError("bug")
    except ZeroDivisionError:
        made = record()
        made.exc_info = sys.exc_info()
    assert json.loads(JsonLines("x").format(made))["exception"].endswith("ZeroDivisionError: bug")


def test_what_opentelemetry_complains_of_is_told_once_a_minute() -> None:
    clock = FakeClock()
    seldom = Seldom(clock)
    told = []
    for _ in range(10):
        told.append(seldom.filter(record("opentelemetry.exporter.otlp")))
        assert seldom.filter(record("obsctl")), "our own records all pass"
        clock.sleep(COMPLAIN_EVERY / 5)
    assert told == [True, False, False, False, False] * 2
