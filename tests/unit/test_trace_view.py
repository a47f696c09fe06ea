"""A trace drawn for the terminal, as it would be seen."""

from __future__ import annotations

import pytest

from obsctl.model import Json
from obsctl.telemetry.lines import Line
from obsctl.telemetry.trace import Trace, read
from obsctl.telemetry.trace_view import bar, draw, format_duration, head, summary
from tests.otlp import MS, START, TRACE, span


def one(*spans: Json) -> Trace:
    [found] = read(spans)
    return found


def seen(trace: Trace, *, width: int = 80, lines: tuple[Line, ...] = (), attributes: bool = False) -> list[str]:
    rows = draw(trace, width=width, lines=lines, attributes=attributes)
    return ["".join(text for text, _ in row).rstrip() for row in rows]


REQUEST = one(
    span("hello", "GET /hello", "a1", took=100),
    span("hello", "GET", "a2", "a1", at=2, took=20, error="timed out"),
    span("hello", "GET", "a3", "a1", at=50, took=50),
    span("response", "GET /phrase", "a4", "a3", at=52, took=44),
    span("response", "consul", "a5", "a4", at=52, took=40, error="KeyError: 'x'", exception="KeyError: 'x'"),
)


def test_the_tree_with_times_bars_gaps_and_errors() -> None:
    assert seen(REQUEST) == [
        "hello  GET /hello              100 ms  █████████████████████████████████████████",
        "├─ ✗ hello  GET               20.0 ms  ▐████████",
        "│     timed out",
        "├─ (no span)                  28.0 ms           ············",
        "└─ hello  GET                 50.0 ms                      ▐████████████████████",
        "   └─ response  GET /phrase   44.0 ms                       ██████████████████▌",
        "      └─ ✗ response  consul   40.0 ms                       ████████████████▌",
        "            KeyError: 'x'",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_it_fits_the_width(width: int) -> None:
    rows = seen(REQUEST, width=width)
    assert max(map(len, rows)) <= max(width, 40)
    assert any("█" in row for row in rows) == (width >= 60)


def test_a_long_name_is_cut_and_a_deep_prefix_too() -> None:
    deep = one(*[span("web", f"step {n} " + "x" * 80, f"{n:x}", f"{n - 1:x}" if n > 1 else "") for n in range(1, 60)])
    rows = seen(deep)
    assert max(map(len, rows)) <= 80
    assert "web  step 1 xxx" in rows[0]
    assert rows[-1].startswith("…")
    assert "web  step 5" in rows[-1]


def test_log_lines_stand_below_their_span_in_order_of_time() -> None:
    lines = (
        Line("no phrase", START + 60 * MS, "warn", span_id="00000000000000a5"),
        Line("asked", START + 1 * MS, "info", span_id="00000000000000a1"),
        Line("from elsewhere", START + 70 * MS, span_id="00000000000000ff"),
        Line("no time", None),
    )
    rows = seen(REQUEST, lines=lines)
    assert rows[0] == "no time"
    assert rows[2] == "├─ +1.00 ms INFO asked"
    assert rows[-2:] == ["         └─ +60.0 ms WARN no phrase", "+70.0 ms from elsewhere"]


def test_a_log_entry_of_several_lines_stays_in_its_place() -> None:
    lines = (Line("it failed\nTraceback:\n  line 1", START, "error", span_id="00000000000000a1"), Line("", START + MS))
    rows = seen(one(span("web", "a", "a1", took=50), span("web", "b", "a2", "a1", at=2, took=48)), lines=lines)
    assert rows[1:4] == ["├─ +0 ns ERROR it failed", "│     Traceback:", "│       line 1"]
    assert rows[-1] == "+1.00 ms"


def test_line_breaks_in_names_and_values_break_nothing() -> None:
    rows = seen(one(span("web", "SELECT a\nFROM b", "1", db_statement="SELECT a\nFROM b")), attributes=True)
    assert rows[0].startswith("web  SELECT a FROM b ")
    assert rows[1:] == ["   db.statement=SELECT a FROM b"]


def test_the_connector_of_an_error_leads_to_what_is_below_it() -> None:
    rows = seen(one(span("web", "a", "1", error="bad"), span("web", "b", "2", "1")), width=60)
    assert rows[1:] == ["│  bad", rows[2]]
    assert rows[2].startswith("└─ web  b")


def test_attributes_are_shown_when_asked_for() -> None:
    rows = seen(one(span("web", "a", "1", http_status=200)), attributes=True)
    assert rows[1:] == ["   http.status=200"]


def test_an_orphan_says_that_it_is_one() -> None:
    assert seen(one(span("web", "a", "1", "9")))[1:] == ["   its parent has not arrived (yet)"]


def test_a_short_pause_is_no_gap_and_overlapping_spans_leave_none() -> None:
    trace = one(
        span("web", "root", "1", took=100),
        span("web", "a", "2", "1", at=5, took=60),
        span("web", "b", "3", "1", at=20, took=10),
        span("web", "c", "4", "1", at=70, took=25),
    )
    assert not any("(no span)" in row for row in seen(trace))


def test_a_span_has_its_colour_by_service_and_red_when_it_failed() -> None:
    rows = draw(REQUEST, width=80)
    assert ("hello", "cyan") in rows[0]
    assert ("response", "magenta") in rows[5]
    assert ("✗ hello  GET", "bold red") in rows[1]
    assert ("timed out", "red") in rows[2]


def test_the_head_and_the_summary() -> None:
    assert "".join(text for text, _ in head(REQUEST)) == f"trace {TRACE}  2023-11-14T22:13:20.000Z"
    assert "".join(text for text, _ in summary(REQUEST)) == "2 services, 5 spans, 2 errors, 100 ms"
    lonely = one(span("web", "a", "1", "9", took=1))
    words = "1 service, 1 span, 0 errors, 1.00 ms; 1 span without their parent: the trace is not complete (yet)"
    assert "".join(text for text, _ in summary(lonely)) == words


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.50 µs"),
        (999_400, "999 µs"),
        (999_999, "1.00 ms"),
        (9_996_000, "10.0 ms"),
        (48_123_456, "48.1 ms"),
        (1_234_000_000, "1.23 s"),
        (125_000_000_000, "125 s"),
    ],
)
def test_durations_have_three_digits(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("start", "end", "drawn"),
    [
        (0, 1, "████"),
        (0, 0, "▌   "),
        (0.5, 0.5, "  ▌ "),
        (1, 1, "   ▐"),
        (0.125, 0.5, "▐█  "),
        (0.25, 0.6, " █▌ "),
    ],
)
def test_a_bar_is_exact_to_half_a_character_and_never_empty(start: float, end: float, drawn: str) -> None:
    assert bar(start, end, 4) == drawn


def test_both_sides_of_a_call_that_share_an_id_are_drawn_each_with_its_own_lines() -> None:
    call = one(
        span("web", "GET", "a1", took=100, kind=3),
        span("till", "GET /", "a1", at=10, took=80, error="no till"),
        span("till", "SELECT", "a2", "a1", at=12, took=70, kind=3),
    )
    below = [
        Line("asked", START + MS, job="web", span_id="a1".rjust(16, "0")),
        Line("answered", START + 11 * MS, job="till", span_id="a1".rjust(16, "0")),
    ]
    rows = [row[:28].rstrip() for row in seen(call, lines=tuple(below))]
    assert rows == [
        "web  GET              100 ms",
        "├─ +1.00 ms asked",
        "└─ ✗ till  GET /     80.0 ms",
        "   │  no till",
        "   ├─ +11.0 ms answered",
        "   └─ till  SELECT   70.0 ms",
    ]
    assert "".join(text for text, _ in summary(call)) == "2 services, 3 spans, 1 error, 100 ms"
