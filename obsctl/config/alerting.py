"""Who is notified of an alert, and what is changed in the shipped rules."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from obsctl.config.dead_man import DeadMansSwitch
from obsctl.config.durations import Duration
from obsctl.config.receivers import Receiver
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Clash, LabelName, Misfit, Name, SeverityName, Strict, Text
from obsctl.config.time_intervals import TimeInterval


class RuleOverride(Strict):
    """Changes one shipped alert without a fork of its file."""

    enabled: bool = True
    """false takes the alert out."""
    pending: Duration | None = Field(default=None, alias="for", examples=["5m"])
    """How long its condition must hold, instead of timing.for."""
    severity: SeverityName | None = Field(default=None, examples=["warning"])
    """Its severity label."""
    labels: dict[LabelName, str] = Field(default={}, examples=[{"team": "platform"}])
    """Labels to add or change."""
    annotations: dict[LabelName, str] = Field(
        default={}, examples=[{"runbook_url": "https://example.org/runbooks/instance-down"}]
    )
    """Annotations to add or change."""


class Alerting(Strict):
    """Who hears of an alert, and what is changed in the rules."""

    receivers: tuple[Receiver, ...] = ()
    """Who is notified; with none, alert-sink alone. Each has one or more channels."""
    time_intervals: dict[Name, tuple[TimeInterval, ...]] = Field(
        default={},
        examples=[
            {
                "office-hours": [
                    {
                        "times": [{"start_time": "09:00", "end_time": "17:00"}],
                        "weekdays": ["monday:friday"],
                        "days_of_month": ["1:-1"],
                        "months": ["january:december"],
                        "years": ["2026:2099"],
                        "location": "Europe/Berlin",
                    }
                ],
                "weekends": [{"weekdays": ["saturday", "sunday"]}],
            }
        ],
    )
    """Times by name, for mute_time_intervals and active_time_intervals of receivers: each a list of times,
    weekdays, days_of_month, months, years and location, as Alertmanager has them."""
    heartbeat: DeadMansSwitch = DeadMansSwitch()
    """Who hears, outside the stack, that no heartbeat arrives any more."""
    copy_to_sink: bool = True
    """Whether alert-sink gets what the receivers get. Without the copy a drill cannot see a delivery."""
    rules: dict[str, RuleOverride] = Field(default={}, examples=[{"InstanceDown": {}}])
    """Changes to shipped alerts, by alert name."""
    rule_files: tuple[Text, ...] = Field(default=(), examples=[["my-rules/*.yml"]])
    """Your own Prometheus rule files: globs, relative to obsctl.yaml."""

    def secrets(self) -> dict[str, SecretRef]:
        """Item of Alertmanager's Nomad Variable (and name of its file) -> reference."""
        entries = (entry for receiver in self.receivers for entry in receiver.entries())
        items = (item for entry in entries for item in entry.secrets().items())
        return dict(sorted([*items, *self.heartbeat.alertmanager_secrets().items()]))

    def intervals(self) -> dict[str, list[dict[str, object]]]:
        """Its time intervals as Alertmanager has them."""
        return {
            name: [each.model_dump(mode="json", exclude_defaults=True) for each in intervals]
            for name, intervals in self.time_intervals.items()
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Alerting:
        misfits = [*self._repeated_names(), *self._unknown_intervals()]
        if misfits:
            raise Clash(*misfits)
        return self

    def _repeated_names(self) -> Iterator[Misfit]:
        first: dict[str, int] = {}
        for number, receiver in enumerate(self.receivers):
            if first.setdefault(receiver.name, number) != number:
                path, other = (("receivers", each, "name") for each in (number, first[receiver.name]))
                yield Misfit(path, f"receivers[{first[receiver.name]}] has this name too", other)

    def _unknown_intervals(self) -> Iterator[Misfit]:
        there = f"there are {', '.join(self.time_intervals)}" if self.time_intervals else "there are none"
        for number, receiver in enumerate(self.receivers):
            for key in ("mute_time_intervals", "active_time_intervals"):
                for place, name in enumerate(getattr(receiver, key)):
                    if name not in self.time_intervals:
                        path = ("receivers", number, key, place)
                        yield Misfit(path, f"{name} is not in alerting.time_intervals; {there}", ("time_intervals",))
