"""A program that does the same again and again, and is ready while it succeeds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from obsctl.services import web
from obsctl.wait import Clock


class Turns:
    """Takes turns. One that raises is reported to `failed`, and taken again after `pause` seconds.

    turn: returns whether all went well. stale: seconds without a good turn after which the program is not ready.
    """

    def __init__(
        self, turn: Callable[[], bool], failed: Callable[[Exception], None], *, pause: float, stale: float, clock: Clock
    ) -> None:
        self.pause = pause
        self._turn = turn
        self._failed = failed
        self._stale = stale
        self._clock = clock
        self._good_at: float | None = None

    def take(self) -> None:
        """One turn."""
        if self._turn():
            self._good_at = self._clock.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Take turns until told to stop."""
        while not stop.is_set():
            try:
                self.take()
            except Exception as error:
                self._failed(error)
                stop.wait(self.pause)

    def why_not_ready(self) -> str:
        """ "" when the last good turn is recent: without one the program cannot keep its promises."""
        if self._good_at is None:
            return "there was no good turn yet"
        age = self._clock.monotonic() - self._good_at
        return f"the last good turn is {age:.0f} s ago" if age > self._stale else ""


def serve(turns: Turns, registry: CollectorRegistry, *, bind: str, port: int) -> None:
    """Serve /health, /alive and /metrics and take turns until SIGTERM or SIGINT."""
    server = web.WebServer(web.create_app(registry, why_not_ready=turns.why_not_ready), bind=bind, port=port)
    stop = threading.Event()
    thread = threading.Thread(target=turns.run, args=(stop,), name="turns", daemon=True)
    thread.start()
    server.run_until_signalled()
    stop.set()
    thread.join(timeout=turns.pause + 1)
