"""docs/configuration.md has a row for every key, with the default and the words of the schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from obsctl.config import keys
from obsctl.config.components import Component, Replicated
from obsctl.config.durations import format_duration
from obsctl.config.schema import PROFILES, Config
from obsctl.config.telemetry import Sampling
from obsctl.config.timing import Timing
from obsctl.config.written import as_document

DOCS = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
FREE = {"services": "NAME", "alerting.receivers": "[]", "alerting.rules": "ALERT", "servers": "PROGRAM"}


def rows(section: type[BaseModel], above: str = "") -> Iterator[str]:
    """The rows of a section and those below it; components are alike and have one set of rows."""
    for name, field in section.model_fields.items():
        path = f"{above}{field.alias or name}"
        below = section_of(field.annotation)
        if below is None or path in FREE or below is Timing:
            words = " ".join(keys.descriptions(section).get(name, "").split())
            yield f"| `{path}` | {default(path, field.default)} | {words} |"
        if below is Timing or (below and issubclass(below, Component)):
            continue
        if below:
            yield from rows(below, f"{path}{inside(path)}.")


def inside(path: str) -> str:
    free = FREE.get(path, "")
    return free if free == "[]" else f".{free}" if free else ""


def section_of(kind: Any) -> type[BaseModel] | None:
    for choice in (kind, keys.entry(kind), keys.item(kind)):
        found = keys.bare(choice)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def default(path: str, value: object) -> str:
    if isinstance(value, float) and not path.endswith("per_second"):
        return f"`{format_duration(value, days=True)}`"
    if value in (None, (), {}) or not isinstance(value, str | int | float | tuple):
        return ""
    shown = str(value).lower() if isinstance(value, bool) else ", ".join(value) if isinstance(value, tuple) else value
    return f"`{shown}`"


def timing_rows() -> Iterator[str]:
    for name, field in Timing.model_fields.items():
        if name != "profile":
            values = " | ".join(profile[field.alias or name] for profile in PROFILES.values())
            yield f"| `{field.alias or name}` | {values} | {keys.descriptions(Timing)[name]} |"


def component_rows() -> Iterator[str]:
    for section in ("components", "demo"):
        for name, values in as_document(Config())[section].items():
            if isinstance(values, dict):
                size = f"{values['resources']['cpu']} | {values['resources']['memory']}"
                image = f"`{values['image']}` | `{values['command']}`"
                yield f"| `{section}.{name}` | {values['port']} | {image} | {size} |"


@pytest.mark.parametrize("row", [*rows(Config), *timing_rows(), *component_rows()])
def test_the_row_is_there(row: str) -> None:
    assert row in DOCS


COMPONENTS = [*Component.__subclasses__(), *Replicated.__subclasses__()]
OWN_KEYS = sorted({name for kind in COMPONENTS for name in kind.model_fields} - {"storage"})
SAMPLING = [f"sampling.{name}" for name in Sampling.model_fields]


@pytest.mark.parametrize("key", [*OWN_KEYS, *SAMPLING, "storage.kind", "storage.source", "resources.cpu"])
def test_the_keys_of_a_component_are_there(key: str) -> None:
    assert f"`{key}`" in DOCS
