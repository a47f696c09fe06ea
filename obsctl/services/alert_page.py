"""What alert-sink's page shows, prepared for its template. Everything here came from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from obsctl import names
from obsctl.model import Json
from obsctl.services.notifications import Notification
from obsctl.services.watchdog import Heartbeat

MAX_NOTIFICATIONS = 200
MAX_ALERTS = 20


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert of a delivery. labels: (name, value). links: (text, URL)."""

    firing: bool
    name: str
    summary: str
    labels: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NotificationView:
    """One delivery. hidden_alerts: how many more alerts it has than are shown."""

    firing: bool
    time: str
    age: str
    alerts: tuple[AlertView, ...]
    hidden_alerts: int


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page, newest delivery first. watchdog: "alive", "silent" or "waiting", and a sentence that says it."""

    watchdog: str
    watchdog_text: str
    notifications: tuple[NotificationView, ...]
    total: int
    hidden_heartbeats: int
    with_heartbeats: bool
    now: str


def page(received: Sequence[Notification], heartbeat: Heartbeat, *, now: float, with_heartbeats: bool) -> Page:
    """The page over `received` (oldest first). Deliveries of Watchdog alone are left out unless asked for."""
    shown = received if with_heartbeats else [each for each in received if each.alertnames != {names.WATCHDOG}]
    state, text = _watchdog(heartbeat, now)
    return Page(
        watchdog=state,
        watchdog_text=text,
        notifications=tuple(_notification(each, now) for each in shown[: -MAX_NOTIFICATIONS - 1 : -1]),
        total=len(shown),
        hidden_heartbeats=len(received) - len(shown),
        with_heartbeats=with_heartbeats,
        now=_clock_time(now),
    )


def _watchdog(heartbeat: Heartbeat, now: float) -> tuple[str, str]:
    last = heartbeat.last_seen
    if heartbeat.silent:
        since = f"since {_clock_time(last)} ({_age(now - last)})" if last else "since alert-sink started"
        return "silent", f"No heartbeat {since}. Alerts may not arrive: look at Prometheus and Alertmanager."
    if last is None or not heartbeat.heard:
        return "waiting", f"Waiting for the first heartbeat since the start; silent after {heartbeat.silent_after:g} s."
    return "alive", f"Heartbeat alive, last {_age(now - last)}: Prometheus and Alertmanager reach this page."


def _notification(notification: Notification, now: float) -> NotificationView:
    payload = notification.payload
    alerts = payload["alerts"]
    return NotificationView(
        firing=payload["status"] == "firing",
        time=_clock_time(notification.received_at),
        age=_age(now - notification.received_at),
        alerts=tuple(_alert(alert, payload["status"]) for alert in alerts[:MAX_ALERTS]),
        hidden_alerts=max(0, len(alerts) - MAX_ALERTS),
    )


def _alert(alert: Json, status: str) -> AlertView:
    labels = {str(name): str(value) for name, value in alert["labels"].items()}
    notes = alert.get("annotations", {})
    links = {
        "runbook": notes.get("runbook_url"),
        "dashboard": notes.get("dashboard_url"),
        "expression": alert.get("generatorURL"),
    }
    return AlertView(
        firing=alert.get("status", status) == "firing",
        name=labels.pop("alertname", "(no alertname)"),
        summary=str(notes.get("summary") or notes.get("description") or ""),
        labels=tuple(sorted(labels.items())),
        links=tuple((text, url) for text, url in links.items() if isinstance(url, str) and _is_web_link(url)),
    )


def _is_web_link(url: str) -> bool:
    """Only these: a javascript: or data: address in an alert must not become a link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _clock_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(seconds: float) -> str:
    """The largest unit that fits: "just now", "42 s ago", "3 min ago", "5 h ago", "2 d ago"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
