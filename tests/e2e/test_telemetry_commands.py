"""open, logs and trace on a real stack: what a user finds with them after one request."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
import requests

from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed_telemetry import SERVICES, Telemetry, calls_consul

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.xdist_group("telemetry")]


@pytest.fixture
def trace_id(telemetry: Telemetry) -> str:
    """A request whose log lines are all there, and the spans that lead down to Consul."""
    since = SYSTEM_CLOCK.now()
    found = telemetry.say_hello(telemetry.address("hello-service"))
    lines = {(service, found) for service in SERVICES}
    wait_until(lambda: lines <= telemetry.log_traces(since), timeout=30, failure="no sign of the log lines", hint="")
    way = {("hello-service", "GET /hello"), ("hello-service", "GET /phrase"), ("response-service", "GET /phrase")}

    def whole() -> bool:
        spans = telemetry.spans(found)
        return way <= set(spans) and calls_consul(spans)

    wait_until(whole, timeout=30, failure="no sign of the spans", hint="")
    return found


@pytest.fixture
def the_store_is_away(telemetry: Telemetry) -> Iterator[None]:
    telemetry.stack.clients.nomad.stop_job("obs-victorialogs")
    wait_until(
        lambda: telemetry.is_gone("victorialogs"), timeout=60, failure="no sign of the end of VictoriaLogs", hint=""
    )
    yield
    telemetry.stack.run("deploy", "victorialogs", "--yes")


def test_open_names_an_address_of_everything_that_answers(telemetry: Telemetry) -> None:
    found = telemetry.stack.json("open")["addresses"]
    assert {"prometheus", "jaeger", "victorialogs", "otel-gateway", "otel-agent", "hello-service", "otlp-metrics"} <= {
        item["name"] for item in found
    }
    for item in found:
        assert item["state"] in ("passing", ""), item
        requests.get(item["url"], timeout=10)  # raises when nothing answers; built servers have no pages
    assert telemetry.stack.run("open", "jaeger").stdout.strip() == f"{telemetry.address('jaeger')}/"


@pytest.mark.parametrize(
    "path",
    [
        "/delete/run_task?filter=*",
        "/internal/partition/list",
        "/internal/partition/detach?name=20260101",
        "/internal/force_merge",
        "/internal/force_flush",
        "/debug/pprof/",
        "/debug/pprof/?authKey=",
    ],
)
def test_nobody_takes_lines_out_of_the_store_or_keeps_it_busy(telemetry: Telemetry, path: str) -> None:
    answer = requests.post(f"{telemetry.address('victorialogs')}{path}", timeout=10)
    assert answer.status_code in (400, 401, 403), answer.text


def test_a_trace_is_shown_as_a_tree_with_its_log_lines(telemetry: Telemetry, trace_id: str) -> None:
    shown = telemetry.stack.run("trace", trace_id, "--logs", "--wait", "0s").stdout
    tree = [line.lstrip("│├└─ ✗") for line in shown.splitlines()]
    order = ["hello-service  GET /hello", "hello-service  GET /phrase", "response-service  GET /phrase"]
    rows = [next(number for number, line in enumerate(tree) if line.startswith(start)) for start in order]
    assert rows == sorted(rows)
    assert any("response-service  GET /v1/kv/" in line for line in tree)
    assert sum(" INFO GET /" in line for line in tree) == 2
    assert f"obsctl logs --trace {trace_id}" in shown
    assert f"{telemetry.address('jaeger')}/trace/{trace_id}" in shown


def test_a_trace_that_is_still_on_its_way_is_waited_for(telemetry: Telemetry) -> None:
    trace_id = telemetry.say_hello(telemetry.address("hello-service"))
    document = telemetry.stack.json("trace", trace_id, "--wait", "20s")
    assert (document["trace_id"], set(document["services"])) == (trace_id, set(SERVICES))


def test_the_failed_request_behind_a_good_answer_is_found(telemetry: Telemetry) -> None:
    address = telemetry.address("hello-service")

    def found() -> str:
        telemetry.say_hello(address)
        shown = telemetry.stack.run("trace", "--last", "--errors", "--wait", "0s", code=None).stdout
        return shown if "✗ response-service  GET /phrase" in shown else ""  # a trace comes in parts

    shown = wait_until(found, timeout=120, failure="no sign of the planted bug", hint="")
    assert "Consul has no key" in shown


def test_the_lines_of_a_request_from_all_services(telemetry: Telemetry, trace_id: str) -> None:
    lines = telemetry.stack.json("logs", "--trace", trace_id)["lines"]
    assert {line["job"] for line in lines} == {f"obs-{service}" for service in SERVICES}
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert lines == sorted(lines, key=lambda line: line["at"])


def test_every_component_has_lines_in_the_store_or_in_nomad(telemetry: Telemetry, trace_id: str) -> None:
    sources = {}
    for item in telemetry.stack.json("status")["components"]:
        document = telemetry.stack.json("logs", item["component"], "--since", "1h", "-n", "5")
        assert 1 <= len(document["lines"]) <= 5, item["component"]
        assert {line["job"] for line in document["lines"]} == {item["job_id"]}
        sources[item["component"]] = document["source"]
    assert sources.pop("otel-agent") == "nomad", "an agent does not collect what it says itself"
    assert set(sources.values()) == {"victorialogs"}


def test_both_sources_have_the_same_lines(telemetry: Telemetry) -> None:
    """Nomad has those of the allocation that runs, the log store those of earlier ones too."""
    query = ("logs", "prometheus", "--since", "1h", "-n", "1000", "--grep", "Server is ready")
    one, other = (telemetry.stack.json(*query, "--source", source)["lines"] for source in ("store", "nomad"))
    same = one[-len(other) :]
    assert [line["text"] for line in same] == [line["text"] for line in other] != []
    assert [(line["task"], line["stream"]) for line in same] == [(line["task"], line["stream"]) for line in other]


@pytest.mark.usefixtures("the_store_is_away")
def test_without_the_store_lines_come_from_nomad_and_it_is_said(telemetry: Telemetry) -> None:
    ran = telemetry.stack.run("logs", "hello-service", "--since", "1h")
    assert "GET /hello 200" in ran.stdout
    assert "from Nomad at" in ran.stderr
    assert "victorialogs of stack obs is not registered in Consul" in ran.stderr
    refused = telemetry.stack.run("logs", "hello-service", "--source", "store", code=1)
    assert "Error: victorialogs of stack obs is not registered in Consul" in refused.stderr


@pytest.mark.parametrize("source", ["store", "nomad"])
def test_a_log_is_followed_until_ctrl_c(telemetry: Telemetry, source: str) -> None:
    following = telemetry.stack.start(
        "logs", "hello-service", "-f", "-n", "1", "--grep", "GET /hello", "--source", source
    )
    assert following.stdout is not None
    assert following.stderr is not None
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(following.stdout), daemon=True)  # type: ignore[arg-type]
    reader.start()
    wait_until(lambda: len(seen) >= 1, timeout=30, failure="no sign of the last line", hint="")
    telemetry.say_hello(telemetry.address("hello-service"))
    wait_until(lambda: len(seen) >= 2, timeout=30, failure="no sign of the new line", hint="")
    following.send_signal(signal.SIGINT)
    assert following.wait(timeout=30) == 130
    reader.join(timeout=10)
    assert "Traceback" not in following.stderr.read()
    following.stdout.close()
    following.stderr.close()
