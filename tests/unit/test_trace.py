"""Reading spans into a tree."""

from __future__ import annotations

import pytest

from obsctl.model import Json
from obsctl.telemetry.trace import Trace, read
from tests.otlp import MS, START, TRACE, span


def one(*spans: Json) -> Trace:
    [found] = read(spans)
    return found


def shape(trace: Trace) -> list[tuple[int, str]]:
    return [(branch.depth, branch.span.name) for branch in trace.branches]


def test_a_span_has_all_that_was_sent() -> None:
    [found] = one(
        span("web", "GET /", "a1", "a0", at=5, took=2, error="no", exception="KeyError: 'x'", http_status=500, ok=False)
    ).spans
    assert (found.trace_id, found.span_id, found.parent_id) == (TRACE, "00000000000000a1", "00000000000000a0")
    assert (found.service, found.name, found.kind) == ("web", "GET /", "server")
    assert (found.start, found.end) == (START + 5 * MS, START + 7 * MS)
    assert (found.status, found.message) == ("error", "no")
    assert found.attributes == {"http.status": 500, "ok": False}
    assert found.resource == {"service.name": "web"}
    assert found.errors == ["no", "KeyError: 'x'"]


def test_what_a_span_need_not_have() -> None:
    bare = {"traceId": TRACE, "spanId": "1", "startTimeUnixNano": "5", "endTimeUnixNano": "9"}
    [found] = one({"scopeSpans": [{"spans": [bare]}]}).spans
    assert (found.service, found.name, found.kind, found.status, found.parent_id) == ("unknown", "", "", "unset", "")
    assert found.errors == []


def test_what_another_sender_may_leave_out_or_make_up() -> None:
    """JSON leaves out zeros, and a newer OTLP may have more kinds."""
    sent = span("web", "GET /", "a1")
    bare = sent["scopeSpans"][0]["spans"][0]
    del bare["endTimeUnixNano"]
    bare |= {"kind": 9, "status": {"code": -1}}
    [found] = one(sent).spans
    assert (found.kind, found.status, found.end) == ("", "unset", found.start)


def test_every_kind_of_attribute() -> None:
    values = [
        ({"stringValue": "a"}, "a"),
        ({"intValue": "7"}, 7),
        ({"doubleValue": 0.5}, 0.5),
        ({"boolValue": False}, False),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}}, [1, "b"]),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}, {"k": True}),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {}}, {}),
        ({}, None),
    ]
    group = span("web", "x", "1")
    group["scopeSpans"][0]["spans"][0]["attributes"] = [
        {"key": str(number), "value": value} for number, (value, _) in enumerate(values)
    ]
    [found] = one(group).spans
    assert list(found.attributes.values()) == [expected for _, expected in values]


@pytest.mark.parametrize("message", ["KeyError: 'x'", "'x'", ""])
def test_an_exception_that_repeats_the_message_is_told_once(message: str) -> None:
    found = one(span("web", "x", "1", error=message, exception="KeyError: 'x'"))
    assert found.spans[0].errors == ["KeyError: 'x'"]


def test_a_failure_without_a_word_has_no_errors_to_show() -> None:
    found = one(span("web", "x", "1", error=""))
    assert (len(found.failed), found.spans[0].errors) == (1, [])


def test_an_exception_that_was_handled_is_told_without_the_span_being_failed() -> None:
    found = one(span("web", "x", "1", exception="TimeoutError: late"))
    assert (found.failed, found.spans[0].errors) == ([], ["TimeoutError: late"])


def test_children_stand_below_their_parent_in_order_of_their_start() -> None:
    found = one(
        span("db", "late", "4", "2", at=4),
        span("api", "second", "3", "1", at=6),
        span("web", "root", "1", at=0, took=50),
        span("db", "early", "5", "2", at=3),
        span("api", "first", "2", "1", at=2),
    )
    assert shape(found) == [(0, "root"), (1, "first"), (2, "early"), (2, "late"), (1, "second")]
    assert found.services == ["web", "api", "db"]
    assert found.orphans == 0


def test_a_trace_lasts_from_its_first_moment_to_its_last() -> None:
    found = one(span("web", "root", "1", at=5, took=10), span("mail", "send", "2", "1", at=8, took=100))
    assert (found.start, found.end, found.duration) == (START + 5 * MS, START + 108 * MS, 103 * MS)


def test_a_span_whose_parent_is_not_there_is_an_orphan_and_shown() -> None:
    found = one(span("web", "root", "1"), span("db", "lost", "3", "2", at=1), span("db", "below", "4", "3", at=2))
    assert shape(found) == [(0, "root"), (0, "lost"), (1, "below")]
    assert [branch.span.name for branch in found.branches if branch.orphan] == ["lost"]
    assert found.orphans == 1


def test_spans_that_are_each_others_parents_are_shown_once() -> None:
    found = one(span("web", "a", "1", "2", at=0), span("web", "b", "2", "1", at=1), span("web", "self", "3", "3", at=2))
    assert shape(found) == [(0, "a"), (1, "b"), (0, "self")]


def test_a_span_that_was_delivered_twice_is_there_once() -> None:
    assert shape(one(span("web", "a", "1"), span("web", "a", "1"))) == [(0, "a")]


CALL = (
    span("web", "GET /", "1", took=60),
    span("web", "GET till", "2", "1", at=1, took=50, kind=3),
    span("till", "GET /", "2", "1", at=2, took=40, kind=2),
)
"""As B3 has it: the client and the server of a call share their id."""


def test_both_sides_of_a_call_that_share_an_id_are_there_the_called_below_its_caller() -> None:
    found = one(*CALL)
    assert [(branch.depth, branch.span.service, branch.span.kind) for branch in found.branches] == [
        (0, "web", "server"),
        (1, "web", "client"),
        (2, "till", "server"),
    ]
    assert (found.services, found.orphans) == (["web", "till"], 0)


@pytest.mark.parametrize("spans", [CALL[1:], CALL[:0:-1]], ids=["client first", "server first"])
def test_what_is_below_a_shared_id_belongs_to_the_side_of_its_service(spans: tuple[Json, ...]) -> None:
    below = [
        span("till", "SELECT", "3", "2", at=5, kind=3),
        span("web", "retry", "4", "2", at=4, kind=1),
        span("db", "query", "5", "2", at=6),
    ]
    assert shape(one(CALL[0], *spans, *below)) == [
        (0, "GET /"),
        (1, "GET till"),
        (2, "GET /"),
        (3, "SELECT"),
        (3, "query"),
        (2, "retry"),
    ]


def test_spans_that_share_an_id_without_being_a_call_stand_beside_each_other() -> None:
    found = one(span("web", "root", "1"), span("a", "x", "2", "1", at=1), span("b", "y", "2", "1", at=2))
    assert shape(found) == [(0, "root"), (1, "x"), (1, "y")]


def test_a_call_whose_beginning_has_not_arrived_is_one_orphan() -> None:
    assert one(*CALL[1:]).orphans == 1


def test_a_very_deep_trace_is_no_problem() -> None:
    chain = [span("web", f"s{n}", f"{n:x}", f"{n - 1:x}" if n > 1 else "", at=n) for n in range(1, 5000)]
    assert shape(one(*chain))[-1] == (4998, "s4999")


def test_the_spans_of_several_traces_are_told_apart_the_newest_first() -> None:
    other = "0" * 31 + "2"
    found = read([span("web", "old", "1"), span("web", "new", "1", at=9, trace_id=other), span("db", "x", "2", "1")])
    assert [(trace.trace_id, len(trace.branches)) for trace in found] == [(other, 1), (TRACE, 2)]


@pytest.mark.parametrize("nothing", [[], [{}], [{"scopeSpans": [{}]}]])
def test_no_spans_are_no_trace(nothing: list[Json]) -> None:
    assert read(nothing) == []
