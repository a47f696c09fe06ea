"""From the journal's records to a verdict. Pure: the same journal gives the same verdict, on any machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.plan.forecast import FAULT_STAGES, REVERT_STAGES, Band, Forecast
from obsctl.drills.tell import receivers
from obsctl.drills.tell.journal import Record, refuse_other_version
from obsctl.model import Json

CLOCK_TOLERANCE = 0.25
"""Seconds by which a stage may lie outside its band: the clocks of several programs are compared."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that an alert reached. alert: its name in the experiment. at: Unix seconds.
    seconds: since the fault's effect, or since the service was back."""

    alert: str
    name: str
    at: float
    seconds: float
    band: Band
    in_band: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the drill shows, one of EXIT_CODES; why; and how long each stage took."""

    outcome: str
    reason: str
    stages: tuple[Stage, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def to_dict(self) -> Json:
        return {**asdict(self), "exit_code": self.exit_code}


def judge(records: Sequence[Record]) -> Verdict:
    """The worst that the records show; PROVEN when nothing is wrong and every alert reached every stage in time.

    Raises ObsctlError when another version of obsctl wrote other facts.
    """
    refuse_other_version(records)
    facts = _Facts(records)
    outcome, reason = next((outcome, reason) for outcome, _, test in _OUTCOMES if (reason := test(facts)))
    return Verdict(outcome, reason, facts.stages)


class _Facts:
    """What the records say; of each kind of record the last counts, and of each stage of an alert.

    seen: (alert, stage) -> Unix seconds. missed: (alert, stage) -> why.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._last = {record.kind: record.data for record in records}
        stages = [record.data for record in records if record.kind == "stage"]
        missed = [record.data for record in records if record.kind == "missed"]
        self.seen = {(data["alert"], data["stage"]): float(data["at"]) for data in stages}
        self.missed = {(data["alert"], data["stage"]): data["why"] for data in missed}
        self.experiment = Experiment.from_dict(self.value("started", "experiment"))
        forecasts = self.value("started", "forecasts")
        self.forecasts = {alert: Forecast.from_dict(data) for alert, data in forecasts.items()}
        self.stages = tuple(self._stages())

    def has(self, kind: str) -> bool:
        return kind in self._last

    def value(self, kind: str, key: str) -> Any:
        return (self._last.get(kind) or {}).get(key)

    def _stages(self) -> Iterator[Stage]:
        spans = ((FAULT_STAGES, "injected", "effect_at"), (REVERT_STAGES, "reverted", "back_at"))
        for alert in self.experiment.expect:
            forecast = self.forecasts[alert]
            for names, kind, effect_key in spans:
                requested, effect = self.value(kind, "requested_at"), self.value(kind, effect_key)
                for name in names:
                    if (alert, name) in self.seen and requested is not None:
                        yield _stage(alert, forecast.band(name), self.seen[alert, name], requested, effect)


def _stage(alert: str, band: Band, at: float, requested: float, effect: float) -> Stage:
    """The fault began somewhere between the request and its visible effect, so the band may start at either."""
    early = at - requested < max(0.0, band.minimum) - CLOCK_TOLERANCE
    late = at - effect > band.maximum + CLOCK_TOLERANCE
    return Stage(alert, band.stage, at, at - effect, band, not early and not late)


def _revert_failed(facts: _Facts) -> str:
    if facts.has("reverted") or facts.has("recovered"):
        return ""
    if facts.has("revert_failed"):
        return f"the fault may still be active: {facts.value('revert_failed', 'reason')}"
    if facts.has("armed") and not facts.has("not_armed"):
        return "the journal has no revert: the drill still runs, or it died (then: obsctl drill recover)"
    return ""


def _aborted(facts: _Facts) -> str:
    if facts.has("recovered"):
        by, detail = facts.value("recovered", "by"), facts.value("recovered", "detail")
        return f"the drill did not reach its end; {by} put things back: {detail}"
    if facts.value("reverted", "state") == "superseded":
        return f"somebody else took over: {facts.value('reverted', 'detail')}"
    reason = facts.value("aborted", "reason")
    return (
        f"{reason}; {'everything was put back' if facts.has('injecting') else 'nothing was touched'}" if reason else ""
    )


def _not_steady(facts: _Facts) -> str:
    return _listed(facts.value("gate", "findings")) or facts.value("not_armed", "reason") or ""


def _not_injected(facts: _Facts) -> str:
    return facts.value("not_injected", "reason") or ""


def _missed(*names: str) -> Callable[[_Facts], str]:
    def test(facts: _Facts) -> str:
        missed = {key: why or "the reason is not known" for key, why in facts.missed.items() if key[1] in names}
        return "; ".join(f"no {facts.experiment.words(*key)}: {why}" for key, why in missed.items())

    return test


def _undelivered(facts: _Facts) -> str:
    return _both(_missed("delivered")(facts), _receivers(facts, "delivered"))


def _receivers(facts: _Facts, stage: str) -> str:
    return receivers.failures(facts.records, stage, [alert for alert, name in facts.seen if name == stage])


def _false_resolve(facts: _Facts) -> str:
    requested_at = facts.value("reverted", "requested_at")
    ends = {alert: at for (alert, stage), at in facts.seen.items() if stage == "cleared" and requested_at is not None}
    early = {alert: requested_at - at for alert, at in ends.items() if at < requested_at - CLOCK_TOLERANCE}
    return "; ".join(
        f"the alert {alert} ended {seconds:.1f} s before anything was put back" for alert, seconds in early.items()
    )


def _unresolved(facts: _Facts) -> str:
    missed = _both(_missed("recovered", *REVERT_STAGES)(facts), _receivers(facts, "resolved"))
    unsteady = _listed(facts.value("steady", "findings"))
    return missed or (f"not steady again: {unsteady}" if unsteady else "")


def _collateral(facts: _Facts) -> str:
    before, fired = facts.value("gate", "active") or [], facts.value("steady", "fired") or []
    strangers = [labels for labels in fired if labels not in before and not facts.experiment.is_allowed(labels)]
    names = sorted({f"{labels.get('alertname')}{_owner(labels)}" for labels in strangers})
    return f"alerts fired that should not: {', '.join(names)}" if names else ""


def _owner(labels: Json) -> str:
    owner = labels.get("service") or labels.get("node")
    return f" ({owner})" if owner else ""


def _late(facts: _Facts) -> str:
    late = [
        f"{facts.experiment.words(stage.alert, stage.name)} after {stage.seconds:.1f} s, "
        f"forecast {stage.band.minimum:.1f} to {stage.band.maximum:.1f} s"
        for stage in facts.stages
        if not stage.in_band
    ]
    within = facts.experiment.within
    late += [
        f"{facts.experiment.words(stage.alert, stage.name)} after {stage.seconds:.1f} s, and it may take "
        f"{within[stage.alert]:g} s"
        for stage in facts.stages
        if stage.name == "delivered" and stage.seconds > within.get(stage.alert, math.inf)
    ]
    return "; ".join(late)


def _incomplete(facts: _Facts) -> str:
    reached = [(stage.alert, stage.name) for stage in facts.stages]
    every = [(alert, name) for alert in facts.experiment.expect for name in (*FAULT_STAGES, *REVERT_STAGES)]
    if not facts.experiment.watched:
        return "the journal names no alert that had to come or had to stay away, so it proves nothing"
    was_quiet = facts.has("quiet") or not facts.experiment.forbid
    if reached == every and was_quiet and facts.has("steady") and facts.has("finished"):
        return ""
    words = ", ".join(facts.experiment.words(*key) for key in reached)
    return f"the journal ends early: it has {words or 'no stage'}"


def _proof(facts: _Facts) -> str:
    seconds = {(stage.alert, stage.name): stage.seconds for stage in facts.stages}
    proofs = [
        f"{facts.experiment.words(alert, 'delivered')} {seconds[alert, 'delivered']:.1f} s after the fault, "
        f"its end {seconds[alert, 'resolved']:.1f} s after recovery"
        for alert in facts.experiment.expect
    ]
    proofs += [
        f"{alert} stayed away for {facts.value('quiet', 'seconds'):.1f} s, and would have been delivered after "
        f"{facts.forecasts[alert].band('delivered').maximum:.1f} s at most"
        for alert in facts.experiment.forbid
    ]
    return "; ".join(proofs)


def _both(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _listed(findings: list[Json] | None) -> str:
    return "; ".join(dict.fromkeys(f"{finding['where']}: {finding['what']}" for finding in findings or []))


_OUTCOMES: tuple[tuple[str, int, Callable[[_Facts], str]], ...] = (
    ("REVERT_FAILED", 40, _revert_failed),
    ("ABORTED", 30, _aborted),
    ("NOT_STEADY", 20, _not_steady),
    ("NOT_INJECTED", 22, _not_injected),
    ("MISSED", 10, _missed("pending", "firing")),
    ("UNDELIVERED", 11, _undelivered),
    ("FALSE_RESOLVE", 12, _false_resolve),
    ("UNRESOLVED", 12, _unresolved),
    ("COLLATERAL", 14, _collateral),
    ("LATE", 13, _late),
    ("ABORTED", 30, _incomplete),
    ("PROVEN", 0, _proof),
)
"""The outcome, its exit code, and its reason if the facts show it. The worst comes first."""
EXIT_CODES = {outcome: code for outcome, code, _ in _OUTCOMES}
