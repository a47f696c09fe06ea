"""Finding a trace: the newest that fits, page by page, and one that is still on its way."""

from __future__ import annotations

import pytest

from obsctl.telemetry import search
from obsctl.telemetry.search import TraceQuery, by_id, newest
from obsctl.telemetry.trace import Trace
from tests.fakes import FakeClock, FakeJaeger
from tests.otlp import MS, START, TRACE, span

NOW = START / 1e9 + 3600


@pytest.fixture
def jaeger() -> FakeJaeger:
    return FakeJaeger()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 3)
    monkeypatch.setattr(search, "PAGES", 4)


def trace_id(number: int) -> str:
    return f"{number:032x}"


def receive(
    jaeger: FakeJaeger, number: int, *, service: str = "web", error: str | None = None, took: float = 10
) -> None:
    """A trace of two spans that begins `number` seconds after START."""
    at = START + number * 1000 * MS
    jaeger.received += [
        span(service, "root", "1", trace_id=trace_id(number), start=at, took=took),
        span("db", "query", "2", "1", trace_id=trace_id(number), start=at, at=1, took=1, error=error),
    ]


def look(jaeger: FakeJaeger, service: str | None = None, **more: object) -> tuple[Trace | None, int]:
    return newest(jaeger, TraceQuery(service, max_age=3610, **more), clock=FakeClock(NOW))  # type: ignore[arg-type]


def test_the_newest_of_all_services(jaeger: FakeJaeger) -> None:
    receive(jaeger, 1)
    receive(jaeger, 3, service="shop")
    receive(jaeger, 2)
    found, looked_at = look(jaeger)
    assert found is not None
    assert (found.trace_id, looked_at) == (trace_id(3), 3)
    assert len(found.branches) == 2


def test_the_newest_of_one_service(jaeger: FakeJaeger) -> None:
    receive(jaeger, 1)
    receive(jaeger, 3, service="shop")
    found, _ = look(jaeger, "web")
    assert found is not None
    assert found.trace_id == trace_id(1)


def test_an_error_is_looked_for_page_by_page(jaeger: FakeJaeger) -> None:
    for number in range(10):
        receive(jaeger, number, error="bad" if number in (0, 1) else None)
    found, looked_at = look(jaeger, "web", errors=True)
    assert found is not None
    assert (found.trace_id, looked_at) == (trace_id(1), 9)


def test_it_gives_up_after_so_many_pages(jaeger: FakeJaeger) -> None:
    for number in range(30):
        receive(jaeger, number, error="bad" if number == 0 else None)
    assert look(jaeger, "web", errors=True) == (None, 9)
    assert len(jaeger.called("search")) == 4


def test_it_ends_when_there_is_no_older_one(jaeger: FakeJaeger) -> None:
    for number in range(4):
        receive(jaeger, number)
    assert look(jaeger, "web", errors=True) == (None, 4)
    assert len(jaeger.called("search")) == 2


def test_more_traces_of_one_moment_than_fit_a_page_do_not_go_round_forever(jaeger: FakeJaeger) -> None:
    jaeger.received = [span("web", "x", "1", trace_id=trace_id(number)) for number in range(5)]
    assert look(jaeger, "web", errors=True) == (None, 3)
    assert len(jaeger.called("search")) == 2


def test_a_slow_one(jaeger: FakeJaeger) -> None:
    receive(jaeger, 1, took=500)
    receive(jaeger, 2, took=20)
    found, _ = look(jaeger, "web", min_duration=0.1)
    assert found is not None
    assert found.trace_id == trace_id(1)


@pytest.mark.parametrize("service", [None, "nobody"])
def test_nothing_fits(jaeger: FakeJaeger, service: str | None) -> None:
    assert look(jaeger, service) == (None, 0)


def test_a_trace_by_its_id_comes_at_once_when_it_is_there(jaeger: FakeJaeger) -> None:
    jaeger.received = [span("web", "x", "1")]
    clock = FakeClock()
    found = by_id(jaeger, TRACE, wait=10, clock=clock)
    assert found is not None
    assert clock.monotonic() == 0


def test_it_is_waited_for_with_the_parents_of_its_spans(jaeger: FakeJaeger) -> None:
    clock = FakeClock()
    clock.after(2, lambda: jaeger.received.append(span("db", "query", "2", "1")))
    clock.after(4, lambda: jaeger.received.append(span("web", "root", "1")))
    found = by_id(jaeger, TRACE, wait=10, clock=clock)
    assert found is not None
    assert (len(found.branches), found.orphans, clock.monotonic()) == (2, 0, 4.0)


def test_what_is_there_at_the_end_of_the_wait_is_given(jaeger: FakeJaeger) -> None:
    jaeger.received = [span("db", "query", "2", "1")]
    clock = FakeClock()
    found = by_id(jaeger, TRACE, wait=2, clock=clock)
    assert found is not None
    assert (found.orphans, clock.monotonic()) == (1, 2.0)


def test_nobody_waits_for_the_parent_of_an_old_trace(jaeger: FakeJaeger) -> None:
    clock = FakeClock(START / 1e9 + 60)
    jaeger.received = [span("db", "query", "2", "1")]
    assert by_id(jaeger, TRACE, wait=10, clock=clock) is not None
    assert clock.monotonic() == 0


def test_a_trace_that_does_not_come(jaeger: FakeJaeger) -> None:
    assert by_id(jaeger, TRACE, clock=FakeClock()) is None
    assert len(jaeger.called("trace")) == 1
    assert by_id(jaeger, TRACE, wait=2, clock=FakeClock()) is None
