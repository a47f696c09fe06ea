"""The dead man's notification: a webhook outside the stack is told when the heartbeat stops, and when it is back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

from prometheus_client import CollectorRegistry, Counter

from obsctl import names
from obsctl.clients import webhook
from obsctl.model import Json, digest
from obsctl.services.watchdog import Heartbeat, Watchdog
from obsctl.wait import SYSTEM_CLOCK, Clock

ALERT = "AlertPathSilent"
TURN_SECONDS = 1.0
LONGEST_PAUSE = 60.0
_MARK = "silence-told"
_log = logging.getLogger("obsctl")


class Alarm:
    """Level-triggered: it compares what is true now with what the webhook was told last, which outlives a restart.

    What is not taken is sent again, with pauses that grow to a minute, until it is taken or not true any more.
    url_file: holds the webhook's address. folder: where it notes what was told.
    """

    def __init__(
        self, stack: str, watchdog: Watchdog, url_file: Path, folder: Path, registry: CollectorRegistry,
        *, clock: Clock = SYSTEM_CLOCK, post: Callable[[str, Json], str] = webhook.post,
    ) -> None:  # fmt: skip
        self._stack = stack
        self._watchdog = watchdog
        self._url_file = url_file
        self._mark = folder / _MARK
        self._told_silent = self._mark.exists()
        self._failures = Counter(
            "alert_sink_alarm_failures", "Messages that the webhook did not take.", registry=registry
        )
        self._pause = TURN_SECONDS
        self._clock = clock
        self._post = post

    def run(self) -> Never:
        """Take turns for ever, whatever happens in one."""
        while True:
            pause = LONGEST_PAUSE
            try:
                pause = self.turn()
            except Exception:
                _log.exception("the heartbeat could not be looked at because of a bug")
            self._clock.sleep(pause)

    def turn(self) -> float:
        """Tell what is to be told. Returns the seconds until the next turn."""
        heartbeat = self._watchdog.heartbeat()
        is_back = heartbeat.heard and not heartbeat.silent
        if not (is_back if self._told_silent else heartbeat.silent):
            self._pause = TURN_SECONDS
            return TURN_SECONDS
        trouble = self._tell(heartbeat)
        if trouble:
            self._failures.inc()
            _log.error("the webhook could not be told %r: %s", self._words(heartbeat), trouble)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return self._pause
        _log.warning("told the webhook: %s", self._words(heartbeat))
        self._note(silent=heartbeat.silent)
        return TURN_SECONDS

    def _tell(self, heartbeat: Heartbeat) -> str:
        try:
            url = self._url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            return f"its address cannot be read ({type(error).__name__})"
        return self._post(url, self._message(heartbeat))

    def _note(self, *, silent: bool) -> None:
        self._told_silent = silent
        self._pause = TURN_SECONDS
        try:
            if silent:
                self._mark.touch(mode=0o600)
            else:
                self._mark.unlink(missing_ok=True)
        except OSError as error:  # a full disk: only a restart would forget it
            _log.error("what the webhook was told could not be noted: %s", error)

    def _words(self, heartbeat: Heartbeat) -> str:
        if not heartbeat.silent:
            return f"{self._stack}: the heartbeat is back, alerts arrive again"
        last = f"since {_iso(heartbeat.last_seen)}" if heartbeat.last_seen else "since alert-sink started"
        return f"{self._stack}: no heartbeat {last}. Alerts may not arrive: look at Prometheus and Alertmanager"

    def _message(self, heartbeat: Heartbeat) -> Json:
        """As Alertmanager's webhook has it (version 4), so what takes that takes this; and a text for a chat."""
        now = self._clock.now()
        status, words = "firing" if heartbeat.silent else "resolved", self._words(heartbeat)
        labels = {"alertname": ALERT, "severity": "critical", "stack": self._stack}
        annotations = {"summary": words}
        alert = {
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": _iso(heartbeat.last_seen or now),
            "endsAt": _iso(now) if status == "resolved" else "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": digest(f"{self._stack}/{ALERT}".encode()),
        }
        return {
            "version": "4",
            "status": status,
            "receiver": names.SINK_RECEIVER,
            "groupKey": f"{self._stack}/{ALERT}",
            "truncatedAlerts": 0,
            "groupLabels": {"alertname": ALERT},
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": [alert],
            "text": words,
        }


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
