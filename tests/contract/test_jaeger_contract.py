"""What obsctl takes for granted of Jaeger, held against the real one, with both of its storages, and the fake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import JaegerApi
from obsctl.clients.telemetry_apis import JaegerClient
from obsctl.errors import Unreachable
from obsctl.model import Json
from obsctl.telemetry.search import TraceQuery, newest
from obsctl.telemetry.trace import Trace, read
from obsctl.wait import wait_until
from tests.fakes import FakeJaeger
from tests.otlp import MS, send_spans, span
from tests.ports import free_port
from tests.stores import running_jaeger

NOBODY = "0" * 31 + "1"


@dataclass
class Subject:
    """A Jaeger under test. service: a name that no other test uses."""

    jaeger: JaegerApi
    receive: Callable[[list[Json]], object]
    service: str = field(default_factory=lambda: f"web-{uuid4().hex[:8]}")
    begun: int = field(default_factory=lambda: time.time_ns() // 1000 * 1000)

    def send(self, *, error: str | None = None, took: float = 10, back: float = 0, begins: str = "") -> str:
        """A trace of two services, the second of which may fail; its id. back: seconds ago. begins: with its id."""
        trace_id, start = begins + uuid4().hex[len(begins) :], self.begun - int(back * 1e9)
        root = span(self.service, "GET /", "a1", trace_id=trace_id, start=start, took=took, http_route="/", ok=True)
        below = span(
            f"{self.service}-db", "query", "a2", "a1", trace_id=trace_id, start=start, at=1, took=3, rows=7,
            error=error, exception=f"KeyError: {error}" if error else "",
        )  # fmt: skip
        self.receive([root, below])
        wait_until(lambda: len(self.jaeger.trace(trace_id)) == 2, timeout=20, failure="no sign of the trace", hint="")
        return trace_id

    def search(self, **more: float) -> list[str]:
        now = time.time()
        bounds = {"since": now - 3600, "until": now + 60, **more}
        return [trace.trace_id for trace in read(self.jaeger.search(self.service, **bounds))]  # type: ignore[arg-type]

    def trace(self, trace_id: str) -> Trace:
        [found] = read(self.jaeger.trace(trace_id))
        return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[JaegerApi, str]]]:
    """Each real Jaeger starts when it is first asked for."""
    with ExitStack() as stack:
        begun: dict[str, tuple[JaegerApi, str]] = {}

        def start(storage: str) -> tuple[JaegerApi, str]:
            if storage not in begun:
                begun[storage] = stack.enter_context(running_jaeger(tmp_path_factory.mktemp(storage), storage))
            return begun[storage]

        yield start


@pytest.fixture(
    params=["fake", pytest.param("memory", marks=pytest.mark.real), pytest.param("badger", marks=pytest.mark.real)]
)
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeJaeger()
        return Subject(fake, fake.received.extend)
    jaeger, otlp = request.getfixturevalue("servers")(request.param)
    return Subject(jaeger, lambda spans: send_spans(otlp, spans))


def test_the_services_that_sent_spans(subject: Subject) -> None:
    subject.send()
    services = subject.jaeger.services()
    assert services == sorted(services)
    assert {subject.service, f"{subject.service}-db"} <= set(services)


def test_a_trace_has_all_that_was_sent(subject: Subject) -> None:
    found = subject.trace(subject.send(error="no such row"))
    root, below = found.spans
    assert [branch.depth for branch in found.branches] == [0, 1]
    assert (root.service, root.name, root.kind, root.status) == (subject.service, "GET /", "server", "unset")
    assert (root.start, root.end) == (subject.begun, subject.begun + 10 * MS)
    assert {name: root.attributes[name] for name in ("http.route", "ok")} == {"http.route": "/", "ok": True}
    assert (below.service, below.parent_id, below.attributes["rows"]) == (f"{subject.service}-db", root.span_id, 7)
    assert (below.failed, below.message) == (True, "no such row")
    assert below.errors == ["KeyError: no such row"]


def test_both_sides_of_a_call_that_share_a_span_id(subject: Subject) -> None:
    """As B3 has it, which Zipkin and Envoy use."""
    trace_id, below = uuid4().hex, f"{subject.service}-b"
    client, server = (
        span(service, "GET", "b1", kind=kind, trace_id=trace_id, start=subject.begun, at=at, took=10 - 2 * at)
        for service, kind, at in ((subject.service, 3, 0), (below, 2, 1))
    )
    subject.receive([client, server])
    wait_until(lambda: len(subject.jaeger.trace(trace_id)) == 2, timeout=20, failure="no sign of the trace", hint="")
    branches = subject.trace(trace_id).branches
    assert [(branch.depth, branch.span.service) for branch in branches] == [(0, subject.service), (1, below)]
    found, _ = newest(subject.jaeger, TraceQuery(below, max_age=3600))
    assert found
    assert (found.trace_id, found.services) == (trace_id, [subject.service, below])


def test_a_trace_that_is_not_there(subject: Subject) -> None:
    assert subject.jaeger.trace(NOBODY) == []


def test_a_search_finds_the_newest_traces_of_a_service_with_all_their_spans(subject: Subject) -> None:
    old, middle, new = (subject.send(back=back) for back in (30, 20, 10))
    assert subject.search() == [new, middle, old]
    assert subject.search(limit=2) == [new, middle]
    found = read(subject.jaeger.search(subject.service, since=time.time() - 60, until=time.time() + 60))
    assert [len(trace.branches) for trace in found] == [2, 2, 2]


@pytest.mark.parametrize("begins", ["00", "7f", "ff"])
def test_a_search_stays_within_its_times(subject: Subject, begins: str) -> None:
    """Whatever a trace's id: Badger's own search leaves out ids from ff on in the last microsecond."""
    subject.send(back=30)
    middle = subject.send(back=20, begins=begins)
    subject.send(back=10)
    at = subject.begun / 1e9
    assert subject.search(since=at - 25, until=at - 15) == [middle]
    assert subject.search(since=at - 25, until=at - 20) == [middle], "the end counts"
    assert subject.search(since=at - 9, until=at) == []


def test_a_search_for_slow_spans(subject: Subject) -> None:
    slow = subject.send(took=250)
    subject.send(took=20)
    assert subject.search(min_duration=0.2) == [slow]
    assert subject.search(min_duration=0.2505) == []


def test_a_service_that_never_sent_a_span(subject: Subject) -> None:
    assert subject.search() == []


def test_the_newest_failed_trace_is_found_behind_many_good_ones(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obsctl.telemetry.search.PAGE", 3)
    failed = subject.send(error="no", back=50)
    for back in range(40, 30, -1):
        subject.send(back=back)
    found, looked_at = newest(subject.jaeger, TraceQuery(subject.service, max_age=3600, errors=True))
    assert found is not None
    assert (found.trace_id, looked_at) == (failed, 11)


def test_one_that_is_away_says_what_to_do() -> None:
    with pytest.raises(Unreachable, match="Jaeger at http://127") as caught:
        JaegerClient(endpoint("jaeger", f"http://127.0.0.1:{free_port()}")).services()
    assert caught.value.hint == "`obsctl status` shows whether jaeger runs, and why not"
