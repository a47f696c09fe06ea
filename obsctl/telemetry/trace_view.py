"""Draws a trace as a tree for the terminal: what called what, when, how long, and what failed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from obsctl.model import Piece
from obsctl.telemetry.lines import LEVEL_STYLES, Line, format_time, readable
from obsctl.telemetry.trace import Span, Trace, owner

GAP = 0.2
"""A pause inside a span is shown when it takes at least this share of the trace's duration."""
DURATION_WIDTH = 9
_USUAL_BAR = 20
_LEAST_BAR = 12
_LEAST_LABEL = 24
_SERVICE_STYLES = ("cyan", "magenta", "blue", "green", "yellow")
_TIMES = ((1_000_000_000, "s"), (1_000_000, "ms"), (1000, "µs"))


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a span runs, but none of the spans below it."""

    start: int
    end: int


Item = Span | Gap | Line
SpanRow = list[Piece]


def draw(trace: Trace, *, width: int, lines: Sequence[Line] = (), attributes: bool = False) -> list[SpanRow]:
    """One row an item, in the order of the tree; below a span what went wrong in it.

    width: characters of the terminal. lines: the trace's log lines, each shown below its span.
    attributes: whether to show those of each span.
    """
    table = _Table.fit(trace, width)
    orphans = {branch.span for branch in trace.branches if branch.orphan}
    rows: list[SpanRow] = []
    for item, prefix, below in _walk(trace, lines):
        rows.append(table.row(item, prefix))
        rows += [[(below, "dim"), note] for note in _notes(item, orphans, attributes)]
    return rows


def _notes(item: Item, orphans: set[Span], attributes: bool) -> list[Piece]:
    """What stands below an item: the further lines of a log entry; the errors and attributes of a span."""
    if isinstance(item, Gap):
        return []
    if isinstance(item, Line):
        return [(text, LEVEL_STYLES.get(item.level)) for text in readable(item.text).splitlines()[1:]]
    notes: list[Piece] = [("its parent has not arrived (yet)", "yellow")] if item in orphans else []
    notes += [(text, "red") for error in item.errors for text in error.splitlines()]
    if attributes:
        notes += [(_one_line(f"{name}={value}"), "dim") for name, value in item.attributes.items()]
    return notes


def head(trace: Trace) -> SpanRow:
    return [("trace ", None), (trace.trace_id, "bold"), (f"  {format_time(trace.start)}", "dim")]


def summary(trace: Trace) -> SpanRow:
    """How many services, spans and errors, and how long it took."""
    counts = [_count(len(trace.services), "service"), _count(len(trace.branches), "span")]
    failed = _count(len(trace.failed), "error")
    pieces: SpanRow = [(f"{', '.join(counts)}, ", None), (failed, "bold red" if trace.failed else None)]
    pieces.append((f", {format_duration(trace.duration)}", None))
    if trace.orphans:
        missing = f"; {_count(trace.orphans, 'span')} without their parent: the trace is not complete (yet)"
        pieces.append((missing, "yellow"))
    return pieces


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def format_duration(nanoseconds: int) -> str:
    """A duration with three significant digits: 1.23 s, 45.6 ms, 789 µs."""
    for size, unit in _TIMES:
        if nanoseconds >= 0.9995 * size:
            value = nanoseconds / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{nanoseconds} ns"


def bar(start: float, end: float, width: int) -> str:
    """A bar between two shares of the width, exact to half a character and at least that long."""
    first = min(int(start * 2 * width), 2 * width - 1)
    last = max(first + 1, round(end * 2 * width))
    halves = [first <= half < last for half in range(2 * width)]
    return "".join(" ▐▌█"[2 * left + right] for left, right in zip(halves[::2], halves[1::2], strict=True))


@dataclass(frozen=True)
class _Table:
    """The widths of the columns. bar: 0 on a terminal that is too narrow for one."""

    trace: Trace
    label: int
    bar: int
    styles: dict[str, str]

    @classmethod
    def fit(cls, trace: Trace, width: int) -> _Table:
        longest = max(3 * branch.depth + len(_name(branch.span)) for branch in trace.branches)
        room = width - DURATION_WIDTH - 3
        label = min(longest, max(_LEAST_LABEL, room - _USUAL_BAR))
        bar_width = room - label
        styles = {
            service: _SERVICE_STYLES[number % len(_SERVICE_STYLES)] for number, service in enumerate(trace.services)
        }
        return cls(trace, label, bar_width if bar_width >= _LEAST_BAR else 0, styles)

    def row(self, item: Item, prefix: str) -> SpanRow:
        if isinstance(item, Line):
            offset = f"+{format_duration(max(0, item.at - self.trace.start))}" if item.at else ""
            style = LEVEL_STYLES.get(item.level)
            head = "".join(f"{word} " for word in (offset, item.level.upper()) if word)
            first_line = next(iter(readable(item.text).splitlines()), "")
            return [(prefix, "dim"), (head, style or "dim"), (first_line, style)]
        prefix = prefix if len(prefix) <= self.label // 2 else f"…{prefix[1 - self.label // 2 :]}"
        label, style = self._label(item, len(prefix))
        pieces = [(prefix, "dim"), *label]
        used = sum(len(text) for text, _ in pieces)
        time = format_duration(item.end - item.start).rjust(DURATION_WIDTH)
        return [*pieces, (" " * (self.label - used) + " " + time, style), *self._bar(item, style)]

    def _label(self, item: Span | Gap, used: int) -> tuple[SpanRow, str | None]:
        room = max(self.label - used, 1)
        if isinstance(item, Gap):
            return [(_cut("(no span)", room), "dim")], "dim"
        text = _cut(_name(item), room)
        if item.failed:
            return [(text, "bold red")], "red"
        service = len(item.service)
        return [(text[:service], self.styles[item.service]), (text[service:], None)], None

    def _bar(self, item: Span | Gap, style: str | None) -> SpanRow:
        if not self.bar:
            return []
        total = max(self.trace.duration, 1)
        begin, end = ((moment - self.trace.start) / total for moment in (item.start, item.end))
        drawn = bar(begin, end, self.bar).rstrip()
        if isinstance(item, Gap):
            drawn = drawn.translate(_THIN)
        return [("  ", None), (drawn, style or self.styles[item.service] if isinstance(item, Span) else "dim")]


_THIN = str.maketrans("█▐▌", "···")


def _name(span: Span) -> str:
    return f"{'✗ ' if span.failed else ''}{span.service}  {_one_line(span.name)}"


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _walk(trace: Trace, lines: Sequence[Line]) -> Iterator[tuple[Item, str, str]]:
    """Each item, with the lines of the tree that are drawn before it and before what stands below it."""
    children = _children(trace, lines)
    stack: list[tuple[Item, str, bool, bool]] = [(item, "", True, True) for item in reversed(children[None])]
    while stack:
        item, indent, last, top = stack.pop()
        own = children.get(item, []) if isinstance(item, Span) else []
        prefix = "" if top else f"{indent}{'└─ ' if last else '├─ '}"
        inner = "" if top else f"{indent}{'   ' if last else '│  '}"
        yield item, prefix, f"{inner}{'│  ' if own else '   '}"
        for number, child in enumerate(reversed(own)):
            stack.append((child, inner, number == 0, False))


def _children(trace: Trace, lines: Sequence[Line]) -> dict[Span | None, list[Item]]:
    """Span -> the items below it, in order of time; None -> those at the top."""
    children: dict[Span | None, list[Item]] = {None: []}
    by_id: dict[str, list[Span]] = {}
    for branch in trace.branches:
        children.setdefault(branch.parent, []).append(branch.span)
        by_id.setdefault(branch.span.span_id, []).append(branch.span)
    for parent, below in list(children.items()):
        if parent:
            children[parent] = [*below, *_gaps(parent, below, trace.duration)]
    for line in lines:
        children.setdefault(owner(by_id.get(line.span_id, ()), line.job), []).append(line)
    for items in children.values():
        items.sort(key=lambda item: item.at or 0 if isinstance(item, Line) else item.start)
    return children


def _gaps(parent: Span, below: Sequence[Item], duration: int) -> Iterator[Gap]:
    """The pauses of a span: before, between and after the spans below it."""
    spans = sorted((item for item in below if isinstance(item, Span)), key=lambda span: span.start)
    busy = parent.start
    for start, end in [*((span.start, span.end) for span in spans), (parent.end, parent.end)]:
        if start - busy >= max(GAP * duration, 1):
            yield Gap(busy, start)
        busy = max(busy, end)
