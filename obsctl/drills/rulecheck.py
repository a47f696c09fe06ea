"""Can a rule fire at all for a fault? Read from its expression. Pure."""

from __future__ import annotations

from typing import Any

import promql_parser

_SEES_ABSENCE = {"absent", "absent_over_time"}
_OUTSIDE_THE_TARGET = ("nomad_", "consul_")


def sees_vanished_target(expression: str) -> bool:
    """Whether the rule can be true when the target has left service discovery.

    It can when it asks for absence, has a constant to fall back on (`or vector(0)`), or reads what Nomad or
    Consul themselves report. `up == 0` cannot: there is no `up` any more.
    """
    return _sees(promql_parser.parse(expression))


def _sees(node: Any) -> bool:
    if isinstance(node, promql_parser.Call):
        return node.func.name in _SEES_ABSENCE | {"vector"} or any(_sees(arg) for arg in node.args)
    if isinstance(node, promql_parser.BinaryExpr):
        return _sees(node.lhs) or _sees(node.rhs)
    if isinstance(node, promql_parser.VectorSelector):
        return str(node.name or "").startswith(_OUTSIDE_THE_TARGET)
    if isinstance(node, promql_parser.MatrixSelector):
        return _sees(node.vector_selector)
    inner = getattr(node, "expr", None)
    return inner is not None and _sees(inner)
