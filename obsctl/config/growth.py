"""How much a YAML document stands for: by its aliases ten lines may mean a million values, or one that contains itself.

Whoever reads nodes looks here first, because all that comes after walks through every value.
"""

from __future__ import annotations

import yaml

MOST_VALUES = 100_000
DEEPEST = 100


class Overgrown(yaml.MarkedYAMLError):
    """A document that stands for too much. problem: in plain words, to stand behind the place."""


def refuse_overgrown(document: yaml.Node | None, most: int = MOST_VALUES) -> None:
    """Raises Overgrown for more than so many values, each alias written out, or more than DEEPEST levels."""
    if document is not None:
        _measure(document, {}, DEEPEST, most)


def _measure(node: yaml.Node, known: dict[int, int], levels: int, most: int) -> int:
    """How many values the node stands for. known: those of nodes that were measured; 0 while one is."""
    below = _below(node)
    if not below:
        return 1
    if known.get(id(node)) == 0:
        raise Overgrown(problem="contains itself", problem_mark=node.start_mark)
    if levels == 0:
        raise Overgrown(problem=f"is nested more than {DEEPEST} levels deep", problem_mark=node.start_mark)
    if id(node) not in known:
        known[id(node)] = 0
        values = 1
        for child in below:
            values += _measure(child, known, levels - 1, most)
            if values > most:
                problem = f"stands for more than {most:,} values"
                raise Overgrown(problem=problem, problem_mark=node.start_mark)
        known[id(node)] = values
    return known[id(node)]


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
