"""The ways between Grafana's datasources, walked on real servers: each link's query is made as Grafana makes it.

How Grafana fills in a link: public/app/features/explore/TraceView (spans) and the derived fields of the plugin
victoriametrics-logs-datasource (src/transformers/fields).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed_telemetry import SERVICES, Telemetry
from tests.world import grafana_datasources

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("telemetry")]


@dataclass
class Grafana:
    """What a Grafana with obsctl's datasources would ask of the backends."""

    telemetry: Telemetry
    data: dict[str, dict[str, Any]]

    def trace(self, trace_id: str) -> dict[str, Any]:
        """The trace as Grafana's Jaeger datasource gets it; {} when there is none."""
        answer = self.telemetry.http.get(f"{self.telemetry.address('jaeger')}/api/traces/{trace_id}", timeout=10)
        found = answer.json().get("data") or [{}]
        return dict(found[0])

    def span(self, trace_id: str, service: str) -> dict[str, Any]:
        """The span in which the service answers, with the tags of its process."""
        trace = self.trace(trace_id)
        for span in trace["spans"]:
            process = trace["processes"][span["processID"]]
            if process["serviceName"] == service and span["operationName"].startswith("GET /"):
                return {**span, "process": process}
        raise AssertionError(f"{service} has no span in {trace_id}")

    def lines(self, trace_id: str) -> list[dict[str, Any]]:
        """The lines that a span leads to, each with its fields."""
        query = self.data["jaeger"]["tracesToLogsV2"]["query"].replace("${__span.traceId}", trace_id)
        params = {"query": query, "start": "-10m", "limit": 100}
        store = self.telemetry.address("victorialogs")
        answer = self.telemetry.http.get(f"{store}/select/logsql/query", params=params, timeout=20)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def metrics(self, span: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Name of each query that a span leads to -> its result."""
        known = [*span["process"]["tags"], *span["tags"], {"key": "name", "value": span["operationName"]}]
        wanted = {tag["key"]: tag["value"] for tag in self.data["jaeger"]["tracesToMetrics"]["tags"]}
        tags = ", ".join(f'{wanted[tag["key"]]}="{tag["value"]}"' for tag in known if tag["key"] in wanted)
        prometheus = self.telemetry.stack.programs.prometheus
        queries = self.data["jaeger"]["tracesToMetrics"]["queries"]
        return {query["name"]: prometheus.query(query["query"].replace("$__tags", tags)) for query in queries}


@pytest.fixture(scope="module")
def grafana(telemetry: Telemetry) -> Grafana:
    found = grafana_datasources()["datasources"]
    return Grafana(telemetry, {each["uid"]: each["jsonData"] for each in found})


@pytest.fixture(scope="module")
def trace_id(telemetry: Telemetry, grafana: Grafana) -> str:
    """Of a request whose spans and lines have arrived."""
    address = telemetry.address("hello-service")
    sent = [telemetry.say_hello(address) for _ in range(5)][-1]

    def arrived() -> bool:
        services = {process["serviceName"] for process in grafana.trace(sent).get("processes", {}).values()}
        return services >= set(SERVICES) and lines_of(grafana, sent) >= set(SERVICES)

    wait_until(arrived, timeout=60, failure="no sign of spans and lines of both services", hint="")
    return sent


def lines_of(grafana: Grafana, trace_id: str) -> set[str]:
    return {line["service.name"] for line in grafana.lines(trace_id)}


def test_a_span_leads_to_the_lines_of_its_request_in_both_services(grafana: Grafana, trace_id: str) -> None:
    assert lines_of(grafana, trace_id) == set(SERVICES)
    assert {line["trace_id"] for line in grafana.lines(trace_id)} == {trace_id}


@pytest.mark.parametrize("service", SERVICES)
def test_a_span_leads_to_the_metrics_of_its_operation(service: str, grafana: Grafana, trace_id: str) -> None:
    span = grafana.span(trace_id, service)

    def found() -> bool:
        results = grafana.metrics(span)
        with_data = {name for name, result in results.items() if result}
        return {"Requests per second", "95th percentile in milliseconds"} <= with_data

    wait_until(found, timeout=60, failure=f"no sign of metrics of {span['operationName']}", hint="")
    assert {sample["metric"]["service_name"] for sample in grafana.metrics(span)["Requests per second"]} == {service}


def test_a_line_leads_to_its_trace_by_its_field_or_by_itself(grafana: Grafana, trace_id: str) -> None:
    by_field, by_line = grafana.data["victorialogs"]["derivedFields"]
    assert {line[by_field["matcherRegex"]] for line in grafana.lines(trace_id)} == {trace_id}
    # The same record as the demo prints it, for those whose lines are only read from a file.
    printed = f'{{"level": "INFO", "trace_id": "{trace_id}", "span_id": "0123456789abcdef"}}'
    in_line = re.search(by_line["matcherRegex"], printed)
    assert in_line
    assert grafana.trace(in_line[1])["traceID"] == trace_id


def test_a_point_of_a_histogram_leads_to_a_trace(grafana: Grafana, trace_id: str) -> None:
    [destination] = grafana.data["prometheus"]["exemplarTraceIdDestinations"]
    since, metric = SYSTEM_CLOCK.now() - 600, "hello_service_request_duration_seconds_bucket"

    def traces() -> list[str]:
        series = grafana.telemetry.exemplars(metric, since)
        labels = [exemplar["labels"] for found in series for exemplar in found["exemplars"]]
        return [label[destination["name"]] for label in labels]

    wait_until(traces, timeout=30, failure="no sign of an exemplar", hint="")
    address = destination["url"].replace("${__value.raw}", traces()[-1])
    [pane] = parse_qs(urlsplit(address).query)["left"]
    assert json.loads(pane)["datasource"] == "jaeger"
    [query] = json.loads(pane)["queries"]
    assert grafana.trace(query["query"])["spans"]
