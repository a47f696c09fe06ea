"""Values that all packages share."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
"""An object of JSON or YAML, as a server sent it or a file has it."""


def is_ip_address(host: str) -> bool:
    """Whether it is an address, of version 4 or 6, of which nobody asks DNS."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def one_line(name: str) -> str:
    """A name that others chose, as it is, or quoted when it has line breaks or what cannot be seen."""
    return name if name.isprintable() else repr(name)


class Severity(StrEnum):
    """How much a finding matters: an error stops a deploy, a warning does not, info is good news, what is unseen may be
    good or not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. where: a file and key, a job, or a URL.

    settled_by: what would show whether a deploy fails by this, in a few words. Empty where that is known.
    """

    severity: Severity
    where: str
    what: str
    hint: str = ""
    settled_by: str = ""

    @classmethod
    def error(cls, where: str, what: str, hint: str) -> Finding:
        return cls(Severity.ERROR, where, what, hint)

    @classmethod
    def warning(cls, where: str, what: str, hint: str, *, settled_by: str = "") -> Finding:
        return cls(Severity.WARNING, where, what, hint, settled_by)

    @classmethod
    def unseen(cls, where: str, what: str, hint: str = "", *, settled_by: str = "") -> Finding:
        return cls(Severity.UNSEEN, where, what, hint, settled_by)


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


def host_and_port(host: str, port: int) -> str:
    """As it stands in a URL: an IPv6 address between brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_address(value: str) -> str:
    """The address of a server's API, without a slash at its end. Raises ValueError, whose words never repeat it: a
    user's password may be in it."""
    words = 'must be like "http://127.0.0.1:4646": http or https, a host, a port, no path and no user'
    try:
        url = urlsplit(value)
        plain = bool(url.hostname) and "@" not in url.netloc and (url.port is None or url.port > 0)
    except ValueError:
        plain = False
    plain = plain and value.isprintable() and not re.search(r"[\s\"'\\{}<>|^`]", value)
    if not plain or url.scheme not in ("http", "https") or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(words)
    return value.rstrip("/")


def is_text(text: str) -> bool:
    """Whether it is plain Unicode: half a pair of surrogates, which JSON and YAML may hold, is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_deeper(document: Json, depth: int) -> bool:
    """Whether a JSON document has more than `depth` objects and lists in each other, itself included."""
    level: list[Any] = [document]
    for _ in range(depth):
        values = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
        level = [value for value in values if isinstance(value, dict | list)]
    return bool(level)


def digest(value: bytes) -> str:
    """A short hash, long enough to tell two versions apart."""
    return hashlib.sha256(value).hexdigest()[:16]
