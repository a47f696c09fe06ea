"""Timeout, retry and circuit breaker of the call to response-service, with a clock that the tests turn."""

from __future__ import annotations

import threading
from datetime import datetime, tzinfo

import pybreaker
import pytest
from prometheus_client import CollectorRegistry

from obsctl.demo.calls import ATTEMPTS, FAILURES_TO_OPEN, OPEN_SECONDS, Caller, CircuitOpen
from obsctl.demo.discovery import CALL_SECONDS
from obsctl.errors import ObsctlError, ServerFailed, TimedOut, Unreachable
from tests.fakes import FakeClock

REFUSED = Unreachable("refused", hint="-")
LATE = TimedOut("no answer", hint="-")
BROKEN = ServerFailed("answered 500", hint="-")


class Service:
    """What is called. It gives these answers one after the other, and the last one again and again."""

    def __init__(self, clock: FakeClock, *answers: str | Exception, seconds: float = 0.0) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.seconds = seconds
        self.given: list[float] = []

    def __call__(self, seconds: float) -> str:
        self.given.append(seconds)
        self.clock.sleep(min(seconds, self.seconds))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()

    class Turned(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Turned:
            return cls.fromtimestamp(clock.now(), tz)

    monkeypatch.setattr(pybreaker, "datetime", Turned)
    return clock


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def caller(registry: CollectorRegistry, clock: FakeClock) -> Caller:
    return Caller("response-service", registry, "hello_service", clock)


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"hello_service_{name}", labels)

    def attempts(self) -> dict[str, float | None]:
        names = ("ok", "timeout", "unreachable", "failed")
        return {name: n for name in names if (n := self.value("call_attempts_total", outcome=name))}

    def circuit(self) -> list[str]:
        states = ("closed", "open", "half-open")
        return [name for name in states if self.value("circuit_state", state=name)]


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def fail(caller: Caller, service: Service, times: int) -> None:
    """Calls until `times` attempts have failed."""
    while len(service.given) < times:
        with pytest.raises(ObsctlError):
            caller.call(service)


def test_a_call_that_works_is_tried_once(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    service = Service(clock, "Bello!")
    assert caller.call(service) == "Bello!"
    assert service.given == [CALL_SECONDS]
    assert (metrics.attempts(), metrics.value("call_retries_total")) == ({"ok": 1}, 0)
    assert metrics.circuit() == ["closed"]


def test_what_fails_is_tried_again_after_a_growing_pause(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    service = Service(clock, REFUSED, BROKEN, "Bello!")
    assert caller.call(service) == "Bello!"
    assert metrics.attempts() == {"ok": 1, "unreachable": 1, "failed": 1}
    assert metrics.value("call_retries_total") == 2
    first, second = (before - after for before, after in zip(service.given, service.given[1:], strict=False))
    assert 0.1 <= first <= 0.2 <= second <= 0.3


def test_in_the_end_the_last_failure_is_raised(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    service = Service(clock, REFUSED, REFUSED, BROKEN)
    with pytest.raises(ServerFailed, match="answered 500"):
        caller.call(service)
    assert len(service.given) == ATTEMPTS
    assert metrics.value("call_retries_total") == ATTEMPTS - 1


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 2.9, 10.0])
def test_all_attempts_together_keep_to_the_time(
    caller: Caller, clock: FakeClock, metrics: Metrics, seconds: float
) -> None:
    started = clock.monotonic()
    service = Service(clock, LATE, seconds=seconds)
    with pytest.raises(TimedOut):
        caller.call(service)
    assert clock.monotonic() - started <= CALL_SECONDS
    assert all(given > 0 for given in service.given)
    assert metrics.attempts() == {"timeout": len(service.given)}


def test_a_bug_is_not_tried_again(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    service = Service(clock, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        caller.call(service)
    assert metrics.attempts() == {"failed": 1}


def test_after_failures_in_a_row_the_circuit_opens_and_nothing_is_sent(
    caller: Caller, clock: FakeClock, metrics: Metrics
) -> None:
    service = Service(clock, REFUSED)
    fail(caller, service, FAILURES_TO_OPEN)
    assert metrics.circuit() == ["open"]
    started = clock.monotonic()
    with pytest.raises(CircuitOpen, match=r"response-service is not called for a moment.*: refused") as caught:
        caller.call(service)
    assert "2 s" in caught.value.hint
    assert clock.monotonic() == started
    assert len(service.given) == FAILURES_TO_OPEN
    assert metrics.value("call_refused_total") == 2, "the retry that found the circuit open, and this call"


def test_an_answer_in_between_keeps_the_circuit_closed(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    service = Service(clock, *[REFUSED, REFUSED, "Bello!"] * 4)
    for _ in range(4):
        assert caller.call(service) == "Bello!"
    assert metrics.attempts() == {"ok": 4, "unreachable": 8}
    assert metrics.circuit() == ["closed"]


def test_the_circuit_is_tried_after_a_while_and_closes_with_the_first_answer(
    caller: Caller, clock: FakeClock, metrics: Metrics
) -> None:
    fail(caller, Service(clock, REFUSED), FAILURES_TO_OPEN)
    seen: list[list[str]] = []
    service = Service(clock, "Bello!")
    clock.sleep(OPEN_SECONDS - 0.5)
    with pytest.raises(CircuitOpen):
        caller.call(service)
    clock.sleep(0.5)
    assert caller.call(lambda seconds: (seen.append(metrics.circuit()), service(seconds))[1]) == "Bello!"
    assert seen == [["half-open"]]
    assert metrics.circuit() == ["closed"]


def test_a_trial_that_fails_opens_the_circuit_again(caller: Caller, clock: FakeClock, metrics: Metrics) -> None:
    fail(caller, Service(clock, REFUSED), FAILURES_TO_OPEN)
    clock.sleep(OPEN_SECONDS)
    service = Service(clock, LATE)
    with pytest.raises(CircuitOpen, match="no answer"):
        caller.call(service)
    assert len(service.given) == 1
    assert metrics.circuit() == ["open"]
    clock.sleep(OPEN_SECONDS)
    assert caller.call(Service(clock, "Bello!")) == "Bello!"


def test_calls_run_side_by_side(caller: Caller) -> None:
    """pybreaker's call() holds its lock meanwhile; with that, one slow call would make all others wait."""
    together = threading.Barrier(8, timeout=30)
    answers: list[str] = []

    def send(seconds: float) -> str:
        together.wait()  # passes only when all eight are here at once
        return "Bello!"

    threads = [threading.Thread(target=lambda: answers.append(caller.call(send))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert answers == ["Bello!"] * 8
