"""Jaeger and Loki in memory: they find what the test has put in."""

from __future__ import annotations

import json
import re

from obsctl.clients.protocols import JaegerApi, Json, LokiApi, OtlpApi
from obsctl.errors import Rejected
from tests.fakes.breakable import Breakable

_SECOND = 1_000_000_000
_QUERY = re.compile(
    r"""\{(?P<label>\w+)(?P<match>=~?)(?P<value>"(?:[^"\\]|\\.)*")\}
    (?:\ \|~\ (?P<text>"(?:[^"\\]|\\.)*"))?
    (?:\ \|\ trace_id=(?P<trace_id>"\w*"))?""",
    re.VERBOSE,
)


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


class FakeLoki(Breakable, api=LokiApi):
    """LokiApi. It knows the queries that obsctl makes, and no others. entries: (labels, Unix nanoseconds, line)."""

    address = "http://loki.fake:3100"

    def __init__(self) -> None:
        super().__init__()
        self.is_ready = True
        self.entries: list[tuple[dict[str, str], int, str]] = []

    def ready(self) -> bool:
        return self.is_ready

    def lines(self, logql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        query = _QUERY.fullmatch(logql)
        if query is None:
            raise Rejected(f"Loki at {self.address}: parse error in {logql!r}", hint="mend it")
        found = [entry for entry in self.entries if start <= entry[1] < end and _fits(query, entry)]
        found = sorted(found, key=lambda entry: entry[1], reverse=newest)[:limit]
        return [{"stream": stream, "values": [[str(at), text]]} for stream, at, text in found]

    def receive(self, at: int, text: str, **stream: str) -> None:
        """A line comes in. at: Unix nanoseconds."""
        self.entries.append(({"service_name": stream.get("nomad_job", "unknown_service"), **stream}, at, text))


class FakeOtlp(Breakable, api=OtlpApi):
    """OtlpApi. What it takes is found in the backends at once, in those that it reaches."""

    address = "http://agent.fake:4318"

    def __init__(self, jaeger: FakeJaeger | None = None, loki: FakeLoki | None = None) -> None:
        super().__init__()
        self.jaeger = jaeger
        self.loki = loki

    def send_span(self, service: str, name: str, *, trace_id: str, span_id: str, at: float) -> None:
        time = str(int(at * _SECOND))
        ids = {"traceId": trace_id, "spanId": span_id}
        span = {**ids, "name": name, "startTimeUnixNano": time, "endTimeUnixNano": time}
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        if self.jaeger:
            self.jaeger.received.append({"resource": resource, "scopeSpans": [{"spans": [span]}]})

    def send_line(self, service: str, line: str, *, trace_id: str, span_id: str, at: float) -> None:
        if self.loki:
            self.loki.receive(int(at * _SECOND), line, service_name=service, trace_id=trace_id, span_id=span_id)


def _fits(query: re.Match[str], entry: tuple[dict[str, str], int, str]) -> bool:
    stream, _, text = entry
    held = stream.get(query["label"], "")
    wanted = json.loads(query["value"])
    matches = re.fullmatch(wanted, held) if query["match"] == "=~" else held == wanted
    contains = not query["text"] or re.search(json.loads(query["text"]), text)
    in_trace = not query["trace_id"] or stream.get("trace_id") == json.loads(query["trace_id"])
    return bool(matches and contains and in_trace)


def _nanoseconds(unix: float) -> int:
    """Exact to the microsecond, as it is sent."""
    return round(unix * 1e6) * 1000


def _span(group: Json) -> Json:
    [scope] = group["scopeSpans"]
    [span] = scope["spans"]
    return dict(span)


def _service(group: Json) -> str:
    return next(entry["value"]["stringValue"] for entry in group["resource"]["attributes"])
