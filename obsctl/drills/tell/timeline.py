"""The drawing of a drill's stages: what was forecast and what was measured, all on one axis of time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.plan.forecast import Band, Forecast
from obsctl.drills.tell.axis import Axis
from obsctl.drills.tell.journal import Record
from obsctl.drills.tell.verdict import Stage, Verdict
from obsctl.model import Json

NOT_REACHED = "not reached"
STAYS_AWAY = "stays away"


@dataclass(frozen=True, slots=True)
class Fault:
    """When the fault was there, in Unix seconds. requested: when it was asked for; end: the last record, while nobody
    has put it back."""

    requested: float
    effect: float
    end: float
    is_over: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One stage of one alert. band, mean, mark: percent on the axis; band is (left, width), mark None when it was not
    reached. state: "ok", "outside" or "missed"; note: what is said of it; source: which program told the time."""

    alert: str
    stage: str
    band: tuple[float, float]
    mean: float
    mark: float | None
    state: str
    seconds: float | None
    forecast: Band
    at: float | None
    source: str
    note: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether it was waited for in vain, or came though it must not; others were not waited for any more."""
        return self.state == "missed" and self.note != NOT_REACHED

    @property
    def word(self) -> str:
        """What came of it, where there is no time."""
        if self.stage == STAYS_AWAY and self.note != NOT_REACHED:
            return "fired" if self.is_missed else "quiet"
        return "missed" if self.is_missed else "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Reached:
    """How many alerts, of how many, reached a stage, and the seconds of the slowest; None when none did."""

    count: int
    of: int
    slowest: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """fault: (left, width) in percent. events: (percent, words) of what obsctl did."""

    axis: Axis
    fault: tuple[float, float]
    rows: tuple[Row, ...]
    events: tuple[tuple[float, str], ...] = field(default=())

    @property
    def by_alert(self) -> dict[str, list[Row]]:
        return {row.alert: [other for other in self.rows if other.alert == row.alert] for row in self.rows}

    def reached(self, stage: str) -> Reached:
        rows = [row for row in self.rows if row.stage == stage]
        seconds = [row.seconds for row in rows if row.seconds is not None]
        return Reached(len(seconds), len(rows), max(seconds, default=None))


def fault_of(records: Sequence[Record]) -> Fault | None:
    """None when no effect of it was seen."""
    last = {record.kind: record for record in records}
    injected = last.get("injected")
    if injected is None:
        return None
    reverted = last.get("reverted")
    end = float(reverted.data["back_at"]) if reverted else records[-1].at
    requested, effect = float(injected.data["requested_at"]), float(injected.data["effect_at"])
    return Fault(requested, effect, max(end, effect), reverted is not None)


def timeline(records: Sequence[Record], verdict: Verdict, moments: Sequence[float] = ()) -> Timeline | None:
    """None when there was no fault. moments: Unix seconds that have to lie on the axis too."""
    fault = fault_of(records)
    if fault is None:
        return None
    forecasts = {name: Forecast.from_dict(data) for name, data in records[0].data["forecasts"].items()}
    experiment = Experiment.from_dict(records[0].data["experiment"])
    bands = [
        (name, band, start)
        for name in experiment.expect
        for band in forecasts[name].bands
        if (start := _reference(band, fault)) is not None
    ]
    away = [(name, forecasts[name].band("delivered"), fault.effect) for name in experiment.forbid]
    ends = [start + band.maximum for _, band, start in (*bands, *away)]
    axis = Axis.around([fault.requested, fault.end, *ends, *(stage.at for stage in verdict.stages), *moments],
                       fault.effect)  # fmt: skip
    reached = {(stage.alert, stage.name): stage for stage in verdict.stages}
    sources = dict(_by_stage(records, "stage", "source"))
    missed = dict(_by_stage(records, "missed", "why"))
    rows = tuple(_row(axis, name, band, start, reached, sources, missed) for name, band, start in bands)
    rows += tuple(_absence(axis, name, band, start, records) for name, band, start in away)
    return Timeline(axis, _span(axis, fault.effect, fault.end), rows, tuple(_events(axis, records)))


def _reference(band: Band, fault: Fault) -> float | None:
    """From when on the band counts; None for what can only come once the fault is over."""
    if band.since == "fault":
        return fault.effect
    return fault.end if fault.is_over else None


def _row(
    axis: Axis,
    alert: str,
    band: Band,
    start: float,
    reached: Mapping[tuple[str, str], Stage],
    sources: Mapping[tuple[str, str], Any],
    missed: Mapping[tuple[str, str], Any],
) -> Row:
    key = (alert, band.stage)
    stage, why = reached.get(key), missed.get(key)
    state = "missed" if stage is None else "ok" if stage.in_band else "outside"
    note = "" if stage else (why or "the reason is not known") if key in missed else NOT_REACHED
    return Row(
        alert, band.stage, _span(axis, start + band.minimum, start + band.maximum), axis.at(start + band.mean),
        axis.at(stage.at) if stage else None, state, stage.seconds if stage else None, band,
        stage.at if stage else None, str(sources.get(key, "")) if stage else "", str(note),
    )  # fmt: skip


def _absence(axis: Axis, alert: str, band: Band, start: float, records: Sequence[Record]) -> Row:
    """An alert that must not come: when it would have been delivered, and whether it stayed away."""
    quiet = next((record.data for record in records if record.kind == "quiet"), None)
    fired = quiet is not None and alert in quiet["fired"]
    note = "it fired" if fired else f"quiet for {quiet['seconds']:.1f} s" if quiet else NOT_REACHED
    return Row(
        alert, STAYS_AWAY, _span(axis, start + band.minimum, start + band.maximum), axis.at(start + band.mean), None,
        "missed" if fired or not quiet else "ok", None, band, None, "", note,
    )  # fmt: skip


def _span(axis: Axis, start: float, end: float) -> tuple[float, float]:
    left = axis.at(start)
    return left, max(0.0, axis.at(end) - left)


def _by_stage(records: Sequence[Record], kind: str, fact: str) -> Iterator[tuple[tuple[str, str], Any]]:
    for record in records:
        if record.kind == kind:
            data: Json = record.data
            yield (data["alert"], data["stage"]), data[fact]


def _events(axis: Axis, records: Sequence[Record]) -> Iterator[tuple[float, str]]:
    """What obsctl did, at its own time."""
    words = {"reverting": "put back", "reverted": "back", "steady": "steady again"}
    for record in records:
        if record.kind in words:
            yield axis.at(float(record.data.get("back_at") or record.at)), words[record.kind]
