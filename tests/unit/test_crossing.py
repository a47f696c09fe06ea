import pytest

from obsctl.drills.faults import Signal
from obsctl.drills.plan.crossing import Live, NoForecast, crossing
from obsctl.drills.plan.delay import Phases
from obsctl.drills.plan.shape import Count, Either, Level, Presence, Quantile, Share, Unclear

SHARE = Share(("bad", "all"), "rate(bad[5m])", "rate(all[5m])", 300, 0.05, rises=True)
GOOD = Share(("good", "all"), "rate(good[5m])", "rate(all[5m])", 300, 0.95, rises=False)
QUANTILE = Quantile(("d_bucket",), "rate(d_bucket[5m])", 0.95, 300, 1.0)
RESTARTS = Count(("restarts",), 300, 2, is_extrapolated=True)
UP, QUEUE = Presence(("up",)), Level(("queue",), 100, rises=True)
LIVE = Live(15, requests=10, level=0.0, bounds=(0.5, 1.0, 2.5))


def of(shape, signal, live=LIVE):
    return crossing(shape, signal, lambda _: live)


@pytest.mark.parametrize(
    ("shape", "signal", "live", "why"),
    [
        (SHARE, Signal(errors=0.03), LIVE, "errors of 3.0% never exceed the rule's 5.0%"),
        (SHARE, Signal(errors=0.05), LIVE, "errors of 5.0% never exceed the rule's 5.0%"),
        (SHARE, Signal(errors=0.052), LIVE, "a window has 2850 requests, and with 5% bad ones"),
        (SHARE, Signal(errors=0.5), Live(15), "nobody calls it: 0 requests/s"),
        (SHARE, Signal(latency=3), LIVE, "the fault makes no request fail"),
        (SHARE, Signal(errors=0.5), Live(200, requests=1), "fewer than two samples, one every 200 s"),
        (GOOD, Signal(errors=0.04), Live(15, requests=10, level=1.0), "errors of 4.0% never exceed the rule's 5.0%"),
        (QUANTILE, Signal(errors=1.0), LIVE, "the fault makes no request slow"),
        (QUANTILE, Signal(latency=0.7), LIVE, "answers after 0.7 s are counted as at most 1 s"),
        (QUANTILE, Signal(latency=2, slow=0.04), LIVE, "never move the quantile 0.95 beyond 1 s: it takes 5.0%"),
        (RESTARTS, Signal(every=200), LIVE, "it takes 2 events within 300 s, and the fault makes one every 200 s"),
        (RESTARTS, Signal(), LIVE, "no such events"),
        (QUEUE, Signal(value=50), LIVE, "the fault makes it 50, and the rule compares it with 100"),
        (UP, Signal(), LIVE, "what it asks for stays up"),
        (Either((SHARE, QUEUE), True), Signal(), LIVE, "the fault makes no request fail"),
        (Either((UP, UP), False), Signal(), LIVE, "what it asks for stays up"),
    ],
)
def test_a_rule_that_can_never_see_the_fault_is_refused_with_the_reason(shape, signal, live, why):
    with pytest.raises(NoForecast) as refused:
        of(shape, signal, live)
    assert refused.value.message.startswith("it can never fire: ")
    assert why in refused.value.message
    assert refused.value.hint


def test_what_is_unclear_is_no_never():
    with pytest.raises(NoForecast, match=r"^there is no forecast for it: why not$"):
        of(Unclear("why not"), Signal())


def onset(shape, signal, live=LIVE):
    return of(shape, signal, live).onset(Phases())


def test_a_window_fires_after_the_threshold_s_share_of_it():
    """docs/drills.md: (w - s) * th / p, and back after the rest of it."""
    signal = Signal(errors=0.5)
    assert onset(SHARE, signal).mean == pytest.approx(285 * 0.05 / 0.5, rel=0.02)
    assert of(SHARE, signal).end(Phases()).mean == pytest.approx(285 * (1 - 0.05 / 0.5), rel=0.01)


def test_errors_that_were_there_before_need_fewer_more():
    before = Live(15, requests=10, level=0.03)
    assert onset(SHARE, Signal(errors=0.5), before).mean == pytest.approx(285 * 0.02 / (0.5 * 0.97), rel=0.03)


def test_a_share_of_good_answers_falls_as_one_of_bad_ones_rises():
    live = Live(15, requests=10, level=1.0)
    assert onset(GOOD, Signal(errors=0.5), live).mean == pytest.approx(onset(SHARE, Signal(errors=0.5)).mean, rel=0.02)


def test_slow_answers_count_when_they_end():
    first, second = (onset(QUANTILE, Signal(latency=latency)).mean for latency in (1.5, 2.5))
    assert second - first == pytest.approx(1.0)


def test_a_quantile_within_the_bucket_of_the_slow_answers_needs_more_of_them():
    deeper = Quantile(("d_bucket",), "rate(d_bucket[5m])", 0.95, 300, 1.75)  # the middle of its bucket
    assert onset(deeper, Signal(latency=2)).mean == pytest.approx(2 + 285 * 0.1, rel=0.02)


def test_a_counter_that_begins_with_its_first_event_misses_that_one():
    assert onset(RESTARTS, Signal(every=20)).mean == 20
    assert onset(RESTARTS, Signal(every=20), Live(15, is_born=False)).mean == 40


def test_a_gauge_is_seen_at_once_and_its_largest_value_stays_in_the_window():
    largest = Level(("queue",), 100, rises=True, window=300)
    all_of_it = Level(("queue",), 100, rises=True, window=300, needs_all=True)
    waits = [
        [part(Phases()).mean for part in (each.onset, each.end)]
        for each in (of(largest, Signal()), of(all_of_it, Signal()))
    ]
    assert waits == [[0, 300], [300, 0]]


def test_several_conditions_come_with_the_last_and_end_with_the_first_of_them():
    slow = Share(("bad", "all"), "rate(bad[1h])", "rate(all[1h])", 3600, 0.05, rises=True)
    signal = Signal(errors=0.5)
    both, either = of(Either((SHARE, slow), True), signal), of(Either((SHARE, slow), False), signal)
    assert both.onset(Phases()).mean > 300 > either.onset(Phases()).mean
    assert both.end(Phases()).mean < 300 < either.end(Phases()).mean


def test_a_condition_that_holds_already_changes_nothing():
    assert (
        of(Either((SHARE, UP), True), Signal(errors=0.5)).onset(Phases()).mean == onset(SHARE, Signal(errors=0.5)).mean
    )


@pytest.mark.parametrize(
    ("share", "requests"),
    [(0.5, 0.2), (1.0, 0.2), *((share, requests) for share in (0.1, 0.5, 1.0) for requests in (4, 500, 5000))],
)
def test_the_number_of_requests_until_so_many_are_bad_has_the_right_mean(requests, share):
    needed = int(0.05 * requests * 285) + 1
    assert onset(SHARE, Signal(errors=share), Live(15, requests=requests)).mean == pytest.approx(
        (needed / share - 0.5) / requests, rel=0.01
    )


def test_what_is_collected_elsewhere_or_recorded_waits_longer_to_be_sampled():
    plain, late = (of(QUEUE, Signal(), Live(15, hops)).sampling(Phases()) for hops in ((), (10.0, 30.0)))
    assert (plain.least, plain.most, late.most) == (0, 15, 55)
    assert late.mean == pytest.approx(27.5)
