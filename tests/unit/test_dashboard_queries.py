"""Variables and datasources of every kind, as Grafana takes them."""

from __future__ import annotations

from typing import Any

import pytest

from obsctl.model import Json, Severity
from tests.dashboards import findings, panel, query


def prometheus(expr: str, *variables: Json) -> Json:
    document = query(expr)
    document["templating"]["list"] += variables
    return document


def listed(name: str, values: str, kind: str = "custom") -> Json:
    return {"name": name, "type": kind, "query": values}


VARIABLES: dict[str, tuple[str, list[Json]]] = {
    "window": ('rate(a_total{job="a"}[$w])', [listed("w", "1m,5m,1h", "interval")]),
    "window with auto": ('rate(a_total{job="a"}[$w])', [listed("w", "auto,1m", "interval")]),
    "window of a query": ('rate(a_total{job="a"}[$till])', []),
    "window and step": ('max_over_time(rate(a_total{job="a"}[$w])[$r:$till])', [listed("w", "5m"), listed("r", "1h")]),
    "both in one bracket": ('max_over_time(a{job="a"}[$w:$r])', [listed("w", "5m"), listed("r", "30s")]),
    "text of a window": ('rate(a_total{job="a"}[${w:text}])', [listed("w", "1m", "interval")]),
    "number before a unit": ('rate(a_total{job="a"}[${till}m])', []),
    "offset": ('a{job="a"} offset $ago', [listed("ago", "1h,1d")]),
    "negative offset": ('a{job="a"} offset -$till', []),
    "limit": ('topk($limit, a{job="a"})', [listed("limit", "5,10")]),
    "limit of a query": ('topk($till, a{job="a"})', []),
    "limit in words": ('topk($limit, a{job="a"})', [listed("limit", "few : 5, many : 10")]),
    "quantile": ('histogram_quantile($q, rate(a_bucket{job="a"}[5m:]))', [listed("q", "0.5,0.95")]),
    "threshold": ('a{job="a"} > $till', []),
    "power": ('a{job="a"} * 10 ^ $till', []),
    "aggregation": ('$agg by (path) (a{job="a"})', [listed("agg", "sum,avg")]),
    "aggregation of a query": ('$till by (path) (a{job="a"})', []),
    "function": ('$f(a_total{job="a"}[$__rate_interval])', [listed("f", "rate,increase")]),
    "function of a query": ('${till}(a_total{job="a"}[$__rate_interval])', []),
    "operator": ('a{job="a"} $op 1', [listed("op", ">,<")]),
    "operator of a query": ('a{job="a"} $till 1', []),
    "labels": ('sum by (${till:csv}) (a{job="a"})', []),
    "label": ('a{$till=~"x",job="a"}', []),
    "label of a join": ('a{job="a"} * on ($till) group_left (b) c{job="a"}', []),
    "part of a name": ('rate(a_${part}_total{job="a"}[$__rate_interval])', [listed("part", "http,grpc")]),
    "a whole metric": ('${till}{job="a"}', []),
    "a keyword as name": ('a{job="a"} + $by', [listed("by", "", "textbox")]),
    "piece of a selector": ('a{job="a"$more}', [listed("more", ',code="200"', "constant")]),
    "piece of a selector of a query": ('a{job="a"$till}', []),
    "piece of a selector, with a comma": ('a{job="a",$till}', []),
    "a whole selector": ("$sel", [listed("sel", 'a{job="a"}', "constant")]),
    "old way to write it": ('a{job="[[till]]"}', []),
    "old way, in a window": ('rate(a_total{job="a"}[[[w]]])', [listed("w", "5m", "interval")]),
    "capture group": ('label_replace(a{job="a"}, "h", "$host", "instance", "(?P<host>[^:]+):.*")', []),
    "numbered group": ('label_replace(a{job="a"}, "h", "$1", "instance", "(.*):.*")', []),
    "end of a line": ('a{job="a",path=~"^/api$"}', []),
    "quoted by a format": ('a{job="a",path=~${till:doublequote}}', []),
    "range in milliseconds": ('a{job="a"} / $__range_ms * 1000', []),
    "interval in milliseconds": ('rate(a_total{job="a"}[${__interval_ms}ms])', []),
    "range in seconds": ('count_over_time(a{job="a"}[${__range_s}s])', []),
    "from": ('a{job="a"} > bool ($__from / 1000)', []),
    "at": ('a{job="a"} @ ${__to:date:seconds}', []),
}  # fmt: skip


@pytest.mark.parametrize(("expr", "variables"), VARIABLES.values(), ids=VARIABLES)
def test_a_variable_may_be_anything_that_fits_its_place(expr: str, variables: list[Json]) -> None:
    assert [what for what in findings(prometheus(expr, *variables)) if "fixed window" not in what] == []


def test_where_too_much_is_a_variable_it_is_said_that_nobody_can_tell() -> None:
    variables = [listed(name, "", "textbox") for name in "abcdefgh"]
    expr = '$a($b by ($c) (x{job="a"}[$d] $e $f)) $g $h'
    assert findings(prometheus(expr, *variables)).popitem()[1] == Severity.WARNING


OWN: dict[str, Any] = {
    "plain": "$datasource",
    "in braces": "${datasource}",
    "object": {"uid": "$datasource"},
    "with a format": {"type": "prometheus", "uid": "${datasource:raw}"},
    "old": "[[datasource]]",
    "another panel": {"type": "datasource", "uid": "-- Dashboard --"},
    "events": {"type": "datasource", "uid": "grafana"},
    "calculation": {"type": "__expr__", "uid": "__expr__"},
    "calculation without uid": {"type": "__expr__"},
    "old calculation": {"type": "__expr__", "uid": "-100"},
}  # fmt: skip


@pytest.mark.parametrize("source", OWN.values(), ids=OWN)
def test_a_datasource_may_be_written_as_grafana_knows_it(source: Any) -> None:
    assert findings(panel(datasource=source)) == {}
