"""What a drill does, what it expects, and how that is said to people: values read from library/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from obsctl.model import Json

_LIBRARY = Path(__file__).parent / "library"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One drill: a fault against a service, the alert that must come, and those that may.

    title: what happens; question: what a person is asked before it does.
    expect, allow: label sets; an alert matches when it has each label with that value, `*` stands for anything.
    """

    fault: str
    title: str
    question: str
    service: str
    expect: Labels
    allow: tuple[Labels, ...]

    def is_expected(self, labels: Labels) -> bool:
        return matches(self.expect, labels)

    def is_allowed(self, labels: Labels) -> bool:
        return self.is_expected(labels) or any(matches(pattern, labels) for pattern in self.allow)

    def to_dict(self) -> Json:
        return asdict(self)

    @staticmethod
    def from_dict(data: Json) -> Experiment:
        return Experiment(**{**data, "allow": tuple(data["allow"])})


def load(fault: str, service: str) -> Experiment:
    """The library's experiment with this fault, for a service."""
    document = _document(fault)
    return Experiment(
        fault=fault,
        title=document["title"].format(service=service),
        question=document["question"].format(service=service),
        service=service,
        expect=_labels(document["expect"][0], service),
        allow=tuple(_labels(labels, service) for labels in document["allow"]),
    )


def help_text(fault: str) -> str:
    """What the command of this fault does, for its --help."""
    return str(_document(fault)["help"])


def matches(pattern: Labels, labels: Labels) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in pattern.items())


def _labels(pattern: Labels, service: str) -> dict[str, str]:
    return {name: value.format(service=service) for name, value in pattern.items()}


def _document(fault: str) -> Json:
    document: Json = yaml.safe_load((_LIBRARY / f"{fault}.yaml").read_text(encoding="utf-8"))
    return document
