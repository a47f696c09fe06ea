import math
import random
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from obsctl.drills.faults import Scrape
from obsctl.drills.plan.forecast import (
    GROUP_LIFE,
    POLL,
    QUIET_MOST,
    RELOAD_MOST,
    STALENESS,
    THROTTLE_MOST,
    Forecast,
    Settings,
    forecast,
)

STANDARD = Settings(
    scrape_interval=15, scrape_timeout=10, evaluation_interval=15, pending=30, keep_firing=0,
    group_wait=30, group_interval=300, refresh_interval=30,
)  # fmt: skip
NO_DELAY = replace(STANDARD, group_wait=0, group_interval=0)


TIMES = [field.name for field in fields(Settings) if field.type == "float"]


def seconds(least=0.0, most=600.0):
    return st.floats(least, most, allow_nan=False).map(lambda value: round(value, 3))


any_scrape = st.sampled_from(Scrape)
any_settings = st.builds(
    Settings, scrape_interval=seconds(0.5), scrape_timeout=seconds(0.1), evaluation_interval=seconds(0.5),
    pending=seconds(), keep_firing=seconds(), group_wait=seconds(), group_interval=seconds(),
    refresh_interval=seconds(), peer_timeout=seconds(0, 15), prometheus=st.integers(1, 3),
    alertmanagers=st.integers(1, 5), check_interval=seconds(0, 60), is_busy=st.booleans(),
)  # fmt: skip


def lingers(given_settings):
    """Whether the group of an alert that ended just before the fault may be there when the next one fires."""
    made = forecast(given_settings, Scrape.FAILS)
    return made.band("firing").minimum < GROUP_LIFE


SLACK = 1e-6


@given(any_settings, any_scrape)
def test_each_band_is_in_order_and_only_an_end_may_be_seen_before_the_service_is(given_settings, scrape):
    for band in forecast(given_settings, scrape).bands:
        assert band.minimum <= band.p50 + SLACK
        assert band.p50 <= band.p90 <= band.p99 <= band.maximum + SLACK
        assert band.minimum <= band.mean + SLACK <= band.maximum + 2 * SLACK
        early = given_settings.check_interval + POLL if band.since == "revert" else 0
        assert band.minimum >= -early - SLACK


@given(any_settings, any_scrape)
def test_stages_follow_each_other(given_settings, scrape):
    bands = {band.stage: band for band in forecast(given_settings, scrape).bands}
    for earlier, later in (("pending", "firing"), ("firing", "delivered"), ("cleared", "resolved")):
        for value in ("minimum", "mean", "p50", "p90", "p99", "maximum"):
            assert getattr(bands[earlier], value) <= getattr(bands[later], value) + SLACK


BY_CYCLES = ("evaluation_interval", "group_interval", "group_wait", "check_interval")
"""An end waits for the next tick of such a cycle; a longer one may have it sooner."""


@given(any_settings, any_scrape, st.sampled_from(TIMES), seconds(0, 60))
@settings(max_examples=200)
def test_a_longer_setting_never_shortens_a_stage(given_settings, scrape, name, more):
    # For a multiple of the evaluation interval `for` waits no longer than it says; so it is kept on one. Whether a
    # removal comes before a scrape is a race.
    base = replace(given_settings, pending=0.0) if name == "evaluation_interval" else given_settings
    longer = replace(base, **{name: getattr(base, name) + more})
    assume(lingers(base) == lingers(longer))  # a group that is forgotten meanwhile has no tick to wait for
    pairs = zip(forecast(base, scrape).bands, forecast(longer, scrape).bands, strict=True)
    for before, after in pairs:
        assert name == "check_interval" or after.minimum >= before.minimum - SLACK
        assert after.maximum >= before.maximum - SLACK
        assert (after.since == "revert" and name != "keep_firing") or after.mean >= before.mean - SLACK


@pytest.mark.parametrize(
    ("pending", "evaluation", "waits"), [(30, 15, 30), (10, 15, 15), (31, 15, 45), (0, 15, 0), (2, 1, 2), (15, 15, 15)]
)
def test_for_is_rounded_up_to_whole_evaluations(pending, evaluation, waits):
    made = forecast(replace(STANDARD, pending=pending, evaluation_interval=evaluation), Scrape.FAILS)
    assert made.band("firing").mean - made.band("pending").mean == pytest.approx(waits)
    assert made.band("firing").minimum == pytest.approx(waits)


def test_a_frozen_target_with_the_usual_settings_is_delivered_after_60_to_100_seconds():
    """15/15/30/30: 60, 75, 90 s when the scrape is refused; a frozen target takes its timeout of 10 s more."""
    band = forecast(STANDARD, Scrape.FAILS).band("delivered")
    assert band.minimum == pytest.approx(60)
    assert band.mean == pytest.approx(75, abs=0.1)
    assert band.maximum == pytest.approx(100, abs=1)


def test_a_removed_target_with_the_usual_settings_lies_between_its_two_paths():
    """15/15/30/30: a refused scrape gives 75 s on average, the removal alone 94 to 97 s and at most 117 s."""
    band = forecast(STANDARD, Scrape.VANISHES).band("delivered")
    assert 75 < band.mean < 97
    assert band.maximum <= 117


def simulated(given_settings, moment, rounds=40_000):
    """Mean and extremes of `moment(x, y)` over random phases of the scrapes and of the evaluations."""
    chance = random.Random(20260101)
    s, e = given_settings.scrape_interval, given_settings.evaluation_interval
    times = [moment(chance.uniform(0, s), chance.uniform(0, e)) for _ in range(rounds)]
    return sum(times) / rounds, min(times), max(times)


@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize("interval", [0.5, 1, 2, 5, 5.1, 10, 15, 60])
def test_a_removed_target_follows_the_documented_model(interval, is_busy):
    """A removal that comes before the next scrape leaves a stale marker; else that scrape is refused."""
    given_settings = replace(NO_DELAY, scrape_interval=interval, is_busy=is_busy)
    chance = random.Random(1)

    def pending(x, y):
        slow = chance.uniform(0, THROTTLE_MOST) + chance.uniform(0, RELOAD_MOST)
        removal = slow if is_busy else chance.uniform(0, QUIET_MOST)
        return x + y + (STALENESS * interval if removal < x else 0.0)

    mean, least, most = simulated(given_settings, pending)
    band = forecast(given_settings, Scrape.VANISHES).band("pending")
    assert band.minimum <= least
    assert most <= band.maximum
    assert band.mean == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("scrape", [2, 15, 60])
def test_the_mean_of_a_refused_scrape_is_that_of_the_documented_model(scrape):
    given_settings = replace(NO_DELAY, scrape_interval=scrape, scrape_timeout=0)
    mean, _, most = simulated(given_settings, lambda x, y: x + y)
    band = forecast(given_settings, Scrape.FAILS).band("pending")
    assert band.mean == pytest.approx(mean, rel=0.02)
    assert most <= band.maximum


@pytest.mark.parametrize("check", [0, 5, 10])
def test_prometheus_may_see_a_service_before_consul_does(check):
    """Its first scrape counts from its first answer; that it is back is seen up to a check and a look of ours later."""
    given_settings = replace(NO_DELAY, scrape_interval=5, evaluation_interval=5, check_interval=check)
    chance = random.Random(1)
    mean, _, _ = simulated(given_settings, lambda x, y: x + y - chance.uniform(0, check) - chance.uniform(0, POLL))
    for scrape in (Scrape.VANISHES, Scrape.FAILS):
        band = forecast(given_settings, scrape).band("cleared")
        assert band.mean == pytest.approx(mean, abs=0.1)
        assert band.minimum == -check - POLL


def test_the_end_of_a_flag_is_seen_at_once():
    plain = forecast(replace(NO_DELAY, check_interval=10), Scrape.ANSWERS).band("cleared")
    assert plain.minimum == -POLL


def test_the_end_is_told_a_whole_number_of_group_intervals_after_the_first_notification():
    """With 5 minutes between them nearly all drills are over in the first: 300 s less what the restart takes."""
    made = forecast(STANDARD, Scrape.VANISHES)
    assert 290 < made.band("resolved").p50 < 300
    assert made.band("resolved").maximum - made.band("cleared").maximum == pytest.approx(301)


@pytest.mark.parametrize(("evaluation", "interval", "wait"), [(1, 2, 0.5), (1, 10, 4.5), (15, 30, 7.5), (5, 5, 0)])
def test_where_a_tick_is_an_evaluation_too_an_end_that_comes_with_it_is_told_at_once(evaluation, interval, wait):
    """So it waits 0, e, 2e and so on up to G - e: on average (G - e)/2, where all are as likely."""
    made = forecast(
        replace(
            STANDARD, scrape_interval=30, evaluation_interval=evaluation, group_wait=evaluation, group_interval=interval
        ),
        Scrape.VANISHES,
    )
    waits = made.band("resolved").mean - made.band("cleared").mean - 0.05
    assert waits == pytest.approx(wait, abs=0.1 * interval)


@pytest.mark.parametrize(("wait", "interval", "least", "most"), [(1, 2, 0, 2), (30, 10, 0, 30), (0, 0, 0, 0)])
def test_soon_after_another_alert_of_its_group_one_waits_for_the_groups_tick(wait, interval, least, most):
    quick = replace(STANDARD, pending=15, group_wait=wait, group_interval=interval)
    made = forecast(quick, Scrape.VANISHES)
    assert made.band("delivered").minimum - made.band("firing").minimum == pytest.approx(least)
    assert made.band("delivered").maximum - made.band("firing").maximum == pytest.approx(most + 1)


def test_with_a_long_for_the_group_is_new():
    made = forecast(STANDARD, Scrape.VANISHES)
    assert made.band("delivered").minimum - made.band("firing").minimum == pytest.approx(30)
    assert made.band("delivered").maximum - made.band("firing").maximum == pytest.approx(31)


def test_keep_firing_for_delays_the_end():
    kept = forecast(replace(STANDARD, keep_firing=60), Scrape.VANISHES).band("cleared")
    plain = forecast(STANDARD, Scrape.VANISHES).band("cleared")
    assert kept.mean - plain.mean == pytest.approx(60)


@given(any_settings, any_scrape)
def test_a_forecast_survives_the_journal(given_settings, scrape):
    made = forecast(given_settings, scrape)
    assert Forecast.from_dict(made.to_dict()) == made
    assert all(math.isfinite(band.maximum) for band in made.bands)


@pytest.mark.parametrize("count", [2, 3])
def test_of_several_prometheus_the_first_to_see_it_counts(count):
    given_settings = replace(NO_DELAY, prometheus=count)
    generator = random.Random(1)

    def pending():
        x, y = (
            generator.uniform(0, given_settings.scrape_interval),
            generator.uniform(0, given_settings.evaluation_interval),
        )
        return x + y

    mean = sum(min(pending() for _ in range(count)) for _ in range(20_000)) / 20_000
    assert forecast(given_settings, Scrape.FAILS).band("pending").mean == pytest.approx(mean, rel=0.02)


def test_the_last_alertmanager_sends_after_the_turns_of_all_others():
    one, three = (
        forecast(STANDARD, Scrape.VANISHES),
        forecast(replace(STANDARD, alertmanagers=3, peer_timeout=5), Scrape.VANISHES),
    )
    for stage in ("delivered", "resolved"):
        assert three.band(stage).maximum - one.band(stage).maximum == pytest.approx(10)
        assert three.band(stage).mean == one.band(stage).mean
    assert three.band("firing") == one.band("firing")
