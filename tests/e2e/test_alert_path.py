"""The alert path with no obsctl running: what a job that is stopped by hand leads to, and what it does not."""

from __future__ import annotations

import pytest

from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def notified(stack: Stack, alertname: str, status: str, since: float) -> bool:
    return any(
        alert["status"] == status and alert["labels"]["service"] == "response-service"
        for notification in stack.programs.sink.notifications(since=since, alertname=alertname)
        for alert in notification["payload"]["alerts"]
        if alert["labels"]["alertname"] == alertname
    )


def test_a_job_stopped_by_hand_is_delivered_by_absence_and_never_by_up_equals_zero(stack: Stack) -> None:
    """`up == 0` alone cannot fire for a stopped job: it leaves Consul, and with it goes its `up`."""
    since = SYSTEM_CLOCK.now()
    stack.clients.nomad.stop_job("obs-response-service")
    try:
        wait_until(
            lambda: notified(stack, "ServiceDown", "firing", since),
            timeout=60,
            failure="no sign of the page",
            hint="",
        )
        seconds = int(SYSTEM_CLOCK.now() - since) + 1
        prometheus = stack.programs.prometheus
        wait_until(
            lambda: prometheus.query('ALERTS{alertname="JobNotRunning",alertstate="firing"}'),
            timeout=30, failure="no sign of Nomad's own signal", hint="",
        )  # fmt: skip
        down = prometheus.query(f'max_over_time(ALERTS{{alertname="InstanceDown",alertstate="firing"}}[{seconds}s])')
        assert down == [], "InstanceDown fired for a job that was stopped"
        assert prometheus.query('up{job="response-service"}') == []
    finally:
        stack.run("deploy", "--yes")
    wait_until(
        lambda: notified(stack, "ServiceDown", "resolved", since), timeout=60, failure="no sign of its end", hint=""
    )


def test_the_heartbeat_arrives_and_alert_sink_notices_when_it_stops(stack: Stack) -> None:
    prometheus = stack.programs.prometheus

    def silent() -> list[str]:
        return [sample["value"][1] for sample in prometheus.query("alert_sink_watchdog_silent")]

    assert silent() == ["0"]
    stack.clients.nomad.stop_job("obs-alertmanager")
    try:
        wait_until(lambda: silent() == ["1"], timeout=60, failure="no sign of the metric that says so", hint="")
    finally:
        stack.run("deploy", "--yes")


def test_failing_requests_of_the_demo_are_counted_at_the_caller(stack: Stack) -> None:
    queries = ("hello_service_total_requests_total", "hello_service_successful_responses_total",
               "hello_service_failed_responses_total", "response_service_total_requests_total",
               "hello_service_request_duration_seconds_count")  # fmt: skip
    for query in queries:
        assert stack.programs.prometheus.query(query), f"no data for {query}"
    busy = "rate(hello_service_total_requests_total[10s]) > 1"  # needs two scrapes since its last start
    wait_until(
        lambda: stack.programs.prometheus.query(busy),
        timeout=20,
        failure="no sign of more than a request a second",
        hint="",
    )
