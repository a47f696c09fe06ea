"""Log lines of the log store: the last ones, and those that are added."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from obsctl.clients.protocols import LogsApi
from obsctl.model import Json
from obsctl.telemetry.lines import MESSAGE, SECOND, Line, Query, in_order, level_of, time_and_level, time_in
from obsctl.wait import SYSTEM_CLOCK, Clock

PAGE = 5000
"""Lines that are read at once."""
_MINUTE = 60
_HALF_A_LETTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates, but for those that stand for a byte
_STEP = 10  # seconds of which lines are counted together


class StoredTail:
    """Tail of the log store. It counts the lines of every few seconds again and again, and reads the seconds that have
    more than before: because of queues and retries a line may arrive long after a newer one.

    It looks back to a minute before the newest line that was known a minute ago. So after an outage of any length,
    the lines that had to wait have a minute to arrive.
    """

    def __init__(self, store: LogsApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store, self._query, self._clock = store, query, clock
        self._logsql = logsql(query)
        self._shown: dict[int, Counter[Line]] = {}  # by step; two lines may be equal
        self._oldest = query.since
        self._newest = deque([(clock.now(), query.since)])  # (when, time of the newest line by then)
        self._begun = False

    def lines(self) -> list[Line]:
        now = self._clock.now()
        fresh = self._added(now) if self._begun else self._last(now)
        self._begun = True
        self._newest.append((now, max([self._newest[-1][1], *(line.at or 0 for line in fresh)])))
        return fresh

    def _last(self, now: float) -> list[Line]:
        lines = self._read(self._query.since, _soon(now), self._query.limit, newest=True)
        if len(lines) >= self._query.limit:
            self._oldest = (lines[0].at or 0) + 1  # older lines were left out, and stay so
        for line in lines:
            at = line.at or 0
            if at >= self._oldest:
                self._shown.setdefault(at // SECOND // _STEP * _STEP, Counter())[line] += 1
        return lines

    def _added(self, now: float) -> list[Line]:
        start = self._start(now)
        counts = self._store.counts(self._logsql, start=start, end=_soon(now), step=_STEP)
        shown = {step: lines for step, lines in self._shown.items() if (step + _STEP) * SECOND > start}
        fresh: list[Line] = []
        for step, count in sorted(counts.items()):
            known = shown.get(step, Counter())
            if count > known.total():
                current = Counter(self._read_all(max(start, step * SECOND), (step + _STEP) * SECOND))
                fresh += (current - known).elements()
                shown[step] = known | current
        self._shown = shown  # only now: when the store fails in between, the next call begins again
        return fresh

    def _start(self, now: float) -> int:
        while len(self._newest) > 1 and self._newest[1][0] <= now - _MINUTE:
            self._newest.popleft()
        back = self._newest[0][1] // SECOND - _MINUTE
        return max(self._oldest, back // _STEP * _STEP * SECOND)

    def _read_all(self, start: int, end: int) -> list[Line]:
        """Page by page. The next page begins with the last time of a full one, of which there may be more lines."""
        limit = PAGE
        lines: list[Line] = []
        while True:
            page = self._read(start, end, limit, newest=False)
            if len(page) < limit:
                return [*lines, *page]
            start = page[-1].at or start
            whole = [line for line in page if line.at != start]
            lines += whole
            limit = PAGE if whole else 2 * limit

    def _read(self, start: int, end: int, limit: int, *, newest: bool) -> list[Line]:
        """Only lines of this time: with others, a store that gives something else would make endless pages."""
        lines = lines_of(self._store.lines(self._logsql, start=start, end=end, limit=limit, newest=newest))
        return [line for line in lines if line.at is not None and start <= line.at < end]


def _soon(now: float) -> int:
    """A minute later, in Unix nanoseconds: another machine's clock may be ahead."""
    return int((now + _MINUTE) * SECOND)


def of_trace(store: LogsApi, trace_id: str, start: int, end: int, *, limit: int) -> list[Line]:
    """The oldest lines with a trace's id. start, end: of the trace, in Unix nanoseconds."""
    around = _MINUTE * SECOND  # clocks differ, and a line may follow its span
    query = logsql(Query(trace_id=trace_id))
    return lines_of(store.lines(query, start=start - around, end=end + around, limit=limit, newest=False))


def logsql(query: Query) -> str:
    """The query in the store's language, LogsQL."""
    parts = []
    if query.job_id:
        parts.append(f'{{"nomad.job"={_quoted(query.job_id)}}}')
    if query.job_id and query.namespace:
        parts.append(f'"nomad.namespace":in({_quoted(query.namespace)}, "")')
    if query.trace_id:
        parts.append(f'"trace_id":={_quoted(query.trace_id)}')
    if query.grep:
        parts.append(f"_msg:~{_quoted('(?i)' + re.escape(query.grep))}")
    return (" ".join(parts) or "*") + (_having(query.where) if query.where else "")


def _having(where: Sequence[tuple[str, str]]) -> str:
    """Filters for fields of a line; also for those in its text, in JSON or as logfmt."""
    names = ", ".join(_quoted(name) for name, _ in where)
    unpacked = [f" | unpack_{kind} fields ({names}) keep_original_fields" for kind in ("json", "logfmt")]
    values = " ".join(f"{_quoted(name)}:={_quoted(value)}" for name, value in where)
    return "".join(unpacked) + f" | filter {values}"


def lines_of(entries: Iterable[Json]) -> list[Line]:
    """What LogsApi.lines gives, in order of time."""
    return in_order(_line(entry) for entry in entries)


def _line(entry: Mapping[str, str]) -> Line:
    text = next((entry[name] for name in ("_msg", *MESSAGE) if name in entry), "")
    return Line(
        text=text,
        at=time_in(entry["_time"]),
        level=level_of(entry.get("severity_text", "")) or time_and_level(text)[1],
        job=entry.get("nomad.job") or entry.get("service.name", ""),
        task=entry.get("nomad.task", ""),
        alloc_id=entry.get("nomad.alloc.id", ""),
        stream=entry.get("log.iostream", ""),
        trace_id=entry.get("trace_id", ""),
        span_id=entry.get("span_id", ""),
    )


def _quoted(text: str) -> str:
    """As a string of LogsQL. That is a string of Go, which for all that occurs here is one of JSON.

    Bytes of the command line that are no UTF-8, and lone surrogates from JSON, become what a collector makes of them.
    """
    whole = _HALF_A_LETTER.sub("\ufffd", text)
    return json.dumps(whole.encode(errors="surrogateescape").decode(errors="replace"), ensure_ascii=False)
