"""Values that all packages share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
"""An object of JSON or YAML, as a server sent it or a file has it."""


class Severity(StrEnum):
    """How much a finding matters: an error stops a deploy, a warning does not, info is good news."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. where: a file and key, a job, or a URL."""

    severity: Severity
    where: str
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One step of long work, as it happens.

    subject: what it is about ("prometheus"). state: "start", "progress", "ok", "failed", "note". fraction: from 0 to 1,
    where the progress is known.
    """

    subject: str
    state: str
    text: str
    fraction: float | None = None


Piece = tuple[str, str | None]
"""Text, and its style on a terminal: "red", "bold cyan"; None for plain text."""

Emit = Callable[[Event], None]


def silent(_: Event) -> None:
    """Drops an event, for callers that show no progress."""


def unix_time(timestamp: str) -> float:
    """Unix seconds of an RFC 3339 time as Go programs write it; digits after the microsecond are cut."""
    return datetime.fromisoformat(timestamp).timestamp()


def digest(value: bytes) -> str:
    """A short hash, long enough to tell two versions apart."""
    return hashlib.sha256(value).hexdigest()[:16]
