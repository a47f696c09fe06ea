"""Jaeger and VictoriaLogs in memory: they find what the test has put in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from obsctl.clients.protocols import JaegerApi, LogsApi, OtlpApi
from obsctl.errors import Rejected
from obsctl.model import Json
from tests.fakes.breakable import Breakable

_SECOND = 1_000_000_000
_TEXT = r'"(?:[^"\\]|\\.)*"'
_FILTER = re.compile(rf"\{{({_TEXT})=({_TEXT})\}}|({_TEXT}):=({_TEXT})|_msg:~({_TEXT})|({_TEXT}):in\(({_TEXT}), \"\"\)")
_NAMES = rf"\(({_TEXT}(?:, {_TEXT})*)\)"
_HAVING = re.compile(
    rf" \| unpack_json fields {_NAMES} keep_original_fields \| unpack_logfmt fields {_NAMES} keep_original_fields"
    r" \| filter (.*)",
    re.DOTALL,
)
_LOGFMT = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')
_UNDERSCORED = {"trace_id", "span_id", "severity_text"}


class FakeJaeger(Breakable, api=JaegerApi):
    """JaegerApi. received: ResourceSpans, each with one span."""

    address = "http://jaeger.fake:16686"

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Json] = []

    def services(self) -> list[str]:
        return sorted({_service(group) for group in self.received})

    def trace(self, trace_id: str) -> list[Json]:
        return [group for group in self.received if _span(group)["traceId"] == trace_id]

    def search(
        self, service: str, *, since: float, until: float, min_duration: float = 0.0, limit: int = 20
    ) -> list[Json]:
        newest: dict[str, int] = {}
        for group in self.received:
            span = _span(group)
            start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
            fits = _nanoseconds(since) <= start <= _nanoseconds(until) and end - start >= min_duration * _SECOND
            if fits and _service(group) == service:
                newest[span["traceId"]] = max(start, newest.get(span["traceId"], 0))
        found = sorted(newest, key=lambda trace_id: newest[trace_id], reverse=True)[:limit]
        return [group for trace_id in found for group in self.trace(trace_id)]


class FakeLogs(Breakable, api=LogsApi):
    """LogsApi. It knows the queries that obsctl makes, and no others. entries: (Unix nanoseconds, fields)."""

    address = "http://victorialogs.fake:9428"

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[int, dict[str, str]]] = []
        self.answers: dict[str, int] = {}

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        found = [(at, fields) for at, fields in self._fitting(logsql) if start <= at < end]
        found = sorted(found, key=lambda entry: entry[0], reverse=newest)[:limit]
        return [{"_time": _rfc3339(at), **fields} for at, fields in found]

    def counts(self, logsql: str, *, start: int, end: int, step: int) -> dict[int, int]:
        times = [at for at, _ in self._fitting(logsql) if start <= at < end]
        return dict(Counter(at // _SECOND // step * step for at in times))

    def results(self, logsql: str, kind: str, *, start: int, end: int) -> int:
        return self.answers.get(logsql, 0)

    def _fitting(self, logsql: str) -> list[tuple[int, dict[str, str]]]:
        having = _HAVING.search(logsql)
        fits = _filter(logsql[: having.start()] if having else logsql)
        has = _filter(having[3]) if having else lambda fields: True
        if fits is None or has is None:
            raise Rejected(f"VictoriaLogs at {self.address}: cannot parse {logsql!r}", hint="mend it")
        return [
            (at, fields) for at, fields in self.entries if fits(fields) and has({**_unpacked(fields["_msg"]), **fields})
        ]

    def receive(self, at: int, text: str, **fields: str) -> None:
        """A line comes in. at: Unix nanoseconds. fields: nomad_job is nomad.job, as a name of Python cannot be."""
        named = {name if name in _UNDERSCORED else name.replace("_", "."): value for name, value in fields.items()}
        usual = {"service.name": named.get("nomad.job", "unknown_service"), "severity_text": "Unspecified"}
        self.entries.append((at, {"_msg": text, **usual, **named}))


class FakeOtlp(Breakable, api=OtlpApi):
    """OtlpApi. What it takes is found in the backends at once, in those that it reaches."""

    address = "http://agent.fake:4318"

    def __init__(self, jaeger: FakeJaeger | None = None, logs: FakeLogs | None = None) -> None:
        super().__init__()
        self.jaeger = jaeger
        self.logs = logs
        self.gauges: list[tuple[str, float]] = []

    def send_span(self, service: str, name: str, *, trace_id: str, span_id: str, at: float) -> None:
        time = str(int(at * _SECOND))
        ids = {"traceId": trace_id, "spanId": span_id}
        span = {**ids, "name": name, "startTimeUnixNano": time, "endTimeUnixNano": time}
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        if self.jaeger:
            self.jaeger.received.append({"resource": resource, "scopeSpans": [{"spans": [span]}]})

    def send_gauge(self, service: str, name: str, value: float, *, at: float) -> None:
        self.gauges.append((name, value))

    def send_line(self, service: str, line: str, *, trace_id: str, span_id: str, at: float) -> None:
        if self.logs:
            self.logs.receive(int(at * _SECOND), line, service_name=service, trace_id=trace_id, span_id=span_id)


def _filter(logsql: str) -> Callable[[dict[str, str]], bool] | None:
    """Whether a line's fields fit; None for a query that is none."""
    tests: list[Callable[[dict[str, str]], object]] = []
    rest = "" if logsql == "*" else logsql
    while rest:
        match = _FILTER.match(rest)
        if match is None:
            return None
        tests.append(_test(*(json.loads(text) if text else "" for text in match.groups())))
        rest = rest[match.end() :].removeprefix(" ")
    return lambda fields: all(test(fields) for test in tests)


def _test(
    label: str, its: str, field: str, value: str, pattern: str, maybe: str, maybe_value: str
) -> Callable[[dict[str, str]], object]:
    if maybe:
        return lambda fields: fields.get(maybe, "") in (maybe_value, "")
    if pattern:
        return lambda fields: re.search(pattern, fields["_msg"])
    return lambda fields: fields.get(label or field, "") == (its or value)


def _unpacked(text: str) -> dict[str, str]:
    """The fields of a line in JSON or logfmt."""
    if text.startswith("{"):
        return {name: str(value) for name, value in json.loads(text).items()}
    return {name: json.loads(value) if value.startswith('"') else value for name, value in _LOGFMT.findall(text)}


def _rfc3339(at: int) -> str:
    seconds, fraction = divmod(at, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"


def _nanoseconds(unix: float) -> int:
    """Exact to the microsecond, as it is sent."""
    return round(unix * 1e6) * 1000


def _span(group: Json) -> Json:
    [scope] = group["scopeSpans"]
    [span] = scope["spans"]
    return dict(span)


def _service(group: Json) -> str:
    return next(entry["value"]["stringValue"] for entry in group["resource"]["attributes"])
