"""Log lines from Loki: the last ones, and those that are added."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from obsctl.clients.protocols import Json, LokiApi
from obsctl.telemetry.lines import SECOND, Line, Query, in_order, level_of, told
from obsctl.wait import SYSTEM_CLOCK, Clock

MOST_LINES = 5000
"""As many as Loki gives at once, unless it is told otherwise (limits_config.max_entries_limit_per_query)."""
_LATE = 10 * SECOND  # by the collector's batches and retries a line may reach Loki after a newer one


class LokiTail:
    """Tail from Loki. It asks again and again, and looks back far enough for what comes late."""

    def __init__(self, loki: LokiApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._loki, self._query, self._clock = loki, query, clock
        self._logql = logql(query)
        self._shown: set[Line] = set()
        self._oldest = self._newest = query.since
        self._begun = False

    def lines(self) -> list[Line]:
        found = self._added() if self._begun else self._last()
        fresh = [line for line in found if line not in self._shown]
        self._newest = max([self._newest, *(line.at or 0 for line in fresh)])
        self._shown = {line for line in {*self._shown, *fresh} if (line.at or 0) >= self._newest - _LATE}
        return fresh

    def _last(self) -> list[Line]:
        self._begun = True
        found = self._ask(self._query.since, self._query.limit, newest=True)
        if len(found) >= self._query.limit:
            self._oldest = found[0].at or self._oldest  # what is older was left out, and stays so
        return found

    def _added(self) -> list[Line]:
        """What came since, page by page."""
        start = max(self._oldest, self._newest - _LATE)
        found: dict[Line, None] = {}
        while True:
            page = self._ask(start, MOST_LINES, newest=False)
            fresh = [line for line in page if line not in found]
            found |= dict.fromkeys(fresh)
            if not fresh or len(page) < MOST_LINES:
                return list(found)
            start = page[-1].at or start

    def _ask(self, start: int, limit: int, *, newest: bool) -> list[Line]:
        end = int((self._clock.now() + 60) * SECOND)  # another machine's clock may be ahead
        return from_loki(self._loki.lines(self._logql, start=start, end=end, limit=limit, newest=newest))


def of_trace(loki: LokiApi, trace_id: str, start: int, end: int, *, limit: int) -> list[Line]:
    """The lines with a trace's id, the oldest of them. start, end: of the trace, in Unix nanoseconds."""
    around = 60 * SECOND  # other machines have other clocks, and a line may follow its span
    query = logql(Query(trace_id=trace_id))
    return from_loki(loki.lines(query, start=start - around, end=end + around, limit=limit, newest=False))


def logql(query: Query) -> str:
    """The query in Loki's language."""
    selector = f"nomad_job={_quoted(query.job_id)}" if query.job_id else 'service_name=~".+"'
    parts = [f"{{{selector}}}"]
    if query.grep:
        parts.append(f"|~ {_quoted('(?i)' + re.escape(query.grep))}")
    if query.trace_id:
        parts.append(f"| trace_id={_quoted(query.trace_id)}")
    return " ".join(parts)


def from_loki(streams: Iterable[Json]) -> list[Line]:
    """What LokiApi.lines gives, in order of time."""
    return in_order(_loki_line(found["stream"], *value[:2]) for found in streams for value in found["values"])


def _loki_line(stream: Mapping[str, str], at: str, text: str) -> Line:
    level = stream.get("severity_text") or stream.get("detected_level") or ""
    return Line(
        text=text,
        at=int(at),
        level=level_of(level) or told(text)[1],
        job=stream.get("nomad_job") or stream.get("service_name", ""),
        task=stream.get("nomad_task", ""),
        alloc_id=stream.get("nomad_alloc_id", ""),
        stream=stream.get("log_iostream", ""),
        trace_id=stream.get("trace_id", ""),
        span_id=stream.get("span_id", ""),
    )


def _quoted(text: str) -> str:
    """As a string of Go's, which is JSON's with other rules for nothing that occurs here."""
    return json.dumps(text, ensure_ascii=False)
