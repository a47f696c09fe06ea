"""The alert of one drill, stage by stage: it comes because of the fault, and ends because of the revert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from obsctl.drills import faults, gate, watch
from obsctl.drills.books import Books
from obsctl.drills.experiment import Experiment
from obsctl.drills.forecast import Forecast
from obsctl.drills.guard import Guard
from obsctl.drills.recipes import Recipe
from obsctl.drills.target import find as find_target
from obsctl.drills.watch import Sighting
from obsctl.drills.world import World
from obsctl.errors import ApiError, ObsctlError
from obsctl.model import Finding, Severity

T = TypeVar("T")

STEADY_TIMEOUT = 600.0
"""Seconds. Alerts on a ratio stay awake for up to their window after the service is back."""


class Proof:
    """Watches the alert of one drill that began at `since` (Unix seconds); what was awake before proves nothing.

    margin: seconds of grace on top of each stage's forecast maximum.
    """

    def __init__(
        self, experiment: Experiment, forecast: Forecast, world: World, books: Books, *, since: float, margin: float
    ) -> None:
        self._experiment = experiment
        self._forecast = forecast
        self._world = world
        self._books = books
        self._since = since
        self._margin = margin

    def of_alert(self, guard: Guard, effect: float) -> bool:
        """Whether the alert went pending, firing, delivered, each in time after the fault's effect."""
        probes: dict[str, Callable[[], Sighting | None]] = {
            "pending": lambda: watch.pending(self._experiment, self._world, since=self._since),
            "firing": lambda: watch.firing(self._experiment, self._world, since=self._since),
            "delivered": lambda: self._notification("firing"),
        }
        return all(self._saw(stage, guard, effect, probe) for stage, probe in probes.items())

    def of_recovery(self, guard: Guard, recipe: Recipe, *, asked: float, back: float) -> None:
        """The alert ends because the service is back, its end is delivered, and all is steady again.

        asked: when the revert was asked for; back: when the service was back.
        """
        if self._recovered(guard, recipe, asked, back) and self._books.has_stage("delivered"):
            self._resolved(guard, back)
        self._steady_again(guard)

    def _saw(self, stage: str, guard: Guard, effect: float, probe: Callable[[], Sighting | None]) -> bool:
        sighting = guard.wait_for(self._live(stage, effect, probe), until=self._latest(stage, effect))
        if sighting is None:
            self._missed(stage)
            return False
        self._write(sighting, effect)
        if stage == "delivered":  # the webhook knows exactly when the alert began to fire
            alert = sighting.evidence["alert"]
            self._write(watch.from_alert("firing", alert["startsAt"], alert), None)
        return True

    def _recovered(self, guard: Guard, recipe: Recipe, asked: float, back: float) -> bool:
        latest = self._latest("cleared", back)
        fault = faults.named(recipe.fault)
        up = guard.wait_for(lambda: fault.recovered(self._world, recipe, asked), until=latest)
        if up is None:
            self._missed("recovered")
            return False
        self._write(up, back)
        cleared = self._live("cleared", back, lambda: watch.cleared(self._experiment, self._world))
        if not guard.wait_for(cleared, until=latest):
            self._missed("cleared")
            return False
        return True

    def _resolved(self, guard: Guard, back: float) -> None:
        notification = self._live("resolved", back, lambda: self._notification("resolved"))
        resolved = guard.wait_for(notification, until=self._latest("resolved", back))
        if resolved is None:
            self._missed("resolved")
            return
        alert = resolved.evidence["alert"]
        self._write(watch.from_alert("cleared", alert["endsAt"], alert), back)
        self._write(resolved, back)

    def _steady_again(self, guard: Guard) -> None:
        findings: list[Finding] = []
        fired: list[dict[str, str]] = []

        def steady() -> bool:
            nonlocal findings, fired
            fired = watch.fired(self._world, seconds=self._world.clock.now() - self._since)
            findings = self._findings()
            return not findings

        guard.wait_for(steady, until=self._world.clock.now() + STEADY_TIMEOUT)
        self._books.write("steady", findings=[asdict(finding) for finding in findings], fired=fired)
        if not findings:
            self._books.say("steady", "ok", "everything is as it was before")

    def _findings(self) -> list[Finding]:
        try:
            return gate.check(self._experiment, find_target(self._experiment, self._world), self._world)
        except ApiError:
            raise
        except ObsctlError as error:  # the service, its rule or its target is not there
            return [Finding(Severity.ERROR, "target", error.message, error.hint)]

    def _notification(self, status: str) -> Sighting | None:
        return watch.delivered(self._experiment, self._world, since=self._since, status=status)

    def _live(self, stage: str, reference: float, probe: Callable[[], T]) -> Callable[[], T]:
        """The probe, which also tells whoever looks on how long it has been and when to expect it."""
        band = self._forecast.band(stage)

        def asked() -> T:
            waited = self._world.clock.now() - reference
            self._books.say(stage, "progress", f"{waited:5.1f} s, expected after {band.mean:.1f}")
            return probe()

        return asked

    def _latest(self, stage: str, reference: float) -> float:
        return reference + self._forecast.band(stage).maximum + self._margin

    def _write(self, sighting: Sighting, reference: float | None) -> None:
        """reference: the moment that the line on the terminal counts from, None for no line."""
        stage = sighting.stage
        self._books.write("stage", stage=stage, at=sighting.at, source=sighting.source, evidence=sighting.evidence)
        if reference is None:
            return
        band = next((band for band in self._forecast.bands if band.stage == stage), None)
        expected = f"  (forecast {band.minimum:.1f} to {band.maximum:.1f}, mean {band.mean:.1f})" if band else ""
        self._books.say(stage, "ok", f"{sighting.at - reference:5.1f} s{expected}")

    def _missed(self, stage: str) -> None:
        try:
            why = watch.why_missed(stage, self._experiment, self._world)
        except ApiError:
            why = ""
        self._books.write("missed", stage=stage, why=why)
        self._books.say(stage, "failed", f"did not come in time: {why or 'the reason is not known'}")
