"""What the demo services say about the requests they answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import ParamSpec, TypeVar

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Histogram

from obsctl.demo.telemetry import current_trace_id

P = ParamSpec("P")
R = TypeVar("R")

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counters and a histogram of one service's requests. When no request is being answered, total = successful +
    failed."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        """service: the metrics' prefix, like "hello_service"."""

        def counter(name: str, text: str) -> Counter:
            return Counter(f"{service}_{name}", text, registry=registry)

        self._total = counter("total_requests", "Requests received.")
        self._successful = counter("successful_responses", "Requests answered as they should be.")
        self._failed = counter("failed_responses", "Requests answered with an error.")
        self._duration = Histogram(
            f"{service}_request_duration_seconds", "Time to answer.", registry=registry, buckets=BUCKETS
        )

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
        """With an exemplar: a trace that fell into the bucket."""
        trace_id = current_trace_id()
        self._duration.observe(seconds, {"trace_id": trace_id} if trace_id else None)
