"""Traces, logs and metrics of one request find each other; and nothing is lost while a backend is away."""

from __future__ import annotations

from contextlib import suppress

import pytest

from obsctl.errors import DeadlineExceeded
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed_telemetry import SERVICES, Telemetry, calls_consul, traces_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("telemetry")]

COLLECTORS = ("otel-gateway", "otel-agent")
COUNTED = 'sum(traces_span_metrics_calls_total{service_name="hello-service",span_name="GET /hello"})'
OUTAGE = 60.0


def test_a_first_deploy_tells_nobody_that_anything_is_wrong(telemetry: Telemetry) -> None:
    """All starts at once, so each program misses its neighbours for a while."""
    told = telemetry.stack.programs.sink.notifications(since=0)
    early = [each["payload"]["alerts"] for each in told if each["received_at"] < telemetry.begun_at]
    assert {alert["labels"]["alertname"] for alerts in early for alert in alerts} == {"Watchdog"}


def test_one_request_is_a_trace_log_lines_an_exemplar_and_span_metrics(telemetry: Telemetry) -> None:
    since = SYSTEM_CLOCK.now()
    trace_id = telemetry.say_hello(telemetry.address("hello-service"))
    deadline = since + 30
    missing: list[str] = []

    def found() -> bool:
        spans = telemetry.spans(trace_id)
        lines = telemetry.log_traces(since)
        own = traces_of(telemetry.exemplars("hello_service_request_duration_seconds_bucket", since))
        from_spans = traces_of(telemetry.exemplars("traces_span_metrics_duration_milliseconds_bucket", since))
        there = {
            "a trace with spans of both services": {service for service, _ in spans} >= set(SERVICES),
            "the Consul call in it": calls_consul(spans),
            "a log line of each service": {(service, trace_id) for service in SERVICES} <= lines,
            "an exemplar of hello-service": trace_id in own,
            "an exemplar in the span metrics": trace_id in from_spans,
        }
        missing[:] = [what for what, is_there in there.items() if not is_there]
        return not missing

    left = deadline - SYSTEM_CLOCK.now()
    with suppress(DeadlineExceeded):
        wait_until(found, timeout=left, failure="", hint="", interval=0.5)
    assert missing == []


def test_logs_have_few_streams(telemetry: Telemetry) -> None:
    """What differs from line to line, ids above all, would make each line a stream of its own."""
    few = {"service.name", "nomad.namespace", "nomad.job", "nomad.group", "nomad.task"}
    assert telemetry.stream_fields() == few


def test_a_deploy_that_changes_nothing_still_looks_whether_telemetry_flows(telemetry: Telemetry) -> None:
    ended = telemetry.stack.run("deploy", "--yes")
    assert "Nothing to change" in ended.stdout
    assert "telemetry path: works after" in ended.stdout + ended.stderr


@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["victorialogs", "jaeger", "prometheus"])
def test_nothing_is_lost_while_a_backend_is_away_for_a_minute(backend: str, telemetry: Telemetry) -> None:
    """Every request has a trace id of ours: each must be found with its spans and lines once the backend is back."""
    stack, since = telemetry.stack, SYSTEM_CLOCK.now()
    counted_before = telemetry.sample(COUNTED)
    with telemetry.traffic(per_second=10) as sent, telemetry.watch_memory(*COLLECTORS) as memory:
        wait_until(lambda: len(sent) >= 20, timeout=30, failure="no sign of traffic", hint="")
        stack.clients.nomad.stop_job(f"obs-{backend}")
        wait_until(lambda: telemetry.is_gone(backend), timeout=60, failure=f"no sign of the end of {backend}", hint="")
        gone = SYSTEM_CLOCK.now()
        wait_until(
            lambda: SYSTEM_CLOCK.now() - gone >= OUTAGE and len(sent) > OUTAGE * 10 / 2,
            timeout=OUTAGE * 2, failure="no sign of a minute of traffic", hint="",
        )  # fmt: skip
        during = len(sent)
        stack.run("deploy", "--yes")
        wait_until(lambda: len(sent) >= during + 20, timeout=30, failure="no sign of traffic afterwards", hint="")
    wanted = {(service, trace_id) for trace_id in sent for service in SERVICES}
    wait_until(lambda: wanted <= telemetry.log_traces(since), timeout=60, failure="no sign of every log line", hint="")
    left = set(sent)

    def all_complete() -> bool:
        left.difference_update([each for each in left if calls_consul(telemetry.spans(each))])
        return not left

    wait_until(all_complete, timeout=60, failure="no sign of every trace", hint="")
    wait_until(
        lambda: telemetry.sample(COUNTED) - counted_before >= len(sent),
        timeout=60,
        failure="no sign of every count",
        hint="",
    )
    print(f"{backend} away for {OUTAGE:g} s: {len(sent)} requests, {during} by its return; memory in MB: {memory}")
    limits = {name: telemetry.memory_limit(name) for name in COLLECTORS}
    assert all(0 < memory[name] < limits[name] for name in COLLECTORS), f"{memory} of {limits} MB"
