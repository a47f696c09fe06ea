"""Named times, in which a receiver is silent or alone is notified: Alertmanager's time intervals."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from obsctl.config.shapes import Strict, Text


def _as_text(value: object) -> object:
    """`years: [2027]` is a number in YAML."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Span = Annotated[Text, BeforeValidator(_as_text, json_schema_input_type=str | int)]


class TimeRange(Strict):
    """A part of a day."""

    start_time: Text = Field(examples=["18:00"])
    """Where it begins, as HH:MM."""
    end_time: Text = Field(examples=["24:00"])
    """Where it ends, as HH:MM: later than start_time, and 24:00 at most. A night is two parts."""


class TimeInterval(Strict):
    """Times for which all that is given here holds."""

    times: tuple[TimeRange, ...] = ()
    """Parts of the day."""
    weekdays: tuple[Span, ...] = Field(default=(), examples=[["monday:friday"]])
    """Days of the week, or spans of them."""
    days_of_month: tuple[Span, ...] = Field(default=(), examples=[["1:5", "-1"]])
    """Days of the month, or spans; negative ones count from its end."""
    months: tuple[Span, ...] = Field(default=(), examples=[["december"]])
    """Months by name or number, or spans."""
    years: tuple[Span, ...] = Field(default=(), examples=[["2027:2028"]])
    """Years, or spans."""
    location: Text | None = Field(default=None, examples=["Europe/Berlin"])
    """The time zone by its IANA name; default: UTC."""
