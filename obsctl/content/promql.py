"""Reads PromQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import promql_parser

STRING = re.compile(r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
COUNTS = ("count", "group")
MAX_LENGTH = 10_000
"""Characters; of real ones the longest have 2,500."""
MAX_OPERATIONS = 500
"""The parser's time grows with the cube of the depth (1,000 brackets take 2 s), and far deeper ones crash it."""
_GROUPED = re.compile(r"(?<![\w:.])\d+(?:_\d+)+")
_NEWER = re.compile(
    r"\[[^][]*[-+*/^%(][^][]*\]|\b(?:offset\s*\(|anchored|smoothed|fill|fill_left|fill_right)\b|unknown function"
)
"""Syntax of newer versions of Prometheus, and what the parser says of functions that it does not know."""
_OPERATION = re.compile(r"[(+\-*/^%]|\b(?:and|or|unless)\b")


class Unclear(ValueError):
    """Prometheus alone can tell whether it is right."""


def parse(expression: str) -> promql_parser.Expr:
    """The parsed expression. Raises ValueError, and of these Unclear for what Prometheus may understand."""
    if len(expression) > MAX_LENGTH:
        raise Unclear(f"it has more than {MAX_LENGTH} characters")
    bare = STRING.sub('""', expression)
    if len(_OPERATION.findall(bare)) > MAX_OPERATIONS:
        raise Unclear(f"it has more than {MAX_OPERATIONS} operators and brackets")
    try:
        return promql_parser.parse(_older(expression))
    except ValueError as error:
        if _NEWER.search(bare) or _NEWER.search(str(error)):
            raise Unclear(str(error)) from error
        raise


def _older(expression: str) -> str:
    """The same in words that the parser knows: no backslash has a meaning in backticks, and 1_000 is a number."""
    parts, end = [], 0
    for string in STRING.finditer(expression):
        parts += [_without_groups(expression[end : string.start()]), _quoted(string[0])]
        end = string.end()
    return "".join([*parts, _without_groups(expression[end:])])


def _without_groups(code: str) -> str:
    return _GROUPED.sub(lambda number: number[0].replace("_", ""), code)


def _quoted(string: str) -> str:
    return json.dumps(string[1:-1], ensure_ascii=False) if string.startswith("`") else string


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
