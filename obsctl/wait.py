"""The only place that waits: for a condition, until a deadline, by a clock that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from obsctl.errors import ApiError, DeadlineExceeded, ServerFailed, TimedOut, Unreachable

T = TypeVar("T")
HICCUPS = (ServerFailed, TimedOut, Unreachable)
"""What a server may be for a moment, as while its peers elect a leader."""


class Clock(Protocol):
    """now: Unix seconds. monotonic: for durations."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK: Clock = SystemClock()


def wait_until(
    probe: Callable[[], T | None],
    *,
    timeout: float,
    failure: str,
    hint: str,
    interval: float = 0.25,
    clock: Clock = SYSTEM_CLOCK,
    tolerate: tuple[type[ApiError], ...] = (),
) -> T:
    """Call `probe` every `interval` seconds until it returns something true, and return that.

    timeout: seconds. The probe is called at least once, and once more at the deadline itself.
    failure: what to say when it does not, as the beginning of a sentence: "Nomad did not answer" (within 60 s).
    Raises DeadlineExceeded with that sentence. What the probe raises passes through, so a probe can end the wait: all
    but what is to be tolerated, which is raised only when it is still so at the deadline.
    """
    deadline = clock.monotonic() + timeout
    while True:
        hiccup: ApiError | None = None
        try:
            if value := probe():
                return value
        except tolerate as error:
            hiccup = error
        remaining = deadline - clock.monotonic()
        if remaining <= 0:
            raise hiccup or DeadlineExceeded(f"{failure} within {timeout:g} s", hint=hint)
        clock.sleep(min(interval, remaining))
