"""Finding the newest trace that fits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from obsctl.clients.protocols import JaegerApi
from obsctl.errors import DeadlineExceeded
from obsctl.telemetry.trace import Trace, read
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

PAGE = 50
"""Traces that are read at once, of each service."""
PAGES = 20
INTERVAL = 0.5
SETTLED = 30.0
"""Seconds after its end a trace is as complete as it will be: the parent of its first span may never come."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which traces fit. since, until: Unix seconds. errors: only those with a failed span.

    services: a span of one of them. min_duration: seconds that such a span takes at least.
    """

    services: Sequence[str]
    since: float
    until: float
    errors: bool = False
    min_duration: float = 0.0

    def fits(self, trace: Trace) -> bool:
        return bool(trace.failed) or not self.errors


def newest(jaeger: JaegerApi, wanted: Wanted) -> tuple[Trace | None, int]:
    """The newest trace that fits, or None; and how many were looked at.

    Page by page backwards, since the stable API cannot search for errors (its parser in Jaeger 2.0 to 2.13 leaves
    attributes out). Of each service PAGE * PAGES traces are looked at, at most.
    """
    until = dict.fromkeys(wanted.services, wanted.until)
    looked_at: set[str] = set()
    for _ in range(PAGES):
        fitting: list[Trace] = []
        for service in list(until):
            found = _page(jaeger, wanted, service, until.pop(service))
            fitting += filter(wanted.fits, found)
            fresh = {trace.trace_id for trace in found} - looked_at
            looked_at |= fresh
            if fresh and len(found) >= PAGE:
                until[service] = _oldest(found, service)
        if fitting:
            return max(fitting, key=lambda trace: trace.start), len(looked_at)
        if not until:
            break
    return None, len(looked_at)


def _page(jaeger: JaegerApi, wanted: Wanted, service: str, until: float) -> list[Trace]:
    return read(jaeger.search(service, since=wanted.since, until=until, min_duration=wanted.min_duration, limit=PAGE))


def _oldest(found: list[Trace], service: str) -> float:
    """Where the next page begins, in Unix seconds: Jaeger sorts traces by their newest span of the service."""
    starts = [max(span.start for span in trace.spans if span.service == service) for trace in found]
    return -(min(starts) // -1000) / 1e6  # rounded up to its microseconds, so that nothing falls between


def by_id(jaeger: JaegerApi, trace_id: str, *, wait: float = 0.0, clock: Clock = SYSTEM_CLOCK) -> Trace | None:
    """The trace, as far as it is there. Waits so many seconds for it, and for parents of its spans that are missing."""
    latest: list[Trace] = []

    def complete() -> bool:
        latest[:] = read(jaeger.trace(trace_id))
        return any(not trace.orphans or clock.now() - trace.end / 1e9 > SETTLED for trace in latest)

    with suppress(DeadlineExceeded):
        wait_until(complete, timeout=wait, failure="the trace did not arrive", hint="", interval=INTERVAL, clock=clock)
    return latest[0] if latest else None
