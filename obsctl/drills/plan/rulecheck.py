"""Can a rule fire for a fault, and when? Read from its expression. Pure."""

from __future__ import annotations

from typing import Any

import promql_parser

from obsctl.content import promql
from obsctl.content.promql import metric_of, selectors
from obsctl.stack.routing import fits

_SEE_ABSENCE = ("absent", "absent_over_time")
_OUTSIDE_THE_TARGET = ("nomad_", "consul_")


def sees_vanished_target(expression: str) -> bool:
    """Whether the rule can be true when the target has left service discovery.

    It can when it asks for absence, has a constant to fall back on (`or vector(0)`), or reads what Nomad or Consul
    report. `up == 0` cannot, because there is no `up` any more. True for what only a newer Prometheus understands.
    """
    try:
        return _has_result(promql.parse(expression))
    except ValueError:
        return True


def reads(expression: str, service: str) -> bool:
    """Whether the rule reads series of the service's own scrapes; what others say of it comes at moments of their own.

    True for what only a newer Prometheus understands.
    """
    try:
        parsed = promql.parse(expression)
    except ValueError:
        return True
    return any(_selects(selector, service) for selector, _ in selectors(parsed))


def _selects(selector: promql_parser.VectorSelector, service: str) -> bool:
    jobs = [matcher for matcher in selector.matchers.matchers if matcher.name == "job"]
    if not jobs and metric_of(selector).startswith(_OUTSIDE_THE_TARGET):
        return False
    return all(_fits(matcher, service) for matcher in jobs)


def _fits(matcher: promql_parser.Matcher, service: str) -> bool:
    kind = promql_parser.MatchOp
    is_regex, is_equal = matcher.op in (kind.Re, kind.NotRe), matcher.op in (kind.Equal, kind.Re)
    return fits(matcher.value, service, is_regex=is_regex, is_equal=is_equal)


def _has_result(node: Any) -> bool:
    if isinstance(node, promql_parser.BinaryExpr):
        return _operation_has_result(node)
    if isinstance(node, promql_parser.Call):
        return node.func.name in _SEE_ABSENCE or all(_has_result(argument) for argument in node.args)
    if isinstance(node, promql_parser.VectorSelector):
        return str(node.name or "").startswith(_OUTSIDE_THE_TARGET)
    if isinstance(node, promql_parser.MatrixSelector):
        return _has_result(node.vector_selector)
    inner = getattr(node, "expr", None)  # parentheses, aggregations, subqueries; what is left are literals
    return inner is None or _has_result(inner)


def _operation_has_result(node: Any) -> bool:
    """`a or b` needs one side, `a unless b` the left one, everything else both."""
    left, right = _has_result(node.lhs), _has_result(node.rhs)
    match str(node.op):
        case "or":
            return left or right
        case "unless":
            return left
    return left and right
