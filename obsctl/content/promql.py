"""Reads PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser

STRING = re.compile(r"""\"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
COUNTS = ("count", "group")
MAX_OPERATIONS = 500
"""The parser's time grows with the cube of the depth (1,000 brackets take 2 s), and far deeper ones crash it."""
_OPERATION = re.compile(r"[(+\-*/^%]|\b(?:and|or|unless)\b")


def parse(expression: str) -> promql_parser.Expr:
    """The parsed expression. Raises ValueError, also for an expression with more than MAX_OPERATIONS."""
    if len(_OPERATION.findall(STRING.sub('""', expression))) > MAX_OPERATIONS:
        raise ValueError(f"it has more than {MAX_OPERATIONS} operators and brackets")
    return promql_parser.parse(expression)


def metric_of(selector: promql_parser.VectorSelector) -> str:
    """Its name, or the regular expression for it."""
    named = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"]
    return str(selector.name or next(iter(named), "something"))


def selectors(node: object, function: str = "") -> Iterator[tuple[promql_parser.VectorSelector, str]]:
    """Every selector of an expression, and the innermost function around it, or aggregation that looks at no value."""
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
        case promql_parser.AggregateExpr():
            aggregation = str(node.op)
            yield from selectors(node.expr, aggregation if aggregation in COUNTS else function)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from selectors(node.expr, function)
