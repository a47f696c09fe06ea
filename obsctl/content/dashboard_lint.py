"""What is wrong with a dashboard, as far as that can be seen without Grafana.

An error: Grafana would not show the dashboard, or not as meant. A warning: it works, but its readers may be misled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from obsctl.config.catalog import Grafana
from obsctl.content import promql
from obsctl.content.dashboards import Dashboard, interpolate, objects, variables_in
from obsctl.content.promql import STRING, metric_of, selectors
from obsctl.model import Finding, Json, Severity

SCHEMA_VERSIONS = range(39, 42)
"""Grafana migrates older ones at each load, and an older Grafana does not know newer ones."""
COLUMNS = 24
MIN_REFRESH = 10
"""Seconds. An open dashboard sends all its queries each time."""
REMOVED = {"graph": "timeseries", "singlestat": "stat", "table-old": "table", "grafana-piechart-panel": "piechart"}
WITHOUT_QUERY = {"text", "dashlist", "alertlist", "annolist", "news"}
WITHOUT_UNIT = WITHOUT_QUERY | {"logs", "nodeGraph", "traces"}
OF_EVERY_JOB = {"up", "ALERTS", "ALERTS_FOR_STATE"}
"""Metrics that Prometheus makes itself, of every target."""
PER_SECOND = {"rate", "irate", "increase"}
VICTORIALOGS = Grafana.plugin
LOG_QUERIES = ("instant", "stats", "statsRange", "hits")
"""What its plugin asks for: lines, numbers, numbers over time, counts of lines over time."""
_COUNTER = re.compile(r"(?!nomad_).*_(total|bucket)")  # in Nomad's names _total is an amount, not a count

_RANGE = re.compile(r"\[([^\]:]*)")
_STATS_PIPE = re.compile(r"\|\s*(?:stats\b|by\b|\w+\()")
_LINK = re.compile(r"/d/([\w-]+)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SAMPLE = {"__rate_interval": "1m", "__interval": "1m", "__auto": "1m", "__range": "1h", "__range_s": "3600"}


def lint(dashboards: Sequence[Dashboard]) -> list[Finding]:
    """All problems of these dashboards; links must lead to one of them."""
    uids = {dashboard.uid for dashboard in dashboards}
    return [
        replace(problem, where=f"{dashboard.path}: {problem.where}".removesuffix(": "))
        for dashboard in dashboards
        for problem in problems(dashboard, uids)
    ]


def problems(dashboard: Dashboard, uids: Collection[str]) -> Iterator[Finding]:
    """Each with its place in the dashboard. uids: of all dashboards."""
    if {"elements", "kind", "spec"} & set(dashboard.document):
        yield _error("", "is in the v2 format, which Grafana 13 does not load from files", "export it as classic JSON")
        return
    if "__inputs" in dashboard.document:
        hint = "export it without the switch for sharing, and make its datasources variables"
        yield _error("__inputs", "are filled in by an import by hand only", hint)
    yield from _check_document(dashboard)
    yield from _check_layout(dashboard)
    yield from _check_other_queries(dashboard)
    for panel in dashboard.panels:
        yield from _check_panel(dashboard, panel)
    for place, count in Counter(_place(panel) for panel in dashboard.panels).items():
        if count > 1:
            yield _warning(place, f"{count} panels have this title", "say what tells them apart")
    for link in sorted(set(_LINK.findall(dashboard.text)) - set(uids)):
        yield _error(
            "", f"links to a dashboard {link}, which does not exist", "obsctl dashboards list shows all of them"
        )


def _check_document(dashboard: Dashboard) -> Iterator[Finding]:
    document = dashboard.document
    if document.get("uid") != dashboard.uid:
        yield _error("uid", f"is {document.get('uid')!r}", f"make it {dashboard.uid!r}, as the file is named")
    if not dashboard.title:
        yield _error("title", "is missing", "give it one")
    if document.get("schemaVersion") not in SCHEMA_VERSIONS:
        supported = f"{SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]}"
        yield _error("schemaVersion", f"is {document.get('schemaVersion')!r}", f"use one from {supported}")
    if document.get("id") is not None:
        yield _warning("id", "belongs to the Grafana that it was exported from", "remove it")
    if document.get("editable") is not False:
        yield _warning(
            "editable", "is not false", "set it to false: the next deploy overwrites what is changed in the browser"
        )
    if not document.get("tags"):
        yield _warning("tags", "are missing", "name at least one, so that links by tag find it")
    if not _is_calm(document.get("refresh", "")):
        yield _warning("refresh", f"is {document.get('refresh')!r}", f"{MIN_REFRESH}s or more, or empty")


def _is_calm(refresh: object) -> bool:
    match = re.fullmatch(r"(\d+)([smhd])", str(refresh))
    return refresh == "" or (match is not None and int(match[1]) * _SECONDS[match[2]] >= MIN_REFRESH)


def _check_other_queries(dashboard: Dashboard) -> Iterator[Finding]:
    """Annotations, and variables that take their values from a query."""
    for annotation in objects(dashboard.document, "annotations", "list"):
        if not annotation.get("builtIn") and dashboard.datasource_type(annotation.get("datasource")) is None:
            yield _no_variable(f"annotation {annotation.get('name')}")
    for variable in dashboard.variables:
        if variable.get("type") == "query" and dashboard.datasource_type(variable.get("datasource")) is None:
            yield _no_variable(f"variable {variable.get('name')}")


def _check_layout(dashboard: Dashboard) -> Iterator[Finding]:
    top = objects(dashboard.document, "panels")
    below = [panel for row in top for panel in objects(row, "panels")]
    for panel_id, count in Counter(str(panel.get("id")) for panel in [*top, *below]).items():
        if count > 1 or not panel_id.isdecimal():
            yield _error("panels", f"the id {panel_id} is not the id of one panel", "number them")
    for group in [top, *(objects(row, "panels") for row in top)]:
        for panel in group:
            if not _is_inside(panel):
                yield _error(_place(panel), f"its gridPos leaves the {COLUMNS} columns", "give it x, y, w and h")
        for first, second in combinations(filter(_is_inside, group), 2):
            if _overlap(first["gridPos"], second["gridPos"]):
                yield _error(_place(first), f"lies over {_place(second)}", "change the gridPos of one of them")


def _is_inside(panel: Json) -> bool:
    match panel.get("gridPos"):
        case {"x": int(x), "y": int(y), "w": int(w), "h": int(h)}:
            return x >= 0 and y >= 0 and w >= 1 and h >= 1 and x + w <= COLUMNS
    return False


def _overlap(first: Json, second: Json) -> bool:
    beside = first["x"] + first["w"] <= second["x"] or second["x"] + second["w"] <= first["x"]
    above = first["y"] + first["h"] <= second["y"] or second["y"] + second["h"] <= first["y"]
    return not beside and not above


def _check_panel(dashboard: Dashboard, panel: Json) -> Iterator[Finding]:
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
        yield from _check_targets(dashboard, panel)


def _unit(panel: Json) -> object:
    field_config = panel.get("fieldConfig")
    defaults = field_config.get("defaults") if isinstance(field_config, dict) else None
    return defaults.get("unit") if isinstance(defaults, dict) else None


def _check_targets(dashboard: Dashboard, panel: Json) -> Iterator[Finding]:
    place, targets = _place(panel), objects(panel, "targets")
    if not targets:
        yield _error(place, "has no query", "give it a target")
    for twin, count in Counter(str(target.get("refId")) for target in targets).items():
        if count > 1:
            yield _error(place, f"two queries are {twin}", "give each its own refId")
    for target in targets:
        yield from _check_target(dashboard, panel, target)


def _check_target(dashboard: Dashboard, panel: Json, target: Json) -> Iterator[Finding]:
    place = f"{_place(panel)}, query {target.get('refId')}"
    source = dashboard.datasource_type(target.get("datasource") or panel.get("datasource"))
    if source is None:
        yield _no_variable(place)
    known = {str(variable.get("name")) for variable in dashboard.variables}
    expr = str(target.get("expr", ""))
    for name in dict.fromkeys(variables_in(expr)):
        if name not in known and not name.startswith("__"):
            yield _error(place, f"there is no variable {name}", "declare it under templating")
    if source == "prometheus":
        yield from _check_promql(place, expr, dashboard)
        yield from _check_windows(place, expr)
    if source == VICTORIALOGS:
        yield from _check_logsql(place, expr, target.get("queryType"))
    if panel.get("type") == "timeseries" and source in ("prometheus", VICTORIALOGS) and not target.get("legendFormat"):
        yield _warning(place, "its series have no names", "set legendFormat")


def _check_windows(place: str, expr: str) -> Iterator[Finding]:
    for window in _RANGE.findall(STRING.sub('""', expr)):
        if not window.startswith("$"):
            hint = "$__rate_interval fits the scrape interval and the zoom"
            yield _warning(place, f"has a fixed window, [{window}]", hint)


def _check_logsql(place: str, expr: str, kind: object) -> Iterator[Finding]:
    if not expr:
        yield _error(place, "has an empty query", "set its expr; * selects every line")
    if kind not in LOG_QUERIES:
        yield _error(place, f"its queryType is {kind!r}", f"one of {', '.join(LOG_QUERIES)}")
    bare = STRING.sub('""', expr)
    if kind in ("stats", "statsRange") and not _STATS_PIPE.search(bare):
        yield _error(place, "counts nothing", "end it with a pipe like | stats count() lines, or make it instant")
    if "_time:" in bare:
        yield _warning(place, "has a time range of its own", "leave _time out: the time range of the dashboard is used")


def _check_promql(place: str, expr: str, dashboard: Dashboard) -> Iterator[Finding]:
    values = {str(variable.get("name")): "x" for variable in dashboard.variables} | _SAMPLE
    try:
        parsed = promql.parse(interpolate(expr, values))
    except ValueError as error:
        yield _error(place, str(error), "correct its expr")
        return
    for selector, function in selectors(parsed):
        names = {matcher.name for matcher in selector.matchers.matchers}
        metric = metric_of(selector)
        if metric not in OF_EVERY_JOB and not names & {"job", "service_name"}:
            yield _warning(place, f"{metric} is read from every job", 'add a matcher, like job="prometheus"')
        if _COUNTER.fullmatch(metric) and function not in PER_SECOND:
            yield _warning(place, f"{metric} is a counter and is shown as it grows", "put it into rate() or increase()")


def _place(panel: Json) -> str:
    return f'panel "{panel.get("title") or panel.get("id")}"'


def _no_variable(place: str) -> Finding:
    hint = 'add a variable of type datasource and refer to it: {"type": "prometheus", "uid": "${datasource}"}'
    return _error(place, "its datasource is not a variable", hint)


def _error(place: str, what: str, hint: str) -> Finding:
    return Finding(Severity.ERROR, place, what, hint)


def _warning(place: str, what: str, hint: str) -> Finding:
    return Finding(Severity.WARNING, place, what, hint)
