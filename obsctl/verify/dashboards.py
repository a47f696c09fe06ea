"""Whether the backends answer the query of every panel. What is empty is no fault, and is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from obsctl.clients.programs import Programs
from obsctl.content import promql
from obsctl.content.dashboard_queries import LOG_QUERIES
from obsctl.content.dashboard_sources import VICTORIALOGS, source
from obsctl.content.dashboard_variables import texts, uses
from obsctl.content.dashboards import Dashboard, objects, place_of
from obsctl.errors import ApiError
from obsctl.junit import Check, Outcome
from obsctl.model import Json
from obsctl.verify.site import Site

_RANGE = 3600.0
"""Seconds until now, over which a panel looks."""
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Query:
    name: str
    type: str
    kind: str
    text: str
    is_filled: bool
    """Whether something stands for a variable, which may fit nothing."""


def dashboards(site: Site) -> Iterator[Check]:
    """Each query of each panel of the dashboards that Grafana gets."""
    queries = [query for dashboard in site.rendered.dashboards for query in _queries(dashboard)]
    now, programs = site.clock.now(), site.clients.programs
    answers = _backends(site, programs, now)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        yield from pool.map(lambda query: _check(query, answers.get(query.type)), queries)


def _queries(dashboard: Dashboard) -> Iterator[_Query]:
    for panel in dashboard.panels:
        for target in objects(panel, "targets"):
            origin = source(dashboard, target.get("datasource"), panel.get("datasource"))
            if target.get("hide") or origin.is_of_grafana:
                continue
            expr = str(target.get("expr") or target.get("service") or target.get("query") or "")
            name = f"{dashboard.place}: {place_of(panel)}, query {target.get('refId')}"
            kind = str(target.get("queryType") or "")
            yield _Query(name, origin.type, kind, _filled(expr, origin.type, dashboard.variables), bool(uses(expr)))


def _filled(expr: str, type_: str, variables: list[Json]) -> str:
    """As the linter fills it: the likeliest text, of PromQL the likeliest that can be read."""
    candidates = list(texts(expr, variables)) or [expr]
    for text in candidates if type_ == "prometheus" else ():
        with suppress(ValueError):
            promql.parse(text)
            return text
    return candidates[0]


def _backends(site: Site, programs: Programs, now: float) -> dict[str, Callable[[_Query], int]]:
    """Type of a datasource -> how much its backend answers; those of this stack alone."""
    start, end = (int(at * 1e9) for at in (now - _RANGE, now))

    def lines(query: _Query) -> int:
        kind = query.kind if query.kind in LOG_QUERIES else "instant"
        return programs.logs.results(query.text, kind, start=start, end=end)

    def spans(query: _Query) -> int:
        return len(programs.jaeger.search(query.text, since=now - _RANGE, until=now, limit=1))

    parts = site.config.components
    known = {
        "prometheus": (parts.prometheus.enabled, lambda query: programs.prometheus.count(query.text)),
        VICTORIALOGS: (parts.victorialogs.enabled, lines),
        "jaeger": (parts.jaeger.enabled, spans),
    }
    return {type_: answer for type_, (is_there, answer) in known.items() if is_there}


def _check(query: _Query, answer: Callable[[_Query], int] | None) -> Check:
    if answer is None or not query.text:
        why = "it has no query" if answer else f"its datasource ({query.type or 'unknown'}) is none of this stack"
        return Check("dashboards", query.name, Outcome.SKIPPED, why)
    try:
        count = answer(query)
    except ApiError as error:
        return Check("dashboards", query.name, Outcome.FAILED, error.message)
    stand_in = ", with stand-ins for its variables" if query.is_filled else ""
    return Check("dashboards", query.name, Outcome.PASSED, "" if count else f"no data{stand_in}")
