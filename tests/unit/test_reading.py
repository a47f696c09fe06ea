import pytest

from obsctl.drills.plan import shape
from obsctl.drills.plan.reading import Reader
from tests.fakes import FakePrometheus


@pytest.fixture
def prometheus():
    fake = FakePrometheus()
    for metric, job in (("bad", "hello"), ("all", "hello"), ("running", "nomad"), ("d_bucket", "hello"),
                        ("traces_span_metrics_calls_total", "otel-gateway")):  # fmt: skip
        fake.results[f"group by (job) ({metric})"] = [{"metric": {"job": job}, "value": [0, "1"]}]
    return fake


def live(prometheus, expression, hops=()):
    targets = [
        {"labels": {"job": job}, "scrapeInterval": interval}
        for job, interval in (("hello", "5s"), ("nomad", "15s"), ("otel-gateway", "5s"), ("response", "2s"))
    ]
    return Reader(prometheus, targets, "response").live(shape.of(expression, {}).shape, hops)


def sample(value, **labels):
    return {"metric": labels, "value": [0, str(value)]}


def test_the_interval_is_that_of_the_targets_that_have_the_series(prometheus):
    assert live(prometheus, "running == 0").interval == 15
    assert live(prometheus, "nobody_has_it > 1").interval == 2


def test_what_nomad_collects_and_what_the_gateway_flushes_waits_before_it_is_scraped(prometheus):
    assert live(prometheus, "running == 0", (30.0,)).hops == (1.0, 30.0)
    assert live(prometheus, "traces_span_metrics_calls_total > 1").hops == (5.0, 10.0)


@pytest.mark.parametrize(("function", "value"), [("rate", 4), ("increase", 1200)])
def test_traffic_and_level_are_those_of_the_service(prometheus, function, value):
    part, whole = (f"sum by (service) ({function}({metric}[5m]))" for metric in ("bad", "all"))
    prometheus.results[whole] = [sample(value, service="response"), sample(value * 9, service="other")]
    prometheus.results[f"({part}) / ({whole})"] = [sample(0.01, service="response"), sample(0.5, service="other")]
    result = live(prometheus, f"{part} / {whole} > 0.05")
    assert (result.requests, result.level) == (4, 0.01)


def test_no_traffic_is_no_number(prometheus):
    prometheus.results["(sum(rate(bad[5m]))) / (sum(rate(all[5m])))"] = [sample("NaN")]
    result = live(prometheus, "sum(rate(bad[5m])) / sum(rate(all[5m])) > 0.05")
    assert (result.requests, result.level) == (0, 0)


def test_the_buckets_and_what_they_count(prometheus):
    buckets = "sum by (le) (rate(d_bucket[5m]))"
    prometheus.results[buckets] = [sample(3, le="0.5"), sample(2, le="0.1"), sample(4, le="+Inf")]
    result = live(prometheus, f"histogram_quantile(0.95, {buckets}) > 0.3")
    assert (result.bounds, result.requests) == ((0.1, 0.5), 4)


def test_a_counter_without_a_series_is_not_born(prometheus):
    assert live(prometheus, "increase(bad[5m]) > 2").is_born
    assert not live(prometheus, "increase(restarts[5m]) > 2").is_born
