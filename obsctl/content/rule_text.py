"""Rule files as Prometheus reads them: every value is text, and is written as it stood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from obsctl.config.growth import refuse_overgrown
from obsctl.model import is_text

MOST_VALUES = 1_000_000
"""Of a rule file; a program writes 20,000 alerts."""
_TEXT, _NOTHING, _MERGE, _MAP, _LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge", "map", "seq"))
_RESOLVERS = {
    first: ours
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (ours := [(tag, pattern) for tag, pattern in resolvers if tag in (_NOTHING, _MERGE)])
}


class _Loader(yaml.SafeLoader):
    """YAML without types: `off`, `22:30`, `010` and `1.50` are what they look like."""

    yaml_implicit_resolvers = _RESOLVERS

    def compose_scalar_node(self, anchor: dict[object, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if not is_text(node.value):
            raise yaml.MarkedYAMLError(problem="an escape that is half a character", problem_mark=node.start_mark)
        return node


class _Dumper(yaml.SafeDumper):
    """Puts nothing in quotes that stood without, and has no types either."""

    yaml_implicit_resolvers = _RESOLVERS


def compose(text: str) -> tuple[yaml.Node | None, bool]:
    """The first document, which is all that Prometheus reads, and whether there are more; None for an empty one.

    Raises yaml.YAMLError, RecursionError when it is too deep, and ValueError or OverflowError for an escape that is no
    character.
    """
    loader = _Loader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        more = node is not None and loader.check_node()
    finally:
        loader.dispose()
    refuse_overgrown(node, MOST_VALUES)
    return node, more


def write(node: yaml.Node) -> str:
    """The node as the one item of a YAML list."""
    several = yaml.SequenceNode(_LIST, [node], flow_style=False)
    return str(yaml.serialize(several, Dumper=_Dumper, allow_unicode=True, width=float("inf")))


def text(node: yaml.Node | None) -> str | None:
    """The text of a single value; "" for nothing or null, None for a list or a mapping."""
    if node is None or node.tag == _NOTHING:
        return ""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def items(node: yaml.Node | None) -> list[yaml.Node] | None:
    """The items of a list; [] for nothing or null, None for anything else."""
    if text(node) == "":
        return []
    return list(node.value) if isinstance(node, yaml.SequenceNode) else None


def entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """What a mapping has, what is merged into it (`<<`) included; {} for anything else."""
    values: dict[str, yaml.Node] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag == _MERGE:
            several = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for merged in reversed(several):
                values = {**values, **entries(merged)}
    own = node.value if isinstance(node, yaml.MappingNode) else ()
    return {**values, **{str(key.value): value for key, value in own if key.tag != _MERGE}}


def texts(node: yaml.Node | None) -> dict[str, str]:
    """A mapping of texts, as labels and annotations are, without what is empty. Raises TypeError for anything else."""
    if not isinstance(node, yaml.MappingNode) and text(node) != "":
        raise TypeError("it is not a mapping")
    return {name: value for name, value in _each(entries(node)) if value}


def _each(values: Mapping[str, yaml.Node]) -> Iterator[tuple[str, str]]:
    for name, node in values.items():
        value = text(node)
        if value is None:
            raise TypeError(f"{name} is not a text")
        yield name, value


def changed(node: yaml.Node | None, changes: Mapping[str, str | Mapping[str, str] | yaml.Node]) -> yaml.MappingNode:
    """The mapping with these values; a mapping among them is laid over the one that is there."""
    values = entries(node)
    for key, new in changes.items():
        values[key] = _value(new, values.get(key))
    style = node.flow_style if isinstance(node, yaml.MappingNode) else False
    return yaml.MappingNode(_MAP, [(_value(key), value) for key, value in values.items()], flow_style=style)


def listed(nodes: list[yaml.Node]) -> yaml.SequenceNode:
    return yaml.SequenceNode(_LIST, nodes, flow_style=False)


def _value(new: str | Mapping[str, str] | yaml.Node, old: yaml.Node | None = None) -> yaml.Node:
    """A text keeps the style of the one it replaces."""
    if isinstance(new, yaml.Node):
        return new
    if isinstance(new, str):
        style = old.style if isinstance(old, yaml.ScalarNode) and old.tag != _NOTHING else None
        return yaml.ScalarNode(_TEXT, new, style=style)
    return changed(old, new)
