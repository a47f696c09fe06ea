"""What the bars of the dashboard Logs show, asked of a real log store as Grafana asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from obsctl.content import dashboards
from obsctl.model import Json
from obsctl.wait import wait_until
from tests.dashboard_queries import Query, Servers, answer, queries
from tests.otlp import records, send_logs
from tests.stores import running_logs
from tests.world import NOWHERE

pytestmark = pytest.mark.real

[LOGS] = [board for board in dashboards.load(NOWHERE) if board.uid == "obsctl-logs"]
AT_INFO: Json = {"severityNumber": 9}
SAID = {"a-quiet": ["hi"], "b-loud": ["hello " * 50] * 5, "c-middling": ["hello " * 20]}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_logs(tmp_path_factory.mktemp("logs")) as store:
        now = time.time_ns()
        sent = [
            records({"service_name": service, "nomad_job": service}, *((now, line, AT_INFO) for line in lines))
            for service, lines in SAID.items()
        ]
        send_logs(store.address, sent, path="/insert/opentelemetry/v1/logs")
        yield Servers(prometheus="", victorialogs=store.address, jaeger="", interval=15)


def test_the_largest_services_are_bars_of_their_own_with_their_names(servers: Servers) -> None:
    [query] = [query for query in queries(LOGS) if query.place == "Largest services A"]
    wait_until(lambda: len(bars(query, servers)) == len(SAID), timeout=20, failure="no sign of the lines", hint="")
    assert bars(query, servers) == ["b-loud", "c-middling", "a-quiet"]


def bars(query: Query, servers: Servers) -> list[str]:
    """The names in the order in which Grafana draws them: a series is a bar, named as legendFormat says."""
    label = query.target["legendFormat"].strip("{}")
    return [series["metric"][label] for series in answer(query, servers)]
