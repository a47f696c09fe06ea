"""A clock that moves only when somebody sleeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heappop, heappush


class FakeClock:
    """wait.Clock. What `at` and `after` were given happens while somebody sleeps across that moment."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = self._start = now
        self._order = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    def sleep(self, seconds: float) -> None:
        until = self._now + seconds
        while self._plans and self._plans[0][0] <= until:
            self._now, _, action = heappop(self._plans)
            action()
        self._now = until

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Do this at a Unix time, not before now."""
        heappush(self._plans, (max(moment, self._now), next(self._order), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self._now + seconds, action)
