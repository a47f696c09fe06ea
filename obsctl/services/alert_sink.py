"""alert-sink: a receiver for Alertmanager's webhook that keeps what it got, shows it, and minds the Watchdog.

Alertmanager tries again after a 5xx, so a delivery is answered 200 only when it is on disk.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, Gauge
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from obsctl import names
from obsctl.errors import ObsctlError
from obsctl.services.alert_page import page
from obsctl.services.notifications import (
    BadWebhook,
    NotificationLog,
    make_notification,
    parse_webhook,
)
from obsctl.services.watchdog import Watchdog, is_heartbeat
from obsctl.services.web import Server
from obsctl.services.web import create_app as create_web_app
from obsctl.wait import SYSTEM_CLOCK, Clock

# What is shown came from outside: no script runs, nothing is loaded, and links tell nobody where they were.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_log = logging.getLogger("obsctl")


class Metrics:
    """alert_sink_*"""

    def __init__(self, registry: CollectorRegistry, log: NotificationLog, watchdog: Watchdog) -> None:
        self.notifications = Counter("alert_sink_notifications", "Deliveries stored.", ["status"], registry=registry)
        for status in ("firing", "resolved"):
            self.notifications.labels(status)
        self.rejected = Counter("alert_sink_rejected", "Requests that were no Alertmanager webhook.", registry=registry)
        self.write_failures = Counter(
            "alert_sink_write_failures", "Deliveries that could not be stored.", registry=registry
        )
        Gauge("alert_sink_skipped_lines", "Unreadable lines found in the files at start.", registry=registry).set(
            log.skipped_lines
        )
        Gauge(
            "alert_sink_watchdog_last_seen_timestamp_seconds", "Last heartbeat; 0: never.", registry=registry
        ).set_function(lambda: watchdog.heartbeat().last_seen or 0)
        Gauge("alert_sink_watchdog_silent", "1 when the Watchdog's heartbeat stopped.", registry=registry).set_function(
            lambda: watchdog.heartbeat().silent
        )


class AlertSink:
    """What the service answers."""

    def __init__(self, log: NotificationLog, watchdog: Watchdog, registry: CollectorRegistry, clock: Clock) -> None:
        self._log = log
        self._watchdog = watchdog
        self._clock = clock
        self._metrics = Metrics(registry, log, watchdog)

    def webhook(self) -> ResponseReturnValue:
        received_at = self._clock.now()
        try:
            payload = parse_webhook(request.get_data(cache=False))
            notification = make_notification(payload, received_at)
        except (BadWebhook, RequestEntityTooLarge) as error:
            self._metrics.rejected.inc()
            return {"error": str(error)}, 413 if isinstance(error, RequestEntityTooLarge) else 400
        try:
            self._log.append(notification)
        except OSError as error:
            self._metrics.write_failures.inc()
            _log.error("a delivery could not be stored: %s", error)
            return {"error": f"could not be stored, try again: {error.strerror}"}, 500
        self._metrics.notifications.labels(payload["status"]).inc()
        if is_heartbeat(payload):
            self._watchdog.beat(received_at)
        return {"status": "stored"}

    def notifications(self) -> ResponseReturnValue:
        found = self._log.find(since=_since(request.args.get("since")), alertname=request.args.get("alertname"))
        body = b'{"notifications":[' + b",".join(one.line for one in found) + b"]}\n"
        return Response(body, content_type="application/json")

    def heartbeat(self) -> ResponseReturnValue:
        now = self._watchdog.heartbeat()
        return {"last_seen": now.last_seen, "silent": now.silent, "silent_after": now.silent_after}

    def index(self) -> ResponseReturnValue:
        with_heartbeats = request.args.get("heartbeats") == "show"
        view = page(
            self._log.find(),
            self._watchdog.heartbeat(),
            now=self._clock.now(),
            with_heartbeats=with_heartbeats,
        )
        refresh = request.args.get("refresh") != "off"
        return render_template("alert_sink.html", page=view, refresh=refresh), PAGE_HEADERS


def create_app(
    log: NotificationLog, watchdog: Watchdog, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
) -> Flask:
    """The service. It is ready as soon as it listens: not even a full disk may take it out of Consul, or Alertmanager
    would have nowhere to try again."""
    app = create_web_app(registry)
    sink = AlertSink(log, watchdog, registry, clock)
    app.post("/webhook")(sink.webhook)
    app.get("/api/notifications")(sink.notifications)
    app.get("/api/watchdog")(sink.heartbeat)
    app.get("/")(sink.index)
    return app


def _since(text: str | None) -> float:
    if text is None:
        return float("-inf")
    try:
        since = float(text)
    except ValueError:
        since = math.nan
    if not math.isfinite(since):
        raise BadRequest("since must be a time in Unix seconds")
    return since


def run(*, bind: str, port: int, data_dir: Path, heartbeat: float) -> None:
    """Serve until SIGTERM or SIGINT. heartbeat: seconds between two deliveries of the Watchdog."""
    try:
        log = NotificationLog(data_dir)
    except OSError as error:
        raise ObsctlError(
            f"cannot keep notifications in {data_dir}: {error.strerror}",
            hint="give a folder that this user may write to: --data-dir FOLDER",
        ) from error
    if log.skipped_lines:
        _log.warning("%d unreadable lines in %s were skipped", log.skipped_lines, data_dir)
    watchdog = Watchdog(heartbeat, last_seen=_last_heartbeat(log))
    app = create_app(log, watchdog, CollectorRegistry())
    Server(app, bind=bind, port=port).run_until_signalled()
    log.close()


def _last_heartbeat(log: NotificationLog) -> float | None:
    newest_first = reversed(log.find(alertname=names.WATCHDOG))
    return next((one.received_at for one in newest_first if is_heartbeat(one.payload)), None)
