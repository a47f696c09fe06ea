"""Before a fault: the recipe is on disk, then in Consul, and the warden has confirmed that it will act on it."""

from __future__ import annotations

from obsctl.drills import recipes
from obsctl.drills.recipes import Recipe
from obsctl.drills.run.guard import Guard, insist
from obsctl.drills.tell.journal import Recorder
from obsctl.drills.world import World
from obsctl.errors import DeadlineExceeded, ObsctlError
from obsctl.model import Json
from obsctl.wait import wait_until

ACK_TIMEOUT = 15.0
DISARM_TIMEOUT = 15.0


def arm(world: World, recorder: Recorder, guard: Guard, recipe: Recipe) -> bool:
    """Whether the warden has the recipe. The recipe is removed when it has not, and when anything is raised."""
    recorder.write("intent", recipe=recipe.to_dict())
    try:
        recipes.write(world.consul, recipe)
        ack = _acknowledgement(world, guard, recipe)
        recorder.write("armed", ack=ack)
    except BaseException as error:
        disarm(world, recorder, recipe)
        recorder.note("not_armed", reason=error.message if isinstance(error, ObsctlError) else repr(error))
        if isinstance(error, DeadlineExceeded):
            return False
        raise
    words = f"the revert recipe is on disk and in Consul, and the warden on {ack.get('host', '?')} has it"
    recorder.say("armed", "ok", words)
    return True


def disarm(world: World, recorder: Recorder, recipe: Recipe) -> None:
    """Take the recipe out of Consul. No other drill can start while it is there."""

    def removed() -> bool:
        recipes.remove(world.consul, world.stack, recipe.drill)
        return True

    try:
        insist(removed, failure="Consul did not remove the recipe", timeout=DISARM_TIMEOUT, clock=world.clock)
    except ObsctlError as error:
        recorder.say("recipe", "failed", f"{error.message}; when Consul is back, run obsctl drill recover")


def _acknowledgement(world: World, guard: Guard, recipe: Recipe) -> Json:
    def ack() -> Json | None:
        guard.check()
        entries = recipes.read(world.consul, world.stack)
        return next((entry.ack for entry in entries if entry.drill == recipe.drill), None)

    return wait_until(
        ack,
        timeout=ACK_TIMEOUT,
        failure="the warden did not confirm that it has the recipe and may act on it",
        hint="obsctl status shows whether the warden runs, obsctl logs warden why it did not confirm",
        clock=world.clock,
    )
