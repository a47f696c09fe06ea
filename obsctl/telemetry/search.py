"""Finds the newest trace that fits, or one that is still arriving."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from obsctl.clients.protocols import JaegerApi
from obsctl.errors import DeadlineExceeded
from obsctl.telemetry.trace import Trace, read
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

PAGE = 50
"""Traces of each service that are read at once."""
PAGES = 20
INTERVAL = 0.5
SETTLED = 30.0
"""So many seconds after its end a trace is complete, or never will be: the parent of its first span may not come."""
_CLOCK_OFFSET = 60.0
"""Seconds that the clock of another machine may be ahead."""


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces fit: those with a span of the service (None: of any) that began in the last `max_age` seconds.

    errors: only those with a failed span. min_duration: seconds that the service's span takes at least.
    """

    service: str | None
    max_age: float
    errors: bool = False
    min_duration: float = 0.0


def newest(jaeger: JaegerApi, query: TraceQuery, *, clock: Clock = SYSTEM_CLOCK) -> tuple[Trace | None, int]:
    """The newest trace that fits, or None; and how many traces were read: PAGE * PAGES of each service at most.

    Reads page by page backwards, because the stable API cannot search for errors: its parser in Jaeger 2.0 to 2.13
    leaves attributes out.
    """
    services, now = [query.service] if query.service else jaeger.services(), clock.now()
    until = dict.fromkeys(services, now + _CLOCK_OFFSET)
    trace_ids: set[str] = set()
    for _ in range(PAGES):
        fitting: list[Trace] = []
        for service in list(until):
            page = _page(jaeger, query, service, since=now - query.max_age, until=until.pop(service))
            fitting += [trace for trace in page if trace.failed or not query.errors]
            new_ids = {trace.trace_id for trace in page} - trace_ids
            trace_ids |= new_ids
            if new_ids and len(page) >= PAGE:
                until[service] = _next_end(page, service)
        if fitting:
            return max(fitting, key=lambda trace: trace.start), len(trace_ids)
        if not until:
            break
    return None, len(trace_ids)


def _page(jaeger: JaegerApi, query: TraceQuery, service: str, *, since: float, until: float) -> list[Trace]:
    return read(jaeger.search(service, since=since, until=until, min_duration=query.min_duration, limit=PAGE))


def _next_end(page: list[Trace], service: str) -> float:
    """Where the next page ends, in Unix seconds. Jaeger sorts traces by their newest span of the service."""
    starts = [max(span.start for span in trace.spans if span.service == service) for trace in page]
    return -(min(starts) // -1000) / 1e6  # rounded up to Jaeger's microseconds, so that no trace is left out


def by_id(jaeger: JaegerApi, trace_id: str, *, wait: float = 0.0, clock: Clock = SYSTEM_CLOCK) -> Trace | None:
    """The trace, as far as it has arrived. Waits so many seconds for it, and for missing parents of its spans."""
    latest: list[Trace] = []

    def is_complete() -> bool:
        latest[:] = read(jaeger.trace(trace_id))
        return any(not trace.orphans or clock.now() - trace.end / 1e9 > SETTLED for trace in latest)

    with suppress(DeadlineExceeded):
        wait_until(
            is_complete, timeout=wait, failure="the trace did not arrive", hint="", interval=INTERVAL, clock=clock
        )
    return latest[0] if latest else None
