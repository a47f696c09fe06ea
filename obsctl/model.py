"""The frozen values that everybody shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters: an error stops a deploy, a warning does not, info is good news."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a check found out. `where` is a file and key, a job, or a URL."""

    severity: Severity
    where: str
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a long piece of work, as it happens.

    subject: what it is about ("prometheus", "nomad 1.11.2"). state: "start", "progress", "ok", "failed", "note".
    fraction: 0..1 where the progress of a download or a build is known.
    """

    subject: str
    state: str
    text: str
    fraction: float | None = None


Emit = Callable[[Event], None]
