"""Runs one drill: gate, recipe, fault, watch, revert, watch. Whatever happens after the recipe, the revert follows.

States, each a record of the journal: started, gate, intent, armed, injecting, injected, stage (pending, firing,
delivered), reverting, reverted, stage (recovered, cleared, resolved), steady, finished. The verdict is made from
these records alone (verdict.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from obsctl import __version__
from obsctl.drills import gate, recipes, watch
from obsctl.drills.experiment import Experiment
from obsctl.drills.faults import FAULTS, Reverted, is_back
from obsctl.drills.forecast import Forecast
from obsctl.drills.journal import Journal
from obsctl.drills.recipes import Recipe
from obsctl.drills.target import Target
from obsctl.drills.target import find as find_target
from obsctl.drills.watch import Sighting
from obsctl.drills.world import World
from obsctl.errors import ApiError, DeadlineExceeded, Interrupted, ObsctlError
from obsctl.lease import Lease
from obsctl.model import Event, Finding
from obsctl.wait import wait_until

ACK_TIMEOUT = 15.0
INJECT_TIMEOUT = 60.0
REVERT_TIMEOUT = 180.0
STEADY_TIMEOUT = 120.0
OUTAGE = 10.0
"""Seconds for which the servers that are watched may be away before the drill is given up."""


@dataclass(frozen=True, slots=True)
class Options:
    """hold: seconds the fault stays after the delivery. margin: seconds of grace on top of each stage's maximum.
    deadline: seconds after which the warden reverts, None: made from the forecast."""

    hold: float = 0.0
    margin: float = 30.0
    deadline: float | None = None

    def total(self, forecast: Forecast) -> float:
        longest = INJECT_TIMEOUT + forecast.band("delivered").maximum + self.margin + self.hold
        return self.deadline if self.deadline is not None else longest


class Drill:
    """One run of an experiment. The caller holds the lock (`lease`) and has opened the journal."""

    def __init__(
        self, experiment: Experiment, target: Target, forecast: Forecast, world: World, journal: Journal, lease: Lease,
        options: Options, *, drill_id: str,
    ) -> None:  # fmt: skip
        self._experiment = experiment
        self._target = target
        self._forecast = forecast
        self._world = world
        self._journal = journal
        self._lease = lease
        self._options = options
        self._fault = FAULTS[experiment.fault]
        self._away_since: float | None = None
        now = world.clock.now()
        self._recipe = Recipe(
            drill=drill_id,
            stack=world.stack,
            fault=experiment.fault,
            service=experiment.service,
            job_id=target.job_id,
            version=target.job["Version"],
            job=target.job,
            session=lease.session,
            created_at=now,
            deadline=now + options.total(forecast),
        )

    def run(self) -> None:
        """Everything, from the gate to the books. Never raises for what a drill can find out: it is in the journal.

        Raises ObsctlError only before anything was armed (a full disk, say), and what is a bug, after the revert.
        """
        self._journal.append("started", drill=self._recipe.drill, version=__version__,
                             experiment=self._experiment.to_dict(), forecast=self._forecast.to_dict())  # fmt: skip
        if not self._is_steady() or not self._is_armed():
            return
        bug: BaseException | None = None
        try:
            self._prove_alert()
        except ObsctlError as error:
            self._note("aborted", reason=error.message)
            self._say("aborted", "failed", error.message)
        except BaseException as error:
            self._note("aborted", reason=f"unexpected: {error!r}")
            bug = error
        if self._revert() and not self._has("aborted"):
            self._prove_recovery()
        self._note("finished")
        if bug is not None:
            raise bug

    def _is_steady(self) -> bool:
        findings = gate.check(self._experiment, self._target, self._world)
        firing = watch.firing_now(self._world) if not findings else []
        self._journal.append("gate", findings=[asdict(finding) for finding in findings], firing=firing)
        if not findings:
            self._say("steady", "ok", "the service runs, the alert is quiet, its path works")
        return not findings

    def _is_armed(self) -> bool:
        """The recipe is on disk, then in Consul, and the warden says that it has it. Only then may anything happen."""
        self._journal.append("intent", recipe=self._recipe.to_dict())
        try:
            recipes.write(self._world.consul, self._recipe)
            ack = wait_until(self._ack, timeout=ACK_TIMEOUT, what="the warden's word that it has the recipe",
                             hint="obsctl status warden", clock=self._world.clock)  # fmt: skip
            self._journal.append("armed", ack=ack)
        except ObsctlError as error:
            self._remove_recipe()
            self._note("not_armed", reason=error.message)
            if not isinstance(error, DeadlineExceeded):
                raise
            return False
        self._say("armed", "ok", f"revert recipe on disk and in Consul, acknowledged by the warden on {ack['host']}")
        return True

    def _ack(self) -> dict[str, Any] | None:
        self._check()
        for entry in recipes.read(self._world.consul, self._world.stack):
            if entry.drill == self._recipe.drill:
                return entry.ack
        return None

    def _prove_alert(self) -> None:
        injected = self._inject()
        if injected is None:
            return
        for stage in ("pending", "firing", "delivered"):
            if not self._saw(stage, injected):
                return
        self._keep(self._options.hold)

    def _inject(self) -> float | None:
        """Returns when the effect was there (Unix seconds), None when it never came."""
        world, requested = self._world, self._world.clock.now()
        self._check()
        self._journal.append("injecting", at=requested)
        try:
            self._fault.inject(world.nomad, self._recipe)
            effect = wait_until(
                self._watched(lambda: self._fault.effect_at(world.nomad, world.consul, self._recipe)),
                timeout=INJECT_TIMEOUT, what="the fault's effect", hint="", clock=world.clock,
            )  # fmt: skip
        except (ApiError, DeadlineExceeded) as error:
            self._note("not_injected", reason=error.message)
            self._say("injected", "failed", error.message)
            return None
        self._journal.append("injected", requested_at=requested, effect_at=effect)
        self._say("injected", "ok", f"{self._recipe.job_id} stopped, gone after {effect - requested:.1f} s")
        return effect

    def _saw(self, stage: str, since: float) -> bool:
        """Wait for a stage of the firing alert; on a miss say which one it was."""
        probes: dict[str, Callable[[], Sighting | None]] = {
            "pending": lambda: watch.pending(self._experiment, self._world, since=self._recipe.created_at),
            "firing": lambda: watch.firing(self._experiment, self._world, since=self._recipe.created_at),
            "delivered": lambda: self._delivered("firing", self._recipe.created_at),
        }
        deadline = since + self._forecast.band(stage).maximum + self._options.margin
        sighting = self._wait_for(probes[stage], deadline)
        if sighting is None:
            self._missed(stage)
            return False
        self._stage(sighting, since)
        return True

    def _delivered(self, status: str, since: float) -> Sighting | None:
        return watch.delivered(self._experiment, self._world, since=since, status=status)

    def _keep(self, seconds: float) -> None:
        """Hold the fault for as long as the user asked."""
        if seconds > 0:
            self._say("held", "start", f"the fault stays for {seconds:g} s")
            self._wait_for(lambda: None, self._world.clock.now() + seconds)

    def _revert(self) -> bool:
        """Put things back and see that they are. From here on Ctrl-C does not stop anything."""
        world, requested = self._world, self._world.clock.now()
        self._note("reverting")
        self._say("reverting", "start", f"starting {self._recipe.job_id} again")
        try:
            reverted = self._reverted()
            if reverted.state != "superseded":
                wait_until(lambda: _quietly(lambda: is_back(world.nomad, world.consul, self._recipe)),
                           timeout=REVERT_TIMEOUT, what=f"{self._recipe.service} to be back", hint="",
                           clock=world.clock)  # fmt: skip
        except ObsctlError as error:
            self._note("revert_failed", reason=error.message, commands=manual_revert(self._recipe))
            self._say("reverted", "failed", f"{error.message}; the warden goes on trying")
            return False
        back = world.clock.now()
        self._note("reverted", state=reverted.state, detail=reverted.detail, requested_at=requested, back_at=back)
        self._say("reverted", "ok", f"{reverted.detail}; healthy after {back - requested:.1f} s")
        self._remove_recipe()
        return reverted.state != "superseded"

    def _reverted(self) -> Reverted:
        return wait_until(lambda: _quietly(lambda: self._fault.revert(self._world.nomad, self._recipe)),
                          timeout=REVERT_TIMEOUT, what="Nomad to take the revert", hint="",
                          clock=self._world.clock)  # fmt: skip

    def _prove_recovery(self) -> None:
        """The alert ends because the service is back, its end is delivered, and all is steady again."""
        if not self._has("injected"):
            return
        back = self._last("reverted")
        since, asked = back["back_at"], back["requested_at"]
        try:
            self._recovered_stages(since, asked)
            self._steady_again()
        except ObsctlError as error:
            self._note("aborted", reason=error.message)
            self._say("aborted", "failed", f"{error.message} (everything was put back before)")

    def _recovered_stages(self, since: float, asked: float) -> None:
        limits = {stage: since + self._forecast.band(stage).maximum + self._options.margin
                  for stage in ("cleared", "resolved")}  # fmt: skip
        recovered = self._wait_for(
            lambda: watch.recovered(self._experiment, self._world, since=asked), limits["cleared"]
        )
        if recovered is None:
            self._missed("recovered")
            return
        self._stage(recovered, since)
        if not self._wait_for(lambda: watch.cleared(self._experiment, self._world), limits["cleared"]):
            self._missed("cleared")
            return
        if self._saw_stage("delivered"):
            self._resolved(limits["resolved"], since, asked)

    def _resolved(self, deadline: float, since: float, asked: float) -> None:
        resolved = self._wait_for(lambda: self._delivered("resolved", self._recipe.created_at), deadline)
        if resolved is None:
            self._missed("resolved")
            return
        alert = resolved.evidence["alert"]
        self._stage(watch.from_alert("cleared", alert["endsAt"], alert), since)
        self._stage(resolved, since)

    def _steady_again(self) -> None:
        findings: list[Finding] = []

        def steady() -> bool:
            nonlocal findings
            findings = gate.check(self._experiment, find_target(self._experiment, self._world), self._world)
            return not findings

        self._wait_for(steady, self._world.clock.now() + STEADY_TIMEOUT + self._options.margin)
        seconds = self._world.clock.now() - self._last("injected")["requested_at"]
        fired = watch.fired(self._world, seconds=seconds)
        self._note("steady", findings=[asdict(finding) for finding in findings], fired=fired)
        if not findings:
            self._say("steady", "ok", "everything is as it was before")

    # What the stages above have in common.

    def _wait_for(self, probe: Callable[[], Any], deadline: float) -> Any:
        """The probe's first true value, or None at `deadline` (Unix seconds). Short outages are sat out."""
        clock = self._world.clock
        try:
            return wait_until(self._watched(probe), timeout=max(0.0, deadline - clock.now()), what="", hint="",
                              clock=clock)  # fmt: skip
        except DeadlineExceeded:
            return None

    def _watched(self, probe: Callable[[], Any]) -> Callable[[], Any]:
        def guarded() -> Any:
            self._check()
            try:
                value = probe()
            except ApiError as error:
                self._sit_out(error)
                return None
            self._away_since = None
            return value

        return guarded

    def _sit_out(self, error: ApiError) -> None:
        now = self._world.clock.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > OUTAGE:
            raise ObsctlError(f"nothing can be watched for {OUTAGE:g} s: {error.message}", hint=error.hint) from error

    def _check(self) -> None:
        """Raises when the drill has to end: somebody asked, or the lock is lost."""
        if self._world.interrupted():
            raise Interrupted("interrupted", hint="")
        self._lease.check()

    def _stage(self, sighting: Sighting, since: float) -> None:
        self._note("stage", stage=sighting.stage, at=sighting.at, source=sighting.source, evidence=sighting.evidence)
        if sighting.stage == "delivered":  # the webhook knows exactly when the alert began to fire
            alert = sighting.evidence["alert"]
            exact = watch.from_alert("firing", alert["startsAt"], alert)
            self._note("stage", stage="firing", at=exact.at, source=exact.source, evidence={})
        band = next((band for band in self._forecast.bands if band.stage == sighting.stage), None)
        expected = f"  (forecast {band.minimum:.1f} to {band.maximum:.1f}, mean {band.mean:.1f})" if band else ""
        self._say(sighting.stage, "ok", f"{sighting.at - since:5.1f} s{expected}")

    def _missed(self, stage: str) -> None:
        self._note("missed", stage=stage, why=_quietly(lambda: watch.why_missed(stage, self._experiment, self._world)))
        self._say(stage, "failed", "did not come in time")

    def _note(self, kind: str, **data: Any) -> None:
        """Write to the journal; a disk that fails now must not keep anything from being put back."""
        try:
            self._journal.append(kind, **data)
        except ObsctlError as error:
            self._say("journal", "failed", error.message)

    def _remove_recipe(self) -> None:
        _quietly(lambda: recipes.remove(self._world.consul, self._world.stack, self._recipe.drill))

    def _has(self, kind: str) -> bool:
        return any(record.kind == kind for record in self._journal.records)

    def _saw_stage(self, stage: str) -> bool:
        return any(r.kind == "stage" and r.data["stage"] == stage for r in self._journal.records)

    def _last(self, kind: str) -> dict[str, Any]:
        return next(record.data for record in reversed(self._journal.records) if record.kind == kind)

    def _say(self, subject: str, state: str, text: str) -> None:
        self._world.emit(Event(subject, state, text))


def manual_revert(recipe: Recipe) -> list[str]:
    """What a person types when nothing else has worked."""
    return [f"nomad job start {recipe.job_id}", "obsctl drill recover"]


def _quietly(call: Callable[[], Any]) -> Any:
    """The value, or None when the server did not answer: the caller asks again."""
    try:
        return call()
    except ApiError:
        return None
