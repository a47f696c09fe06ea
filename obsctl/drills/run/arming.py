"""Before a fault: the recipe on disk, then in Consul, then the warden's word that it will act on it."""

from __future__ import annotations

from obsctl.drills import recipes
from obsctl.drills.recipes import Recipe
from obsctl.drills.run.guard import Guard, insist
from obsctl.drills.tell.journal import Books
from obsctl.drills.world import World
from obsctl.errors import DeadlineExceeded, ObsctlError
from obsctl.model import Json
from obsctl.wait import wait_until

ACK_TIMEOUT = 15.0
DISARM_TIMEOUT = 15.0


def arm(world: World, books: Books, guard: Guard, recipe: Recipe) -> bool:
    """Whether the dead man's handle is in place. Raises what went wrong otherwise; the recipe is then removed."""
    books.write("intent", recipe=recipe.to_dict())
    try:
        recipes.write(world.consul, recipe)
        ack = _acknowledgement(world, guard, recipe)
        books.write("armed", ack=ack)
    except BaseException as error:
        disarm(world, books, recipe)
        books.note("not_armed", reason=error.message if isinstance(error, ObsctlError) else repr(error))
        if isinstance(error, DeadlineExceeded):
            return False
        raise
    host = ack.get("host", "?")
    books.say("armed", "ok", f"revert recipe on disk and in Consul, acknowledged by the warden on {host}")
    return True


def disarm(world: World, books: Books, recipe: Recipe) -> None:
    """Take the recipe out of Consul. While that does not succeed, no other drill can start."""

    def removed() -> bool:
        recipes.remove(world.consul, world.stack, recipe.drill)
        return True

    try:
        insist(removed, failure="Consul did not remove the recipe", timeout=DISARM_TIMEOUT, clock=world.clock)
    except ObsctlError as error:
        books.say("recipe", "failed", f"{error.message}; when Consul is back: obsctl drill recover")


def _acknowledgement(world: World, guard: Guard, recipe: Recipe) -> Json:
    def ack() -> Json | None:
        guard.check()
        entries = recipes.read(world.consul, world.stack)
        return next((entry.ack for entry in entries if entry.drill == recipe.drill), None)

    return wait_until(
        ack,
        timeout=ACK_TIMEOUT,
        failure="the warden did not confirm that it has the recipe and may act on it",
        hint="obsctl status shows the warden, and its log what keeps it",
        clock=world.clock,
    )
