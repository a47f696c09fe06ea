"""Durations: written as Prometheus writes them ("15s", "2m", "1h30m"), seconds (float) inside."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

_MILLISECONDS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_UNITS = "".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _MILLISECONDS)
_PATTERN = rf"(?:0|(?=[0-9]){_UNITS})"
_WRITTEN = re.compile(_PATTERN)
_LONGEST = 36_500 * 86_400_000  # a hundred years; Prometheus and Nomad overflow at about three hundred


def parse_duration(value: object) -> float:
    """Seconds from "1y", "1h30m", "15s", "250ms", "0". Raises ValueError, also for another number alone: its unit would
    be a guess."""
    if not isinstance(value, str):
        raise ValueError('write a duration with its unit, like "30s" or "2m"')
    match = _WRITTEN.fullmatch(value)
    if match is None:
        raise ValueError('must be a duration, like "30s", "2m" or "1h30m"')
    parts = zip(match.groups(), _MILLISECONDS.values(), strict=True)
    milliseconds = sum(Decimal(number) * size for number, size in parts if number)
    if milliseconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than a hundred years")
    if milliseconds % 1:
        raise ValueError(f"{value!r} is finer than a millisecond")
    return int(milliseconds) / 1000


def format_duration(seconds: float, *, days: bool = False) -> str:
    """The shortest form that Prometheus, Alertmanager and Nomad all read: 90 -> "1m30s", 0.25 -> "250ms", 0 -> "0s".

    days: also count in days, which Prometheus reads and Nomad does not.
    """
    milliseconds = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms") if days else ("h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _MILLISECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _as_people_write_it(seconds: float) -> str:
    return format_duration(seconds, days=True)


def _more_than_nothing(seconds: float) -> float:
    if not seconds:
        raise ValueError("must be longer than 0s")
    return seconds


def within(least: float, most: float = _LONGEST / 1000) -> AfterValidator:
    """Refuses shorter and longer durations; least and most are seconds."""

    def check(seconds: float) -> float:
        if not least <= seconds <= most:
            shortest, longest = _as_people_write_it(least), _as_people_write_it(most)
            raise ValueError(f"must be from {shortest} to {longest}")
        return seconds

    return AfterValidator(check)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=f"^{_PATTERN}$")]),
    PlainSerializer(_as_people_write_it, return_type=str),
]
Positive = Annotated[Duration, AfterValidator(_more_than_nothing)]
