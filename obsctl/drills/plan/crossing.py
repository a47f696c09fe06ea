"""When what a rule reads crosses its threshold, after a fault, and back after the revert. Pure; docs/drills.md has
the derivation.

All of it is counted at the source: how long until Prometheus samples and evaluates it is `Crossing.sampling`, and the
forecast's own. A window of w seconds that is sampled every s spans w - s, because Prometheus leaves its left end open.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from obsctl.drills.faults import Signal
from obsctl.drills.plan.delay import Delay, Phases, exactly, first, last, together
from obsctl.drills.plan.shape import Count, Either, Level, Presence, Quantile, Shape, Share, Unclear
from obsctl.errors import ObsctlError

SURE = 0.99
"""How many of all windows have to be beyond the threshold during the fault: one that is not resets `for`."""
_OTHER = "expect an alert on what the fault changes"
RARE = 1e-5
"""Of so many drills one may lie outside the band of a random count."""


class NoForecast(ObsctlError):
    """Why a rule cannot see a fault, or why that cannot be known."""


def never(why: str, *, hint: str) -> NoForecast:
    return NoForecast(f"it can never fire: {why}", hint=hint)


@dataclass(frozen=True, slots=True)
class Live:
    """What Prometheus says of the series of a rule now. interval: seconds between two scrapes of them. hops: seconds of
    the cycles that they wait for elsewhere: where they are collected, in recording rules. requests: per second.
    level: what the rule compares with its threshold. bounds: upper ends of the buckets. is_born: the counter is there
    before the first event, so that none is missed.
    """

    interval: float
    hops: tuple[float, ...] = ()
    requests: float = 0.0
    level: float | None = None
    bounds: tuple[float, ...] = ()
    is_born: bool = True


Part = Callable[[Phases], Delay]


@dataclass(frozen=True, slots=True)
class Crossing:
    """onset: from the fault until the source is beyond the threshold. end: from the revert until it is back."""

    onset: Part
    end: Part
    live: Live

    def sampling(self, phases: Phases) -> Delay:
        """Until a sample of it is where the rule reads it."""
        cycles = (self.live.interval, *self.live.hops)
        return sum((phases.uniform(0, cycle) for cycle in cycles[1:]), start=phases.uniform(0, cycles[0]))


def crossing(shape: Shape, signal: Signal, live: Callable[[Shape], Live]) -> Crossing:
    """live: what Prometheus says of the series of one shape. Raises NoForecast."""
    match shape:
        case Either():
            return _of_several(shape, signal, live)
        case Level():
            return _of_level(shape, signal, live(shape))
        case Share():
            return _of_share(shape, signal, live(shape))
        case Quantile():
            return _of_quantile(shape, signal, live(shape))
        case Count():
            return _of_count(shape, signal, live(shape))
    if isinstance(shape, Unclear):
        hint = "expect an alert with a forecast, docs/drills.md has the kinds, and allow this one"
        raise NoForecast(f"there is no forecast for it: {shape.why}", hint=hint)
    raise never("what it asks for stays up", hint="expect an alert on what the fault changes")


def _of_several(shape: Either, signal: Signal, live: Callable[[Shape], Live]) -> Crossing:
    """`a and b` comes with the last and ends with the first of them, `a or b` the other way round. A gauge or `up` that
    the fault does not move is a condition that holds already."""
    parts, reasons = [], []
    for each in shape.shapes:
        try:
            parts.append(crossing(each, signal, live))
        except NoForecast as reason:
            if shape.all_of_them and not isinstance(each, Level | Presence):
                raise
            reasons.append(reason)
    if not parts:
        raise reasons[0]
    begin, finish = (last, first) if shape.all_of_them else (first, last)
    slowest = max((part.live for part in parts), key=lambda each: each.interval + sum(each.hops))
    return Crossing(
        lambda phases: begin(*[part.onset(phases) for part in parts]),
        lambda phases: finish(*[part.end(phases) for part in parts]),
        slowest,
    )


def _of_level(shape: Level, signal: Signal, live: Live) -> Crossing:
    """A gauge is beyond its threshold at once. Of a window of it, the largest value is so too, and stays so."""
    if signal.value is not None and (signal.value > shape.threshold) != shape.rises:
        what = f"the fault makes it {signal.value:g}, and the rule compares it with {shape.threshold:g}"
        raise never(what, hint="make the fault larger")
    at_once, whole = _fixed(exactly(0.0)), _fixed(exactly(shape.window))
    return Crossing(whole, at_once, live) if shape.needs_all else Crossing(at_once, whole, live)


def _fixed(delay: Delay) -> Part:
    def part(_: Phases) -> Delay:
        return delay

    return part


def _of_share(shape: Share, signal: Signal, live: Live) -> Crossing:
    """Failed requests among all of a window."""
    share = signal.errors
    if share is None:
        raise never("the fault makes no request fail, as far as is known", hint=_OTHER)
    level = live.level or 0.0
    rest, beyond = (1 - level, shape.threshold - level) if shape.rises else (level, level - shape.threshold)
    if share * rest <= beyond:
        raise never(f"errors of {share:.1%} never exceed the rule's {beyond:.1%}", hint="make the fault larger")
    return _of_requests(shape.window, share * rest, beyond, live, delayed=0.0)


def _of_quantile(shape: Quantile, signal: Signal, live: Live) -> Crossing:
    """Slow requests among all of a window; within a bucket Prometheus takes them for evenly spread."""
    if signal.latency is None:
        raise never("the fault makes no request slow, as far as is known", hint=_OTHER)
    place = bisect_left(live.bounds, signal.latency)
    low = live.bounds[place - 1] if place else 0.0
    high = live.bounds[place] if place < len(live.bounds) else low  # of the last bucket Prometheus says where it begins
    if high <= shape.threshold:
        what = f"answers after {signal.latency:g} s are counted as at most {high:g} s"
        raise never(f"{what}, and the rule asks for more than {shape.threshold:g} s", hint="make the fault larger")
    within = max(0.0, (shape.threshold - low) / (high - low)) if high > low else 0.0
    beyond = (1 - shape.quantile) / (1 - within)
    if signal.slow <= beyond:
        what = (
            f"{signal.slow:.1%} slow requests never move the quantile {shape.quantile:g} beyond {shape.threshold:g} s"
        )
        raise never(f"{what}: it takes {beyond:.1%}", hint="make the fault larger")
    return _of_requests(shape.window, signal.slow, beyond, live, delayed=signal.latency)


def _of_requests(window: float, share: float, beyond: float, live: Live, delayed: float) -> Crossing:
    """Requests come evenly, a random share of them is bad, and a window needs more bad ones than `beyond` of all."""
    if not live.requests > 0:
        raise never("nobody calls it: 0 requests/s", hint="send it requests before and during the drill")
    span = _span(window, live.interval)
    requests = live.requests * span
    needed = math.floor(beyond * requests + 1e-9) + 1
    numbers, chances = _until_bad(needed, min(share, 1.0))
    sure = chances[bisect_left(numbers, math.floor(requests) + 1) - 1] if numbers[0] <= requests else 0.0
    if sure < SURE:
        what = (
            f"a window has {requests:.0f} requests, and with {share:.0%} bad ones {sure:.0%} of all windows have enough"
        )
        raise never(
            f"{what}: it takes more than {beyond:.1%} of them", hint="make the fault larger, or send more requests"
        )
    most_needed = math.floor(beyond * live.requests * window) + 1  # a counter that begins at 0 counts for a little less
    least, most = (needed - 1) / live.requests, _until_bad(most_needed, min(share, 1.0))[0][-1] / live.requests

    def until(phases: Phases) -> Delay:
        number = phases.draw(lambda chance: float(numbers[bisect_left(chances, chance)]), numbers[0], numbers[-1])
        moments = together(lambda number, phase: (number - phase) / live.requests, number, phases.uniform(0, 1))
        return Delay(max(0.0, least - 1 / live.requests), most, moments.samples) + delayed

    def end(phases: Phases) -> Delay:
        """The bad ones that are too many leave the window."""
        spans, bad = _spans(window, live.interval, phases), until(phases) + -delayed
        left = tuple(max(0.0, span - ago) for span, ago in zip(spans.samples, bad.samples, strict=True))
        return Delay(max(0.0, spans.least - bad.most), spans.most - bad.least, left) + delayed

    return Crossing(until, end, live)


def _of_count(shape: Count, signal: Signal, live: Live) -> Crossing:
    """The last event that it takes; `increase` counts up to w / (w - s) times as many as there were."""
    every = signal.every
    if every is None:
        raise never("the fault makes no such events, as far as is known", hint=_OTHER)
    span = _span(shape.window, live.interval)
    stretch = shape.window / span if shape.is_extrapolated else 1.0
    needed = math.floor(shape.threshold / stretch + 1e-9) + 1 + (not live.is_born)
    most = math.floor(shape.threshold) + 1 + (not live.is_born)
    after = (needed - 1) * every
    if needed * every > span:
        what = f"it takes {needed} events within {shape.window:g} s, and the fault makes one every {every:g} s"
        raise never(what, hint="let them come faster")

    def end(phases: Phases) -> Delay:
        since_last = phases.uniform(0, every)
        return _spans(shape.window, live.interval, phases) - since_last + -after

    return Crossing(_fixed(exactly(after).rarely(most=(most - 1) * every)), end, live)


def _span(window: float, interval: float) -> float:
    """What the samples of a window span, on average. Raises NoForecast when it may have fewer than two."""
    if window < 2 * interval:
        what = f"its window of {window:g} s has fewer than two samples, one every {interval:g} s"
        raise never(what, hint="make the window at least four scrape intervals long")
    return window - interval


def _spans(window: float, interval: float, phases: Phases) -> Delay:
    """What they span at an evaluation: whole intervals, more or fewer by where in the cycle it is."""
    age = phases.uniform(0, interval)
    spans = tuple(interval * (math.ceil((window - each) / interval) - 1) for each in age.samples)
    return Delay(min(spans), max(spans), spans)


@lru_cache(maxsize=16)
def _until_bad(needed: int, share: float) -> tuple[list[int], list[float]]:
    """How many requests it takes until `needed` of them are bad, and with which chance so many are enough: the negative
    binomial distribution, from its peak to where it is RARE."""
    peak = max(needed, math.floor((needed - 1) / share))
    above, below, negligible = [1.0], [1.0], RARE * 1e-3
    while above[-1] > negligible and share < 1:
        number = peak + len(above) - 1
        above.append(above[-1] * (1 - share) * number / (number + 1 - needed))
    while below[-1] > negligible and (number := peak - len(below) + 1) > needed:
        below.append(below[-1] * (number - needed) / (1 - share) / (number - 1))
    weights = [*below[:0:-1], *above]
    numbers, total = list(range(peak - len(below) + 1, peak + len(above))), sum(weights)
    chances = [chance / total for chance in accumulate(weights)]
    enough = bisect_left(chances, 1 - RARE) + 1
    return numbers[:enough], [*chances[: enough - 1], 1.0]
