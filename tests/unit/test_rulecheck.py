import pytest

from obsctl.drills.plan.rulecheck import reads, sees_vanished_target


@pytest.mark.parametrize(
    "expression",
    [
        'absent(up{job="x"} == 1)',
        'absent(up{job="x"} == 1 and present_over_time(up{job="x"}[2m])) unless on () job:lost{job="x"}',
        'absent_over_time(up{job="x"}[1m])',
        '(count(up{job="x"} == 1) or vector(0)) < 2',
        'count(up{job="x"}) < 2 or vector(1)',
        'sum(nomad_nomad_job_summary_running{exported_job="x"}) == 0',
        'sum(nomad_nomad_job_summary_running{exported_job="x"}) / 2 < 1',
        "max_over_time(consul_catalog_service_count[5m:1m]) > 0",
        'absent(up{job="x"}) unless on() up{job="y"}',
        'absent(up{job="x"}) and on() nomad_runtime_num_goroutines > 0',
        "vector(1)",
        "-(-nomad_x) > 0",
    ],
)
def test_a_rule_that_asks_for_absence_sees_a_vanished_target(expression):
    assert sees_vanished_target(expression)


@pytest.mark.parametrize(
    "expression",
    [
        'up{job="x"} == 0',
        "up == bool 0",
        'sum(rate(errors_total{job="x"}[5m])) / sum(rate(requests_total{job="x"}[5m])) > 0.05',
        'up{job="x"} == 0 and on() nomad_runtime_num_goroutines > 0',
        'up{job="x"} == 0 unless on() absent(up{job="y"})',
        'absent(up{job="x"} == 1) * on() up{job="x"}',
        'vector(scalar(up{job="x"})) == 0',
        "max_over_time(up[5m:1m]) == 0",
        "topk(3, up == 0)",
    ],
)
def test_a_rule_that_needs_the_target_does_not(expression):
    assert not sees_vanished_target(expression)


def test_an_expression_of_a_newer_prometheus_is_not_called_useless():
    assert sees_vanished_target("a_function_of_tomorrow(up)")


@pytest.mark.parametrize(
    "expression",
    [
        'absent(up{job="x"} == 1)',
        "up == 0",
        'up{job=~"x|y"} == 0',
        'up{job!="y"} == 0',
        'up{job!~"y.*"} == 0',
        'sum(rate(errors_total{job="x"}[5m])) > 1',
        'nomad_things{job="x"} > 0',
        'absent(up{job="y"}) or up{job="x"} == 0',
    ],
)
def test_a_rule_on_series_of_the_service_reads_it(expression):
    assert reads(expression, "x")


@pytest.mark.parametrize(
    "expression",
    [
        'sum(nomad_nomad_job_summary_running{exported_job="x"}) == 0',
        'absent(up{job="y"} == 1)',
        'up{job=~"y|xx"} == 0',
        'up{job!="x"} == 0',
        'up{job!~"x"} == 0',
        "consul_catalog_service_count > 0",
        "vector(1)",
    ],
)
def test_a_rule_on_what_others_say_of_the_service_does_not(expression):
    assert not reads(expression, "x")
