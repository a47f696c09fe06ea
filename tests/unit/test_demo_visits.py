"""Requests from a terminal: what each answer is taken for, and how fast they go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import responses

from obsctl.demo.visits import visit, visits
from obsctl.errors import Unreachable
from tests.fakes import FakeClock

HELLO = "http://10.0.0.2:5050/hello"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def where() -> str:
    return "http://10.0.0.2:5050"


@pytest.fixture
def http() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.mark.parametrize(
    ("hello_says", "outcome", "answer"),
    [
        ({"json": {"message": "Hello! "}}, "ok", "Hello! "),
        ({"status": 503, "json": {"error": "no instance"}}, "failed", "no instance"),
        ({"status": 502, "body": "<html>"}, "failed", "502: <html>"),
        ({"json": ["Hello!"]}, "ok", '200: ["Hello!"]'),
        ({"body": requests.ConnectionError("refused")}, "unreachable", f"{HELLO} cannot be reached"),
        ({"body": requests.ReadTimeout()}, "unreachable", f"{HELLO} did not answer in time"),
    ],
)
def test_each_answer_has_its_outcome(
    http: responses.RequestsMock, hello_says: dict[str, object], outcome: str, answer: str
) -> None:
    http.get(HELLO, **hello_says)
    made = visit(where, FakeClock())
    assert (made.outcome, made.answer, made.trace_id) == (outcome, answer, None)


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331", None),
        ("something else", None),
    ],
)
def test_the_answer_names_its_trace(http: responses.RequestsMock, header: str, trace_id: str | None) -> None:
    http.get(HELLO, json={"message": "Hello!"}, headers={"traceresponse": header})
    assert visit(where, FakeClock()).trace_id == trace_id


def test_without_an_instance_nothing_is_sent() -> None:
    def nowhere() -> str:
        raise Unreachable("no healthy instance", hint="-")

    made = visit(nowhere, FakeClock())
    assert (made.outcome, made.answer) == ("unreachable", "no healthy instance")


def test_the_pace_is_kept_and_slow_answers_are_not_caught_up_with(http: responses.RequestsMock) -> None:
    clock = FakeClock()
    durations = [0.1, 0.1, 3.0, 0.1]
    sent_at: list[float] = []

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        sent_at.append(round(clock.monotonic(), 3))
        clock.sleep(durations.pop(0))
        return 200, {}, '{"message": "Hello!"}'

    http.add_callback("GET", HELLO, callback=answer)
    made = list(visits(where, number=4, rate=2, clock=clock))
    assert sent_at == [0.0, 0.5, 1.0, 4.0]
    assert [round(each.seconds, 3) for each in made] == [0.1, 0.1, 3.0, 0.1]
