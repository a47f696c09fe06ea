"""What the demo programs record: traces and logs by OTLP, log lines as JSON on stdout, and metrics of their requests.

The standard environment variables of the SDK configure it: OTEL_EXPORTER_OTLP_ENDPOINT (without it nothing is sent),
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and so on.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial, wraps
from time import perf_counter
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import requests
from flask import Flask, Response, g, request
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Histogram

from obsctl.wait import SYSTEM_CLOCK, Clock

# Names as in the stable HTTP conventions, such as http.response.status_code. Read once, at the first instrumentation.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")

PROBES = ("/alive", "/health", "/metrics")
SEND_EVERY = 1.0
# Long enough for an agent to restart. Meanwhile spans and lines wait in a queue of 2048; what comes later is dropped.
SEND_TIMEOUT = 30.0
FLUSH_SECONDS = 2.0
COMPLAIN_EVERY = 60.0
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("obsctl")


@contextmanager
def running(service: str, version: str) -> Iterator[None]:
    """While inside, the process traces and logs as `service`. Leaving sends what waits, for FLUSH_SECONDS at most.

    For the main thread of a program, once: OpenTelemetry has one tracer provider a process.
    """
    service = os.environ.get("OTEL_SERVICE_NAME", service)
    resource = Resource.create({SERVICE_NAME: service, SERVICE_VERSION: version})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    handlers = [_json_lines(service)]
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        handlers.append(_export(tracers, loggers))
    root = logging.getLogger()
    root.handlers, before = handlers, root.handlers
    root.setLevel(logging.INFO)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    trace.set_tracer_provider(tracers)
    trace_calls()
    try:
        yield
    finally:
        root.handlers = handlers[:1]
        _shut_down(tracers, loggers)
        root.handlers = before


def trace_calls() -> None:
    """From now on each call with `requests` is a span, and has its trace in the header traceparent."""
    RequestsInstrumentor().instrument(request_hook=_name_by_path)


def observe(app: Flask) -> None:
    """Trace and log each request to the app except probes and scrapes; the answer's traceresponse names the trace."""
    set_global_response_propagator(TraceResponsePropagator())
    probes = ",".join(f"{path}$" for path in PROBES)
    FlaskInstrumentor.instrument_app(app, excluded_urls=probes, enable_commenter=False)
    app.before_request(_start_watch)
    app.after_request(_log_request)


class RequestMetrics:
    """Counters and a histogram of one service's requests. total = successful + failed, when all are answered."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        """service: the metrics' prefix, like "hello_service"."""
        counter = partial(Counter, namespace=service, registry=registry)
        self._total = counter("total_requests", "Requests received.")
        self._successful = counter("successful_responses", "Requests answered as they should be.")
        self._failed = counter("failed_responses", "Requests answered with an error.")
        name = f"{service}_request_duration_seconds"
        self._duration = Histogram(name, "Time to answer.", registry=registry, buckets=BUCKETS)

    def measured(self, view: Callable[P, R]) -> Callable[P, R]:
        """The view, measured: an answer is a success, an exception is a failure whose reason the span has."""

        @wraps(view)
        def measure(*args: P.args, **kwargs: P.kwargs) -> R:
            self._total.inc()
            started = perf_counter()
            try:
                answer = view(*args, **kwargs)
            except BaseException as error:
                self._failed.inc()
                trace.get_current_span().record_exception(error)
                raise
            finally:
                self._observe(perf_counter() - started)
            self._successful.inc()
            return answer

        return measure

    def _observe(self, seconds: float) -> None:
        """With the current trace as an exemplar, if it is sampled: else nobody can find it."""
        context = trace.get_current_span().get_span_context()
        exemplar = {"trace_id": trace.format_trace_id(context.trace_id)}
        self._duration.observe(seconds, exemplar if context.trace_flags.sampled else None)


def _name_by_path(span: trace.Span, call: requests.PreparedRequest) -> None:
    """GET /phrase, not only GET. The programs call few paths, and none has an id in it."""
    span.update_name(f"{call.method} {urlsplit(call.url or '').path}")


def _start_watch() -> None:
    g.started = perf_counter()


def _log_request(response: Response) -> Response:
    if request.path not in PROBES:
        took = (perf_counter() - g.started) * 1000
        facts = {
            "http.request.method": request.method,
            "http.route": request.url_rule.rule if request.url_rule else "",
            "http.response.status_code": response.status_code,
            "duration_ms": round(took, 3),
        }
        level = logging.WARNING if response.status_code >= 500 else logging.INFO
        _log.log(level, "%s %s %d in %.0f ms", request.method, request.path, response.status_code, took, extra=facts)
    return response


def _export(tracers: TracerProvider, loggers: LoggerProvider) -> logging.Handler:
    """Send spans, and the records of the handler, in batches from threads of their own."""
    delay = SEND_EVERY * 1000
    spans = OTLPSpanExporter(timeout=SEND_TIMEOUT, session=_direct())
    records = OTLPLogExporter(timeout=SEND_TIMEOUT, session=_direct())
    tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=delay))
    loggers.add_log_record_processor(BatchLogRecordProcessor(records, schedule_delay_millis=delay))
    handler = LoggingHandler(logger_provider=loggers)
    handler.addFilter(lambda record: not _of_opentelemetry(record))  # a failure to send is not sent
    return handler


def _direct() -> requests.Session:
    """A session without the proxies of the environment: the agent is on this node."""
    session = requests.Session()
    session.trust_env = False
    return session


def _json_lines(service: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service))
    handler.addFilter(Seldom())
    return handler


def _of_opentelemetry(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == "opentelemetry"


def _shut_down(*providers: TracerProvider | LoggerProvider) -> None:
    """Do not wait long: by itself a provider waits half a minute for a collector that is not there."""
    threads = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
    for thread in threads:
        thread.start()
    deadline = SYSTEM_CLOCK.monotonic() + FLUSH_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - SYSTEM_CLOCK.monotonic()))


class JsonLines(logging.Formatter):
    """One JSON object a record: ts (ISO 8601, UTC), level, logger, service, message; within a span its trace_id and
    span_id; an exception with its traceback."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Seldom(logging.Filter):
    """Lets one of OpenTelemetry's own records a minute through: without a collector it writes one for every batch."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self._clock = clock
        self._next = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not _of_opentelemetry(record):
            return True
        if (now := self._clock.monotonic()) < self._next:
            return False
        self._next = now + COMPLAIN_EVERY
        return True
