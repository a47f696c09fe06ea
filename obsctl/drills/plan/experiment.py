"""What a drill does, what it expects, and how that is said to people: values read from library/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml

from obsctl.config import experiments
from obsctl.config.experiments import ExperimentFile
from obsctl.config.located import nearest
from obsctl.drills import faults
from obsctl.drills.faults import Value
from obsctl.drills.plan import parameters
from obsctl.drills.plan.parameters import Parameter
from obsctl.errors import ObsctlError
from obsctl.model import Json

_LIBRARY = Path(__file__).parents[1] / "library"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One drill: a fault against a service, the alerts that must come, those that must not, and those that may.

    title: what happens; question: what a person is asked before it does. parameters: of the fault.
    expect: name of an alert in journal and report -> its labels. forbid: the same of those that the fault must not
    bring, though they watch the target: the drill lasts until each would have been delivered. within: name -> seconds
    from the fault to the delivery that an expected alert may take, beside its forecast. allow: label sets. An alert
    matches when it has each label with that value; `*` stands for anything.
    """

    fault: str
    title: str
    question: str
    service: str
    expect: Mapping[str, Labels]
    allow: tuple[Labels, ...]
    forbid: Mapping[str, Labels] = field(default_factory=dict)
    within: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def watched(self) -> dict[str, Labels]:
        """The alerts that need a rule and a forecast."""
        return {**self.expect, **self.forbid}

    def is_allowed(self, labels: Labels) -> bool:
        """Whether such an alert may fire during this drill: it is expected, or is a natural consequence."""
        may = any(matches(pattern, labels) for pattern in (*self.expect.values(), *self.allow))
        return may and not any(matches(pattern, labels) for pattern in self.forbid.values())

    def concerns(self, labels: Labels) -> bool:
        """Whether the alert has to be quiet before the drill begins."""
        patterns = (*self.watched.values(), *self.allow, {"service": self.service})
        return any(matches(pattern, labels) for pattern in patterns)

    def words(self, alert: str, stage: str) -> str:
        """The stage of an alert, with the alert's name where there are several; "" is no alert."""
        return f"{alert} {stage}" if alert and len(self.watched) > 1 else stage

    def to_dict(self) -> Json:
        return asdict(self)

    @staticmethod
    def from_dict(data: Json) -> Experiment:
        return Experiment(**{**data, "allow": tuple(data["allow"])})


def load(fault: str, service: str, written: Mapping[str, str] | None = None) -> Experiment:
    """The library's experiment with this fault, for a service.

    written: parameters of the fault, as a person writes them. Raises ObsctlError when one of them is not right.
    """
    return replace(
        sample(fault, service), parameters=parameters.values(parameters_of(fault), written or {}, fault=fault)
    )


def sample(fault: str, service: str = "SERVICE") -> Experiment:
    """The library's experiment, without a value for its parameters. Raises ObsctlError when there is no such fault."""
    if fault not in faults.NAMES:
        raise ObsctlError(f"there is no fault {fault!r}", hint=f"there are {', '.join(faults.NAMES)}")
    document = _document(fault)
    return Experiment(
        fault=fault,
        title=document["title"].format(service=service),
        question=document["question"].format(service=service),
        service=service,
        expect=_named(document.get("expect"), service),
        allow=tuple(_labels(pattern, service) for pattern in document.get("allow") or ()),
        forbid=_named(document.get("forbid"), service),
    )


def from_file(file: Path, cwd: Path) -> tuple[Experiment, ExperimentFile]:
    """An experiment of one's own. With `expect` or `forbid` of the file, neither of the library's counts.

    Raises ObsctlError with what is wrong, and in which line.
    """
    written, located = experiments.read(file, cwd)
    try:
        base = load(written.fault, written.service, written.parameters)
    except ObsctlError as error:
        key = ("parameters" if written.fault in faults.NAMES else "fault",)
        raise ObsctlError(f"{nearest(located, key).of(key)}: {error.message}", hint=error.hint) from None
    if written.title is not None:
        base = replace(base, title=written.title)
    if written.allow is not None:
        base = replace(base, allow=written.allow)
    if written.expect is None and written.forbid is None:
        return base, written
    expect = {name_of(alert.labels): alert for alert in written.expect or ()}
    return replace(
        base,
        expect={name: alert.labels for name, alert in expect.items()},
        within={name: alert.within for name, alert in expect.items() if alert.within is not None},
        forbid={name_of(labels): labels for labels in written.forbid or ()},
    ), written


def help_text(fault: str) -> str:
    """What the command of this fault does, for its --help."""
    return str(_document(fault)["help"])


def parameters_of(fault: str) -> dict[str, Parameter]:
    """By their names."""
    document: Json = _document(fault).get("parameters") or {}
    return {name: Parameter.from_dict(name, data) for name, data in document.items()}


def name_of(labels: Labels) -> str:
    """Of an alert in journal and report: the values of its labels."""
    return " ".join(labels.values())


def matches(pattern: Labels, labels: Labels) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in pattern.items())


@cache
def _document(fault: str) -> Json:
    document: Json = yaml.safe_load((_LIBRARY / f"{fault}.yaml").read_text(encoding="utf-8"))
    return document


def _named(patterns: list[Labels] | None, service: str) -> dict[str, Labels]:
    alerts = [_labels(pattern, service) for pattern in patterns or ()]
    return {name_of(labels): labels for labels in alerts}


def _labels(pattern: Labels, service: str) -> dict[str, str]:
    return {name: value.format(service=service) for name, value in pattern.items()}
