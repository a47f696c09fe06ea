"""alert-sink: a receiver for Alertmanager's webhook that keeps what comes in, shows it, and watches for the Watchdog.

Alertmanager tries again after a 5xx, so a delivery is answered 200 only when it is on disk.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path

from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, Gauge
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from obsctl import names
from obsctl.errors import ObsctlError
from obsctl.services.alert_page import page
from obsctl.services.notifications import BadWebhook, NotificationLog, make_notification, parse_webhook
from obsctl.services.watchdog import Watchdog, is_heartbeat
from obsctl.services.web import WebServer
from obsctl.services.web import create_app as create_web_app
from obsctl.wait import SYSTEM_CLOCK, Clock

# The page shows text from outside: no script runs, nothing is loaded, and links do not tell where they come from.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_log = logging.getLogger("obsctl")


class AlertSink:
    """What the service answers, and its metrics alert_sink_*."""

    def __init__(self, log: NotificationLog, watchdog: Watchdog, registry: CollectorRegistry, clock: Clock) -> None:
        self._log = log
        self._watchdog = watchdog
        self._clock = clock
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._stored = counter("alert_sink_notifications", "Deliveries stored.", ["status"])
        for status in ("firing", "resolved"):
            self._stored.labels(status)
        self._rejected = counter("alert_sink_rejected", "Requests that were no Alertmanager webhook.")
        self._write_failures = counter("alert_sink_write_failures", "Deliveries that could not be stored.")
        gauge("alert_sink_skipped_lines", "Unreadable lines found in the files at start.").set(log.skipped_lines)
        last_seen = gauge("alert_sink_watchdog_last_seen_timestamp_seconds", "Last heartbeat; 0: never.")
        last_seen.set_function(lambda: watchdog.heartbeat().last_seen or 0)
        silent = gauge("alert_sink_watchdog_silent", "1 when the Watchdog's heartbeat stopped.")
        silent.set_function(lambda: watchdog.heartbeat().silent)

    def webhook(self) -> ResponseReturnValue:
        received_at = self._clock.now()
        try:
            payload = parse_webhook(request.get_data(cache=False))
            notification = make_notification(payload, received_at)
        except (BadWebhook, RequestEntityTooLarge) as error:
            self._rejected.inc()
            return {"error": str(error)}, 413 if isinstance(error, RequestEntityTooLarge) else 400
        try:
            self._log.append(notification)
        except OSError as error:
            self._write_failures.inc()
            _log.error("a delivery could not be stored: %s", error)
            return {"error": f"could not be stored, try again: {error.strerror}"}, 500
        self._stored.labels(payload["status"]).inc()
        if is_heartbeat(payload):
            self._watchdog.beat(received_at)
        return {"status": "stored"}

    def notifications(self) -> ResponseReturnValue:
        matching = self._log.find(since=_since(request.args.get("since")), alertname=request.args.get("alertname"))
        body = b'{"notifications":[' + b",".join(notification.line for notification in matching) + b"]}\n"
        return Response(body, content_type="application/json")

    def heartbeat(self) -> ResponseReturnValue:
        now = self._watchdog.heartbeat()
        return {"last_seen": now.last_seen, "silent": now.silent, "silent_after": now.silent_after}

    def index(self) -> ResponseReturnValue:
        heartbeats = request.args.get("heartbeats") == "show"
        view = page(self._log.find(), self._watchdog.heartbeat(), now=self._clock.now(), with_heartbeats=heartbeats)
        refresh = request.args.get("refresh") != "off"
        return render_template("alert_sink.html", page=view, refresh=refresh), PAGE_HEADERS


def create_app(
    log: NotificationLog, watchdog: Watchdog, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
) -> Flask:
    """The service. It is ready as soon as it listens: even with a full disk it has to stay in Consul, or Alertmanager
    could not try again."""
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
    WebServer(app, bind=bind, port=port).run_until_signalled()
    log.close()


def _last_heartbeat(log: NotificationLog) -> float | None:
    newest_first = reversed(log.find(alertname=names.WATCHDOG))
    return next((each.received_at for each in newest_first if is_heartbeat(each.payload)), None)
