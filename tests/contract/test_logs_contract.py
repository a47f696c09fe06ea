"""What obsctl takes for granted of Loki, held against the real one and against the fake of the unit tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from obsctl.telemetry.loki_logs import LokiTail, from_loki, logql, of_trace

from obsctl.clients import connect
from obsctl.clients.protocols import LokiApi
from obsctl.errors import Rejected, Unreachable
from obsctl.telemetry.lines import SECOND, Line, Query
from obsctl.wait import wait_until
from tests.contract.telemetry import running_loki
from tests.fakes import FakeLoki
from tests.otlp import TRACE, attributes, records, send_logs
from tests.ports import free_port

SPAN = "00f067aa0ba902b7"
Receive = Callable[[str, int, str, dict[str, str]], object]


@dataclass
class Subject:
    """A Loki under test. job: a Nomad job that no other test uses."""

    loki: LokiApi
    receive: Receive
    job: str = field(default_factory=lambda: f"obs-{uuid4().hex[:8]}")
    begun: int = field(default_factory=time.time_ns)

    def send(self, text: str, *, back: float = 0, **more: str) -> int:
        """A line of the job; its Unix nanoseconds. back: seconds ago."""
        at = self.begun - int(back * SECOND)
        self.receive(self.job, at, text, more)
        return at

    def lines(self, query: Query | None = None, **more: int) -> list[str]:
        bounds = {"start": self.begun - 600 * SECOND, "end": self.begun + 60 * SECOND, "limit": 100, **more}
        found = self.loki.lines(logql(query or Query(self.job)), **bounds)  # type: ignore[arg-type]
        return [line.text for line in from_loki(found)]

    def until_there_are(self, count: int) -> None:
        wait_until(lambda: len(self.lines()) == count, timeout=20, what=f"{count} lines", hint="")


def _sent(otlp: str) -> Receive:
    def receive(job: str, at: int, text: str, more: dict[str, str]) -> None:
        resource = {"nomad_job": job, "nomad_task": "web", "nomad_alloc_id": "a1", "service_name": job}
        trace = {"traceId": more["trace_id"], "spanId": more["span_id"]} if "trace_id" in more else {}
        severity = {"severityText": more.get("severity_text", "INFO")}
        # One with an underscore in its name; attributes() makes dots of them.
        stream = {"attributes": [{**attributes(x="stderr")[0], "key": "log_iostream"}]}
        send_logs(otlp, [records(resource, (at, text, {**trace, **severity, **stream}))])  # type: ignore[dict-item]

    return receive


def _received(fake: FakeLoki) -> Receive:
    known = {"nomad_task": "web", "nomad_alloc_id": "a1", "severity_text": "INFO", "log_iostream": "stderr"}
    return lambda job, at, text, more: fake.receive(at, text, nomad_job=job, **{**known, **more})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LokiApi, str]]:
    with running_loki(tmp_path_factory.mktemp("loki")) as found:
        yield found


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeLoki()
        return Subject(fake, _received(fake))
    loki, otlp = request.getfixturevalue("server")
    return Subject(loki, _sent(otlp))


def test_it_is_ready(subject: Subject) -> None:
    assert subject.loki.ready()


def test_a_line_has_all_that_is_known_of_it(subject: Subject) -> None:
    at = subject.send("no phrase", trace_id=TRACE, span_id=SPAN, severity_text="ERROR")
    subject.until_there_are(1)
    found = subject.loki.lines(logql(Query(subject.job)), start=at, end=at + 1, limit=5)
    assert from_loki(found) == [Line("no phrase", at, "error", subject.job, "web", "a1", "stderr", TRACE, SPAN)]


def test_the_newest_or_the_oldest_of_them(subject: Subject) -> None:
    for back in (3, 2, 1):
        subject.send(f"{back}", back=back)
    subject.until_there_are(3)
    assert subject.lines(limit=2) == ["2", "1"]
    assert subject.lines(limit=2, newest=False) == ["3", "2"]


def test_the_beginning_counts_and_the_end_does_not(subject: Subject) -> None:
    first, second = subject.send("first", back=2), subject.send("second", back=1)
    subject.until_there_are(2)
    assert subject.lines(start=first, end=second) == ["first"]


def test_by_text_in_any_case_and_with_every_character(subject: Subject) -> None:
    words = 'GET /x?a=b "quoted" \\back (paren) 100% `tick` é {brace} | pipe'
    subject.send(words, back=1)
    subject.send("another")
    subject.until_there_are(2)
    for part in (*words.split(), words, words.upper()):
        assert words in subject.lines(Query(subject.job, grep=part)), part
    assert subject.lines(Query(subject.job, grep="get.*x")) == []


def test_by_trace(subject: Subject) -> None:
    trace_id = uuid4().hex
    at = subject.send("asked", trace_id=trace_id, span_id=SPAN)
    subject.send("another", back=1)
    subject.until_there_are(2)
    assert subject.lines(Query(trace_id=trace_id)) == ["asked"]
    assert subject.lines(Query(subject.job, grep="ASK", trace_id=trace_id)) == ["asked"]
    assert [line.span_id for line in of_trace(subject.loki, trace_id, at, at, limit=5)] == [SPAN]


def test_a_job_without_lines(subject: Subject) -> None:
    assert subject.lines() == []


def test_a_query_that_is_none(subject: Subject) -> None:
    with pytest.raises(Rejected, match="parse error"):
        subject.loki.lines("{", start=0, end=1, limit=1)


@pytest.mark.real
def test_a_query_for_numbers_is_refused(server: tuple[LokiApi, str]) -> None:
    now = time.time_ns()
    with pytest.raises(Rejected, match="with numbers, not with lines"):
        server[0].lines('rate({service_name=~".+"}[1m])', start=now - SECOND, end=now, limit=1)


def test_a_tail_goes_on_with_what_is_added_late_lines_included(subject: Subject) -> None:
    subject.send("first", back=5)
    subject.until_there_are(1)
    tail = LokiTail(subject.loki, Query(subject.job, since=subject.begun - 60 * SECOND))
    seen = [line.text for line in tail.lines()]
    subject.send("third")
    subject.until_there_are(2)
    seen += [line.text for line in tail.lines()]
    subject.send("second", back=2)
    subject.until_there_are(3)
    seen += [line.text for line in tail.lines()]
    assert (seen, tail.lines()) == (["first", "third", "second"], [])


def test_one_that_is_away_says_what_to_do() -> None:
    loki = connect.loki(f"http://127.0.0.1:{free_port()}")
    assert not loki.ready()
    with pytest.raises(Unreachable, match="Loki at http://127") as caught:
        loki.lines("{}", start=0, end=1, limit=1)
    assert caught.value.hint == "`obsctl status` shows whether loki runs, and why not"
