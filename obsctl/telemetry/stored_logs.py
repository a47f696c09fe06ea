"""Log lines from the log store: the last ones, and those that are added."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from obsctl.clients.protocols import Json, LogsApi
from obsctl.telemetry.lines import MESSAGE, SECOND, Line, Query, in_order, level_of, moment, told
from obsctl.wait import SYSTEM_CLOCK, Clock

PAGE = 5000
"""Lines that are asked for at once."""
_LATE = 10 * SECOND  # by the collector's batches and retries a line may reach the store after a newer one


class StoredTail:
    """Tail from the log store. It asks again and again, and looks back far enough for what comes late."""

    def __init__(self, store: LogsApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store, self._query, self._clock = store, query, clock
        self._logsql = logsql(query)
        self._shown: Counter[Line] = Counter()  # two lines may be the same to the nanosecond
        self._oldest = self._newest = query.since
        self._begun = False

    def lines(self) -> list[Line]:
        found = Counter(self._added() if self._begun else self._last())
        fresh = list((found - self._shown).elements())
        self._newest = max([self._newest, *(line.at or 0 for line in fresh)])
        self._shown = Counter({line: n for line, n in (self._shown | found).items() if (line.at or 0) >= self._start})
        return fresh

    @property
    def _start(self) -> int:
        """How far it looks back."""
        return max(self._oldest, self._newest - _LATE)

    def _last(self) -> list[Line]:
        self._begun = True
        found = self._ask(self._query.since, self._query.limit, newest=True)
        if len(found) >= self._query.limit:
            self._oldest = (found[0].at or 0) + 1  # what is older was left out, and stays so
        return found

    def _added(self) -> list[Line]:
        """All from the start on, page by page. The last moment of a full page may go on, so the next begins with it."""
        start, limit = self._start, PAGE
        found: list[Line] = []
        while True:
            page = self._ask(start, limit, newest=False)
            if len(page) < limit:
                return [*found, *page]
            start = page[-1].at or start
            whole = [line for line in page if line.at != start]
            found += whole
            limit = PAGE if whole else 2 * limit

    def _ask(self, start: int, limit: int, *, newest: bool) -> list[Line]:
        end = int((self._clock.now() + 60) * SECOND)  # another machine's clock may be ahead
        return from_store(self._store.lines(self._logsql, start=start, end=end, limit=limit, newest=newest))


def of_trace(store: LogsApi, trace_id: str, start: int, end: int, *, limit: int) -> list[Line]:
    """The lines with a trace's id, the oldest of them. start, end: of the trace, in Unix nanoseconds."""
    around = 60 * SECOND  # other machines have other clocks, and a line may follow its span
    query = logsql(Query(trace_id=trace_id))
    return from_store(store.lines(query, start=start - around, end=end + around, limit=limit, newest=False))


def logsql(query: Query) -> str:
    """The query in the store's language, LogsQL."""
    parts = []
    if query.job_id:
        parts.append(f'{{"nomad.job"={_quoted(query.job_id)}}}')
    if query.trace_id:
        parts.append(f'"trace_id":={_quoted(query.trace_id)}')
    if query.grep:
        parts.append(f"_msg:~{_quoted('(?i)' + re.escape(query.grep))}")
    return (" ".join(parts) or "*") + (_having(query.where) if query.where else "")


def _having(where: Sequence[tuple[str, str]]) -> str:
    """Fields that a line has; those too which only its text has, in JSON or as logfmt."""
    names = ", ".join(_quoted(name) for name, _ in where)
    unpacked = [f" | unpack_{kind} fields ({names}) keep_original_fields" for kind in ("json", "logfmt")]
    values = " ".join(f"{_quoted(name)}:={_quoted(value)}" for name, value in where)
    return "".join(unpacked) + f" | filter {values}"


def from_store(entries: Iterable[Json]) -> list[Line]:
    """What LogsApi.lines gives, in order of time."""
    return in_order(_line(entry) for entry in entries)


def _line(entry: Mapping[str, str]) -> Line:
    text = next((entry[name] for name in ("_msg", *MESSAGE) if name in entry), "")
    return Line(
        text=text,
        at=moment(entry["_time"]),
        level=level_of(entry.get("severity_text", "")) or told(text)[1],
        job=entry.get("nomad.job") or entry.get("service.name", ""),
        task=entry.get("nomad.task", ""),
        alloc_id=entry.get("nomad.alloc.id", ""),
        stream=entry.get("log.iostream", ""),
        trace_id=entry.get("trace_id", ""),
        span_id=entry.get("span_id", ""),
    )


def _quoted(text: str) -> str:
    """As a string of LogsQL, which is Go's: JSON's with other rules for nothing that occurs here.

    What is no UTF-8 on the command line is what a collector makes of such bytes.
    """
    return json.dumps(text.encode(errors="surrogateescape").decode(errors="replace"), ensure_ascii=False)
