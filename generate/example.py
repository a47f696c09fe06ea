"""The commented obsctl.yaml that `obsctl init` writes: every key with its words, and its default or an example."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from generate.reference import DEFAULTS, SCHEMA, SHARED, of_any_key, of_items, properties, shared, words
from obsctl.model import Json

WIDTH = 120
HEADER = """\
# yaml-language-server: $schema=obsctl.schema.json
# obsctl.yaml: the stack as it should stand. `obsctl config schema > obsctl.schema.json` makes the line above work.
#
# Lines that begin with "#key" show what else can be said, most of them with the default: take the # away to change it.
# Durations are written 500ms, 30s, 2m or 1h30m.  Relative paths start at the folder of this file.
# A secret is never written here, only where it is: env:NAME, file:/absolute/path or nomad-var:path#key.
# `obsctl --env prod ...` lays obsctl.prod.yaml over this file: mappings are merged, lists and single values replaced.
# OBSCTL_NOMAD__ADDRESS=... sets nomad.address for one command; every key has such a variable.
"""
STATED = {"stack", "driver", "timing", "timing.profile", "nomad", "nomad.address", "consul", "consul.address"}
"""What the example says itself; all other keys are commented out."""


def text() -> str:
    sections = ("\n".join(_key(key, node, key, 0)) for key, node in properties(SCHEMA).items())
    return "\n".join([HEADER, *(f"{section}\n" for section in sections)]).rstrip("\n") + "\n"


def _key(key: str, node: Json, path: str, indent: int) -> Iterator[str]:
    """The lines of a key: its words, then its value or the keys below it."""
    yield from _comment(words(node), indent)
    if "image" in properties(node):
        yield from _component(key, node, path, indent)
        return
    if path == "components":
        yield from _shared_keys()
    below = [*_below(node, path, indent + 2)]
    yield _line(f"{key}:" if below else f"{key}: {_value(node, path)}", path, indent)
    yield from below


def _below(node: Json, path: str, indent: int) -> Iterator[str]:
    for key, each in properties(node).items():
        yield from _key(key, each, f"{path}.{key}", indent)
    if of_any_key(node):
        name = next(iter(_example(node, path)))
        yield _line(f"{name}:", f"{path}.{name}", indent)
        yield from _below(of_any_key(node), f"{path}.{name}", indent + 2)
    if of_items(node):
        item = [*_below(of_items(node), f"{path}[]", indent + 2)]
        first = next(number for number, line in enumerate(item) if not line.lstrip().startswith("# "))
        yield from (f"{' ' * indent}{line.lstrip()}" for line in item[:first])
        yield _line(f"- {item[first].lstrip(' #')}", f"{path}[]", indent)
        yield from item[first + 1 :]


def _component(key: str, node: Json, path: str, indent: int) -> Iterator[str]:
    """What all components have stands above them; so only its own keys have words here."""
    yield _line(f"{key}:", path, indent)
    section, name = path.split(".")
    values = DEFAULTS[section][name]
    common = dict(shared())
    for own, each in properties(node).items():
        if own == "storage" or own not in SHARED or words(each) != words(common[own]):
            yield from _comment(words(each), indent + 2)
        if own == "storage":
            yield _line(f"storage: {{kind: host, source: obs-{name}}}", f"{path}.storage", indent + 2)
        elif own == "resources":
            yield _line(f"resources: {_flow(values[own])}", f"{path}.{own}", indent + 2)
        elif own == "placement":
            yield _line("placement: {node_pool: observability}", f"{path}.{own}", indent + 2)
        elif properties(each):
            yield _line(f"{own}:", f"{path}.{own}", indent + 2)
            yield from _below(each, f"{path}.{own}", indent + 4)
        else:
            yield _line(f"{own}: {_value(each, f'{path}.{own}')}", f"{path}.{own}", indent + 2)


def _shared_keys() -> Iterator[str]:
    yield from _comment("Every one has these keys, and most have more:", 0)
    for key, node in shared():
        for name, each in properties(node).items() or [("", node)]:
            lines = _wrapped(f"{key}{name and '.'}{name}: {words(each)}", WIDTH - 6)
            yield from (f"#   {line}" if number == 0 else f"#     {line}" for number, line in enumerate(lines))


def _comment(words: str, indent: int) -> Iterator[str]:
    yield from (f"{' ' * indent}# {line}" for line in _wrapped(words, WIDTH - 2 - indent))


def _wrapped(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


def _line(text: str, path: str, indent: int) -> str:
    return f"{' ' * indent}{'' if path in STATED else '#'}{text}"


def _value(node: Json, path: str) -> str:
    default = node.get("default")
    if path.startswith("timing."):
        default = DEFAULTS["timing"][path.removeprefix("timing.")]
    return _flow(_example(node, path) if default in (None, [], {}) else default)


def _example(node: Json, path: str) -> Any:
    if not node.get("examples"):
        raise ValueError(f"{path} has no default: give its field in obsctl/config an example, Field(examples=[...])")
    return node["examples"][0]


def _flow(value: object) -> str:
    """YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()
