"""Traces: read from OTLP/JSON, and put in order as trees. Pure.

Format: opentelemetry-proto, trace/v1/trace.proto. In its JSON ids are hexadecimal and 64-bit numbers are texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from obsctl.model import Json

_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_CALLER = ("client", "producer")
_CALLED = ("server", "consumer")


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span. at: Unix nanoseconds."""

    at: int
    name: str
    attributes: Json


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """One step of a request in one service. Equal to itself alone, for several of a trace may have one id.

    parent_id: "" at the beginning of a trace. kind: "server", "client" and so on, "" when the span has none.
    start, end: Unix nanoseconds. status: "unset", "ok" or "error", with the service's message.
    attributes, resource: name -> text, number, bool, or a list or table of these.
    """

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    status: str
    message: str
    attributes: Json
    resource: Json
    events: tuple[SpanEvent, ...]

    @property
    def failed(self) -> bool:
        return self.status == "error"

    @property
    def errors(self) -> list[str]:
        """What went wrong in it: the status's message, and each exception as "type: message"; nothing twice."""
        errors = [_exception(event.attributes) for event in self.events if event.name == "exception"]
        if self.failed and not any(text.endswith(self.message) for text in errors):
            errors.insert(0, self.message)
        return list(dict.fromkeys(filter(None, errors)))


@dataclass(frozen=True, slots=True)
class Branch:
    """A span in its place. parent: the span above it. depth: 0 at the top. orphan: its parent has not arrived (yet)."""

    span: Span
    parent: Span | None
    depth: int
    orphan: bool


@dataclass(frozen=True)
class Trace:
    """The spans of one trace that have arrived, in the order of a tree: each below its parent, sorted by start."""

    trace_id: str
    branches: tuple[Branch, ...]

    @property
    def spans(self) -> list[Span]:
        return [branch.span for branch in self.branches]

    @cached_property
    def start(self) -> int:
        """Unix nanoseconds."""
        return min(span.start for span in self.spans)

    @cached_property
    def end(self) -> int:
        """Unix nanoseconds; a span may outlive the one that began the trace."""
        return max(span.end for span in self.spans)

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start

    @property
    def services(self) -> list[str]:
        """In the order in which the trace reaches them."""
        return list(dict.fromkeys(span.service for span in self.spans))

    @property
    def failed(self) -> list[Span]:
        return [span for span in self.spans if span.failed]

    @property
    def orphans(self) -> int:
        """How many spans have a parent that has not arrived: the trace is not complete (yet)."""
        return sum(branch.orphan for branch in self.branches)


def read(resource_spans: Iterable[Json]) -> list[Trace]:
    """The traces in a list of ResourceSpans, the one that began last first."""
    by_trace: dict[str, dict[tuple[object, ...], Span]] = defaultdict(dict)
    for span in _spans(resource_spans):
        same = (span.span_id, span.service, span.kind, span.name, span.start)
        by_trace[span.trace_id].setdefault(same, span)  # a span may be delivered twice
    traces = [Trace(trace_id, tuple(_tree(list(spans.values())))) for trace_id, spans in by_trace.items()]
    return sorted(traces, key=lambda trace: trace.start, reverse=True)


def owner(sharing: Sequence[Span], service: str) -> Span | None:
    """Of the spans that share an id, the one that something below this id belongs to: the one of its own service, else
    the side that was called. None when there are no such spans."""
    return max(sharing, key=lambda span: (span.service == service, span.kind in _CALLED), default=None)


def _parent(span: Span, by_id: Mapping[str, Sequence[Span]]) -> Span | None:
    """With B3, as of Zipkin and Envoy, the two sides of a call share their id and parent: one is below the other."""
    callers = [other for other in by_id[span.span_id] if other.kind in _CALLER]
    if callers and span.kind in _CALLED:
        return owner(callers, span.service)
    return owner(by_id.get(span.parent_id, ()), span.service)


def _tree(spans: list[Span]) -> Iterator[Branch]:
    """Every span once. A span that is its own ancestor, which only a faulty program makes, counts as an orphan."""
    spans = sorted(spans, key=lambda span: (span.start, -span.end))
    by_id: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_id[span.span_id].append(span)
    children: dict[Span | None, list[Span]] = defaultdict(list)
    for span in spans:
        children[_parent(span, by_id)].append(span)
    placed: set[Span] = set()
    for top in [*children[None], *spans]:
        stack: list[tuple[Span, Span | None, int]] = [(top, None, 0)]
        while stack:  # no recursion: a trace may be deeper than Python's stack
            span, parent, depth = stack.pop()
            if span in placed:
                continue
            placed.add(span)
            yield Branch(span, parent, depth, orphan=not depth and bool(span.parent_id))
            stack += [(child, span, depth + 1) for child in reversed(children[span])]


def _spans(resource_spans: Iterable[Json]) -> Iterator[Span]:
    for group in resource_spans:
        resource = _attributes(group.get("resource") or {})
        for scope in group.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                yield _span(span, resource)


def _span(span: Json, resource: Json) -> Span:
    status, start = span.get("status") or {}, int(span.get("startTimeUnixNano") or 0)
    events = [
        SpanEvent(int(event.get("timeUnixNano") or 0), event.get("name") or "", _attributes(event))
        for event in span.get("events") or []
    ]
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId") or "",
        service=str(resource.get("service.name") or "unknown"),
        name=span.get("name") or "",
        kind=_named(_KINDS, span.get("kind")),
        start=start,
        end=int(span.get("endTimeUnixNano") or start),
        status=_named(_STATUSES, status.get("code")),
        message=status.get("message") or "",
        attributes=_attributes(span),
        resource=resource,
        events=tuple(events),
    )


def _named(names: Sequence[str], number: int | None) -> str:
    """OTLP's name for a number; for a number that OTLP does not have, the first name."""
    return names[number] if number and 0 < number < len(names) else names[0]


def _attributes(owner: Json) -> Json:
    return {entry["key"]: _value(entry.get("value") or {}) for entry in owner.get("attributes") or []}


def _value(value: Json) -> Any:
    """The value of an AnyValue, which has one entry named by its type."""
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_value(item) for item in value["arrayValue"].get("values") or []]
    if "kvlistValue" in value:
        return _attributes({"attributes": value["kvlistValue"].get("values")})
    return next(iter(value.values()), None)


def _exception(attributes: Json) -> str:
    parts = (attributes.get("exception.type"), attributes.get("exception.message"))
    return ": ".join(str(part) for part in parts if part)
