"""The tables of docs/configuration.md: every key of obsctl.yaml, from the schema that editors use too."""

from __future__ import annotations

from collections.abc import Iterator

from generate.tables import table
from obsctl.config.components import Replicated
from obsctl.config.schema import Config
from obsctl.config.timing import PROFILES
from obsctl.config.written import as_document, json_schema
from obsctl.model import Json

SCHEMA = json_schema()
DEFAULTS = as_document(Config())
SHARED = [field.alias or name for name, field in Replicated.model_fields.items()]
"""The keys of every component, and of those that may run several times."""
_ANY = {"services": "NAME", "alerting.rules": "ALERT"}
"""What tables call a key that is the user's own."""


def parts() -> dict[str, str]:
    """Name of the part in the document -> its table."""
    plain = [key for key, node in properties(SCHEMA).items() if not properties(node) or key == "timing"]
    return {
        "keys of the whole": _keys(*[key for key in plain if key not in ("services", "servers")]),
        "keys of timing": table(("Key", *PROFILES, "What it is"), _timing_rows()),
        "keys of nomad and consul": _keys("nomad", "consul"),
        "keys of images": _keys("images"),
        "keys of every component": table(("Key", "What it is"), _shared_rows()),
        "keys of single components": table(("Key", "Default", "What it is"), _own_rows()),
        "defaults of components": table(("Component", "port", "image", "command", "cpu", "memory"), _default_rows()),
        "keys of services": _keys("services"),
        "keys of logs": _keys("logs"),
        "keys of alerting": _keys("alerting"),
        "keys of drills and demo": _keys("drills", "demo"),
        "keys of servers": _keys("servers"),
    }


def resolved(node: Json) -> Json:
    """A part of the schema with what it refers to; of several choices the last, which is the longest form, not null."""
    if "$ref" in node:
        return {**resolved(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]), **node}
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        return {**resolved(choices[-1]), **node}
    return node


def properties(node: Json) -> dict[str, Json]:
    """Key -> its part of the schema."""
    return {key: resolved(below) for key, below in resolved(node).get("properties", {}).items()}


def of_any_key(node: Json) -> Json:
    """What the user's own keys have below them; empty when there are none, or they have plain values."""
    patterns = node.get("patternProperties") or {"": node.get("additionalProperties")}
    [below] = patterns.values()
    return resolved(below) if isinstance(below, dict) and properties(below) else {}


def of_items(node: Json) -> Json:
    """What each item of a list has below it; empty when items are plain values."""
    return resolved(node["items"]) if properties(node.get("items", {})) else {}


def components() -> Iterator[tuple[str, Json]]:
    """Path of a component -> its part of the schema."""
    for section in ("components", "demo"):
        for key, node in properties(SCHEMA["properties"][section]).items():
            if "image" in properties(node):
                yield f"{section}.{key}", node


def shared() -> Iterator[tuple[str, Json]]:
    """The keys that all, or several, components have, each as the first that has it says it."""
    for key in (*SHARED, "storage"):
        yield key, next(properties(node)[key] for _, node in components() if key in properties(node))


def _keys(*keys: str) -> str:
    rows = (row for key in keys for row in _rows(key, properties(SCHEMA)[key]))
    return table(("Key", "Default", "What it is"), rows)


def _rows(path: str, node: Json) -> Iterator[tuple[str, str, str]]:
    """The row of a key, and of those below it; a section that is always there has none of its own."""
    below = {f".{key}": each for key, each in properties(node).items()}
    below |= {f".{_ANY.get(path)}.{key}": each for key, each in properties(of_any_key(node)).items()}
    below |= {f"[].{key}": each for key, each in properties(of_items(node)).items()}
    if path == "timing" or not properties(node) or node.get("default", {}) is None:
        yield f"`{path}`", _default(node), words(node)
    for step, each in below.items() if path != "timing" else ():
        if "image" not in properties(each):
            yield from _rows(f"{path}{step}", each)


def _timing_rows() -> Iterator[tuple[str, ...]]:
    for key, node in properties(SCHEMA["properties"]["timing"]).items():
        if key != "profile":
            yield f"`{key}`", *(profile[key] for profile in PROFILES.values()), words(node)


def _shared_rows() -> Iterator[tuple[str, str]]:
    for key, node in shared():
        below = {f".{name}": each for name, each in properties(node).items()} or {"": node}
        yield from ((f"`{key}{step}`", words(each)) for step, each in below.items())


def _own_rows() -> Iterator[tuple[str, str, str]]:
    for path, node in components():
        for key, each in properties(node).items():
            if key == "storage":
                yield f"`{path}.storage`", "", words(each)
            elif key not in SHARED:
                yield from _rows(f"{path}.{key}", each)


def _default_rows() -> Iterator[tuple[str, ...]]:
    for path, _ in components():
        section, key = path.split(".")
        values = DEFAULTS[section][key]
        sizes = [str(values["resources"][name]) for name in ("cpu", "memory")]
        yield f"`{path}`", str(values["port"]), f"`{values['image']}`", f"`{values['command']}`", *sizes


def words(node: Json) -> str:
    return " ".join(node.get("description", "").split())


def _default(node: Json) -> str:
    value = node.get("default")
    if value in (None, [], {}):
        return ""
    shown = ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else value
    return f"`{shown}`"
