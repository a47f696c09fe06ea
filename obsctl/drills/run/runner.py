"""Runs one drill: gate, recipe, fault, alerts, revert, alerts. After the recipe the revert follows, whatever happens.

Each step is a record of the journal: started, gate, intent, armed, injecting, injected, stage (pending, firing,
delivered), quiet, reverting, reverted, stage (recovered, cleared, resolved), waiting, steady, finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from obsctl import __version__
from obsctl.drills import faults, kept
from obsctl.drills.plan import gate
from obsctl.drills.plan.target import Target
from obsctl.drills.recipes import Recipe
from obsctl.drills.run import watch
from obsctl.drills.run.arming import ACK_TIMEOUT, arm
from obsctl.drills.run.guard import Guard
from obsctl.drills.run.proof import Proof
from obsctl.drills.run.reverting import put_back
from obsctl.drills.tell.journal import FORMAT, Journal, Recorder
from obsctl.drills.world import World
from obsctl.errors import ApiError, ObsctlError, ServerFailed, TimedOut
from obsctl.lease import Lease

INJECT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """hold: seconds the fault stays after the delivery. margin: seconds of grace on top of each stage's maximum.
    deadline: seconds after which the drill gives up and the warden reverts, None: made from the forecast."""

    hold: float = 0.0
    margin: float = 30.0
    deadline: float | None = None

    def total(self, target: Target) -> float:
        if self.deadline is not None:
            return self.deadline
        delivered = max(alert.last_delivery for alert in target.alerts.values())
        return ACK_TIMEOUT + INJECT_TIMEOUT + delivered + self.margin + self.hold


class Drill:
    """One run of an experiment. The caller holds the lock (`lease`) and has opened the journal."""

    def __init__(self, target: Target, world: World, journal: Journal, lease: Lease, options: Options) -> None:
        self._target = target
        self._world = world
        self._drill_id = journal.drill
        self._recorder = Recorder(journal, world.emit)
        self._lease = lease
        self._options = options

    def run(self) -> None:
        """The whole drill. What it finds out is in the journal, so it raises ObsctlError only before anything was armed
        (a full disk, say); a bug is raised after the revert."""
        forecasts = {alert: forecast.to_dict() for alert, forecast in self._target.forecasts().items()}
        experiment = self._target.experiment.to_dict()
        facts = {"drill": self._drill_id, "version": __version__, "experiment": experiment, "forecasts": forecasts}
        self._recorder.write("started", format=FORMAT, **facts)
        if not self._is_steady():
            return
        recipe = self._recipe()
        if not arm(self._world, self._recorder, self._guard(recipe), recipe, self._target.prepared.document):
            return
        during = self._guard(recipe, sustain=lambda: faults.named(recipe.fault).sustain(self._world, recipe))
        proof = Proof(self._target, self._world, self._recorder, since=recipe.created_at, margin=self._options.margin)
        try:
            self._until_failure(lambda: self._prove(proof, during, recipe))
        finally:
            requested_at = self._world.clock.now()
            back = put_back(self._world, self._recorder, recipe)
        if back is not None and self._recorder.has("injected") and not self._recorder.has("aborted"):
            after = Guard(self._world, self._lease)
            self._until_failure(lambda: proof.of_recovery(after, recipe, requested_at=requested_at, back=back))
        self._recorder.note("finished")

    def _is_steady(self) -> bool:
        findings = gate.check(self._target, self._world)
        active = watch.active_now(self._world) if not findings else []
        self._recorder.write("gate", findings=[asdict(finding) for finding in findings], active=active)
        if not findings:
            self._recorder.say("steady", "ok", "the service runs, its alerts are quiet, and the alert path works")
        return not findings

    def _recipe(self) -> Recipe:
        now, job, prepared = self._world.clock.now(), self._target.job, self._target.prepared
        return Recipe(
            drill=self._drill_id, stack=self._world.stack, namespace=self._world.namespace,
            fault=self._target.experiment.fault, service=self._target.experiment.service,
            job=self._target.job_id, version=job["Version"], digest=kept.digest_of(prepared.document),
            session=self._lease.session, created_at=now, deadline=now + self._options.total(self._target),
            data=prepared.data,
        )  # fmt: skip

    def _guard(self, recipe: Recipe, sustain: Callable[[], None] | None = None) -> Guard:
        return Guard(self._world, self._lease, deadline=recipe.deadline, sustain=sustain)

    def _until_failure(self, work: Callable[[], None]) -> None:
        """What ends the drill early is recorded. A bug is raised again."""
        try:
            work()
        except ObsctlError as error:
            self._recorder.note("aborted", reason=error.message)
            self._recorder.say("aborted", "failed", error.message)
        except BaseException as error:
            self._recorder.note("aborted", reason=f"unexpected: {error!r}")
            raise

    def _prove(self, proof: Proof, guard: Guard, recipe: Recipe) -> None:
        proof.begin()
        effect = self._inject(guard, recipe)
        if effect is None or not proof.of_alerts(guard, effect) or not proof.of_silence(guard, effect):
            return
        if self._options.hold > 0:
            self._recorder.say("held", "start", f"the fault stays for {self._options.hold:g} s")
            guard.wait_for(lambda: None, until=self._world.clock.now() + self._options.hold)

    def _inject(self, guard: Guard, recipe: Recipe) -> float | None:
        """Returns when the effect was there (Unix seconds), None when it never came."""
        world, fault, doubt = self._world, faults.named(recipe.fault), ""
        self._recorder.write("injecting")
        guard.check_lock()
        requested = world.clock.now()
        try:
            fault.inject(world, recipe)
        except (TimedOut, ServerFailed) as error:  # the request may still take effect, now or in a while
            doubt = f": {error.message}"
        except ApiError as error:
            self._not_injected(error.message)
            return None

        def effect_at() -> float | None:
            guard.check_lock()  # if this process stood still, it may have injected after its lock was lost
            return fault.effect_at(world, recipe)

        effect = guard.wait_for(effect_at, until=requested + INJECT_TIMEOUT)
        if effect is None:
            self._not_injected(f"no effect was seen within {INJECT_TIMEOUT:g} s{doubt}")
            return None
        self._recorder.write("injected", requested_at=requested, effect_at=effect)
        self._recorder.say("injected", "ok", f"the fault took effect after {effect - requested:.1f} s")
        return effect

    def _not_injected(self, reason: str) -> None:
        self._recorder.note("not_injected", reason=reason)
        self._recorder.say("injected", "failed", reason)
