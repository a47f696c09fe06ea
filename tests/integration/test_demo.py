"""The demo services as real processes, against a real Consul and a real collector of their own."""

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from obsctl.wait import wait_until
from tests.agents import program
from tests.ports import free_port
from tests.programs import freeze
from tests.stub_server import Answer, stub_server

pytestmark = pytest.mark.real


@pytest.fixture
def demo(consul, start):
    """hello-service and response-service, registered in Consul and healthy."""
    consul.put("kv/minion_phrases", ["Bello!"])
    programs = {}
    for name in ("hello-service", "response-service"):
        programs[name] = start(name, "--consul", consul.url).wait_alive()
        consul.register(name, programs[name])
    for name in programs:
        wait_until(lambda name=name: consul.passing(name), timeout=30, failure=f"no sign of {name} passing", hint="")
    yield programs["hello-service"], programs["response-service"]
    for name in programs:
        consul.put(f"agent/service/deregister/{name}", "")


def totals(program, prefix):
    names = ("total_requests", "successful_responses", "failed_responses")
    return tuple(program.metric(f"{prefix}_{name}_total") for name in names)


def test_hello_gets_its_phrase_through_consul(demo):
    hello, response = demo
    assert hello.get("/hello").json() == {"message": "Hello! Bello!"}
    assert totals(hello, "hello_service") == (1, 1, 0)
    assert totals(response, "response_service") == (1, 1, 0)


def test_a_changed_key_is_used_and_a_broken_one_is_reported(demo, consul):
    hello, response = demo
    consul.put("kv/minion_phrases", ["Poopaye!"])
    assert hello.get("/hello").json() == {"message": "Hello! Poopaye!"}
    consul.put("kv/minion_phrases", "Bello!")
    assert response.get("/phrase").status_code == 500
    assert "not a JSON list" in response.get("/health").json()["reason"]
    consul.put("kv/minion_phrases", ["Bello!"])
    response.wait_for("/health")
    total, successful, failed = totals(response, "response_service")
    assert (total, failed) == (successful + failed, 1)


def test_response_killed_hello_fails_counts_it_and_stays_ready(demo, consul):
    hello, response = demo
    response.end(signal.SIGKILL)
    assert hello.get("/hello").status_code == 503
    wait_until(
        lambda: not consul.passing("response-service"), timeout=30, failure="no sign of critical in Consul", hint=""
    )
    wait_until(
        lambda: "no healthy instance" in hello.get("/hello").text,
        timeout=30,
        failure="no sign of it is noticed",
        hint="",
    )
    assert hello.get("/health").status_code == 200
    total, successful, failed = totals(hello, "hello_service")
    assert (successful, failed) == (0, total)


def test_response_frozen_hello_answers_503_in_time_and_can_still_be_scraped(demo):
    hello, response = demo
    freeze(response.process)
    try:
        with ThreadPoolExecutor(12) as threads:
            started = time.monotonic()
            calls = [threads.submit(hello.get, "/hello") for _ in range(12)]
            scrape_started = time.monotonic()
            assert hello.get("/metrics").status_code == 200
            assert time.monotonic() - scrape_started < 1.5, "a scrape must not wait for the hung calls"
            assert {call.result(timeout=30).status_code for call in calls} == {503}
            assert time.monotonic() - started < 6
        assert hello.metric('hello_service_call_attempts_total{outcome="timeout"}') >= 12
        assert hello.metric('hello_service_circuit_state{state="open"}') == 1
        assert "is not called for a moment" in hello.get("/hello").json()["error"]
    finally:
        response.process.send_signal(signal.SIGCONT)


def test_hello_finishes_what_it_has_begun_before_it_ends(demo):
    """The request hangs for two seconds on a frozen response-service; SIGTERM comes in the middle of it."""
    hello, response = demo
    freeze(response.process)
    try:
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(hello.get, "/hello")
            wait_until(
                lambda: hello.metric("hello_service_total_requests_total") == 1,
                timeout=10,
                failure="no sign of call",
                hint="",
            )
            code, _ = hello.end()
            assert call.result(timeout=30).status_code == 503
            assert code == 0
    finally:
        response.process.send_signal(signal.SIGCONT)


def test_traffic_keeps_its_pace_counts_and_ends_on_sigterm(demo, consul, start):
    hello, response = demo
    traffic = start("traffic", "--consul", consul.url, "--rate", "20").wait_alive()
    wait_until(
        lambda: traffic.metric('traffic_requests_total{outcome="ok"}') >= 10,
        timeout=30,
        failure="no sign of ok",
        hint="",
    )
    response.end(signal.SIGKILL)
    wait_until(
        lambda: traffic.metric('traffic_requests_total{outcome="failed"}') >= 5,
        timeout=30,
        failure="no sign of failed",
        hint="",
    )
    hello.end()
    wait_until(
        lambda: traffic.metric('traffic_requests_total{outcome="unreachable"}') >= 5,
        timeout=30,
        failure="no sign of gone",
        hint="",
    )
    assert traffic.get("/health").status_code == 200
    assert traffic.end()[0] == 0


def test_a_token_never_shows(start, consul):
    env = {
        "PATH": "/usr/bin:/bin",
        "CONSUL_HTTP_TOKEN": "the-secret",
        "CONSUL_HTTP_ADDR": consul.url.removeprefix("http://"),
    }
    response = start("response-service", env=env).wait_alive()
    response.get("/phrase")
    response.get("/health")
    assert "the-secret" not in response.log.read_text()
    assert "the-secret" not in Path(f"/proc/{response.process.pid}/cmdline").read_text()


# What the demo sends by OTLP

TRACE = "0af7651916cd43dd8448eb211c80319c"
DESCRIBED = {"nomad.job": "obs-demo", "nomad.alloc.id": "3f1c9d3e-0000-4000-8000-000000000000"}


def telemetry_env(endpoint):
    described = ",".join(f"{key}={value}" for key, value in DESCRIBED.items())
    return {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_RESOURCE_ATTRIBUTES": described}


@pytest.fixture
def otlp():
    """Stands at the end of the line, and remembers what was sent."""
    with stub_server() as stub:
        yield stub


@pytest.fixture
def collector(otlp, tmp_path):
    """The address of a real collector; what it takes it passes on as JSON."""
    port = free_port()
    receiver = {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}
    exporter = {"endpoint": otlp.address, "encoding": "json", "compression": "none"}
    pipeline = {"receivers": ["otlp"], "exporters": ["otlp_http"]}
    config = {
        "receivers": {"otlp": receiver},
        "exporters": {"otlp_http": exporter},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "logs": pipeline},
        },
    }
    (tmp_path / "collector.yml").write_text(json.dumps(config))
    command = [program("otelcol"), f"--config={tmp_path}/collector.yml"]
    with (tmp_path / "collector.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: listens(port), timeout=60, failure="no sign of the collector", hint=str(tmp_path), interval=0.05
        )
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def plain(attributes):
    """OTLP's list of attributes as a dictionary."""
    return {each["key"]: next(iter(each["value"].values())) for each in attributes}


def sent(otlp, path, resources, scopes, records):
    """(resource, record) of all that came to this path."""
    return [
        (plain(resource["resource"]["attributes"]), record)
        for asked in list(otlp.asked)
        if asked.path == path
        for resource in json.loads(asked.body)[resources]
        for scope in resource[scopes]
        for record in scope[records]
    ]


def spans(otlp):
    return sent(otlp, "/v1/traces", "resourceSpans", "scopeSpans", "spans")


def records(otlp):
    return sent(otlp, "/v1/logs", "resourceLogs", "scopeLogs", "logRecords")


@pytest.fixture
def traced_demo(consul, start, collector):
    consul.put("kv/minion_phrases", ["Bello!"])
    programs = {}
    for name in ("hello-service", "response-service"):
        programs[name] = start(name, "--consul", consul.url, env=telemetry_env(collector)).wait_alive()
        consul.register(name, programs[name])
    for name in programs:
        wait_until(lambda name=name: consul.passing(name), timeout=30, failure=f"no sign of {name} passing", hint="")
    yield programs["hello-service"], programs["response-service"]
    for name in programs:
        consul.put(f"agent/service/deregister/{name}", "")


def test_a_request_reaches_the_collector_as_spans_and_lines_of_both_services(traced_demo, otlp):
    """Both are stopped at once after it: what still waits to be sent is sent."""
    hello, _ = traced_demo
    header = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = requests.get(f"{hello.url}/hello", headers=header, timeout=10)
    assert answer.headers["traceresponse"].split("-")[1] == TRACE
    assert [program.end()[0] for program in traced_demo] == [0, 0]

    wanted = {
        ("hello-service", "GET /hello"),
        ("hello-service", "call response-service"),
        ("hello-service", "GET /phrase"),
        ("response-service", "GET /phrase"),
        ("response-service", "GET /v1/kv/minion_phrases"),
    }

    def found():
        of_trace = [(resource, span) for resource, span in spans(otlp) if span["traceId"] == TRACE]
        lines = [(resource, record) for resource, record in records(otlp) if record.get("traceId") == TRACE]
        return (of_trace, lines) if wanted <= names(of_trace) and len(lines) >= 2 else None

    def names(of_trace):
        return {(resource["service.name"], span["name"]) for resource, span in of_trace}

    of_trace, lines = wait_until(found, timeout=30, failure="no sign of spans and lines", hint="")
    assert names(of_trace) - {("hello-service", "GET /v1/health/service/response-service")} == wanted
    assert {resource["service.name"] for resource, _ in lines} == {"hello-service", "response-service"}
    for described, _ in of_trace + lines:
        assert {**DESCRIBED, "service.version": "1.0.0"}.items() <= described.items()


def test_the_fixed_version_says_so(consul, start, collector, otlp):
    env = telemetry_env(collector)
    response = start("response-service", "--fixed", "--consul", consul.url, env=env).wait_alive()
    assert all(response.get("/phrase").json()["phrase"] for _ in range(10))
    response.end()
    wait_until(lambda: spans(otlp), timeout=30, failure="no sign of spans", hint="")
    assert {resource["service.version"] for resource, _ in spans(otlp)} == {"1.0.1"}


def test_a_collector_that_refuses_everything_costs_one_line_of_the_log(consul, start, otlp):
    otlp.answers = [Answer(status=400)]
    response = start("response-service", "--consul", consul.url, env=telemetry_env(otlp.address)).wait_alive()

    def refused():
        response.get("/phrase").raise_for_status()
        return len(otlp.asked) >= 6

    wait_until(refused, timeout=60, failure="no sign of six batches", hint="")
    assert response.end()[0] == 0
    lines = [json.loads(line) for line in response.log.read_text().splitlines()]
    assert len([line for line in lines if line["logger"].startswith("opentelemetry")]) == 1
    assert {line["service"] for line in lines} == {"response-service"}


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(consul, start, otlp):
    otlp.answers = [Answer(hold=60)]
    response = start("response-service", "--consul", consul.url, env=telemetry_env(otlp.address)).wait_alive()
    wait_until(lambda: otlp.asked, timeout=30, failure="no sign of a batch under way", hint="")
    assert all(response.get("/phrase").status_code == 200 for _ in range(50))
    code, took = response.end()
    assert code == 0
    assert took < 8
