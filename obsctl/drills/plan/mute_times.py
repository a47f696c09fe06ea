"""When a route of Alertmanager is silent, read from the configuration that Alertmanager shows. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from obsctl.errors import ObsctlError
from obsctl.model import Json
from obsctl.stack.routing import Route

_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


def silent_by(config: Json, route: Route, at: float) -> tuple[str, ...]:
    """The time intervals for which the route notifies nobody at this moment (Unix seconds): those of its mute times in
    which it lies, or all its active times if it lies in none of them."""
    mute = tuple(name for name in route.mute_time_intervals if _lies_in(config, name, at))
    active = any(_lies_in(config, name, at) for name in route.active_time_intervals)
    return mute or (() if active else route.active_time_intervals)


def _lies_in(config: Json, name: str, at: float) -> bool:
    sections = [*(config.get("time_intervals") or []), *(config.get("mute_time_intervals") or [])]
    intervals = [interval for section in sections if section["name"] == name for interval in section["time_intervals"]]
    return any(_covers(interval, at) for interval in intervals)


def _covers(interval: Json, at: float) -> bool:
    moment = datetime.fromtimestamp(at, _zone(interval.get("location")))
    minute, days = moment.hour * 60 + moment.minute, monthrange(moment.year, moment.month)[1]

    def day(text: str) -> int:
        return int(text) if int(text) > 0 else days + int(text) + 1

    times = interval.get("times") or []
    in_times = any(_minute(each["start_time"]) <= minute < _minute(each["end_time"]) for each in times)
    return (in_times or not times) and all(
        (
            _in_spans(interval.get("weekdays"), moment.isoweekday() % 7, _WEEKDAYS.index),
            _in_spans(interval.get("days_of_month"), moment.day, day),
            _in_spans(interval.get("months"), moment.month, _month),
            _in_spans(interval.get("years"), moment.year, int),
        )
    )


def _zone(name: str | None) -> tzinfo:
    """Raises ObsctlError when this machine does not know it: nobody could tell whether the route is silent now."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        what = f"this machine does not know the time zone {name}, by which Alertmanager is silent at times"
        raise ObsctlError(what, hint="install the package tzdata on this machine") from None


def _in_spans(spans: Sequence[str] | None, value: int, number: Callable[[str], int]) -> bool:
    """Whether the value lies in one of the spans, as "monday:friday"; without any it does."""
    ends = [str(span).lower().partition(":") for span in spans or ()]
    return not ends or any(number(begin) <= value <= number(end or begin) for begin, _, end in ends)


def _month(text: str) -> int:
    return int(text) if text.isdigit() else _MONTHS.index(text) + 1


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
