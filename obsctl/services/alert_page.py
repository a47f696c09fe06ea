"""What alert-sink's page shows. All of it came from outside; the template escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from obsctl import names
from obsctl.model import Json
from obsctl.services.notifications import Notification
from obsctl.services.watchdog import Heartbeat

MAX_NOTIFICATIONS = 200
MAX_ALERTS = 20


def page(received: Sequence[Notification], heartbeat: Heartbeat, *, now: float, with_heartbeats: bool) -> Json:
    """The values of the template, the newest delivery first. received: oldest first.

    Deliveries of Watchdog alone are left out unless asked for. watchdog: "alive", "silent" or "waiting".
    """
    shown = received if with_heartbeats else [each for each in received if each.alertnames != {names.WATCHDOG}]
    state, text = _watchdog(heartbeat, now)
    return {
        "watchdog": state,
        "watchdog_text": text,
        "notifications": [_notification(each, now) for each in shown[: -MAX_NOTIFICATIONS - 1 : -1]],
        "total": len(shown),
        "hidden_heartbeats": len(received) - len(shown),
        "with_heartbeats": with_heartbeats,
        "now": _clock_time(now),
    }


def _watchdog(heartbeat: Heartbeat, now: float) -> tuple[str, str]:
    last = heartbeat.last_seen
    if heartbeat.silent:
        since = f"since {_clock_time(last)} ({_age(now - last)})" if last else "since alert-sink started"
        return "silent", f"No heartbeat {since}. Alerts may not arrive: look at Prometheus and Alertmanager."
    if last is None or not heartbeat.heard:
        return "waiting", f"Waiting for the first heartbeat since the start; silent after {heartbeat.silent_after:g} s."
    return "alive", f"Heartbeat alive, last {_age(now - last)}: Prometheus and Alertmanager reach this page."


def _notification(notification: Notification, now: float) -> Json:
    payload = notification.payload
    alerts = payload["alerts"]
    return {
        "status": payload["status"],
        "time": _clock_time(notification.received_at),
        "age": _age(now - notification.received_at),
        "alerts": [_alert(alert, payload["status"]) for alert in alerts[:MAX_ALERTS]],
        "hidden_alerts": max(0, len(alerts) - MAX_ALERTS),
    }


def _alert(alert: Json, status: str) -> Json:
    labels, notes = dict(alert["labels"]), alert.get("annotations", {})
    links = ("runbook", notes.get("runbook_url")), ("dashboard", notes.get("dashboard_url"))
    return {
        "status": alert.get("status", status),
        "name": labels.pop("alertname", "(no alertname)"),
        "summary": notes.get("summary") or notes.get("description"),
        "labels": sorted(labels.items()),
        "links": [link for link in (*links, ("expression", alert.get("generatorURL"))) if _is_web_link(link[1])],
    }


def _is_web_link(url: object) -> bool:
    """Only these: a javascript: or data: address in an alert must not become a link."""
    try:
        return isinstance(url, str) and urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).netloc)
    except ValueError:
        return False


def _clock_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(seconds: float) -> str:
    """The largest unit that fits: "just now", "42 s ago", "3 min ago", "5 h ago", "2 d ago"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
