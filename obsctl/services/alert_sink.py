"""alert-sink: a receiver for Alertmanager's webhook that keeps what comes in, shows it, and watches for the Watchdog.

Alertmanager tries again after a 5xx, so a delivery is answered 200 only when it is on disk.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, Gauge
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, ServiceUnavailable

from obsctl import names
from obsctl.errors import ObsctlError
from obsctl.model import Json
from obsctl.services.access import Access, Refusal
from obsctl.services.alarm import Alarm
from obsctl.services.alert_page import page
from obsctl.services.notifications import (
    BadWebhook,
    Delivery,
    Notification,
    NotificationLog,
    make_delivery,
    parse_webhook,
    read_line,
)
from obsctl.services.watchdog import Watchdog, is_heartbeat
from obsctl.services.web import MAX_BODY_BYTES, WebServer
from obsctl.services.web import create_app as create_web_app
from obsctl.wait import SYSTEM_CLOCK, Clock

# What is shown came from outside: no script runs, nothing is loaded, no other page has it in a frame or reads it, and
# links do not tell where they come from.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
READERS = 8
"""So many are answered with notifications at once. Whoever reads slowly holds a thread, and the others are for
deliveries."""
LOG_PAUSE = 60.0
"""Seconds between two lines of the log about the same reason."""
REASONS = ("content_type", "host", "origin", "secret", "size", "webhook")

_log = logging.getLogger("obsctl")


class AlertSink:
    """What the service answers, and its metrics alert_sink_*."""

    def __init__(
        self, log: NotificationLog, watchdog: Watchdog, access: Access, registry: CollectorRegistry, clock: Clock
    ) -> None:
        self._log = log
        self._watchdog = watchdog
        self._access = access
        self._clock = clock
        self._one_at_a_time = threading.Lock()  # a body of 1 MB takes many times that while it is read
        self._readers = threading.BoundedSemaphore(READERS)
        self._one_page = threading.Lock()  # what one is made from takes many times its size, too
        self._logged_at: dict[str, float] = {}
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._stored = counter("alert_sink_notifications", "Deliveries stored.", ["status"])
        for status in ("firing", "resolved"):
            self._stored.labels(status)
        self._rejected = counter("alert_sink_rejected", "Requests that were not taken.", ["reason"])
        for reason in REASONS:
            self._rejected.labels(reason)
        self._write_failures = counter("alert_sink_write_failures", "Deliveries that could not be stored.")
        gauge("alert_sink_skipped_lines", "Unreadable lines found in the files at start.").set(log.skipped_lines)
        last_seen = gauge("alert_sink_watchdog_last_seen_timestamp_seconds", "Last heartbeat; 0: never.")
        last_seen.set_function(lambda: watchdog.heartbeat().last_seen or 0)
        silent = gauge("alert_sink_watchdog_silent", "1 when the Watchdog's heartbeat stopped.")
        silent.set_function(lambda: watchdog.heartbeat().silent)

    def check_access(self) -> None:
        self._access.check(request)

    def refuse(self, refusal: Refusal) -> ResponseReturnValue:
        self._rejected.labels(refusal.reason).inc()
        now = self._clock.monotonic()
        if now - self._logged_at.get(refusal.reason, float("-inf")) >= LOG_PAUSE:
            self._logged_at[refusal.reason] = now
            _log.warning("%s %s from %s: %s", request.method, request.path, request.remote_addr, refusal.description)
        return {"error": refusal.description}, refusal.code or 403

    def webhook(self) -> ResponseReturnValue:
        self._access.check_delivery(request)
        with self._one_at_a_time:
            received_at = self._clock.now()
            payload, delivery = _delivery(received_at)
            try:
                self._log.append(delivery)
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
        self._take_turn()
        answer = Response(self._as_json(matching), content_type="application/json")
        answer.call_on_close(self._readers.release)
        return answer

    def _take_turn(self) -> None:
        if not self._readers.acquire(timeout=0.1):
            raise ServiceUnavailable(f"{READERS} others read notifications at the moment: try again")

    def _as_json(self, notifications: Iterable[Notification]) -> Iterator[bytes]:
        """One line after the other, so that memory holds one."""
        before = b'{"notifications":['
        for line in filter(None, map(self._log.line, notifications)):
            yield before + line
            before = b","
        yield b"]}\n" if before == b"," else before + b"]}\n"

    def heartbeat(self) -> ResponseReturnValue:
        now = self._watchdog.heartbeat()
        return {"last_seen": now.last_seen, "silent": now.silent, "silent_after": now.silent_after}

    def index(self) -> ResponseReturnValue:
        heartbeats = request.args.get("heartbeats") == "show"
        refresh = request.args.get("refresh") != "off"
        received, now, heartbeat = self._log.find(), self._clock.now(), self._watchdog.heartbeat()
        self._take_turn()
        try:
            with self._one_page:
                view = page(received, self._log.line, heartbeat, now=now, with_heartbeats=heartbeats)
                return render_template("alert_sink.html", page=view, refresh=refresh)
        finally:
            self._readers.release()


def create_app(
    log: NotificationLog,
    watchdog: Watchdog,
    access: Access,
    registry: CollectorRegistry,
    clock: Clock = SYSTEM_CLOCK,
) -> Flask:
    """The service. It is ready as soon as it listens: even with a full disk it has to stay in Consul, or Alertmanager
    could not try again."""
    app = create_web_app(registry)
    sink = AlertSink(log, watchdog, access, registry, clock)
    app.before_request(sink.check_access)
    app.after_request(_with_headers)
    app.register_error_handler(Refusal, sink.refuse)
    app.post("/webhook")(sink.webhook)
    app.get("/api/notifications")(sink.notifications)
    app.get("/api/watchdog")(sink.heartbeat)
    app.get("/")(sink.index)
    return app


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def _delivery(received_at: float) -> tuple[Json, Delivery]:
    """The request's payload, and it as it is stored."""
    try:
        payload = parse_webhook(request.get_data(cache=False))
        return payload, make_delivery(payload, received_at)
    except RequestEntityTooLarge as error:
        raise Refusal("size", 413, f"a delivery has at most {MAX_BODY_BYTES} bytes") from error
    except BadWebhook as error:
        raise Refusal("webhook", 400, str(error)) from error


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


def run(
    *, bind: str, port: int, data_dir: Path, heartbeat: float, access: Access, stack: str, silence_webhook: Path | None
) -> None:
    """Serve until SIGTERM or SIGINT. heartbeat: seconds between two deliveries of the Watchdog. silence_webhook: the
    file with the address of whom to tell that it stopped."""
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
    registry = CollectorRegistry()
    server = WebServer(create_app(log, watchdog, access, registry), bind=bind, port=port)
    if silence_webhook:
        alarm = Alarm(stack, watchdog, silence_webhook, data_dir, registry)
        threading.Thread(target=alarm.run, name="alarm", daemon=True).start()
    server.run_until_signalled()
    log.close()


def _last_heartbeat(log: NotificationLog) -> float | None:
    for notification in reversed(log.find(alertname=names.WATCHDOG)):
        stored = read_line(log.line(notification) or b"")
        if stored and is_heartbeat(stored[1]):
            return notification.received_at
    return None
