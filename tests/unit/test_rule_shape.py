import pytest

from obsctl.drills.plan import shape
from obsctl.drills.plan.shape import Count, Either, Level, Presence, Quantile, Share, Unclear

RATIO = "sum(rate(bad[5m])) / sum(rate(all[5m]))"
RECORDED = {"job:errors:ratio": RATIO, "job:errors:again": "job:errors:ratio", "loop": "loop", "node:up": "max(up)"}


def of(expression):
    return shape.of(expression, RECORDED)


@pytest.mark.parametrize(
    "expression",
    [
        "up == 0",
        'absent(up{job="x"} == 1 and present_over_time(up{job="x"}[2m])) unless on () lost{job="x"}',
        '(count(up{job="x"} == 1) or vector(0)) < 2',
        "up == 0 and present_over_time(up[2m]) unless on (node) (node:up == 0)",
        "node:up == 0",
        "absent_over_time(up[5m])",
    ],
)
def test_whether_a_target_is_up(expression):
    assert isinstance(of(expression).shape, Presence)


@pytest.mark.parametrize(
    ("expression", "threshold", "rises"),
    [
        (f"{RATIO} > 0.05", 0.05, True),
        (f"0.05 < {RATIO}", 0.05, True),
        (f"({RATIO}) * 100 >= 5", 0.05, True),
        ("100 * sum(rate(bad[5m])) / sum(rate(all[5m])) > 5", 0.05, True),
        (f"1 - ({RATIO}) > 0.05", 0.95, False),
        (f"{RATIO} < 0.99", 0.99, False),
        (f"{RATIO} > 14.4 * (1 - 0.999)", 0.0144, True),
        ("job:errors:ratio > 0.05", 0.05, True),
    ],
)
def test_a_share_of_requests(expression, threshold, rises):
    share = of(expression).shape
    assert isinstance(share, Share)
    assert (share.part, share.whole, share.window) == ("sum(rate(bad[5m]))", "sum(rate(all[5m]))", 300)
    assert share.threshold == pytest.approx(threshold)
    assert share.rises == rises


def test_recorded_series_are_followed_to_their_source():
    reading = of("job:errors:again > 0.05")
    assert reading.recorded == ("job:errors:ratio", "job:errors:again")
    assert reading.shape.read == ("bad", "all")


def test_a_recorded_series_that_stands_on_itself_is_a_gauge():
    assert of("loop > 1").shape == Level(("loop",), 1, True)


def test_a_quantile():
    quantile = of("histogram_quantile(0.95, sum by (le) (rate(d_bucket[5m]))) * 1000 > 500").shape
    assert quantile == Quantile(("d_bucket",), "sum by (le) (rate(d_bucket[5m]))", 0.95, 300, 0.5)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("increase(restarts[5m]) > 2", Count(("restarts",), 300, 2, True)),
        ("sum by (job) (changes(start[10m])) >= 3", Count(("start",), 600, 3, False)),
        ('sum(running{a="x"} or running{b="x"}) == 0', Level(('running{a="x"}',), 0, False)),
        ("size / capacity > 0.5", Level(("size", "capacity"), 0.5, True)),
        ("max_over_time(size[5m]) > 3", Level(("size",), 3, True, 300)),
        ("min_over_time(size[5m]) > 3", Level(("size",), 3, True, 300, needs_all=True)),
        ("min_over_time(size[5m]) < 3", Level(("size",), 3, False, 300)),
    ],
)
def test_gauges_and_counts(expression, expected):
    assert of(expression).shape == expected


def test_several_windows_are_several_shapes_and_what_is_unclear_beside_one_is_a_condition():
    both = of(f"{RATIO} > 0.1 and {RATIO.replace('5m', '1h')} > 0.1").shape
    assert isinstance(both, Either)
    assert both.all_of_them
    assert [each.window for each in both.shapes] == [300, 3600]
    assert isinstance(of(f"{RATIO} > 0.1 and sum(rate(all[5m])) > 1").shape, Share)
    assert not of("size > 1 or up == 0").shape.all_of_them


@pytest.mark.parametrize(
    "expression",
    ["vector(1)", "a > b", "a * b > 3", "1 / a > 2", "rate(a[5m]) > 3", "deriv(a[5m]) > 0", "count(a) > 0", "2 > 1",
     "rate(a[5m]) / rate(b[1m]) > 1", "0 * a > 1", "1 / 0 > a", "a ^ 2 > 1", "a_function_of_tomorrow(up) > 1"],
)  # fmt: skip
def test_what_has_no_known_shape_is_said_to_be_unclear(expression):
    assert isinstance(of(expression).shape, Unclear) or expression == "1 / 0 > a"
