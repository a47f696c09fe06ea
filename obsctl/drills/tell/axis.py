"""The axis of time that all drawings of a report share: moments as shares of its width. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between two ticks that people can count in."""
_MOST_TICKS = 5
_MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Axis:
    """start, end, zero: Unix seconds; zero is the moment from which people count."""

    start: float
    end: float
    zero: float

    @classmethod
    def around(cls, moments: Iterable[float], zero: float) -> Axis:
        """All of these moments lie on it, with a margin on both sides."""
        every = [zero, *moments]
        margin = max(1.0, _MARGIN * (max(every) - min(every)))
        return cls(min(every) - margin, max(every) + margin, zero)

    def at(self, moment: float) -> float:
        """Percent of the width from the left; what lies beyond an end is put there."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """(percent from the left, label), a handful of them at round numbers of seconds since zero."""
        length = self.end - self.start
        step = next((step for step in _STEPS if length / step <= _MOST_TICKS), length / _MOST_TICKS)
        for number in range(math.ceil((self.start - self.zero) / step), int((self.end - self.zero) // step) + 1):
            yield self.at(self.zero + number * step), _label(number * step)


def _label(seconds: float) -> str:
    """Seconds since zero; whole minutes from two minutes on."""
    if not seconds:
        return "0"
    minutes = seconds / 60
    is_minutes = abs(seconds) >= 120 and minutes == int(minutes)
    text = f"{abs(minutes):g} min" if is_minutes else f"{abs(seconds):g} s"
    return f"+{text}" if seconds > 0 else f"\N{MINUS SIGN}{text}"
