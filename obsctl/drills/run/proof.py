"""The expected alerts of a drill, stage by stage: they come after the fault, and end after the revert."""

from __future__ import annotations

from dataclasses import asdict

from obsctl.drills.plan import steady
from obsctl.drills.plan.forecast import FAULT_STAGES, REVERT_STAGES
from obsctl.drills.plan.target import Target
from obsctl.drills.recipes import Recipe
from obsctl.drills.run import watch
from obsctl.drills.run.guard import Guard
from obsctl.drills.run.receipts import Receipts
from obsctl.drills.run.watch import Sighting
from obsctl.drills.tell.journal import Recorder
from obsctl.drills.world import World
from obsctl.errors import ApiError
from obsctl.model import Finding, Json

STEADY_TIMEOUT = 600.0
"""Seconds. Alerts on a ratio may stay active for as long as their window after the service is back."""

PATIENCE = 5.0
"""Seconds after which a drill says why it is not steady again."""


class Proof:
    """Watches the alerts of one drill that began at `since` (Unix seconds); an older alert proves nothing.

    margin: seconds that a stage may take beyond its forecast maximum.
    """

    def __init__(self, target: Target, world: World, recorder: Recorder, *, since: float, margin: float) -> None:
        self._target = target
        self._experiment = target.experiment
        self._world = world
        self._recorder = recorder
        self._since = since
        self._margin = margin
        self._delivered: list[str] = []
        self._exact: dict[str, float] = {}
        self._receipts = Receipts(target, world, recorder, margin=margin)

    def begin(self) -> None:
        """Before the fault: what Alertmanager has sent to each receiver until now."""
        self._receipts.begin()

    def of_alerts(self, guard: Guard, effect: float) -> bool:
        """Whether every alert went pending, firing, delivered, each in time after the fault's effect, and every
        receiver got it."""
        self._delivered = self._follow(guard, {alert: list(FAULT_STAGES) for alert in self._experiment.expect}, effect)
        everybody_has_it = self._receipts.settle(guard, self._came_at(self._delivered), effect)
        return everybody_has_it and len(self._delivered) == len(self._experiment.expect)

    def of_silence(self, guard: Guard, effect: float) -> bool:
        """Whether none of the alerts that must not come has fired, until each would have been delivered."""
        forbidden = {alert: self._target.alerts[alert].forecast for alert in self._experiment.forbid}
        if not forbidden:
            return True
        until = effect + max(forecast.band("delivered").maximum for forecast in forbidden.values())

        def fired() -> list[str]:
            self._recorder.say(
                "quiet", "progress", f"{self._world.clock.now() - effect:5.1f} s of {until - effect:.1f}"
            )
            return [alert for alert in forbidden if self._look(alert, "firing")]

        broken = guard.wait_for(fired, until=until) or []
        seconds = self._world.clock.now() - effect
        self._recorder.write("quiet", seconds=seconds, fired=broken)
        words = f"{', '.join(broken)} fired" if broken else f"no {' and no '.join(forbidden)} in {seconds:.1f} s"
        self._recorder.say("quiet", "failed" if broken else "ok", words)
        return not broken

    def of_recovery(self, guard: Guard, recipe: Recipe, *, requested_at: float, back: float) -> None:
        """The alerts end, their ends are delivered, and all is steady again.

        requested_at: when the revert was asked for; back: when the service was back.
        """
        if self._recovered(guard, recipe, requested_at, back):
            ended = self._follow(guard, {alert: list(REVERT_STAGES) for alert in self._delivered}, back)
            self._receipts.settle(guard, self._came_at(ended), back)
        self._steady_again(guard)

    def _follow(self, guard: Guard, ahead: dict[str, list[str]], reference: float) -> list[str]:
        """Watch all alerts at once; returns those that reached all their stages. One that misses a stage is not watched
        further.

        ahead: alert -> the stages that it still has to reach. reference: the moment from which they are forecast.
        """
        if not ahead:
            return []

        def over() -> bool:
            now, look = self._world.clock.now(), self._receipts.look()
            self._tell_progress(ahead, reference)
            for alert, stages in list(ahead.items()):
                while stages and (sighting := self._look(alert, stages[0])):
                    self._reached(alert, sighting, reference)
                    del stages[0]
                if stages and now >= self._latest(alert, stages[0], reference):
                    self._missed(alert, ahead.pop(alert)[0])
            self._receipts.take(look, came=[alert for alert, stages in ahead.items() if len(stages) <= 1])
            return not any(ahead.values())

        guard.wait_for(over, until=max(self._latest(alert, ahead[alert][-1], reference) for alert in ahead))
        for alert in [alert for alert, stages in ahead.items() if stages]:
            self._missed(alert, ahead.pop(alert)[0])
        return list(ahead)

    def _came_at(self, alerts: list[str]) -> dict[str, float]:
        """When each of them fired, or ended, as its notification says."""
        return {alert: self._exact[alert] for alert in alerts}

    def _look(self, alert: str, stage: str) -> Sighting | None:
        return watch.PROBES[stage](self._experiment.watched[alert], self._world, self._since)

    def _recovered(self, guard: Guard, recipe: Recipe, requested_at: float, back: float) -> bool:
        latest = max(self._latest(alert, "cleared", back) for alert in self._experiment.watched)
        up = guard.wait_for(lambda: watch.scraped(self._world, recipe.service, since=requested_at), until=latest)
        if up is None:
            self._missed("", "recovered")
            return False
        self._reached("", up, back)
        return True

    def _steady_again(self, guard: Guard) -> None:
        findings: list[Finding] = []
        fired: list[Json] = []
        began, reasons = self._world.clock.now(), steady.Reasons()

        def is_steady() -> bool:
            nonlocal findings, fired
            now = self._world.clock.now()
            fired = watch.fired(self._world, seconds=now - self._since)
            findings = steady.findings(self._experiment, self._world)
            if now - began >= PATIENCE and (why := reasons.news(findings)):
                self._recorder.write("waiting", why=why)
                self._recorder.say("waiting", "note", f"not steady again yet: {why}")
            return not findings

        guard.wait_for(is_steady, until=began + STEADY_TIMEOUT)
        self._recorder.write("steady", findings=[asdict(finding) for finding in findings], fired=fired)
        if not findings:
            self._recorder.say("steady", "ok", "everything is as before")

    def _latest(self, alert: str, stage: str, reference: float) -> float:
        return reference + self._target.alerts[alert].forecast.band(stage).maximum + self._margin

    def _tell_progress(self, ahead: dict[str, list[str]], reference: float) -> None:
        """How long the first alert that is waited for has taken, and when to expect it."""
        alert, stage = next((alert, stages[0]) for alert, stages in ahead.items() if stages)
        waited = self._world.clock.now() - reference
        band = self._target.alerts[alert].forecast.band(stage)
        text = f"{waited:5.1f} s, expected after {band.mean:.1f}"
        self._recorder.say(self._experiment.words(alert, stage), "progress", text)

    def _reached(self, alert: str, sighting: Sighting, reference: float) -> None:
        """reference: the moment from which the line on the terminal counts."""
        if sighting.stage in ("delivered", "resolved"):
            exact = watch.exact(sighting)
            self._exact[alert] = exact.at
            self._write(alert, exact)
        self._write(alert, sighting)
        expected = ""
        if alert:
            band = self._target.alerts[alert].forecast.band(sighting.stage)
            expected = f"  (forecast {band.minimum:.1f} to {band.maximum:.1f}, mean {band.mean:.1f})"
        words = self._experiment.words(alert, sighting.stage)
        self._recorder.say(words, "ok", f"{sighting.at - reference:5.1f} s{expected}")

    def _write(self, alert: str, sighting: Sighting) -> None:
        self._recorder.write("stage", alert=alert, **asdict(sighting))

    def _missed(self, alert: str, stage: str) -> None:
        labels = self._experiment.expect.get(alert, {})
        try:
            why = watch.why_missed(stage, labels, self._experiment, self._world)
        except ApiError:
            why = ""
        self._recorder.write("missed", alert=alert, stage=stage, why=why)
        words = f"did not come in time: {why or 'the reason is not known'}"
        self._recorder.say(self._experiment.words(alert, stage), "failed", words)
