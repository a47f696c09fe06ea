"""A program that does the same again and again, and is ready while it succeeds."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from obsctl.errors import ObsctlError
from obsctl.services import web
from obsctl.wait import Clock


class Turns(ABC):
    """Takes turns. A failure is counted and logged, and the turn taken again after `pause` seconds.

    name: of its log and of its metrics. stale: seconds without a good turn after which the program is not ready.
    """

    def __init__(self, name: str, registry: CollectorRegistry, *, pause: float, stale: float, clock: Clock) -> None:
        self.log = logging.getLogger(f"obsctl.{name.replace('_', '-')}")
        self.failures = Counter(f"{name}_failures", "What failed, turns included.", registry=registry)
        self._pause = pause
        self._stale = stale
        self._clock = clock
        self._good_at: float | None = None

    @abstractmethod
    def turn(self) -> bool:
        """One turn; whether all went well."""

    def take(self) -> None:
        if self.turn():
            self._good_at = self._clock.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Take turns until told to stop."""
        while not stop.is_set():
            try:
                self.take()
            except Exception as error:
                self.failed("a turn", error)
                stop.wait(self._pause)

    def failed(self, what: str, error: Exception) -> None:
        self.failures.inc()
        if isinstance(error, ObsctlError | OSError):
            self.log.warning("%s failed: %s", what, error)
        else:
            self.log.exception("%s failed because of a bug", what)

    def why_not_ready(self) -> str:
        """ "" when the last good turn is recent: without one the program cannot keep its promises."""
        if self._good_at is None:
            return "there was no good turn yet"
        age = self._clock.monotonic() - self._good_at
        return f"the last good turn is {age:.0f} s ago" if age > self._stale else ""

    def serve(self, registry: CollectorRegistry, *, bind: str, port: int, beside: Sequence[Turns] = ()) -> None:
        """Serve /health, /alive and /metrics and take turns, as those beside it do, until SIGTERM or SIGINT."""
        programs = (self, *beside)

        def why_not_ready() -> str:
            return next(filter(None, (program.why_not_ready() for program in programs)), "")

        server = web.WebServer(web.create_app(registry, why_not_ready=why_not_ready), bind=bind, port=port)
        stop = threading.Event()
        threads = [threading.Thread(target=each.run, args=(stop,), name="turns", daemon=True) for each in programs]
        for thread in threads:
            thread.start()
        server.run_until_signalled()
        stop.set()
        threads[0].join(timeout=self._pause + 1)
