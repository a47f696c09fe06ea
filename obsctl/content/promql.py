"""What a PromQL expression reads."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser


def metric_of(selector: promql_parser.VectorSelector) -> str:
    """Its name, or the regular expression for it."""
    named = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"]
    return str(selector.name or next(iter(named), "something"))


def selectors(node: object, function: str = "") -> Iterator[tuple[promql_parser.VectorSelector, str]]:
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
