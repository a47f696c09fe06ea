"""Before a fault: the recipe is on disk, then in Consul, and the warden has confirmed that it will act on it."""

from __future__ import annotations

from contextlib import suppress

from obsctl import names
from obsctl.clients.instances import not_of_others, passes
from obsctl.drills import kept, recipes
from obsctl.drills.recipes import Recipe
from obsctl.drills.run.guard import Guard, insist
from obsctl.drills.tell.journal import Recorder
from obsctl.drills.world import World
from obsctl.errors import ApiError, DeadlineExceeded, Interrupted, ObsctlError
from obsctl.model import Json
from obsctl.wait import wait_until

ACK_TIMEOUT = 15.0
DISARM_TIMEOUT = 15.0


def arm(world: World, recorder: Recorder, guard: Guard, recipe: Recipe, document: Json) -> bool:
    """Whether the warden has the recipe. The recipe is removed when it has not, and when anything is raised.

    document: what is kept until the drill is over.
    """
    recorder.write("intent", recipe=recipe.to_dict())
    try:
        with suppress(ApiError):
            _tell_of_shared_node(world, recorder, recipe.service)
        kept.keep(world, recipe, document)
        recipes.write(world, recipe)
        ack = _acknowledgement(world, guard, recipe)
        recorder.write("armed", ack=ack)
    except BaseException as error:
        disarm(world, recorder, recipe)
        reason = "; ".join(filter(None, (error.message, error.hint))) if isinstance(error, ObsctlError) else repr(error)
        recorder.note("not_armed", reason=reason)
        if isinstance(error, Interrupted):
            recorder.note("aborted", reason=error.message)
        if isinstance(error, DeadlineExceeded):
            return False
        raise
    words = f"the revert recipe is on disk and in Consul, and the warden on {ack.get('host', '?')} has it"
    recorder.say("armed", "ok", words)
    return True


def _tell_of_shared_node(world: World, recorder: Recorder, service: str) -> None:
    """Where no warden is on another node than the service, and one could be."""

    def nodes(name: str) -> set[str]:
        instances = (
            entry for entry in world.consul.health(name) if not_of_others(entry, world.stack) and passes(entry)
        )
        return {str(entry["Node"]["Node"]) for entry in instances}

    wardens, drilled = nodes(names.WARDEN), nodes(service)
    if wardens and wardens <= drilled and nodes(names.NOMAD_CLIENT) - drilled:
        words = f"the warden is on {', '.join(sorted(wardens))}, as {service} is: with that node both would be lost"
        recorder.say("warden", "note", f"{words}; components.warden.count: 2 puts another on another node")


def disarm(world: World, recorder: Recorder, recipe: Recipe) -> None:
    """Take the recipe out of Consul, and before it what is kept out of Nomad's Variables. No other drill can start
    while the recipe is there."""

    def removed() -> bool:
        kept.forget(world, recipe)
        recipes.remove(world, recipe.drill)
        return True

    try:
        insist(removed, failure="the recipe was not removed", timeout=DISARM_TIMEOUT, clock=world.clock)
    except ObsctlError as error:
        recorder.say("recipe", "failed", f"{error.message}; when Consul and Nomad are back, run obsctl drill recover")


def _acknowledgement(world: World, guard: Guard, recipe: Recipe) -> Json:
    def ack() -> Json | None:
        guard.check()
        return next((entry.ack for entry in recipes.read(world) if entry.recipe == recipe), None)

    return wait_until(
        ack,
        timeout=ACK_TIMEOUT,
        failure="the warden did not confirm that it has the recipe and may act on it",
        hint="obsctl status shows whether the warden runs, obsctl logs warden why it did not confirm",
        clock=world.clock,
    )
