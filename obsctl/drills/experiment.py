"""What a drill does and what it expects: values read from library/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

_LIBRARY = Path(__file__).parent / "library"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One drill: a fault against a service, the alert that must come, and those that may.

    expect, allow: label sets; an alert matches when it has each label with that value, `*` stands for anything.
    """

    name: str
    title: str
    fault: str
    service: str
    expect: Labels
    allow: tuple[Labels, ...]

    def is_expected(self, labels: Labels) -> bool:
        return matches(self.expect, labels)

    def is_allowed(self, labels: Labels) -> bool:
        return self.is_expected(labels) or any(matches(pattern, labels) for pattern in self.allow)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Experiment:
        return Experiment(**{**data, "allow": tuple(data["allow"])})


def load(name: str, service: str) -> Experiment:
    """The library's experiment `name` for a service."""
    document = yaml.safe_load((_LIBRARY / f"{name}.yaml").read_text(encoding="utf-8"))
    return Experiment(
        name=name,
        title=document["title"].format(service=service),
        fault=document["fault"],
        service=service,
        expect=_labels(document["expect"][0], service),
        allow=tuple(_labels(labels, service) for labels in document["allow"]),
    )


def matches(pattern: Labels, labels: Labels) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in pattern.items())


def _labels(pattern: Labels, service: str) -> dict[str, str]:
    return {name: value.format(service=service) for name, value in pattern.items()}
