"""The dead man's switch at the end of the alert path: an alert that always fires must keep coming in."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from obsctl import names
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How it stands now. last_seen: Unix seconds, None when never. heard: whether that was since the start.
    silent: there was none for longer than silent_after seconds."""

    last_seen: float | None
    heard: bool
    silent: bool
    silent_after: float


def is_heartbeat(payload: Json) -> bool:
    """Whether a webhook carries a firing Watchdog."""
    return any(
        alert["labels"].get("alertname") == names.WATCHDOG and alert.get("status") == "firing"
        for alert in payload["alerts"]
    )


class Watchdog:
    """Hears heartbeats, expected every `interval` seconds; silent after three were missed.

    A restart begins a new wait, so that our own downtime does not look like that of Prometheus. Silence is measured by
    the monotonic clock, so a change of the machine's time neither hides nor causes it.
    """

    def __init__(self, interval: float, *, last_seen: float | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._silent_after = names.MISSED_HEARTBEATS * interval
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
            silent = self._clock.monotonic() - self._quiet_since > self._silent_after
            return Heartbeat(self._last_seen, self._heard, silent, self._silent_after)
