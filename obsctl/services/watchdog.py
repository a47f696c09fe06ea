"""The dead man's switch at the end of the alert path: an alert that always fires must keep coming in."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from obsctl import names
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, Clock

MISSED_BEATS = 3


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How it stands now.

    last_seen: Unix seconds, None when never. heard: whether that was since the start. quiet_for: seconds since the
    last one, or since the start. silent: quiet for longer than silent_after seconds.
    """

    last_seen: float | None
    heard: bool
    quiet_for: float
    silent_after: float

    @property
    def silent(self) -> bool:
        return self.quiet_for > self.silent_after


def is_heartbeat(payload: Json) -> bool:
    """Whether a webhook carries a firing Watchdog."""
    return any(
        alert["labels"].get("alertname") == names.WATCHDOG and alert.get("status") == "firing"
        for alert in payload["alerts"]
    )


class Watchdog:
    """Hears heartbeats, expected every `interval` seconds; silent after three were missed.

    A restart begins a new wait, so that our own downtime does not look like Prometheus's. Silence is measured by the
    monotonic clock: setting the machine's time neither hides nor causes it.
    """

    def __init__(self, interval: float, *, last_seen: float | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._silent_after = MISSED_BEATS * interval
        self._lock = threading.Lock()
        self._last_seen = last_seen
        self._heard = False
        self._quiet_since = clock.monotonic()

    def beat(self, received_at: float) -> None:
        with self._lock:
            self._last_seen = received_at
            self._heard = True
            self._quiet_since = self._clock.monotonic()

    def heartbeat(self) -> Heartbeat:
        with self._lock:
            quiet_for = self._clock.monotonic() - self._quiet_since
            return Heartbeat(self._last_seen, self._heard, quiet_for, self._silent_after)
