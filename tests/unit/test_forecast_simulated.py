"""The forecast of each kind of rule against a simulation of Prometheus' sampling: seeded, with random phases."""

import math
import random
from dataclasses import replace
from statistics import fmean

import pytest

from obsctl.drills.faults import Scrape, Signal
from obsctl.drills.plan.crossing import Live, crossing
from obsctl.drills.plan.forecast import POLL, Settings, forecast
from obsctl.drills.plan.shape import Count, Quantile, Share
from tests.sampled import Scrapes, counting, first_evaluation, quantile

FAULT, HOLD = 1000.0, 400.0
"""Seconds after the beginning, and how long it lasts at least."""
BOUNDS = (0.1, 0.5, 1.0, 2.5)


def settings(scrape, evaluation):
    return Settings(
        scrape_interval=scrape, scrape_timeout=scrape, evaluation_interval=evaluation, pending=0, keep_firing=0,
        group_wait=0, group_interval=0, refresh_interval=scrape,
    )  # fmt: skip


def requests(chance, rate, share, revert, latency=0.0):
    """Counters of all requests and of the bad ones: evenly, and a random share of them, while the fault lasts."""
    phase = chance.uniform(0, 1 / rate)
    times = [FAULT + phase + number / rate for number in range(int((revert - FAULT) * rate))]
    bad = counting([at + latency for at in times if chance.random() < share])
    return lambda at: 1e6 + (at - phase) * rate // 1, bad


def share_rule(window, threshold):
    def make(chance, scrapes, rate, share, revert):
        every, bad = requests(chance, rate, share, revert)
        return lambda at: scrapes.increase(bad, at, window) > threshold * scrapes.increase(every, at, window)

    return Share(("a", "b"), "rate(a)", "rate(b)", window, threshold, rises=True), make


def quantile_rule(window, share_of_all, threshold, latency):
    """Slow answers beside as many of all that are fast."""

    def make(chance, scrapes, rate, share, revert):
        every, slow = requests(chance, rate, share, revert, latency)

        def is_true(at):
            total = scrapes.increase(every, at, window)
            late = scrapes.increase(slow, at, window)
            return (
                quantile(share_of_all, BOUNDS, [total - late * (latency > end) for end in BOUNDS] + [total]) > threshold
            )

        return is_true

    return Quantile(("a",), "rate(a)", share_of_all, window, threshold), make


def simulated(rule, scrape, evaluation, rate, share, rounds):
    """Seconds from the fault to pending and from the revert to cleared, of each round."""
    chance = random.Random(20260101)
    rounds_of = []
    for _ in range(rounds):
        scrapes = Scrapes(scrape, chance.uniform(0, scrape))
        revert = FAULT + HOLD + chance.uniform(0, 60)
        is_true = rule(chance, scrapes, rate, share, revert)
        phase = chance.uniform(0, evaluation)
        pending = first_evaluation(is_true, after=FAULT, phase=phase, every=evaluation)
        noticed = chance.uniform(0, POLL)
        cleared = first_evaluation(lambda at: not is_true(at), after=revert, phase=phase, every=evaluation)  # noqa: B023
        rounds_of.append((pending - FAULT, cleared - revert - noticed))
    return zip(*rounds_of, strict=True)


def agrees(band, seconds, within=0.05):
    assert band.minimum - 1e-6 <= min(seconds), (band, min(seconds))
    assert max(seconds) <= band.maximum + 1e-6, (band, max(seconds))
    assert band.mean == pytest.approx(fmean(seconds), rel=within, abs=0.15), band
    for name, share in (("p50", 0.5), ("p90", 0.9)):
        measured = sorted(seconds)[int(share * len(seconds))]
        assert getattr(band, name) == pytest.approx(measured, rel=0.08, abs=0.3), (name, band, measured)


SHARES = [
    # window, threshold, scrape, evaluation, requests/s, share
    (60, 0.05, 15, 15, 4, 0.5),
    (300, 0.05, 15, 15, 4, 0.2),
    (300, 0.05, 15, 15, 2, 1.0),
    (300, 0.05, 15, 30, 20, 0.5),
    (10, 0.05, 2, 1, 4, 0.5),
    (10, 0.05, 2, 1, 4, 1.0),
    (300, 0.02, 30, 30, 1, 0.3),
]
ROUNDS = [200, pytest.param(4000, marks=pytest.mark.campaign)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(("window", "threshold", "scrape", "evaluation", "rate", "share"), SHARES)
def test_a_share_of_errors_over_a_window(window, threshold, scrape, evaluation, rate, share, rounds):
    shape, rule = share_rule(window, threshold)
    pending, cleared = simulated(rule, scrape, evaluation, rate, share, rounds)
    live = Live(scrape, requests=rate, level=0.0)
    bands = forecast(
        settings(scrape, evaluation), Scrape.ANSWERS, crossing(shape, Signal(errors=share), lambda _: live)
    )
    agrees(bands.band("pending"), pending)
    agrees(bands.band("cleared"), cleared)


def test_of_a_window_that_is_no_multiple_of_the_scrape_interval_the_mean_is_right():
    """How many samples it has and how old they are hang together, which the percentiles leave out."""
    shape, rule = share_rule(50, 0.1)
    pending, cleared = simulated(rule, 15, 15, 10, 0.6, 200)
    live = Live(15, requests=10, level=0.0)
    bands = forecast(settings(15, 15), Scrape.ANSWERS, crossing(shape, Signal(errors=0.6), lambda _: live))
    for stage, seconds in (("pending", pending), ("cleared", cleared)):
        band = bands.band(stage)
        assert band.minimum <= min(seconds)
        assert max(seconds) <= band.maximum
        assert band.mean == pytest.approx(fmean(seconds), rel=0.05)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(
    ("share_of_all", "threshold", "latency", "slow"),
    [(0.95, 0.5, 0.8, 0.5), (0.95, 0.7, 0.8, 0.5), (0.9, 2.0, 5.0, 0.6), (0.5, 0.5, 2.0, 0.9)],
)
def test_a_quantile_over_a_window(share_of_all, threshold, latency, slow, rounds):
    shape, rule = quantile_rule(60, share_of_all, threshold, latency)
    pending, cleared = simulated(rule, 5, 5, 4, slow, rounds)
    live = Live(5, requests=4, bounds=BOUNDS)
    signal = Signal(latency=latency, slow=slow)
    bands = forecast(settings(5, 5), Scrape.ANSWERS, crossing(shape, signal, lambda _: live))
    agrees(bands.band("pending"), pending)
    agrees(bands.band("cleared"), cleared)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(("threshold", "every", "before"), [(2, 20, 7), (2, 20, 0), (0, 60, 3), (5, 10, 100)])
def test_a_count_of_events_over_a_window(threshold, every, before, rounds):
    def rule(_chance, scrapes, _rate, _share, revert):
        events = counting([FAULT + number * every for number in range(math.ceil((revert - FAULT) / every))], before)
        return lambda at: scrapes.increase(events, at, 300) > threshold

    pending, cleared = simulated(rule, 15, 15, 1, 1, rounds)
    shape = Count(("a",), 300, threshold, is_extrapolated=True)
    bands = forecast(settings(15, 15), Scrape.ANSWERS, crossing(shape, Signal(every=every), lambda _: Live(15)))
    agrees(bands.band("pending"), pending)
    agrees(bands.band("cleared"), cleared)


def test_several_prometheus_see_a_share_as_soon_as_the_first_of_them():
    shape, _ = share_rule(60, 0.05)
    bands = [
        forecast(
            replace(settings(15, 15), prometheus=count),
            Scrape.ANSWERS,
            crossing(shape, Signal(errors=0.5), lambda _: Live(15, requests=4)),
        )
        for count in (1, 2)
    ]
    assert bands[1].band("pending").mean < bands[0].band("pending").mean - 3
