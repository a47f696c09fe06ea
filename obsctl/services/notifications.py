"""What alert-sink received: one JSON line each, on disk before it is acknowledged, and read from there again.

Memory holds of each only when it came, which alerts it is about, and where its line lies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from obsctl import files
from obsctl.model import Json, is_deeper
from obsctl.services.web import MAX_BODY_BYTES
from obsctl.state import sync_folder

CURRENT = "notifications.jsonl"
OLDER = "notifications.1.jsonl"
NEXT = "notifications.new.jsonl"
MAX_FILE_BYTES = 16 * 1024 * 1024
KEPT_SECONDS = 3600.0
"""What is younger is not given up for what comes in, unless it is a flood."""
FLOOD = 4
"""A file may grow to so many times its size while the older one is still too young to go."""
MAX_KEPT = 100_000
MAX_LINE_BYTES = 2 * MAX_BODY_BYTES
MAX_DEPTH = 20
MAX_VALUES = 20_000
MAX_NAME = 200
"""Characters of an alert's name by which its notification can be found."""


class BadWebhook(ValueError):
    """What was sent is not an Alertmanager webhook; the text says why."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came in. received_at: Unix seconds. line: its JSON as it is stored and answered."""

    received_at: float
    alertnames: tuple[str, ...]
    line: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """A delivery that is kept. file, offset, size: where its line lies; the files are counted from the start on."""

    received_at: float
    alertnames: tuple[str, ...]
    file: int
    offset: int
    size: int


def parse_webhook(body: bytes) -> Json:
    """An Alertmanager webhook (version 4). Raises BadWebhook when it is not one."""
    return check_webhook(_parse(body))


def _parse(body: bytes) -> object:
    """Raises BadWebhook for what is not JSON, or would take much more memory than its text."""
    if body.count(b"{") + body.count(b"[") > MAX_VALUES:
        raise BadWebhook(f"the body has more than {MAX_VALUES} objects and lists")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadWebhook(f"the body is not JSON: {error}") from error


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
    if is_deeper(payload, MAX_DEPTH):
        raise BadWebhook(f"the body is nested more than {MAX_DEPTH} deep")
    return payload


def make_delivery(payload: Json, received_at: float) -> Delivery:
    """Raises BadWebhook when the payload cannot be written as JSON that others can read (NaN, half characters)."""
    try:
        document = {"received_at": received_at, "payload": payload}
        line = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise BadWebhook(f"the body is not JSON: {error}") from error
    if len(line) > MAX_LINE_BYTES:
        raise BadWebhook(f"the body takes more than {MAX_LINE_BYTES} bytes when its numbers are written out")
    return Delivery(received_at, _alertnames(payload), line)


def read_line(line: bytes) -> tuple[float, Json] | None:
    """When it was received, and the payload; None when the line holds no notification."""
    try:
        document = _parse(line)
        if not isinstance(document, dict):
            return None
        received_at = float(document["received_at"])
        return (received_at, check_webhook(document["payload"])) if 0 <= received_at < 1e11 else None
    except (ValueError, KeyError, TypeError):
        return None


def _alertnames(payload: Json) -> tuple[str, ...]:
    names = {str(alert["labels"].get("alertname", ""))[:MAX_NAME] for alert in payload["alerts"]}
    return tuple(sys.intern(name) for name in sorted(names))


class NotificationLog:
    """The two files and the index of what is in them, for many threads.

    At `max_file_bytes` the newer file replaces the older one, unless that holds what is younger than KEPT_SECONDS: then
    the newer may grow to FLOOD times its size. The index has at most MAX_KEPT names of alerts.
    Raises OSError when `folder` cannot be used.
    """

    def __init__(self, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.skipped_lines = 0
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._lock = threading.Lock()
        self._kept: deque[Notification] = deque()
        self._weight = 0
        self._ends_amid_a_line = False
        files.private_folder(folder)
        with suppress(PermissionError):  # a volume may belong to somebody else, and its files are private all the same
            folder.chmod(0o700)
        with ExitStack() as on_failure:
            self._older, self._current = (on_failure.enter_context(_open(folder / name)) for name in (OLDER, CURRENT))
            on_failure.pop_all()
        self._number = 1  # of the current file; the older one has the number before
        self._older_until = float("-inf")  # when its last notification was received
        for number, file in ((0, self._older), (1, self._current)):
            self._load(number, file)
            self._older_until = self._kept[-1].received_at if self._kept and number == 0 else self._older_until
        sync_folder(folder)

    def append(self, delivery: Delivery) -> None:
        """Returns once the delivery would survive a crash. Raises OSError when it cannot be stored."""
        with self._lock:
            self._rotate_if_full(len(delivery.line) + 1, delivery.received_at)
            offset = self._write(delivery.line)
            place = self._number, offset, len(delivery.line)
            self._keep(Notification(delivery.received_at, delivery.alertnames, *place))

    def find(self, *, since: float = float("-inf"), alertname: str | None = None) -> list[Notification]:
        """Those received at `since` or later with an alert of that name, oldest first."""
        name = None if alertname is None else alertname[:MAX_NAME]
        with self._lock:
            notifications = list(self._kept)
        recent = (each for each in notifications if each.received_at >= since)
        matching = (each for each in recent if name is None or name in each.alertnames)
        return sorted(matching, key=lambda each: each.received_at)

    def line(self, notification: Notification) -> bytes | None:
        """Its JSON; None when it was given up meanwhile, or somebody changed the file."""
        with self._lock:
            if notification.file < self._number - 1:
                return None
            file = self._current if notification.file == self._number else self._older
            line = os.pread(file.fileno(), notification.size, notification.offset)
        is_whole = len(line) == notification.size and line.startswith(b"{") and line.endswith(b"}")
        return line if is_whole and b"\n" not in line else None

    def close(self) -> None:
        self._older.close()
        self._current.close()

    def _keep(self, notification: Notification) -> None:
        self._kept.append(notification)
        self._weight += max(1, len(notification.alertnames))
        while self._weight > MAX_KEPT:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._weight -= max(1, len(self._kept.popleft().alertnames))

    def _load(self, number: int, file: BinaryIO) -> None:
        offset = 0
        for line in _lines(file):
            text = line.rstrip(b"\n")
            stored = read_line(text)
            if stored:
                received_at, payload = stored
                self._keep(Notification(received_at, _alertnames(payload), number, offset, len(text)))
            else:
                self.skipped_lines += 1
            offset += len(line)
            self._ends_amid_a_line = not line.endswith(b"\n")

    def _write(self, line: bytes) -> int:
        """Where the line begins. A line that was torn before is ended first."""
        start = b"\n" if self._ends_amid_a_line else b""
        offset = self._current.seek(0, os.SEEK_END) + len(start)
        self._ends_amid_a_line = True
        unwritten = memoryview(start + line + b"\n")
        while unwritten:
            unwritten = unwritten[self._current.write(unwritten) :]
        self._ends_amid_a_line = False
        os.fsync(self._current.fileno())
        return offset

    def _rotate_if_full(self, more: int, now: float) -> None:
        size = self._current.seek(0, os.SEEK_END)
        young = self._older_until >= now - KEPT_SECONDS
        if size and size + more > self._max_file_bytes * (FLOOD if young else 1):
            self._rotate()

    def _rotate(self) -> None:
        new = _open(self._folder / NEXT)
        (self._folder / CURRENT).replace(self._folder / OLDER)
        (self._folder / NEXT).replace(self._folder / CURRENT)
        sync_folder(self._folder)
        self._older.close()
        self._older, self._current = self._current, new
        self._number += 1
        self._older_until = self._kept[-1].received_at if self._kept else float("-inf")
        self._ends_amid_a_line = False
        while self._kept and self._kept[0].file < self._number - 1:
            self._drop_oldest()


def _open(path: Path) -> BinaryIO:
    """The file, for its owner alone."""
    file = os.fdopen(files.open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b", buffering=0)
    if os.fstat(file.fileno()).st_mode & 0o077:
        os.fchmod(file.fileno(), files.PRIVATE)
    return file


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines with their ends; one that is too long comes in pieces, which are no notifications."""
    with os.fdopen(os.dup(file.fileno()), "rb") as reader:
        reader.seek(0)
        while line := reader.readline(MAX_LINE_BYTES + 1):
            yield line
