"""Putting things back, and seeing that they are."""

from __future__ import annotations

from obsctl.drills import faults
from obsctl.drills.arming import disarm
from obsctl.drills.books import Books
from obsctl.drills.guard import insist
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import World
from obsctl.errors import ObsctlError

TIMEOUT = 180.0
"""Seconds for Nomad to take the revert, and again for the service to be back."""


def put_back(world: World, books: Books, recipe: Recipe) -> float | None:
    """Revert and verify. Nothing stops this: no signal, no full disk, no closed terminal.

    Returns when the service was back (Unix seconds); None when it is not, or when somebody else took over.
    """
    fault, clock = faults.named(recipe.fault), world.clock
    requested = clock.now()
    books.note("reverting")
    books.say("reverting", "start", f"putting {recipe.service} back")
    try:
        reverted = insist(
            lambda: fault.revert(world, recipe), failure="Nomad did not accept the revert", timeout=TIMEOUT, clock=clock
        )
        if reverted.state != "superseded":
            absent = f"{recipe.service} did not come back"
            insist(lambda: fault.is_gone(world, recipe), failure=absent, timeout=TIMEOUT, clock=clock)
    except ObsctlError as error:
        books.note("revert_failed", reason=error.message, commands=[*fault.by_hand(recipe), "obsctl drill recover"])
        books.say("reverted", "failed", f"{error.message}; the warden goes on trying")
        return None
    back = clock.now()
    books.note("reverted", state=reverted.state, detail=reverted.detail, requested_at=requested, back_at=back)
    disarm(world, books, recipe)
    if reverted.state == "superseded":
        books.say("reverted", "note", reverted.detail)
        return None
    books.say("reverted", "ok", f"{reverted.detail}; healthy after {back - requested:.1f} s")
    return back
