"""Calls of another service: retried with growing pauses (tenacity), and refused while they keep failing (pybreaker)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge
from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerListener,
    CircuitBreakerState,
)
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    wait_exponential,
    wait_random,
)

from obsctl.demo.discovery import CALL_SECONDS
from obsctl.errors import ApiError, TimedOut, Unreachable
from obsctl.wait import SYSTEM_CLOCK, Clock

T = TypeVar("T")

ATTEMPTS = 3
FIRST_PAUSE = 0.1
JITTER = 0.1
FAILURES_TO_OPEN = 5
OPEN_SECONDS = 2.0

OUTCOMES = ("ok", "timeout", "unreachable", "failed")
STATES = (STATE_CLOSED, STATE_OPEN, STATE_HALF_OPEN)

_log = logging.getLogger("obsctl")
_tracer = trace.get_tracer("obsctl.demo")


class CircuitOpen(Unreachable):
    """The call was not tried, because the last ones failed."""


class Caller:
    """Calls one service. Safe to share between threads: the breaker's lock is not held during a call.

    All attempts of a call begin within CALL_SECONDS. FAILURES_TO_OPEN failed attempts in a row, of all calls together,
    open the circuit. After OPEN_SECONDS calls are tried again, and the first that ends closes or opens it.
    """

    def __init__(self, service: str, registry: CollectorRegistry, prefix: str, clock: Clock = SYSTEM_CLOCK) -> None:
        """service: the one that is called. prefix: of the metrics, like "hello_service"."""
        self._service = service
        self._clock = clock
        self._notes = _Notes(service)
        self._breaker = CircuitBreaker(
            fail_max=FAILURES_TO_OPEN,
            reset_timeout=OPEN_SECONDS,
            listeners=[self._notes],
            throw_new_error_on_trip=False,
        )
        counter = partial(Counter, namespace=prefix, registry=registry)
        self._attempts = counter("call_attempts", f"Calls to {service} that were tried.", ["outcome"])
        self._retries = counter("call_retries", "Attempts after the first of a call.")
        self._refused = counter("call_refused", "Attempts that the open circuit did not let through.")
        state = Gauge(f"{prefix}_circuit_state", "1 for the state the circuit is in.", ["state"], registry=registry)
        for outcome in OUTCOMES:
            self._attempts.labels(outcome)
        for name in STATES:
            state.labels(name).set_function(partial(self._is_in, name))

    def _is_in(self, state: str) -> bool:
        return bool(self._breaker.current_state == state)

    def call(self, send: Callable[[float], T]) -> T:
        """What `send` returns. It takes the seconds that are left, and must be safe to repeat.

        Raises the error of the last attempt, or CircuitOpen.
        """
        deadline = self._clock.monotonic() + CALL_SECONDS
        retrying = Retrying(
            retry=retry_if_exception_type(ApiError) & retry_if_not_exception_type(CircuitOpen),
            stop=partial(self._is_enough, deadline),
            wait=wait_exponential(multiplier=FIRST_PAUSE) + wait_random(0, JITTER),
            before_sleep=self._note_retry,
            sleep=self._clock.sleep,
            reraise=True,
        )
        answer: T = retrying(self._guarded, send, deadline, count(1))
        return answer

    def _is_enough(self, deadline: float, state: RetryCallState) -> bool:
        next_start = self._clock.monotonic() + state.upcoming_sleep
        return state.attempt_number >= ATTEMPTS or next_start >= deadline

    def _guarded(self, send: Callable[[float], T], deadline: float, numbers: count[int]) -> T:
        """One attempt, if the circuit lets it through."""
        trace.get_current_span().set_attribute("circuit.state", self._breaker.current_state)
        try:
            with self._breaker.calling():
                return self._attempt(send, deadline, next(numbers))
        except CircuitBreakerError as error:
            self._refused.inc()
            what = f"{self._service} is not called for a moment, because it kept failing: {self._notes.last_failure}"
            raise CircuitOpen(what, hint=f"it is called again {OPEN_SECONDS:g} s after the last failure") from error

    def _attempt(self, send: Callable[[float], T], deadline: float, number: int) -> T:
        outcome = "failed"
        with _tracer.start_as_current_span(f"call {self._service}", attributes={"call.attempt": number}):
            try:
                answer = send(deadline - self._clock.monotonic())
                outcome = "ok"
                return answer
            except (TimedOut, Unreachable) as error:
                outcome = "timeout" if isinstance(error, TimedOut) else "unreachable"
                raise
            finally:
                self._attempts.labels(outcome).inc()

    def _note_retry(self, state: RetryCallState) -> None:
        self._retries.inc()
        why = state.outcome.exception() if state.outcome else None
        trace.get_current_span().add_event(
            "retry", {"call.attempt": state.attempt_number, "pause": state.upcoming_sleep, "reason": str(why)}
        )


class _Notes(CircuitBreakerListener):
    """Keeps the last failure, and logs when the circuit changes."""

    def __init__(self, service: str) -> None:
        self.last_failure = ""
        self._service = service

    def failure(self, _cb: CircuitBreaker, exc: BaseException) -> None:
        self.last_failure = str(exc)

    def state_change(self, _cb: CircuitBreaker, old: CircuitBreakerState | None, new: CircuitBreakerState) -> None:
        trace.get_current_span().add_event("circuit", {"circuit.state": new.name})
        _log.warning("the circuit to %s is %s, it was %s", self._service, new.name, old.name if old else "new")
