"""Every query of a dashboard, asked of the servers as Grafana asks them."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import promql_parser
import requests

from obsctl.content.dashboard_sources import VICTORIALOGS, source
from obsctl.content.dashboards import Dashboard, objects
from obsctl.content.promql import metric_of, selectors
from obsctl.model import Json

TIMEOUT = 20
STEP = 15
Choice = Mapping[str, Sequence[str]]
"""Variable -> its values."""
FORMATS: dict[str, Callable[[Sequence[str]], str]] = {
    "doublequote": lambda values: ",".join('"' + value.replace('"', '\\"') + '"' for value in values),
    "csv": ",".join,
    "regex": lambda values: "|".join(re.escape(value) for value in values),
}
"""How Grafana writes a variable that names a format."""
PLAIN = re.compile(r"\$(?:(?P<bare>\w+)|\{(?P<braced>\w+)(?::\w+)?\})")
FORMATTED = re.compile(rf"\$\{{(?P<name>\w+):(?P<format>{'|'.join(FORMATS)})\}}")
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)", re.DOTALL)


@dataclass(frozen=True)
class Servers:
    """Base URLs of what Grafana has as datasources, and the seconds between samples, which it is told."""

    prometheus: str
    victorialogs: str
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
            asked = source(dashboard, target.get("datasource"), panel.get("datasource"))
            yield Query(dashboard, f"{panel['title']} {target['refId']}", asked.type, target)
    for variable in dashboard.variables:
        if variable["type"] == "query":
            asked = source(dashboard, variable["datasource"])
            yield Query(dashboard, f"variable {variable['name']}", asked.type, variable["query"])
    for annotation in objects(dashboard.document, "annotations", "list"):
        asked = source(dashboard, annotation["datasource"])
        yield Query(dashboard, f"annotation {annotation['name']}", asked.type, annotation["target"])


def chosen(dashboard: Dashboard) -> dict[str, str]:
    """What each variable stands for when nobody has chosen anything; a list without All is on its first value."""
    values = {}
    for variable in dashboard.variables:
        value = variable.get("allValue") if variable.get("includeAll") else variable.get("current", {}).get("value")
        values[variable["name"]] = str(value if value is not None else "response-service")
    return values


def interpolate(text: str, values: dict[str, str]) -> str:
    """The text with its variables replaced, as Grafana does before a query; one without a value stays."""
    return PLAIN.sub(lambda match: values.get(match["bare"] or match["braced"], match[0]), text)


def filled(text: str, dashboard: Dashboard, values: dict[str, str], choice: Choice) -> str:
    """The text as the server gets it. Of All Grafana writes the value as it stands, whatever the format."""
    everything = {one["name"] for one in dashboard.variables if one.get("includeAll")} - set(choice)

    def written(match: re.Match[str]) -> str:
        name = match["name"]
        if name in everything:
            return values[name]
        return FORMATS[match["format"]](choice.get(name, [values[name]]))

    return interpolate(FORMATTED.sub(written, text), values)


def answer(query: Query, servers: Servers, seconds: int = 600, choice: Choice | None = None) -> list[Any]:
    """What the server finds in the last `seconds`: series with at least one number, lines, values or traces.

    choice: what somebody has chosen at the top of the dashboard. Raises AssertionError with the server's words when it
    refuses the query.
    """
    values = _values(query, servers, seconds)
    target = {
        key: filled(value, query.dashboard, values, choice or {}) if isinstance(value, str) else value
        for key, value in query.target.items()
    }
    asking = {"prometheus": _prometheus, VICTORIALOGS: _victorialogs, "jaeger": _jaeger}[query.source]
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


def _victorialogs(servers: Servers, target: Json, start: float, end: float) -> list[Any]:
    """As the plugin asks, by the path that belongs to the kind of query."""
    base = f"{servers.victorialogs}/select/logsql"
    times: Json = {"start": int(start), "end": int(end)}
    if target.get("type") == "fieldValue":
        asked = {"query": target["query"], "field": target["field"], "limit": target["limit"], **times}
        return [each["value"] for each in _get(f"{base}/field_values", asked)["values"] if each["value"]]
    match target["queryType"]:
        case "instant":
            lines = _ask(f"{base}/query", {"query": target["expr"], "limit": target["maxLines"], **times}).text
            return [json.loads(line) for line in lines.splitlines()]
        case "stats":
            query = f"_time:[{times['start']}, {times['end']}] {target['expr']}"
            found = _get(f"{base}/stats_query", {"query": query, "time": times["end"]})
        case _:
            found = _get(f"{base}/stats_query_range", {"query": target["expr"], **times, "step": f"{STEP}s"})
    return [series for series in found["data"]["result"] if any(float(value) for value in _numbers(series))]


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
    document: Json = _ask(url, asked).json()
    return document


def _ask(url: str, asked: Json) -> requests.Response:
    ended = requests.get(url, params=asked, timeout=TIMEOUT)
    assert ended.status_code == 200, f"{url} {asked}: {ended.status_code} {ended.text[:500]}"
    return ended
