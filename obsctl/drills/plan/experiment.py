"""What a drill does, what it expects, and how that is said to people: values read from library/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from obsctl.model import Json

_LIBRARY = Path(__file__).parents[1] / "library"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One drill: a fault against a service, the alerts that must come, and those that may.

    title: what happens; question: what a person is asked before it does.
    expect: name of an alert in journal and report -> its labels. allow: label sets. An alert matches when it has each
    label with that value; `*` stands for anything.
    """

    fault: str
    title: str
    question: str
    service: str
    expect: Mapping[str, Labels]
    allow: tuple[Labels, ...]

    def is_allowed(self, labels: Labels) -> bool:
        """Whether such an alert may fire during this drill: it is expected, or is a natural consequence."""
        return any(matches(pattern, labels) for pattern in (*self.expect.values(), *self.allow))

    def words(self, alert: str, stage: str) -> str:
        """The stage of an alert, with the alert's name where there are several; "" is no alert."""
        return f"{alert} {stage}" if alert and len(self.expect) > 1 else stage

    def to_dict(self) -> Json:
        return asdict(self)

    @staticmethod
    def from_dict(data: Json) -> Experiment:
        return Experiment(**{**data, "allow": tuple(data["allow"])})


def load(fault: str, service: str) -> Experiment:
    """The library's experiment with this fault, for a service."""
    document = _document(fault)
    expect = [_labels(pattern, service) for pattern in document["expect"]]
    return Experiment(
        fault=fault,
        title=document["title"].format(service=service),
        question=document["question"].format(service=service),
        service=service,
        expect={" ".join(labels.values()): labels for labels in expect},
        allow=tuple(_labels(pattern, service) for pattern in document["allow"]),
    )


def help_text(fault: str) -> str:
    """What the command of this fault does, for its --help."""
    return str(_document(fault)["help"])


def matches(pattern: Labels, labels: Labels) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in pattern.items())


def _document(fault: str) -> Json:
    document: Json = yaml.safe_load((_LIBRARY / f"{fault}.yaml").read_text(encoding="utf-8"))
    return document


def _labels(pattern: Labels, service: str) -> dict[str, str]:
    return {name: value.format(service=service) for name, value in pattern.items()}
