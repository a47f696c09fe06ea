"""Every query of every dashboard has data on the demo stack, or is listed here with the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from obsctl.config.durations import parse_duration
from obsctl.content import dashboards
from obsctl.content.dashboard_sources import VICTORIALOGS
from obsctl.content.dashboards import Dashboard
from obsctl.model import Json
from obsctl.wait import wait_until
from tests.dashboard_queries import Choice, Query, Servers, answer, metrics_without_series, queries
from tests.deployed_telemetry import Telemetry, repeating
from tests.world import NOWHERE, grafana_datasources

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("telemetry")]

SHIPPED = dashboards.load(NOWHERE)
ALL = {query.name: query for board in SHIPPED for query in queries(board)}

# Nothing fails on a healthy stack. These are asked while response-service is down, and must have data then.
WITH_A_FAULT = {
    "obsctl-overview: Alerts firing A",
    "obsctl-overview: Alerts A",
    "obsctl-hello-service: Alerts firing A",
    "obsctl-response-service: Alerts firing A",
    "obsctl-hello-service: Failed spans A",
    "obsctl-hello-service: Newest traces with an error A",
    "obsctl-logs: Warnings and errors by service A",
    *(f"{board.uid}: annotation Alerts firing" for board in SHIPPED),
}
# What the test does not bring about, and why.
NEVER_HERE = {
    "obsctl-overview: Notifications B": "no receiver refuses a notification",
    "obsctl-consul: Leader's last contact A": "a single server has no follower to hear from, and says NaN",
    "obsctl-nomad: Restarts and memory kills A": "nothing is restarted, and Nomad forgets it after a minute",
    "obsctl-nomad: Restarts and memory kills B": "nothing is killed for its memory",
    "obsctl-consul: Calls that agents could not make C": "Consul has that limit since 1.15",
    "obsctl-logs: Errors A": "the worst that is said here is a warning",
    "obsctl-logs: Dropped, by reason A": "nothing is dropped",
    **{f"obsctl-traces: Not delivered {ref}": "the counters are made at the first failure" for ref in "ABCDEF"},
}
# Metrics that a query names and does not need here.
ABSENT = {
    "nomad_client_allocs_memory_usage": "the driver docker measures it; raw_exec has memory_rss instead",
    "otelcol_exporter_sent_spans_total": "the name in newer versions of Jaeger, which is asked for in both",
    "otelcol_exporter_sent_spans": "the name in older versions of Jaeger, which is asked for in both",
    "otelcol_process_cpu_seconds": "the name in older versions of Jaeger, which is asked for in both",
    **{f"otelcol_exporter_enqueue_failed_{kind}_total": "made when a queue is full for the first time"
       for kind in ("spans", "log_records", "metric_points")},
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(telemetry: Telemetry) -> Servers:
    [interval] = [
        each["jsonData"]["timeInterval"]
        for each in grafana_datasources(timing="fast")["datasources"]
        if each["uid"] == "prometheus"
    ]
    return Servers(
        prometheus=telemetry.address("prometheus"),
        victorialogs=telemetry.address("victorialogs"),
        jaeger=telemetry.address("jaeger"),
        interval=parse_duration(interval),
    )


@pytest.fixture(scope="module", autouse=True)
def _busy(telemetry: Telemetry) -> Iterator[None]:
    """Requests are on their way, whatever becomes of them."""
    address = telemetry.address("hello-service")
    with repeating(lambda: telemetry.http.get(f"{address}/hello", timeout=30), every=0.1, result=None):
        yield


@pytest.fixture(scope="module")
def broken(telemetry: Telemetry) -> Iterator[None]:
    """response-service is down, until the tests that want it so are done."""
    telemetry.stack.clients.nomad.stop_job("obs-response-service")
    yield
    telemetry.stack.run("deploy", "--yes")


def shows_data(query: Query, servers: Servers) -> Callable[[], bool]:
    """A probe: the query has data, and every metric that it names exists."""

    def probe() -> bool:
        return bool(answer(query, servers)) and metrics_without_series(query, servers) <= set(ABSENT)

    return probe


def wait_for_data(asked: list[Query], servers: Servers, timeout: float) -> None:
    """Each has data before the time is over; those that had are not asked again."""
    left = {query.name: shows_data(query, servers) for query in asked}

    def all_have() -> bool:
        for name in [name for name, probe in left.items() if probe()]:
            del left[name]
        return not left

    try:
        wait_until(all_have, timeout=timeout, failure="no sign of data", hint="", interval=2)
    finally:
        assert not left, f"no data, or a metric that does not exist: {sorted(left)}"


@pytest.mark.parametrize("board", SHIPPED, ids=lambda board: board.uid)
def test_every_query_has_data(board: Dashboard, servers: Servers) -> None:
    listed = WITH_A_FAULT | set(NEVER_HERE)
    wait_for_data([query for query in queries(board) if query.name not in listed], servers, timeout=120)


@pytest.mark.parametrize("name", sorted(NEVER_HERE))
def test_what_has_no_data_is_at_least_a_query_that_the_server_takes(name: str, servers: Servers) -> None:
    answer(ALL[name], servers)  # raises when it is refused


def test_what_is_empty_while_all_is_well_has_data_when_something_fails(broken: None, servers: Servers) -> None:
    wait_for_data([ALL[name] for name in sorted(WITH_A_FAULT)], servers, timeout=120)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("prometheus", {"expr": 'rate(no_such_metric{job="nomad"}[$__rate_interval])'}),
        ("prometheus", {"expr": 'sum(no_such_metric{job="nomad"}) or vector(0)', "instant": True}),
        ("prometheus", {"expr": 'up{job="no-such-job"} / 0', "instant": True}),
        ("prometheus", {"expr": '0 / (up{job="nomad"} * 0)'}),
        ("prometheus", {"query": 'label_values(no_such_metric{job="nomad"}, job)'}),
        (VICTORIALOGS, {"expr": "service.name:=no-such-service", "queryType": "instant", "maxLines": 5}),
        (VICTORIALOGS, {"expr": "service.name:=no-such-service | stats count() n", "queryType": "stats"}),
        (VICTORIALOGS, {"expr": "service.name:=no-such-service | stats count() n", "queryType": "statsRange"}),
        (VICTORIALOGS, {"type": "fieldValue", "field": "no_such_field", "query": "*", "limit": 5}),
        ("jaeger", {"service": "no-such-service", "limit": 20}),
    ],
)
def test_a_query_of_what_does_not_exist_is_noticed(source: str, target: Json, servers: Servers) -> None:
    assert not shows_data(Query(SHIPPED[0], "made up", source, target), servers)()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("prometheus", {"expr": "sum("}),
        (VICTORIALOGS, {"expr": "{", "queryType": "instant", "maxLines": 5}),
        (VICTORIALOGS, {"expr": "* | sort by (x)", "queryType": "statsRange"}),
    ],
)
def test_a_query_that_the_server_refuses_is_noticed(source: str, target: Json, servers: Servers) -> None:
    with pytest.raises(AssertionError, match=r": 4\d\d "):
        answer(Query(SHIPPED[0], "made up", source, target), servers)


LOGS = next(board for board in SHIPPED if board.uid == "obsctl-logs")
LEVELS = next(variable for variable in LOGS.variables if variable["name"] == "level")


@pytest.mark.parametrize(
    "query",
    [one for one in ALL.values() if one.dashboard is LOGS and one.source == VICTORIALOGS],
    ids=lambda one: one.place,
)
@pytest.mark.parametrize(
    "choice",
    [
        {"service": ["hello-service", "response-service"], "nomad_job": ["obs-hello-service"]},
        {"search": ['GET "/hello" `HTTP`']},
        *({"level": [option["value"]]} for option in LEVELS["options"] if option["value"] != "$__all"),
        {"level": ["13,14,15,16", '0,""']},
    ],
    ids=str,
)
def test_what_is_chosen_at_the_top_is_understood(query: Query, choice: Choice, servers: Servers) -> None:
    answer(query, servers, choice=choice)  # raises when it is refused


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"service": ["hello-service"]}, {"hello-service"}),
        ({"service": ["hello-service", "response-service"], "nomad_job": ["obs-hello-service"]}, {"hello-service"}),
        ({"service": ["no-such-service"]}, set()),
        ({"service": ["hello-service"], "level": ["9,10,11,12"], "search": ["get /HEL"]}, {"hello-service"}),
        ({"service": ["hello-service"], "search": ["ello"]}, set()),
    ],
)
def test_lines_are_those_that_are_chosen(choice: Choice, found: set[str], servers: Servers) -> None:
    lines = answer(ALL["obsctl-logs: Log lines A"], servers, choice=choice)
    assert {line["service.name"] for line in lines} == found


def test_the_lists_name_only_what_there_is() -> None:
    assert len(ALL) == sum(1 for board in SHIPPED for _ in queries(board))
    assert set(NEVER_HERE) | WITH_A_FAULT <= set(ALL)
    assert not set(NEVER_HERE) & WITH_A_FAULT
    text = "".join(board.text for board in SHIPPED)
    assert [metric for metric in ABSENT if metric not in text and metric.removesuffix("_total") not in text] == []
