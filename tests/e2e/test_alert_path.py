"""The alert path with no obsctl running: what a job that is stopped by hand leads to, and what it does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import requests

from obsctl.clients.instances import passes
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

IMPOSTOR = """
import http.server, os

class Impostor(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"impostor": true}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print(self.command, self.path, self.headers.get("Authorization"), flush=True)

    do_POST = do_GET

http.server.HTTPServer((os.environ["NOMAD_IP_http"], int(os.environ["NOMAD_PORT_http"])), Impostor).serve_forever()
"""


def impostor(meta: dict[str, str]) -> Json:
    """A job that poses as alert-sink, four times: one of them is nearly always the first in Consul's list."""
    check = {"Name": "answers", "Type": "http", "Path": "/health", "Interval": 10**9, "Timeout": 2 * 10**9}
    service = {"Name": "alert-sink", "Provider": "consul", "PortLabel": "http", "Meta": meta, "Checks": [check]}
    task = {"Name": "alert-sink", "Driver": "raw_exec", "Config": {"command": sys.executable, "args": ["-c", IMPOSTOR]}}
    group = {
        "Name": "alert-sink", "Count": 4, "Tasks": [task], "Services": [service],
        "Networks": [{"Mode": "host", "DynamicPorts": [{"Label": "http"}]}],
    }  # fmt: skip
    return {"ID": "impostor", "Name": "impostor", "Type": "service", "Datacenters": ["*"], "TaskGroups": [group]}


def url_of_alert_sink(stack: Stack) -> Path:
    """Where Alertmanager reads it: of allocations before the running one the folders stay a while."""
    allocations = stack.clients.nomad.job_allocations("obs-alertmanager")
    [running] = [each["ID"] for each in allocations if each["ClientStatus"] == "running"]
    return stack.cluster.folder.path / "alloc" / running / "alertmanager/secrets/alert-sink.url"


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


def test_a_job_that_poses_as_alert_sink_gets_nothing(stack: Stack) -> None:
    """It has the name, the meta, and the proof that it read in Consul."""
    nomad, consul, genuine = stack.clients.nomad, stack.clients.consul, stack.programs.sink.address
    [instance] = consul.health("alert-sink")
    url = url_of_alert_sink(stack)
    nomad.register_job(impostor(instance["Service"]["Meta"]))
    try:
        wait_until(
            lambda: sum(map(passes, consul.health("alert-sink"))) == 5,
            timeout=60, failure="no sign of the impostors", hint="",
        )  # fmt: skip
        since = SYSTEM_CLOCK.now()
        sink = stack.programs.sink
        assert sink.address == genuine
        wait_until(
            lambda: len(sink.notifications(since=since, alertname="Watchdog")) > 1,
            timeout=60, failure="no sign of the heartbeat", hint="",
        )  # fmt: skip
        assert url.read_text().strip().endswith(f"@{genuine.removeprefix('http://')}/webhook")
        assert genuine in stack.run("status").stdout
        for allocation in nomad.job_allocations("impostor"):
            asked = nomad.task_logs(allocation["ID"], "alert-sink", stream="stdout").splitlines()
            assert {line for line in asked if not line.startswith("GET /health ")} == set()
    finally:
        nomad.stop_job("impostor")


def test_a_new_secret_of_deliveries_is_taken_over(stack: Stack) -> None:
    """alert-sink is started again with it, or it could not prove to Alertmanager that it has it."""
    nomad, path = stack.clients.nomad, "nomad/jobs/obs-alert-sink"

    def proofs() -> set[str]:
        instances = filter(passes, stack.clients.consul.health("alert-sink"))
        return {each["Service"]["Meta"]["obsctl_proof"] for each in instances}

    held, before = nomad.variable(path), proofs()
    assert held
    nomad.put_variable(path, {**held.items, "delivery_key": "a-new-one"})
    stack.run("deploy", "--yes")
    wait_until(lambda: proofs() - before, timeout=60, failure="no sign of alert-sink with a new proof", hint="")
    since = SYSTEM_CLOCK.now()
    wait_until(
        lambda: len(stack.programs.sink.notifications(since=since, alertname="Watchdog")) > 1,
        timeout=60, failure="no sign of the heartbeat", hint="",
    )  # fmt: skip
    assert ":a-new-one@" in url_of_alert_sink(stack).read_text()


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
