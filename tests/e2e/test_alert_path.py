"""The alert path with no obsctl running: what a job that is stopped by hand leads to, and what it does not."""

from __future__ import annotations

import json

import pytest
import requests

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


def test_nobody_but_alertmanager_delivers_and_its_secret_shows_nowhere(stack: Stack) -> None:
    nomad, sink = stack.clients.nomad, stack.programs.sink.address
    forged = {"status": "firing", "alerts": [{"status": "firing", "labels": {"alertname": "Forged"}}]}
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    for more, status in ((None, 401), (page, 403), ({"Host": "evil.example"}, 403)):
        assert requests.post(f"{sink}/webhook", json=forged, headers=more, timeout=10).status_code == status
    assert requests.get(f"{sink}/api/notifications", headers={"Host": "evil.example"}, timeout=10).status_code == 403
    assert stack.programs.sink.notifications(since=0.0, alertname="Forged") == []

    held = [nomad.variable(f"nomad/jobs/obs-{name}") for name in ("alert-sink", "alertmanager")]
    [secret] = {variable.items["delivery_key"] for variable in held if variable}
    alertmanager = stack.programs.alertmanager.each()[0].address
    shown = [requests.get(f"{alertmanager}{path}", timeout=10).text for path in ("/metrics", "/api/v2/status")]
    shown += [json.dumps(nomad.job(f"obs-{name}")) for name in ("alert-sink", "alertmanager")]
    shown += [pair.value.decode(errors="replace") for pair in stack.clients.consul.entries("obsctl/")]
    folder = stack.cluster.folder.path
    shown += [log.read_text(errors="replace") for log in folder.glob("alloc/*/alloc/logs/alert*")]
    assert not [text for text in shown if secret in text]

    files = [*folder.glob("volumes/obs-alert-sink/notifications*"), *folder.glob("alloc/*/alertmanager/secrets/*.url")]
    assert len(files) >= 3
    assert {file.stat().st_mode & 0o077 for file in (*files, folder / "volumes" / "obs-alert-sink")} == {0}


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
