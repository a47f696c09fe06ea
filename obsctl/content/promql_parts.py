"""What stands in parts of a parsed PromQL expression: constants, windows, selectors. Nodes are of promql_parser."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import promql_parser

from obsctl.content import promql
from obsctl.content.promql import metric_of, selectors

ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "^": operator.pow,
}  # fmt: skip


def bare(node: Any) -> Any:
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    return node


def inner(node: Any) -> Any:
    """Without brackets and aggregations over several series: of one service they all say the same."""
    while isinstance(node, promql_parser.ParenExpr | promql_parser.AggregateExpr) and not _counts(node):
        node = node.expr
    return node


def _counts(node: Any) -> bool:
    return isinstance(node, promql_parser.AggregateExpr) and str(node.op) in promql.COUNTS


def asks_up(node: Any) -> bool:
    """`up`, or how many are up."""
    return any(metric_of(selector) == "up" for selector, _ in selectors(node))


def calls(node: Any, names: tuple[str, ...]) -> bool:
    return isinstance(node, promql_parser.Call) and node.func.name in names


def window(node: Any, names: tuple[str, ...]) -> float:
    """Seconds of the window of such a call in it, 0 when there is none or they differ."""
    windows = {call.args[0].range.total_seconds() for call in _all_calls(node, names)}
    return float(windows.pop()) if len(windows) == 1 else 0.0


def has_window(node: Any) -> bool:
    return "[" in promql.STRING.sub('""', text(node))


def _all_calls(node: Any, names: tuple[str, ...]) -> list[Any]:
    if calls(node, names):
        return [node] if isinstance(node.args[0], promql_parser.MatrixSelector) else []
    below = [getattr(node, name) for name in ("lhs", "rhs", "expr") if hasattr(node, name)]
    below += node.args if isinstance(node, promql_parser.Call) else []
    return [call for each in below for call in _all_calls(each, names)]


def constant(node: Any) -> float | None:
    """What it is when it never changes."""
    match bare(node):
        case promql_parser.NumberLiteral() as number:
            return float(number.val)
        case promql_parser.UnaryExpr() as negative:
            positive = constant(negative.expr)
            return None if positive is None else -positive
        case promql_parser.Call() as call if call.func.name in ("vector", "scalar"):
            return constant(call.args[0])
        case promql_parser.BinaryExpr() as both if str(both.op) in ARITHMETIC:
            left, right = constant(both.lhs), constant(both.rhs)
            try:
                return None if left is None or right is None else ARITHMETIC[str(both.op)](left, right)
            except (ArithmeticError, ValueError):
                return None
    return None


def factor(node: Any) -> tuple[float, Any]:
    """100 and x of 100 * x."""
    node = bare(node)
    if isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "*":
        for factor, rest in ((constant(node.lhs), node.rhs), (constant(node.rhs), node.lhs)):
            if factor:
                return factor, rest
    return 1.0, node


def text(node: Any) -> str:
    return str(node.prettify())


def read(node: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text(selector) for selector, _ in selectors(node)))
