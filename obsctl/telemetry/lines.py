"""Log lines from any source: what a line is, which lines a query asks for, and how a line is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from obsctl.model import Piece

LEVEL_STYLES = {"debug": "dim", "warn": "yellow", "error": "red", "fatal": "bold red"}
SECOND = 1_000_000_000
_TIME_WIDTH = len("2026-11-21T03:25:01.123Z")
MESSAGE = ("message", "msg")
"""The fields in which a line of JSON, or one of fields alone, has its message."""
_SHOWN = {"ts", "time", "timestamp", "@timestamp", "level", "severity"}
_HEAD = 300  # characters in which a line has its time and level
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(
    r"""\b(?i:level|severity|lvl)["']?\s*[=:]\s*["']?(\w+)    # logfmt and JSON
    | [\t\[]((?i:debug|info|warn(?:ing)?|error|fatal))[\t\]]  # zap's console, and brackets
    | \b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b""",
    re.VERBOSE,
)
_LEVELS = {
    "trace": "debug", "debug": "debug", "info": "info", "notice": "info", "warn": "warn", "warning": "warn",
    "error": "error", "err": "error", "critical": "fatal", "fatal": "fatal", "panic": "fatal",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log. at: Unix nanoseconds, None when the line has no time.

    level: "debug", "info", "warn", "error" or "fatal". What is not known is "".
    """

    text: str
    at: int | None
    level: str = ""
    job: str = ""
    task: str = ""
    alloc_id: str = ""
    stream: str = ""
    trace_id: str = ""
    span_id: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Which lines: those of a Nomad job ("" is all) and a trace, which contain the text `grep` in any case and have the
    fields and values of `where`. since: Unix nanoseconds. limit: at most so many of the lines that are there already.
    namespace: that of the job; lines that say none count too, as a program may send what it likes.
    """

    job_id: str = ""
    grep: str = ""
    trace_id: str = ""
    since: int = 0
    limit: int = 100
    where: tuple[tuple[str, str], ...] = ()
    namespace: str = ""


class Tail(Protocol):
    """The first call of `lines` gives the last lines, in order of time; later calls give those that were added."""

    def lines(self) -> list[Line]: ...


def in_order(lines: Iterable[Line]) -> list[Line]:
    """By time. Lines without one come last, where they are seen."""
    return sorted(lines, key=lambda line: (line.at is None, line.at or 0))


def time_and_level(text: str) -> tuple[int | None, str]:
    """The time and the level that stand in a line. A time without a zone is UTC, as for the agents."""
    head = text[:_HEAD]
    level = _LEVEL.search(head)
    word = next(filter(None, level.groups()), "") if level else ""
    return time_in(head), level_of(word)


def time_in(text: str) -> int | None:
    """The first time in the text, in Unix nanoseconds; None when there is none."""
    match = _TIME.search(text)
    if match is None:
        return None
    day, time, fraction, zone = match.groups()
    try:
        seconds = int(datetime.fromisoformat(f"{day}T{time}{zone or 'Z'}").timestamp())
        datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError):  # no date, or one beyond the year 9999 in UTC
        return None
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))


def readable(text: str) -> str:
    """A line in JSON as its message and its other fields, without time and level, which have their own columns."""
    fields = as_fields(text)
    message = next((str(fields.pop(name)) for name in MESSAGE if name in fields), None)
    if message is None:
        return text
    rest = [f"{name}={value}" for name, value in fields.items() if name not in _SHOWN]
    return "  ".join([message, *([" ".join(rest)] if rest else [])])


def as_fields(text: str) -> dict[str, Any]:
    """The fields of a line that is a JSON object; of another line, none."""
    if not text.startswith("{"):
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return dict(fields)


def level_of(word: str) -> str:
    """The level that a program's word means; "" when it means none."""
    return _LEVELS.get(word.lower(), "")


def format_time(at: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pieces(line: Line, origin: str) -> list[Piece]:
    """A line for the terminal: time, level, origin, text."""
    style = LEVEL_STYLES.get(line.level)
    time = format_time(line.at) if line.at else "-".ljust(_TIME_WIDTH)
    where = f"{origin} | " if origin else ""
    text = readable(line.text)
    return [(f"{time} ", "dim"), (f"{line.level.upper():5} ", style or "dim"), (where, "cyan"), (text, style)]


class Origins:
    """Short names for where lines come from: only as much of job, task and allocation as tells them apart."""

    def __init__(self) -> None:
        self._jobs: set[str] = set()
        self._tasks: set[str] = set()
        self._allocations: set[str] = set()

    def notice(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._jobs |= {line.job} - {""}
            self._tasks |= {line.task} - {""}
            self._allocations |= {line.alloc_id} - {""}

    def of(self, line: Line) -> str:
        """The name of its origin among all those noticed so far; "" while there is only one."""
        name = line.job if len(self._jobs) > 1 else line.task if len(self._tasks) > 1 else ""
        return " ".join(filter(None, [name, line.alloc_id[:8] if len(self._allocations) > len(self._jobs) else ""]))
