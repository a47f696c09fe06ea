"""A small Prometheus: what its scrapes, its windows and its evaluations make of events, by its own algorithms.

Of 3.16: windows leave out their left end (promql/engine.go), `rate` extrapolates to the ends of the window, but not
below zero (promql/functions.go, extrapolatedRate), and a quantile lies evenly in its bucket (promql/quantile.go).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def counting(events: Sequence[float], before: float = 1e6) -> Callable[[float], float]:
    """A counter of events at these times, in order, that began at `before`."""
    return lambda at: before + bisect_right(events, at)


@dataclass(frozen=True)
class Scrapes:
    """One every `interval` seconds; first: the offset of one of them."""

    interval: float
    first: float

    def window(self, at: float, length: float) -> tuple[float, float, int]:
        """The oldest and newest scrape within (at - length, at], and how many there are."""
        newest = math.floor((at - self.first) / self.interval)
        oldest = math.floor((at - length - self.first) / self.interval) + 1
        return self.first + oldest * self.interval, self.first + newest * self.interval, newest - oldest + 1

    def increase(self, counter: Callable[[float], float], at: float, length: float) -> float:
        """increase(counter[length]) at that moment. counter: its value at any moment."""
        oldest, newest, number = self.window(at, length)
        at_oldest = counter(oldest)
        delta = counter(newest) - at_oldest
        sampled, to_start, to_end = newest - oldest, oldest - (at - length), at - newest
        threshold = 1.1 * sampled / (number - 1)
        to_start = sampled / (number - 1) / 2 if to_start >= threshold else to_start
        if delta > 0:
            to_start = min(to_start, sampled * at_oldest / delta)
        to_end = sampled / (number - 1) / 2 if to_end >= threshold else to_end
        return delta * (sampled + to_start + to_end) / sampled


def quantile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float:
    """histogram_quantile. counts: cumulative, one more than bounds, which +Inf ends."""
    if not counts[-1]:
        return math.nan
    rank = share * counts[-1]
    place = next(place for place, count in enumerate(counts) if count >= rank)
    if place == len(bounds):
        return bounds[-1]
    low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * (rank - below) / (counts[place] - below)


def first_evaluation(is_true: Callable[[float], bool], *, after: float, phase: float, every: float) -> float:
    """When the rule is first evaluated to be true, after a moment."""
    begin = math.floor((after - phase) / every) + 1
    return next(phase + turn * every for turn in itertools.count(begin) if is_true(phase + turn * every))
