"""Experiments of one's own as files: a fault at a service, what must come of it, and what must not."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from obsctl.config import load, problems
from obsctl.config.durations import Duration, Positive
from obsctl.config.located import Located, entries
from obsctl.config.shapes import Clash, LabelName, Misfit, Strict, Text


def _with_name(labels: dict[str, str]) -> dict[str, str]:
    if "alertname" not in labels:
        raise ValueError("needs the label alertname")
    return labels


class Alert(Strict):
    """An alert that must come."""

    labels: dict[LabelName, Text]
    """Those that it has; `*` in a value stands for anything."""
    within: Positive | None = None
    """The time from the fault to the delivery that it may take; default: as long as the forecast says."""

    _named = field_validator("labels")(_with_name)


class ExperimentFile(Strict):
    """What it does not say is as in the library's experiment with this fault: `obsctl drill explain FAULT`."""

    fault: Text
    """One of those that `obsctl drill list` shows."""
    service: Text
    """The service that is drilled."""
    title: Text | None = None
    """What happens, in a line."""
    parameters: dict[Text, Text] = Field(default={})
    """Of the fault, as on the command line."""
    expect: tuple[Alert, ...] | None = None
    """The alerts that must come."""
    forbid: tuple[dict[LabelName, Text], ...] | None = None
    """The alerts that must not come, each by its labels."""
    allow: tuple[dict[LabelName, Text], ...] | None = None
    """The alerts that may come, each by its labels. Any other is COLLATERAL."""
    hold: Duration = 0.0
    """How long the fault stays after the last delivery."""
    deadline: Positive | None = None
    """After so long the warden puts things back anyway."""

    @field_validator("parameters", mode="before")
    @classmethod
    def _as_text(cls, written: object) -> object:
        """Whole numbers need no quotes."""
        if not isinstance(written, dict):
            return written
        return {name: str(value) if type(value) is int else value for name, value in written.items()}

    @model_validator(mode="after")
    def _proves_something(self) -> ExperimentFile:
        if (self.expect, self.forbid) in (((), ()), ((), None)):
            words = "is empty, and so is forbid: the drill would prove nothing"
            raise Clash(Misfit(("expect",), words, ("forbid",)))
        return self


def read(file: Path, cwd: Path) -> tuple[ExperimentFile, Located]:
    """The file, and its values with their places. Raises ConfigError with every problem, each with its line."""
    located = load.document(file, cwd)
    checked = problems.check(entries(located, ExperimentFile), ExperimentFile)
    if isinstance(checked, ExperimentFile):
        return checked, located
    raise load.ConfigError(problems.findings(checked, located), of=f"the experiment {file.name}")
