"""What the constraints of a job want of a node, as Nomad's scheduler reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

from obsctl.clients.jobs import groups, tasks
from obsctl.model import Json

Side = TypeVar("Side", str, float)

_TARGET = re.compile(r"\$\{(.+)\}")
_OF_NODE = {
    "node.unique.id": "ID", "node.unique.name": "Name", "node.datacenter": "Datacenter", "node.class": "NodeClass",
    "node.pool": "NodePool",
}  # fmt: skip
_MAPS = {"attr": "Attributes", "meta": "Meta"}
"""These a node's details have, and not its stub in a list."""


def constraints_of(job: Json) -> Iterator[Json]:
    """Those of the job, its groups and its tasks that are about single nodes."""
    for owner in (job, *groups(job), *tasks(job)):
        for constraint in owner.get("Constraints") or []:
            if not str(constraint.get("Operand") or "").startswith("distinct_"):
                yield constraint


def meets(node: Json, constraint: Json) -> bool:
    """Whether the node is taken. What cannot be told here counts as met: a version, a stub without attributes."""
    sides = [str(constraint.get(side) or "") for side in ("LTarget", "RTarget")]
    if not all(_is_known(node, side) for side in sides):
        return True
    left, right = (_value(node, side) for side in sides)
    match constraint.get("Operand") or "=":
        case "is_set":
            return left is not None
        case "is_not_set":
            return left is None
        case "!=" | "not":
            return left != right
        case operand:
            return left is not None and right is not None and _compare(str(operand), left, right)


def _compare(operand: str, left: str, right: str) -> bool:
    match operand:
        case "=" | "==" | "is":
            return left == right
        case "<" | "<=" | ">" | ">=":
            return _in_order(operand, left, right)
        case "regexp":
            return _finds(right, left)
        case "set_contains" | "set_contains_all":
            return _parts(right) <= _parts(left)
        case "set_contains_any":
            return bool(_parts(right) & _parts(left))
    return True


def _in_order(operand: str, left: str, right: str) -> bool:
    try:
        return _ordered(operand, float(left), float(right))
    except ValueError:
        return _ordered(operand, left, right)


def _ordered(operand: str, left: Side, right: Side) -> bool:
    if left == right:
        return "=" in operand
    return left < right if "<" in operand else left > right


def _finds(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # of another dialect
        return True


def _parts(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


def _is_known(node: Json, side: str) -> bool:
    target = _TARGET.fullmatch(side)
    kind = target[1].partition(".")[0] if target else ""
    return kind not in _MAPS or _MAPS[kind] in node


def _value(node: Json, side: str) -> str | None:
    """None when the node has nothing of this name; a text without `${` is itself."""
    target = _TARGET.fullmatch(side)
    if not target:
        return side
    kind, _, name = target[1].partition(".")
    value = (node[_MAPS[kind]] or {}).get(name) if kind in _MAPS else node.get(_OF_NODE.get(target[1], ""))
    return None if value is None else str(value)
