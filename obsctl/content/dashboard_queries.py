"""What is wrong with the queries of a dashboard's panels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

from obsctl.content import promql
from obsctl.content.dashboard_sources import VICTORIALOGS, source
from obsctl.content.dashboard_variables import Use, is_of_grafana, texts, uses
from obsctl.content.dashboards import Dashboard, objects, place_of, shown
from obsctl.content.promql import COUNTS, MAX_LENGTH, STRING, metric_of, selectors
from obsctl.model import Finding, Json

OF_EVERY_JOB = {"up", "ALERTS", "ALERTS_FOR_STATE"}
"""Metrics that Prometheus makes itself, of every target."""
ON_COUNTERS = {"rate", "irate", "increase", "resets", "absent", "absent_over_time", "timestamp", *COUNTS}
"""Functions that make something of a counter, or look at no value."""
LOG_QUERIES = ("instant", "stats", "statsRange", "hits")
"""What its plugin asks for: lines, numbers, numbers over time, counts of lines over time."""
WITH_LEGEND = {"bargauge", "piechart", "timeseries"}
_COUNTER = re.compile(r"(?!nomad_).*_(total|bucket)")  # in Nomad's names _total is an amount, not a count
_RANGE = re.compile(r"\[([^][:]*)")
_STATS_PIPE = re.compile(r"\|\s*(?:stats\b|by\b|\w+\()")
_LOOK = "look whether the panel shows data"


def check_queries(dashboard: Dashboard, panel: Json) -> Iterator[Finding]:
    """All of a panel but those that are switched off."""
    place = place_of(panel)
    targets = [target for target in objects(panel, "targets") if not target.get("hide")]
    if not targets:
        yield Finding.warning(place, "has no query, and shows no data", "give it a target")
    for twin, count in Counter(str(target["refId"]) for target in targets if target.get("refId")).items():
        if count > 1:
            yield Finding.warning(place, f"two queries are {twin}, of which one is shown", "give each its own refId")
    for target in targets:
        origin = source(dashboard, target.get("datasource"), panel.get("datasource"))
        if origin.type in ("prometheus", VICTORIALOGS) and not origin.is_of_grafana:
            query = f"{place}, query {target.get('refId')}"
            yield from _check_expr(dashboard, query, origin.type, target)
            has_legend = str(panel.get("type")) in WITH_LEGEND and target.get("format") != "table"
            if has_legend and not target.get("legendFormat"):
                yield Finding.warning(query, "its series have no names", "set legendFormat")


def _check_expr(dashboard: Dashboard, place: str, type_: str, target: Json) -> Iterator[Finding]:
    expr = target.get("expr")
    if not isinstance(expr, str) or not expr.strip():
        yield Finding.warning(place, "has an empty query, and shows no data", "set its expr")
    elif len(expr) > MAX_LENGTH:
        yield Finding.warning(place, f"cannot be read here: it has more than {MAX_LENGTH} characters", _LOOK)
    elif type_ == "prometheus":
        yield from _check_promql(place, expr, dashboard)
    else:
        yield from _check_names(place, expr, dashboard)
        yield from _check_logsql(place, expr, target.get("queryType"))


def _check_names(place: str, expr: str, dashboard: Dashboard) -> Iterator[Finding]:
    for name in dict.fromkeys(use.name for use in _unknown(expr, dashboard)):
        if not re.search(rf"\(\?P?<{name}>", expr):  # what a group of a regular expression has found
            what = f"${name} is no variable of this dashboard, and is taken as it stands"
            yield Finding.warning(place, what, "declare it under templating, unless that is meant")


def _unknown(expr: str, dashboard: Dashboard) -> list[Use]:
    known = dashboard.variable_names | dashboard.input_names
    return [use for use in uses(expr) if use.name not in known and not is_of_grafana(use.name)]


def _check_promql(place: str, expr: str, dashboard: Dashboard) -> Iterator[Finding]:
    bare = next((use.name for use in _unknown(expr, dashboard) if not use.quoted), None)
    if bare:
        yield Finding.error(place, f"there is no variable {bare}", "declare it under templating")
        return
    yield from _check_names(place, expr, dashboard)
    yield from _check_windows(place, expr)
    refusals = []
    for text in texts(expr, dashboard.variables):
        try:
            parsed = promql.parse(text)
        except ValueError as error:
            refusals.append(error)
        else:
            yield from _check_selectors(place, parsed, dashboard.variable_names)
            return
    yield _no_promql(place, expr, refusals[0])


def _check_windows(place: str, expr: str) -> Iterator[Finding]:
    for window in _RANGE.findall(STRING.sub('""', expr)):
        if window and not window.startswith("$"):
            hint = "$__rate_interval fits the scrape interval and the zoom"
            yield Finding.warning(place, f"has a fixed window, [{window}]", hint)


def _no_promql(place: str, expr: str, refusal: ValueError) -> Finding:
    """Only a text that no value of a variable changes, and no newer Prometheus understands, is surely wrong."""
    if isinstance(refusal, promql.Unclear) or not all(is_of_grafana(use.name) for use in uses(expr)):
        return Finding.warning(place, f"cannot be read here: {refusal}", _LOOK)
    return Finding.error(place, str(refusal), "correct its expr")


def _check_selectors(place: str, parsed: object, variables: Collection[str]) -> Iterator[Finding]:
    for selector, function in selectors(parsed):
        if selector.name in variables:  # its stand-in: it may be a number as well
            continue
        names = {matcher.name for matcher in selector.matchers.matchers}
        metric = metric_of(selector)
        if metric not in OF_EVERY_JOB and not names & {"job", "service_name"}:
            yield Finding.warning(place, f"{metric} is read from every job", 'add a matcher, like job="prometheus"')
        if _COUNTER.fullmatch(metric) and function not in ON_COUNTERS:
            yield Finding.warning(
                place, f"{metric} is a counter and is shown as it grows", "put it into rate() or increase()"
            )


def _check_logsql(place: str, expr: str, kind: object) -> Iterator[Finding]:
    bare = STRING.sub('""', expr)
    if kind not in LOG_QUERIES:
        what = f"its queryType is {shown(kind)}, which the plugin takes for instant"
        yield Finding.warning(place, what, f"one of {', '.join(LOG_QUERIES)}")
    if kind in ("stats", "statsRange") and not _STATS_PIPE.search(bare):
        say = (
            Finding.warning if any(not use.quoted for use in uses(expr)) else Finding.error
        )  # a variable may hold the pipe
        yield say(place, "counts nothing", "end it with a pipe like | stats count() lines, or make it instant")
    if "_time:" in bare:
        yield Finding.warning(
            place, "has a time range of its own", "leave _time out: the time range of the dashboard is used"
        )
