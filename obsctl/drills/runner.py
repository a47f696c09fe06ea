"""Runs one drill: gate, recipe, fault, watch, revert, watch. Whatever happens after the recipe, the revert follows.

States, each a record of the journal: started, gate, intent, armed, injecting, injected, stage (pending, firing,
delivered), reverting, reverted, stage (recovered, cleared, resolved), steady, finished. The verdict is made from
these records alone (verdict.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from obsctl import __version__
from obsctl.drills import faults, gate, watch
from obsctl.drills.arming import ACK_TIMEOUT, arm
from obsctl.drills.books import Books
from obsctl.drills.experiment import Experiment
from obsctl.drills.forecast import Forecast
from obsctl.drills.guard import Guard
from obsctl.drills.journal import FORMAT, Journal
from obsctl.drills.proof import Proof
from obsctl.drills.recipes import Recipe
from obsctl.drills.reverting import put_back
from obsctl.drills.target import Target
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

    def total(self, forecast: Forecast) -> float:
        longest = ACK_TIMEOUT + INJECT_TIMEOUT + forecast.band("delivered").maximum + self.margin + self.hold
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
        self._books = Books(journal, world.emit)
        self._lease = lease
        self._options = options
        self._drill_id = drill_id

    def run(self) -> None:
        """Everything, from the gate to the books. Never raises for what a drill can find out: it is in the journal.

        Raises ObsctlError only before anything was armed (a full disk, say), and what is a bug, after the revert.
        """
        self._books.write("started", format=FORMAT, drill=self._drill_id, version=__version__,
                          experiment=self._experiment.to_dict(), forecast=self._forecast.to_dict())  # fmt: skip
        if not self._is_steady():
            return
        recipe = self._recipe()
        guard = Guard(self._world, self._lease, deadline=recipe.deadline)
        if not arm(self._world, self._books, guard, recipe):
            return
        proof = Proof(self._experiment, self._forecast, self._world, self._books,
                      since=recipe.created_at, margin=self._options.margin)  # fmt: skip
        try:
            self._until_failure(lambda: self._prove_alert(proof, guard, recipe))
        finally:
            asked = self._world.clock.now()
            back = put_back(self._world, self._books, recipe)
        if back is not None and self._books.has("injected") and not self._books.has("aborted"):
            after = Guard(self._world, self._lease)
            self._until_failure(lambda: proof.of_recovery(after, recipe, asked=asked, back=back))
        self._books.note("finished")

    def _is_steady(self) -> bool:
        findings = gate.check(self._experiment, self._target, self._world)
        firing = watch.firing_now(self._world) if not findings else []
        self._books.write("gate", findings=[asdict(finding) for finding in findings], firing=firing)
        if not findings:
            self._books.say("steady", "ok", "the service runs, the alert is quiet, its path works")
        return not findings

    def _recipe(self) -> Recipe:
        now = self._world.clock.now()
        return Recipe(
            drill=self._drill_id,
            stack=self._world.stack,
            fault=self._experiment.fault,
            service=self._experiment.service,
            session=self._lease.session,
            created_at=now,
            deadline=now + self._options.total(self._forecast),
            data=self._target.undo,
        )

    def _until_failure(self, work: Callable[[], None]) -> None:
        """A drill that cannot go on says why in its books. A bug does too, and goes on to the user."""
        try:
            work()
        except ObsctlError as error:
            self._books.note("aborted", reason=error.message)
            self._books.say("aborted", "failed", error.message)
        except BaseException as error:
            self._books.note("aborted", reason=f"unexpected: {error!r}")
            raise

    def _prove_alert(self, proof: Proof, guard: Guard, recipe: Recipe) -> None:
        effect = self._inject(guard, recipe)
        if effect is None or not proof.of_alert(guard, effect):
            return
        if self._options.hold > 0:
            self._books.say("held", "start", f"the fault stays for {self._options.hold:g} s")
            guard.wait_for(lambda: None, until=self._world.clock.now() + self._options.hold)

    def _inject(self, guard: Guard, recipe: Recipe) -> float | None:
        """Returns when the effect was there (Unix seconds), None when it never came."""
        world, fault, doubt = self._world, faults.named(recipe.fault), ""
        self._books.write("injecting")
        guard.check_lock()
        requested = world.clock.now()
        try:
            fault.inject(world, recipe)
        except (TimedOut, ServerFailed) as error:  # it may have been done all the same, now or in a while
            doubt = f": {error.message}"
        except ApiError as error:
            self._not_injected(error.message)
            return None

        def effect_at() -> float | None:
            guard.check_lock()  # a process that stood still since the last look may have injected unprotected
            return fault.effect_at(world, recipe)

        effect = guard.wait_for(effect_at, until=requested + INJECT_TIMEOUT)
        if effect is None:
            self._not_injected(f"no effect was seen within {INJECT_TIMEOUT:g} s{doubt}")
            return None
        self._books.write("injected", requested_at=requested, effect_at=effect)
        self._books.say("injected", "ok", f"the fault took effect after {effect - requested:.1f} s")
        return effect

    def _not_injected(self, reason: str) -> None:
        self._books.note("not_injected", reason=reason)
        self._books.say("injected", "failed", reason)
