"""What obsctl takes for granted of VictoriaLogs, held against the real one and against the fake of the unit tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import LogsApi
from obsctl.clients.telemetry_apis import LogsClient
from obsctl.errors import Rejected, ServerFailed, Unreachable
from obsctl.telemetry import stored_logs
from obsctl.telemetry.lines import SECOND, Line, Query, in_order
from obsctl.telemetry.stored_logs import StoredTail, lines_of, logsql, of_trace
from obsctl.wait import wait_until
from tests.fakes import FakeLogs
from tests.otlp import TRACE, attributes, records, send_logs
from tests.ports import free_port
from tests.stores import running_logs
from tests.stub_server import Answer, stub_server

SPAN = "00f067aa0ba902b7"
HOSTILE = 'GET /x?a=b "quoted" \\back \\" (paren) 100% `tick` é {brace} | pipe or not :=* <x> \t$1 \x00 \u2028 [a-z]'
Receive = Callable[[str, int, str, dict[str, str]], object]


@dataclass
class Subject:
    """A log store under test. job: a Nomad job that no other test uses."""

    store: LogsApi
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
        found = self.store.lines(logsql(query or Query(self.job)), **bounds)  # type: ignore[arg-type]
        return [line.text for line in lines_of(found)]

    def until_there_are(self, count: int) -> None:
        wait_until(lambda: len(self.lines()) == count, timeout=20, failure=f"no sign of {count} lines", hint="")


def _sent(store: LogsApi) -> Receive:
    def receive(job: str, at: int, text: str, more: dict[str, str]) -> None:
        resource = {"nomad_job": job, "nomad_task": "web", "nomad_alloc_id": "a1", "service_name": job}
        trace = {"traceId": more["trace_id"], "spanId": more["span_id"]} if "trace_id" in more else {}
        fields = {name: value for name, value in more.items() if name not in ("trace_id", "span_id", "severity_text")}
        record = {
            "severityText": more.get("severity_text", "INFO"),
            "attributes": attributes(log_iostream="stderr", **fields),
            **trace,
        }
        given = [records(resource, (at, text, record))]  # type: ignore[arg-type]
        streams = {"VL-Stream-Fields": "service.name,nomad.job,nomad.task"}
        send_logs(store.address, given, path="/insert/opentelemetry/v1/logs", **streams)

    return receive


def _received(fake: FakeLogs) -> Receive:
    known = {"nomad_task": "web", "nomad_alloc_id": "a1", "severity_text": "INFO", "log_iostream": "stderr"}
    return lambda job, at, text, more: fake.receive(at, text, nomad_job=job, **{**known, **more})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogsApi]:
    with running_logs(tmp_path_factory.mktemp("logs")) as found:
        yield found


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeLogs()
        return Subject(fake, _received(fake))
    store = request.getfixturevalue("server")
    return Subject(store, _sent(store))


def test_a_line_has_all_that_is_known_of_it(subject: Subject) -> None:
    at = subject.send("no phrase", trace_id=TRACE, span_id=SPAN, severity_text="ERROR")
    subject.until_there_are(1)
    found = subject.store.lines(logsql(Query(subject.job)), start=at, end=at + 1, limit=5)
    assert lines_of(found) == [Line("no phrase", at, "error", subject.job, "web", "a1", "stderr", TRACE, SPAN)]


def test_a_job_of_the_same_name_in_another_namespace_has_lines_of_its_own(subject: Subject) -> None:
    """A line that says no namespace may be anybody's, and is shown."""
    for back, namespace in ((3, "default"), (2, "team")):
        subject.send(namespace, back=back, nomad_namespace=namespace)
    subject.send("none", back=1)
    subject.until_there_are(3)
    assert subject.lines(Query(subject.job, namespace="default")) == ["default", "none"]
    assert subject.lines(Query(subject.job, namespace="team")) == ["team", "none"]


def test_a_line_of_many_lines_is_one(subject: Subject) -> None:
    text = f"{HOSTILE}\r\n  at x\n\n  at y"
    subject.send(text)
    subject.until_there_are(1)
    assert subject.lines() == [text]


def test_the_newest_or_the_oldest_of_them(subject: Subject) -> None:
    for back in (3, 2, 1):
        subject.send(f"{back}", back=back)
    subject.until_there_are(3)
    assert subject.lines(limit=2) == ["2", "1"]
    assert subject.lines(limit=2, newest=False) == ["3", "2"]


def test_the_beginning_counts_and_the_end_does_not(subject: Subject) -> None:
    first, second = subject.send("first", back=1e-9), subject.send("second")
    assert second - first == 1
    subject.until_there_are(2)
    assert subject.lines(start=first, end=second) == ["first"]
    assert subject.lines(start=second, end=second + 1) == ["second"]


def test_how_many_there_are_by_steps(subject: Subject) -> None:
    second = subject.begun // SECOND * SECOND
    subject.begun = second // (10 * SECOND) * 10 * SECOND
    for back in (0, 0.5, 0.5, 10, 30.000000001):
        subject.send("again", back=back)
    subject.until_there_are(5)
    start, ten = subject.begun // SECOND, 10
    bounds = {"start": subject.begun - 600 * SECOND, "end": subject.begun + 60 * SECOND, "step": ten}
    counts = subject.store.counts(logsql(Query(subject.job)), **bounds)
    assert counts == {start: 1, start - ten: 3, start - 4 * ten: 1}
    assert subject.store.counts(logsql(Query(subject.job, grep="nothing")), **bounds) == {}
    assert subject.store.counts(logsql(Query(subject.job, where=(("nomad.task", "web"),))), **bounds) == counts


def test_lines_that_are_the_same_are_all_there(subject: Subject) -> None:
    for _ in range(3):
        subject.send("again")
    subject.until_there_are(3)


def test_by_text_in_any_case_and_with_every_character(subject: Subject) -> None:
    subject.send(HOSTILE, back=1)
    subject.send("another")
    subject.until_there_are(2)
    for part in (*HOSTILE.split(" "), HOSTILE, HOSTILE.upper(), HOSTILE[3:-2]):
        assert HOSTILE in subject.lines(Query(subject.job, grep=part)), part
    assert subject.lines(Query(subject.job, grep="get.*x")) == []
    assert subject.lines(Query(subject.job, grep="back\n")) == []
    assert subject.lines(Query(subject.job, grep="\udcff")) == [], "what is no text"


def test_of_a_job_with_every_character_in_its_name(subject: Subject) -> None:
    subject.job += HOSTILE
    subject.send("hi")
    subject.until_there_are(1)
    assert subject.lines(Query(HOSTILE)) == []


def test_by_trace(subject: Subject) -> None:
    trace_id = uuid4().hex
    at = subject.send("asked", trace_id=trace_id, span_id=SPAN)
    subject.send("another", back=1)
    subject.until_there_are(2)
    assert subject.lines(Query(trace_id=trace_id)) == ["asked"]
    assert subject.lines(Query(subject.job, grep="ASK", trace_id=trace_id)) == ["asked"]
    assert [line.span_id for line in of_trace(subject.store, trace_id, at, at, limit=5)] == [SPAN]


def test_by_fields_of_its_own_or_in_its_text(subject: Subject) -> None:
    in_json, in_logfmt = '{"message": "hi", "user_id": 7, "path": "/a b"}', 'level=info user_id=7 path="/a b" msg=hi'
    subject.send("with fields", back=3, user=HOSTILE, path="/a b")
    subject.send(in_json, back=2)
    subject.send(in_logfmt, back=1)
    subject.send("user_id: 7")
    subject.until_there_are(4)

    def having(**where: str) -> list[str]:
        return subject.lines(Query(subject.job, where=tuple(where.items())))

    assert having(user_id="7") == [in_json, in_logfmt]
    assert having(user_id="7", path="/a b") == [in_json, in_logfmt]
    assert having(path="/a b") == ["with fields", in_json, in_logfmt]
    assert having(user=HOSTILE) == ["with fields"]
    assert subject.lines(Query(subject.job, where=(("nomad.alloc.id", "a1"),), limit=1)) != []
    assert having(user_id="70") == having(**{HOSTILE: "7"}) == []


def test_the_newest_or_the_oldest_of_those_with_a_field(subject: Subject) -> None:
    for back in range(6, 0, -1):
        subject.send(f"n={back} odd={back % 2}", back=back)
    subject.until_there_are(6)
    odd = Query(subject.job, where=(("odd", "1"),))
    assert subject.lines(odd, limit=2) == ["n=3 odd=1", "n=1 odd=1"]
    assert subject.lines(odd, limit=2, newest=False) == ["n=5 odd=1", "n=3 odd=1"]


def test_a_job_without_lines(subject: Subject) -> None:
    assert subject.lines() == []


def test_a_panel_of_each_kind_is_answered(server: LogsApi) -> None:
    subject = Subject(server, _sent(server))
    at = subject.send("for a panel")
    subject.until_there_are(1)
    start, end = at - 3600 * SECOND, at + 3600 * SECOND
    queries = {
        "instant": '"for a panel"',
        "hits": '"for a panel"',
        "stats": '"for a panel" | stats count() lines',
        "statsRange": '"for a panel" | stats count() lines',
    }
    assert {kind: server.results(text, kind, start=start, end=end) for kind, text in queries.items()} == dict.fromkeys(
        queries, 1
    )
    assert server.results("nowhere", "instant", start=start, end=end) == 0
    for kind in queries:
        with pytest.raises(Rejected):
            server.results("{", kind, start=start, end=end)


def test_a_query_that_is_none(subject: Subject) -> None:
    with pytest.raises(Rejected, match="cannot parse"):
        subject.store.lines("{", start=0, end=1, limit=1)


def test_a_tail_goes_on_with_what_is_added_late_lines_included(subject: Subject) -> None:
    subject.send("first", back=5)
    subject.until_there_are(1)
    tail = StoredTail(subject.store, Query(subject.job, since=subject.begun - 60 * SECOND))
    seen = [line.text for line in tail.lines()]
    subject.send("third")
    subject.until_there_are(2)
    seen += [line.text for line in tail.lines()]
    subject.send("second", back=2)
    subject.until_there_are(3)
    seen += [line.text for line in tail.lines()]
    assert (seen, tail.lines()) == (["first", "third", "second"], [])


def test_a_tail_reads_more_than_a_page_of_one_moment(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_logs, "PAGE", 3)
    tail = StoredTail(subject.store, Query(subject.job, since=subject.begun - 60 * SECOND))
    assert tail.lines() == []
    sent = ["before", *(f"{number}" for number in range(8)), "after"]
    for text, back in zip(sent, (2, *[1] * 8, 0), strict=True):
        subject.send(text, back=back)
    subject.until_there_are(10)
    assert sorted(line.text for line in tail.lines()) == sorted(sent)
    assert tail.lines() == []


@pytest.mark.real
def test_thousands_of_lines_come_in_order(server: LogsApi) -> None:
    job, begun = f"obs-{uuid4().hex[:8]}", time.time_ns()
    tail = StoredTail(server, Query(job, since=begun))
    assert tail.lines() == []
    lines = [(begun + number, f"{number}", {}) for number in range(12_000)]
    given = [records({"nomad_job": job, "service_name": job}, *lines)]
    send_logs(server.address, given, path="/insert/opentelemetry/v1/logs", **{"VL-Stream-Fields": "nomad.job"})
    found: list[Line] = []

    def all_of_them() -> bool:
        found.extend(tail.lines())
        return len(found) >= len(lines)

    wait_until(all_of_them, timeout=20, failure="no sign of the lines", hint="")
    found = in_order(found)
    assert [line.text for line in found] == [f"{number}" for number in range(12_000)]
    assert [line.at for line in found] == [at for at, _, _ in lines]


@pytest.mark.real
def test_one_that_is_stopped_has_kept_every_line(tmp_path: Path) -> None:
    now = time.time_ns()
    lines = [(now + number, f"{number}", {}) for number in range(5000)]
    with running_logs(tmp_path) as store:
        given = [records({"service_name": "web"}, *lines)]
        send_logs(store.address, given, path="/insert/opentelemetry/v1/logs", **{"VL-Stream-Fields": "service.name"})
    with running_logs(tmp_path) as store:
        found = lines_of(store.lines("*", start=now, end=now + SECOND, limit=10_000))
    assert [line.text for line in found] == [text for _, text, _ in lines]


@pytest.mark.real
def test_a_message_of_fields_alone_is_shown(server: LogsApi) -> None:
    body = {"kvlistValue": {"values": attributes(message="paid", amount=7)}}
    record = {"timeUnixNano": str(time.time_ns()), "body": body}
    job = f"obs-{uuid4().hex[:8]}"
    given = {"resource": {"attributes": attributes(nomad_job=job)}, "scopeLogs": [{"logRecords": [record]}]}
    send_logs(server.address, [given], path="/insert/opentelemetry/v1/logs", **{"VL-Stream-Fields": "nomad.job"})

    def found() -> list[Line]:
        now = time.time_ns()
        return lines_of(server.lines(logsql(Query(job)), start=now - 60 * SECOND, end=now, limit=5))

    [line] = wait_until(found, timeout=20, failure="no sign of the line", hint="")
    assert line.text == "paid"


def test_one_that_is_away_says_what_to_do() -> None:
    store = LogsClient(endpoint("victorialogs", f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unreachable, match="VictoriaLogs at http://127") as caught:
        store.lines("*", start=0, end=1, limit=1)
    assert caught.value.hint == "`obsctl status` shows whether victorialogs runs, and why not"


def test_one_that_breaks_off_with_words_of_its_own_is_told_of() -> None:
    with stub_server() as server:
        server.answers = [Answer(body=b'{"_time":"2026-01-01T00:00:00Z","_msg":"a"}\ncannot execute query')]
        with pytest.raises(ServerFailed, match="is not lines of JSON"):
            LogsClient(endpoint("victorialogs", server.address)).lines("*", start=0, end=1, limit=1)


TIME = b'"_time":"2026-01-01T00:00:00Z"'


@pytest.mark.parametrize(
    "odd",
    [
        b"3", b"null", b"[]", b"[" * 100_000, b'{"_msg":"a"}', b'{"_time":5,"_msg":"a"}', b"{" + TIME + b',"_msg":5}',
        b"{" + TIME + b',"_msg":null}', b"{" + TIME + b',"trace_id":{}}', b'{"_time":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_lines_that_are_none_are_an_error_in_words(odd: bytes) -> None:
    with stub_server() as server:
        server.answers = [Answer(body=odd)] * 2
        store = LogsClient(endpoint("victorialogs", server.address))
        with pytest.raises(ServerFailed, match="answered something that is not"):
            store.lines("*", start=0, end=1, limit=1)
        with pytest.raises(ServerFailed, match="answered something that is not"):
            store.counts("*", start=0, end=1, step=1)


@pytest.mark.parametrize("odd", [b'"lines":"x"', b'"lines":"1e3"', b'"lines":"' + b"9" * 5000 + b'"', b'"_msg":"a"'])
def test_counts_that_are_none_are_an_error_in_words(odd: bytes) -> None:
    with stub_server() as server:
        server.answers = [Answer(body=b"{" + TIME + b"," + odd + b"}"), Answer(body=b'{"_time":"x","lines":"1"}')]
        store = LogsClient(endpoint("victorialogs", server.address))
        for _ in server.answers.copy():
            with pytest.raises(ServerFailed, match="answered something that is not"):
                store.counts("*", start=0, end=1, step=1)


def test_what_is_no_utf8_is_shown_all_the_same() -> None:
    with stub_server() as server:
        server.answers = [Answer(body=b'{"_time":"2026-01-01T00:00:00Z","_msg":"a\xff\xe2\x80\xa8b"}\n')]
        [line] = lines_of(LogsClient(endpoint("victorialogs", server.address)).lines("*", start=0, end=1, limit=1))
    assert line.text == "a\ufffd\u2028b"
