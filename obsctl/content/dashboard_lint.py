"""What is wrong with a dashboard, as far as it can be seen without Grafana.

An error: Grafana would not show it, or not as meant. A warning: it works, and the next reader will stumble over it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import promql_parser

from obsctl.config.catalog import Grafana
from obsctl.content.dashboards import Dashboard, interpolate, objects, variables_in
from obsctl.model import Finding, Json, Severity

SCHEMA_VERSIONS = range(39, 42)
"""Older ones are migrated at each load; newer ones an older Grafana does not know."""
COLUMNS = 24
MIN_REFRESH = 10
"""Seconds. A dashboard that is left open asks all its queries each time."""
REMOVED = {"graph": "timeseries", "singlestat": "stat", "table-old": "table", "grafana-piechart-panel": "piechart"}
WITHOUT_QUERY = {"text", "dashlist", "alertlist", "annolist", "news"}
WITHOUT_UNIT = WITHOUT_QUERY | {"logs", "nodeGraph", "traces"}
OF_EVERY_JOB = {"up", "ALERTS", "ALERTS_FOR_STATE"}
"""Metrics that Prometheus makes itself, about whatever it scrapes."""
PER_SECOND = {"rate", "irate", "increase"}
VICTORIALOGS = Grafana.plugin
LOG_QUERIES = ("instant", "stats", "statsRange", "hits")
"""How its plugin asks: for lines, for numbers, for numbers over time, for how many lines over time."""
_COUNTER = re.compile(r"(?!nomad_).*_(total|bucket)")  # in Nomad's names _total is an amount, not a count

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
_RANGE = re.compile(r"\[([^\]:]*)")
_STATS_PIPE = re.compile(r"\|\s*(?:stats\b|by\b|\w+\()")
_LINK = re.compile(r"/d/([\w-]+)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SAMPLE = {"__rate_interval": "1m", "__interval": "1m", "__auto": "1m", "__range": "1h", "__range_s": "3600"}


class Fault(NamedTuple):
    """One of them, before it is known in which file it stands."""

    severity: Severity
    place: str
    what: str
    hint: str


def lint(found: Sequence[Dashboard]) -> list[Finding]:
    """All faults of these dashboards; links must lead to one of them."""
    uids = {dashboard.uid for dashboard in found}
    return [
        Finding(fault.severity, f"{dashboard.path}: {fault.place}".removesuffix(": "), fault.what, fault.hint)
        for dashboard in found
        for fault in faults(dashboard, uids)
    ]


def faults(dashboard: Dashboard, uids: Collection[str]) -> Iterator[Fault]:
    """uids: of all dashboards there are."""
    if {"elements", "kind", "spec"} & set(dashboard.document):
        yield _error("", "is in the v2 format, which Grafana 13 does not load from files", "export it as classic JSON")
        return
    if "__inputs" in dashboard.document:
        hint = "export it without the switch for sharing, and make its datasources variables"
        yield _error("__inputs", "only an import by hand fills these in", hint)
    yield from _of_the_whole(dashboard)
    yield from _of_the_layout(dashboard)
    yield from _of_the_rest_that_asks(dashboard)
    for panel in dashboard.panels:
        yield from _of_a_panel(dashboard, panel)
    for place, count in Counter(_place(panel) for panel in dashboard.panels).items():
        if count > 1:
            yield _warning(place, f"{count} panels have this title", "say what tells them apart")
    for link in sorted(set(_LINK.findall(dashboard.text)) - set(uids)):
        yield _error(
            "", f"links to a dashboard {link}, which is not there", "obsctl dashboards list shows those there are"
        )


def _of_the_whole(dashboard: Dashboard) -> Iterator[Fault]:
    document = dashboard.document
    if document.get("uid") != dashboard.uid:
        yield _error("uid", f"is {document.get('uid')!r}", f"make it {dashboard.uid!r}, as the file is named")
    if not dashboard.title:
        yield _error("title", "is missing", "give it one")
    if document.get("schemaVersion") not in SCHEMA_VERSIONS:
        wanted = f"{SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]}"
        yield _error("schemaVersion", f"is {document.get('schemaVersion')!r}", f"known everywhere are {wanted}")
    if document.get("id") is not None:
        yield _warning("id", "belongs to the Grafana that it was exported from", "remove it")
    if document.get("editable") is not False:
        yield _warning("editable", "is not false", "what is changed in the browser would be lost with the next deploy")
    if not document.get("tags"):
        yield _warning("tags", "are missing", "name at least one, so that links by tag find it")
    if not _is_calm(document.get("refresh", "")):
        yield _warning("refresh", f"is {document.get('refresh')!r}", f"{MIN_REFRESH}s or more, or empty")


def _is_calm(refresh: Any) -> bool:
    match = re.fullmatch(r"(\d+)([smhd])", str(refresh))
    return refresh == "" or (match is not None and int(match[1]) * _SECONDS[match[2]] >= MIN_REFRESH)


def _of_the_rest_that_asks(dashboard: Dashboard) -> Iterator[Fault]:
    """Annotations, and variables that take their values from a query."""
    for annotation in objects(dashboard.document, "annotations", "list"):
        if not annotation.get("builtIn") and dashboard.datasource_type(annotation.get("datasource")) is None:
            yield _no_variable(f"annotation {annotation.get('name')}")
    for variable in dashboard.variables:
        if variable.get("type") == "query" and dashboard.datasource_type(variable.get("datasource")) is None:
            yield _no_variable(f"variable {variable.get('name')}")


def _of_the_layout(dashboard: Dashboard) -> Iterator[Fault]:
    top = objects(dashboard.document, "panels")
    ids = Counter(str(panel.get("id")) for panel in [*top, *(one for row in top for one in objects(row, "panels"))])
    for twin in (one for one, count in ids.items() if count > 1 or not one.isdecimal()):
        yield _error("panels", f"the id {twin} is not the id of one panel", "number them")
    for group in [top, *(objects(row, "panels") for row in top)]:
        for panel in group:
            if not _is_inside(panel):
                yield _error(_place(panel), f"its gridPos leaves the {COLUMNS} columns", "give it x, y, w and h")
        for one, other in combinations([panel for panel in group if _is_inside(panel)], 2):
            if _overlap(one["gridPos"], other["gridPos"]):
                yield _error(_place(one), f"lies over {_place(other)}", "change the gridPos of one")


def _is_inside(panel: Json) -> bool:
    match panel.get("gridPos"):
        case {"x": int(x), "y": int(y), "w": int(w), "h": int(h)}:
            return x >= 0 and y >= 0 and w >= 1 and h >= 1 and x + w <= COLUMNS
    return False


def _overlap(one: Json, other: Json) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not beside and not above


def _of_a_panel(dashboard: Dashboard, panel: Json) -> Iterator[Fault]:
    place, kind = _place(panel), str(panel.get("type"))
    if not panel.get("title"):
        yield _error(place, "has no title", "say what it shows")
    if not panel.get("description"):
        yield _warning(place, "has no description", "say what it means, and what to do when it looks bad")
    if kind in REMOVED:
        yield _error(place, f"is of the type {kind}, which Grafana no longer has", f"use {REMOVED[kind]}")
    if kind not in WITHOUT_UNIT and not _unit(panel):
        yield _warning(place, "has no unit", "set fieldConfig.defaults.unit; a bare number is short or none")
    if kind not in WITHOUT_QUERY:
        yield from _of_the_queries(dashboard, panel)


def _unit(panel: Json) -> Any:
    field_config = panel.get("fieldConfig")
    defaults = field_config.get("defaults") if isinstance(field_config, dict) else None
    return defaults.get("unit") if isinstance(defaults, dict) else None


def _of_the_queries(dashboard: Dashboard, panel: Json) -> Iterator[Fault]:
    place, targets = _place(panel), objects(panel, "targets")
    if not targets:
        yield _error(place, "asks nothing", "give it a target")
    for twin, count in Counter(str(target.get("refId")) for target in targets).items():
        if count > 1:
            yield _error(place, f"two queries are {twin}", "give each its own refId")
    for target in targets:
        yield from _of_a_query(dashboard, panel, target)


def _of_a_query(dashboard: Dashboard, panel: Json, target: Json) -> Iterator[Fault]:
    place = f"{_place(panel)}, query {target.get('refId')}"
    source = dashboard.datasource_type(target.get("datasource") or panel.get("datasource"))
    if source is None:
        yield _no_variable(place)
    known = {str(one.get("name")) for one in dashboard.variables}
    expr = str(target.get("expr", ""))
    for name in dict.fromkeys(variables_in(expr)):
        if name not in known and not name.startswith("__"):
            yield _error(place, f"there is no variable {name}", "declare it under templating")
    if source == "prometheus":
        yield from _of_promql(place, expr, dashboard)
        yield from _of_windows(place, expr)
    if source == VICTORIALOGS:
        yield from _of_logsql(place, expr, target.get("queryType"))
    if panel.get("type") == "timeseries" and source in ("prometheus", VICTORIALOGS) and not target.get("legendFormat"):
        yield _warning(place, "its series have no names", "set legendFormat")


def _of_windows(place: str, expr: str) -> Iterator[Fault]:
    for window in _RANGE.findall(_STRING.sub('""', expr)):
        if not window.startswith("$"):
            hint = "$__rate_interval fits the scrape interval and the zoom"
            yield _warning(place, f"has a window of its own, [{window}]", hint)


def _of_logsql(place: str, expr: str, kind: Any) -> Iterator[Fault]:
    if not expr:
        yield _error(place, "asks nothing", "set its expr; * is every line")
    if kind not in LOG_QUERIES:
        yield _error(place, f"its queryType is {kind!r}", f"one of {', '.join(LOG_QUERIES)}")
    bare = _STRING.sub('""', expr)
    if kind in ("stats", "statsRange") and not _STATS_PIPE.search(bare):
        yield _error(place, "counts nothing", "end it with a pipe like | stats count() lines, or make it instant")
    if "_time:" in bare:
        yield _warning(place, "has a time range of its own", "leave _time out: the one of the dashboard is asked for")


def _of_promql(place: str, expr: str, dashboard: Dashboard) -> Iterator[Fault]:
    values = {str(one.get("name")): "x" for one in dashboard.variables} | _SAMPLE
    try:
        parsed = promql_parser.parse(interpolate(expr, values))
    except ValueError as error:
        yield _error(place, str(error), "correct its expr")
        return
    for selector, function in selectors(parsed):
        names = {matcher.name for matcher in selector.matchers.matchers}
        metric = metric_of(selector)
        if metric not in OF_EVERY_JOB and not names & {"job", "service_name"}:
            yield _warning(place, f"{metric} is asked of every job", 'add a matcher, like job="prometheus"')
        if _COUNTER.fullmatch(metric) and function not in PER_SECOND:
            yield _warning(place, f"{metric} is a counter, shown as it grows", "put it into rate() or increase()")


def metric_of(selector: promql_parser.VectorSelector) -> str:
    """Its name, or the regular expression for it."""
    named = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"]
    return str(selector.name or next(iter(named), "something"))


def selectors(node: Any, function: str = "") -> Iterator[tuple[promql_parser.VectorSelector, str]]:
    """Every selector of an expression, and the innermost function around it."""
    match node:
        case promql_parser.VectorSelector():
            yield node, function
        case promql_parser.MatrixSelector():
            yield node.vector_selector, function
        case promql_parser.Call():
            for argument in node.args:
                yield from selectors(argument, node.func.name)
        case promql_parser.BinaryExpr():
            yield from selectors(node.lhs, function)
            yield from selectors(node.rhs, function)
        case (
            promql_parser.AggregateExpr()
            | promql_parser.ParenExpr()
            | promql_parser.UnaryExpr()
            | promql_parser.SubqueryExpr()
        ):
            yield from selectors(node.expr, function)


def _place(panel: Json) -> str:
    return f'panel "{panel.get("title") or panel.get("id")}"'


def _no_variable(place: str) -> Fault:
    hint = 'add a variable of type datasource and refer to it: {"type": "prometheus", "uid": "${datasource}"}'
    return _error(place, "its datasource is not a variable", hint)


def _error(place: str, what: str, hint: str) -> Fault:
    return Fault(Severity.ERROR, place, what, hint)


def _warning(place: str, what: str, hint: str) -> Fault:
    return Fault(Severity.WARNING, place, what, hint)
