"""What alert-sink's page shows. All of it came from outside: each text is cut, and the template escapes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import urlsplit

from obsctl import names
from obsctl.model import Json
from obsctl.services.notifications import Notification, read_line
from obsctl.services.watchdog import Heartbeat

MAX_NOTIFICATIONS = 200
MAX_ALERTS = 20
MAX_LABELS = 40
MAX_TEXT = 1000
MAX_LABEL = 200
"""Characters of a text, and of a label's name and value."""
MAX_READ = 1024 * 1024
"""Bytes of stored notifications that one page is made from."""
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Read = Callable[[Notification], bytes | None]


def page(
    received: Sequence[Notification], read: Read, heartbeat: Heartbeat, *, now: float, with_heartbeats: bool
) -> Json:
    """The values of the template, the newest delivery first. received: oldest first. read: gives a stored line.

    Deliveries of Watchdog alone are left out unless asked for. watchdog: "alive", "silent" or "waiting".
    """
    shown = received if with_heartbeats else [each for each in received if each.alertnames != (names.WATCHDOG,)]
    state, text = _watchdog(heartbeat, now)
    return {
        "watchdog": state,
        "watchdog_text": text,
        "notifications": [_notification(each, read, now) for each in _newest(shown)],
        "total": len(shown),
        "hidden_heartbeats": len(received) - len(shown),
        "with_heartbeats": with_heartbeats,
        "now": _clock_time(now),
    }


def _newest(shown: Sequence[Notification]) -> Iterator[Notification]:
    """As many as a page can be made from in a moment, at least one."""
    size = 0
    for notification in islice(reversed(shown), MAX_NOTIFICATIONS):
        size += notification.size
        if size > MAX_READ and size > notification.size:
            return
        yield notification


def _watchdog(heartbeat: Heartbeat, now: float) -> tuple[str, str]:
    last = heartbeat.last_seen
    if heartbeat.silent:
        since = f"since {_clock_time(last)} ({_age(now - last)})" if last else "since alert-sink started"
        return "silent", f"No heartbeat {since}. Alerts may not arrive: look at Prometheus and Alertmanager."
    if last is None or not heartbeat.heard:
        return "waiting", f"Waiting for the first heartbeat since the start; silent after {heartbeat.silent_after:g} s."
    return "alive", f"Heartbeat alive, last {_age(now - last)}: Prometheus and Alertmanager reach this page."


def _notification(notification: Notification, read: Read, now: float) -> Json:
    stored = read_line(read(notification) or b"")
    payload: Json = stored[1] if stored else {"status": "unreadable", "alerts": []}
    alerts = payload["alerts"]
    left_out = payload.get("truncatedAlerts", 0)
    return {
        "status": payload["status"],
        "time": _clock_time(notification.received_at),
        "age": _age(now - notification.received_at),
        "alerts": [_alert(alert, payload["status"]) for alert in alerts[:MAX_ALERTS]],
        "hidden_alerts": max(0, len(alerts) - MAX_ALERTS) + (left_out if isinstance(left_out, int) else 0),
    }


def _alert(alert: Json, status: str) -> Json:
    labels, notes = dict(alert["labels"]), alert.get("annotations", {})
    name = labels.pop("alertname", "(no alertname)")
    links = ("runbook", notes.get("runbook_url")), ("dashboard", notes.get("dashboard_url"))
    summary = notes.get("summary") or notes.get("description")
    shown = sorted(labels.items())[:MAX_LABELS]
    return {
        "status": alert.get("status", status),
        "name": _text(name),
        "summary": _text(summary) if summary else None,
        "labels": [(_text(label, MAX_LABEL), _text(value, MAX_LABEL)) for label, value in shown],
        "hidden_labels": max(0, len(labels) - MAX_LABELS),
        "links": [link for link in (*links, ("expression", alert.get("generatorURL"))) if _is_web_link(link[1])],
    }


def _text(value: object, longest: int = MAX_TEXT) -> str:
    """As text that UTF-8 can carry (JSON has half characters too) and that reads in the order it is written in."""
    text = _TURNING.sub("\ufffd", str(value).encode("utf-8", "replace").decode())
    return text if len(text) <= longest else f"{text[:longest]}…"


def _is_web_link(url: object) -> bool:
    """Only these: a javascript: or data: address in an alert must not become a link."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and len(url) <= 4 * MAX_TEXT and url.isprintable() else None
    except ValueError:
        return False
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.netloc)


def _clock_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(seconds: float) -> str:
    """The largest unit that fits: "just now", "42 s ago", "3 min ago", "5 h ago", "2 d ago"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
