"""What a rule compares with its threshold, read from its expression. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

from obsctl.content import promql
from obsctl.content import promql_parts as parts
from obsctl.content.promql import metric_of

_RATES = ("rate", "increase", "irate")
_COUNTS = ("increase", "changes", "resets", "count_over_time", "delta")
_ONE_IS_ENOUGH = {"max_over_time": True, "min_over_time": False}
"""Of a window, for a rule that fires above its threshold, or below."""
_UNKNOWN = "what it compares with its threshold is of no known kind"
_ABSENT = ("absent", "absent_over_time")
_COMPARISONS = {">": True, ">=": True, "<": False, "<=": False, "==": None, "!=": None}
_DEPTH = 5
"""How many recorded series a rule may stand on, one on the other."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a target is up, or a series there. read: the selectors, as PromQL."""

    read: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge. rises: whether it fires above the threshold. window: seconds, 0 for the newest sample alone; needs_all:
    all samples of it must be beyond the threshold, else one is enough."""

    read: tuple[str, ...]
    threshold: float
    rises: bool
    window: float = 0.0
    needs_all: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole` over a window, both PromQL. rises: a share of what is bad, else of what is good."""

    read: tuple[str, ...]
    part: str
    whole: str
    window: float
    threshold: float
    rises: bool


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile over a window, above its threshold. buckets: the rates of the buckets, as PromQL."""

    read: tuple[str, ...]
    buckets: str
    quantile: float
    window: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Count:
    """How many events a window has, above its threshold. is_extrapolated: as `increase` does it."""

    read: tuple[str, ...]
    window: float
    threshold: float
    is_extrapolated: bool


@dataclass(frozen=True, slots=True)
class Either:
    """Several conditions: `and` needs all of them, `or` one."""

    shapes: tuple[Shape, ...]
    all_of_them: bool

    @property
    def read(self) -> tuple[str, ...]:
        return tuple(selector for shape in self.shapes for selector in shape.read)


@dataclass(frozen=True, slots=True)
class Unclear:
    """There is no forecast for it, and why."""

    why: str
    read: tuple[str, ...] = ()


Shape = Presence | Level | Share | Quantile | Count | Either | Unclear


@dataclass(frozen=True, slots=True)
class Reading:
    """The shape of a rule, and the recorded series on the way to it, the nearest to the source first."""

    shape: Shape
    recorded: tuple[str, ...] = ()


def of(expression: str, recordings: Mapping[str, str]) -> Reading:
    """recordings: recorded series -> expression."""
    try:
        reader = _Reader(recordings)
        return Reading(reader.condition(promql.parse(expression)), tuple(reversed(reader.recorded)))
    except ValueError:
        return Reading(Unclear("its expression is of a newer Prometheus than obsctl knows"))


class _Reader:
    """recorded: the recorded series that were met, in order."""

    def __init__(self, recordings: Mapping[str, str]) -> None:
        self._recordings = recordings
        self.recorded: list[str] = []

    def condition(self, node: Any) -> Shape:
        """What makes the expression have a result."""
        node = parts.bare(node)
        if isinstance(node, promql_parser.BinaryExpr):
            return self._operation(node)
        if parts.calls(node, _ABSENT):
            return Presence(parts.read(node))
        if (recorded := self._recorded(node)) is not None:
            return self.condition(recorded)
        if isinstance(node, promql_parser.AggregateExpr):
            return self.condition(node.expr)
        return Unclear("it compares nothing with a threshold", parts.read(node))

    def _operation(self, node: Any) -> Shape:
        match str(node.op):
            case "unless":
                return self.condition(node.lhs)
            case "or" | "and" as word:
                shapes = [self.condition(side) for side in (node.lhs, node.rhs)]
                clear = [each for each in shapes if not isinstance(each, Unclear)] if word == "and" else shapes
                return Either(tuple(clear), word == "and") if len(clear) > 1 else (clear or shapes)[0]
            case word if word in _COMPARISONS:
                return self._comparison(node, word)
        return Unclear("it compares nothing with a threshold", parts.read(node))

    def _comparison(self, node: Any, word: str) -> Shape:
        left, right = parts.constant(node.lhs), parts.constant(node.rhs)
        if (left is None) == (right is None):
            return Unclear("it compares two things that both change", parts.read(node))
        value, threshold = (node.lhs, right) if left is None else (node.rhs, left)
        rises = _COMPARISONS[word]
        if left is not None and rises is not None:
            rises = not rises
        return self._value(value, threshold if threshold is not None else math.nan, rises)

    def _value(self, node: Any, threshold: float, rises: bool | None) -> Shape:
        """The shape of a value that is compared. rises: None for `==` and `!=`."""
        node = parts.inner(node)
        if (recorded := self._recorded(node)) is not None:
            return self._value(recorded, threshold, rises)
        if parts.asks_up(node):
            return Presence(parts.read(node))
        if isinstance(node, promql_parser.BinaryExpr):
            return self._compound(node, threshold, rises)
        if isinstance(node, promql_parser.VectorSelector):
            return Level(parts.read(node), threshold, threshold > 0 if rises is None else rises)
        return _of_function(node, threshold, rises)

    def _compound(self, node: Any, threshold: float, rises: bool | None) -> Shape:
        """A value times or plus a constant, the ratio of two rates, or one of several values."""
        word, left, right = str(node.op), parts.constant(node.lhs), parts.constant(node.rhs)
        if left is not None or right is not None:
            return self._scaled(node, threshold, rises)
        if word == "or":  # one of them is a fallback, as vector(0), or another name of the same
            shapes = [self._value(side, threshold, rises) for side in (node.lhs, node.rhs)]
            return next((each for each in shapes if not isinstance(each, Unclear)), shapes[0])
        windows = [parts.window(side, _RATES) for side in (node.lhs, node.rhs)]
        if word == "/" and windows[0] and windows[0] == windows[1] and rises is not None:
            factor, part = parts.factor(node.lhs)
            return Share(
                parts.read(node), parts.text(part), parts.text(node.rhs), windows[0], threshold / factor, rises
            )
        if word in "/-+" and rises is not None and not any(parts.has_window(side) for side in (node.lhs, node.rhs)):
            return Level(parts.read(node), threshold, rises)
        return Unclear(_UNKNOWN, parts.read(node))

    def _scaled(self, node: Any, threshold: float, rises: bool | None) -> Shape:
        """100 * x > 5 is x > 0.05, and 1 - x > 0.05 is x < 0.95."""
        word, left, right = str(node.op), parts.constant(node.lhs), parts.constant(node.rhs)
        value, constant = (node.rhs, left) if left is not None else (node.lhs, right)
        at = [parts.ARITHMETIC[word](*((constant, x) if left is not None else (x, constant))) for x in (1.0, 2.0)]
        slope = at[1] - at[0]
        if word not in "+-*/" or (word == "/" and left is not None) or not slope:
            return Unclear(_UNKNOWN, parts.read(node))
        turned = (not rises if slope < 0 else rises) if rises is not None else None
        return self._value(value, 1.0 + (threshold - at[0]) / slope, turned)

    def _recorded(self, node: Any) -> Any:
        if not isinstance(node, promql_parser.VectorSelector) or metric_of(node) not in self._recordings:
            return None
        if len(self.recorded) >= _DEPTH:
            return None
        self.recorded.append(metric_of(node))
        return promql.parse(self._recordings[metric_of(node)])


def _of_function(node: Any, threshold: float, rises: bool | None) -> Shape:
    """What a function makes of a window."""
    if rises and parts.calls(node, ("histogram_quantile",)):
        quantile, window = parts.constant(node.args[0]), parts.window(node.args[1], _RATES)
        if quantile is not None and window:
            return Quantile(parts.read(node), parts.text(node.args[1]), quantile, window, threshold)
    if rises and parts.calls(node, _COUNTS) and (window := parts.window(node, _COUNTS)):
        return Count(parts.read(node), window, threshold, node.func.name in ("increase", "delta"))
    if rises is not None and (window := parts.window(node, tuple(_ONE_IS_ENOUGH))):
        return Level(parts.read(node), threshold, rises, window, needs_all=_ONE_IS_ENOUGH[node.func.name] != rises)
    return Unclear(_UNKNOWN, parts.read(node))
