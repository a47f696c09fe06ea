"""What alert-sink received: one JSON line each, on disk before it is acknowledged, the latest in memory too."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from obsctl.model import Json
from obsctl.state import sync_folder

CURRENT = "notifications.jsonl"
OLDER = "notifications.1.jsonl"
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_KEPT = 10_000


class BadWebhook(ValueError):
    """What was sent is not an Alertmanager webhook; the text says why."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery of Alertmanager. received_at: Unix seconds. line: its JSON as it is stored and answered; as text
    thousands fit in memory."""

    received_at: float
    alertnames: frozenset[str]
    line: bytes

    @property
    def payload(self) -> Json:
        payload: Json = json.loads(self.line)["payload"]
        return payload


def parse_webhook(body: bytes) -> Json:
    """An Alertmanager webhook (version 4). Raises BadWebhook when it is not one."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadWebhook(f"the body is not JSON: {error}") from error
    return check_webhook(payload)


def check_webhook(payload: object) -> Json:
    """The payload itself, if it has the shape that we rely on. Raises BadWebhook."""
    if not isinstance(payload, dict):
        raise BadWebhook("the body must be a JSON object")
    if payload.get("status") not in ("firing", "resolved"):
        raise BadWebhook('status must be "firing" or "resolved"')
    alerts = payload.get("alerts")
    if not isinstance(alerts, list):
        raise BadWebhook("alerts must be a list")
    for alert in alerts:
        if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
            raise BadWebhook("each alert must be an object with labels")
        if not isinstance(alert.get("annotations", {}), dict):
            raise BadWebhook("an alert's annotations must be an object")
    return payload


def make_notification(payload: Json, received_at: float) -> Notification:
    """Raises BadWebhook when the payload cannot be written as JSON that others can read (NaN, half characters)."""
    try:
        document = {"received_at": received_at, "payload": payload}
        line = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise BadWebhook(f"the body is not JSON: {error}") from error
    return Notification(received_at, _alertnames(payload), line)


def _read_notification(line: bytes) -> Notification | None:
    try:
        document = json.loads(line)
        payload = check_webhook(document["payload"])
        return Notification(float(document["received_at"]), _alertnames(payload), line.rstrip())
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _alertnames(payload: Json) -> frozenset[str]:
    return frozenset(str(alert["labels"].get("alertname", "")) for alert in payload["alerts"])


class NotificationLog:
    """The file and its copy in memory, for many threads.

    At `max_file_bytes` the file replaces the older one. Memory holds what the two files hold, at most MAX_KEPT
    deliveries. Raises OSError when `folder` cannot be used.
    """

    def __init__(self, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.skipped_lines = 0
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._lock = threading.Lock()
        self._kept: deque[Notification] = deque()
        self._kept_bytes = 0
        self._file: BinaryIO | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for name in (OLDER, CURRENT):
            self._load(folder / name)
        self._open()

    def append(self, notification: Notification) -> None:
        """Returns once the notification would survive a crash. Raises OSError when it cannot be stored."""
        with self._lock:
            try:
                self._write(notification.line + b"\n")
            except OSError:
                self.close()  # the next append opens the file again, which ends a torn line
                raise
            self._keep(notification)

    def find(self, *, since: float = float("-inf"), alertname: str | None = None) -> list[Notification]:
        """Those received at `since` or later with an alert of that name, oldest first."""
        with self._lock:
            notifications = list(self._kept)
        recent = (each for each in notifications if each.received_at >= since)
        matching = (each for each in recent if alertname is None or alertname in each.alertnames)
        return sorted(matching, key=lambda each: each.received_at)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _keep(self, notification: Notification) -> None:
        self._kept.append(notification)
        self._kept_bytes += len(notification.line)
        while len(self._kept) > MAX_KEPT or self._kept_bytes > 2 * self._max_file_bytes:
            self._kept_bytes -= len(self._kept.popleft().line)

    def _load(self, path: Path) -> None:
        if not path.exists():
            return
        with path.open("rb") as lines:
            for line in lines:
                notification = _read_notification(line)
                if notification:
                    self._keep(notification)
                else:
                    self.skipped_lines += 1

    def _open(self) -> BinaryIO:
        path = self._folder / CURRENT
        self._file = path.open("a+b", buffering=0)
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        sync_folder(self._folder)
        return self._file

    def _write(self, data: bytes) -> None:
        file = self._file or self._open()
        size = file.tell()
        if size and size + len(data) > self._max_file_bytes:
            file = self._rotate()
        unwritten = memoryview(data)
        while unwritten:
            unwritten = unwritten[file.write(unwritten) :]
        os.fsync(file.fileno())

    def _rotate(self) -> BinaryIO:
        self.close()
        (self._folder / CURRENT).replace(self._folder / OLDER)
        return self._open()
