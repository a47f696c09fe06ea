"""Delays that are only known within limits, as many equally likely samples. Pure, without a random generator.

Sample i of one delay and sample i of another belong to the same imagined drill. So sums, minima and cases are those of
the samples, and every mean and percentile comes from them. The independent parts are the coordinates of a lattice
(Korobov, 1959): sample i of part k is i * MULTIPLIER^k mod SAMPLES, so each part alone has evenly spaced samples, and
its mean is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

SAMPLES = 1021
"""A prime, so that no part repeats itself."""
MULTIPLIER = 66
"""Of all, the one with which sums and differences of any two of 16 parts are nearest to their exact distributions: no
percentile is off by more than 1.6 % of a part's width."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds, SAMPLES times. least and most are exact, and have what is too rare for a sample; a negative delay is an
    advance."""

    least: float
    most: float
    samples: tuple[float, ...]

    @property
    def mean(self) -> float:
        return math.fsum(self.samples) / SAMPLES

    def percentiles(self, *shares: float) -> tuple[float, ...]:
        """Within which so many (0..1) of all drills lie."""
        ordered = sorted(self.samples)
        return tuple(ordered[min(SAMPLES - 1, int(share * SAMPLES))] for share in shares)

    def __add__(self, other: Delay | float) -> Delay:
        if isinstance(other, Delay):
            return together(lambda left, right: left + right, self, other)
        return Delay(self.least + other, self.most + other, tuple(each + other for each in self.samples))

    def __neg__(self) -> Delay:
        return Delay(-self.most, -self.least, tuple(-each for each in self.samples))

    def __sub__(self, other: Delay) -> Delay:
        return self + -other

    def rarely(self, *, least: float = math.inf, most: float = -math.inf) -> Delay:
        """The same, except that it may be as short, or as long, once in a while."""
        return replace(self, least=min(self.least, least), most=max(self.most, most))


def exactly(seconds: float) -> Delay:
    return Delay(seconds, seconds, (seconds,) * SAMPLES)


def together(combine: Callable[..., float], *delays: Delay) -> Delay:
    """What `combine` makes of them, sample by sample. It must not fall when one of them grows."""
    least, most = (combine(*limits) for limits in zip(*[(each.least, each.most) for each in delays], strict=True))
    return Delay(least, most, tuple(map(combine, *[each.samples for each in delays])))


def first(*delays: Delay) -> Delay:
    return together(min, *delays) if len(delays) > 1 else delays[0]


def last(*delays: Delay) -> Delay:
    return together(max, *delays) if len(delays) > 1 else delays[0]


class Phases:
    """Where in its cycle each clock is when a drill begins: each one that is drawn is independent of all before."""

    def __init__(self) -> None:
        self._next = count()

    def draw(self, quantile: Callable[[float], float], least: float, most: float) -> Delay:
        """A delay with this quantile function (of 0..1)."""
        return Delay(least, most, tuple(map(quantile, _evenly_spread(next(self._next)))))

    def uniform(self, low: float, high: float) -> Delay:
        return self.draw(lambda phase: low + (high - low) * phase, low, high)


@lru_cache(maxsize=64)
def _evenly_spread(part: int) -> tuple[float, ...]:
    step = pow(MULTIPLIER, part, SAMPLES)
    return tuple((sample * step % SAMPLES + 0.5) / SAMPLES for sample in range(SAMPLES))
