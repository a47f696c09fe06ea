"""Every query of a dashboard, asked of the servers as Grafana asks them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import requests

from obsctl.content.dashboard_lint import metric_of, selectors
from obsctl.content.dashboards import Dashboard, Json, interpolate, objects

TIMEOUT = 20
STEP = 15
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)", re.DOTALL)


@dataclass(frozen=True)
class Servers:
    """Base URLs of what Grafana has as datasources, and the seconds between samples, which it is told."""

    prometheus: str
    loki: str
    jaeger: str
    interval: float

    @property
    def rate_interval(self) -> int:
        """Seconds, as Grafana computes it for graphs with a point every STEP seconds."""
        return math.ceil(max(STEP + self.interval, 4 * self.interval))


@dataclass(frozen=True)
class Query:
    """One query as it stands in a dashboard. place: its panel and refId, or the variable or annotation."""

    dashboard: Dashboard
    place: str
    source: str
    target: Json

    @property
    def name(self) -> str:
        return f"{self.dashboard.uid}: {self.place}"


def queries(dashboard: Dashboard) -> Iterator[Query]:
    """Of its panels, its variables and its annotations."""
    for panel in dashboard.panels:
        for target in objects(panel, "targets"):
            source = dashboard.datasource_type(target.get("datasource") or panel.get("datasource"))
            yield Query(dashboard, f"{panel['title']} {target['refId']}", str(source), target)
    for variable in dashboard.variables:
        if variable["type"] == "query":
            source = dashboard.datasource_type(variable["datasource"])
            yield Query(dashboard, f"variable {variable['name']}", str(source), variable["query"])
    for annotation in objects(dashboard.document, "annotations", "list"):
        source = dashboard.datasource_type(annotation["datasource"])
        yield Query(dashboard, f"annotation {annotation['name']}", str(source), annotation["target"])


def chosen(dashboard: Dashboard) -> dict[str, str]:
    """What each variable stands for when nobody has chosen anything; a list without All is on its first value."""
    values = {}
    for variable in dashboard.variables:
        value = variable.get("allValue") if variable.get("includeAll") else variable.get("current", {}).get("value")
        values[variable["name"]] = str(value if value is not None else "response-service")
    return values


def answer(query: Query, servers: Servers, seconds: int = 600) -> list[Any]:
    """What the server finds in the last `seconds`: series with at least one number, lines, values or traces.

    Raises AssertionError with the server's words when it refuses the query.
    """
    values = _values(query, servers, seconds)
    target = {
        key: interpolate(value, values) if isinstance(value, str) else value for key, value in query.target.items()
    }
    asking = {"prometheus": _prometheus, "loki": _loki, "jaeger": _jaeger}[query.source]
    return asking(servers, target, time.time() - seconds, time.time())


def metrics_without_series(query: Query, servers: Servers, seconds: int = 600) -> set[str]:
    """The metrics of a PromQL query that had no series in the last `seconds`, with the labels it asks for.

    A query can have data without them: `… or vector(0)` always has.
    """
    expr = str(query.target.get("expr", ""))
    if query.source != "prometheus" or not expr:
        return set()
    parsed = promql_parser.parse(interpolate(expr, _values(query, servers, seconds)))
    missing = set()
    for selector, _ in selectors(parsed):
        asked = f"last_over_time({selector.prettify()}[{seconds}s])"
        if not _get(f"{servers.prometheus}/api/v1/query", {"query": asked})["data"]["result"]:
            missing.add(metric_of(selector))
    return missing


def _values(query: Query, servers: Servers, seconds: int) -> dict[str, str]:
    rate = f"{servers.rate_interval}s"
    return chosen(query.dashboard) | {
        "__rate_interval": rate,
        "__auto": rate,
        "__interval": f"{STEP}s",
        "__range": f"{seconds}s",
    }


def _prometheus(servers: Servers, target: Json, start: float, end: float) -> list[Any]:
    base = f"{servers.prometheus}/api/v1"
    if match := LABEL_VALUES.fullmatch(str(target.get("query", ""))):
        values: list[Any] = _get(f"{base}/label/{match['label']}/values", {"match[]": match["selector"]})["data"]
        return values
    if target.get("instant"):
        found = _get(f"{base}/query", {"query": target["expr"], "time": end})["data"]["result"]
    else:
        found = _get(f"{base}/query_range", {"query": target["expr"], "start": start, "end": end, "step": STEP})[
            "data"
        ]["result"]
    return [series for series in found if any(math.isfinite(float(value)) for value in _numbers(series))]


def _loki(servers: Servers, target: Json, start: float, end: float) -> list[Any]:
    base = f"{servers.loki}/loki/api/v1"
    times = {"start": int(start * 1e9), "end": int(end * 1e9)}
    if "label" in target:
        values: list[Any] = _get(f"{base}/label/{target['label']}/values", times).get("data", [])
        return values
    if target["queryType"] == "instant":
        return list(_get(f"{base}/query", {"query": target["expr"], "time": int(end * 1e9)})["data"]["result"])
    return list(_get(f"{base}/query_range", {"query": target["expr"], **times, "step": STEP})["data"]["result"])


def _jaeger(servers: Servers, target: Json, start: float, end: float) -> list[Any]:
    """By the path that Grafana's plugin takes for a search."""
    tags = dict(pair.split("=") for pair in str(target.get("tags", "")).split())
    asked = {"service": target["service"], "limit": target["limit"], "start": int(start * 1e6), "end": int(end * 1e6)}
    if tags:
        asked["tags"] = str(tags).replace("'", '"')
    return list(_get(f"{servers.jaeger}/api/traces", asked)["data"])


def _numbers(series: Json) -> list[str]:
    points = series.get("values") or [series["value"]]
    return [value for _, value in points]


def _get(url: str, asked: Json) -> Json:
    ended = requests.get(url, params=asked, timeout=TIMEOUT)
    assert ended.status_code == 200, f"{url} {asked}: {ended.status_code} {ended.text[:500]}"
    document: Json = ended.json()
    return document
