"""Putting things back, and seeing that they are."""

from __future__ import annotations

from obsctl.drills.arming import disarm
from obsctl.drills.books import Books
from obsctl.drills.faults import FAULTS, is_back
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
    requested = world.clock.now()
    books.note("reverting")
    books.say("reverting", "start", f"starting {recipe.job_id} again")
    try:
        reverted = insist(
            lambda: FAULTS[recipe.fault].revert(world.nomad, recipe),
            what="Nomad's taking the revert", timeout=TIMEOUT, clock=world.clock,
        )  # fmt: skip
        if reverted.state != "superseded":
            insist(
                lambda: is_back(world.nomad, world.consul, recipe),
                what=f"the return of {recipe.service}", timeout=TIMEOUT, clock=world.clock,
            )  # fmt: skip
    except ObsctlError as error:
        books.note("revert_failed", reason=error.message, commands=manual_revert(recipe))
        books.say("reverted", "failed", f"{error.message}; the warden goes on trying")
        return None
    back = world.clock.now()
    books.note("reverted", state=reverted.state, detail=reverted.detail, requested_at=requested, back_at=back)
    disarm(world, books, recipe)
    if reverted.state == "superseded":
        books.say("reverted", "note", reverted.detail)
        return None
    books.say("reverted", "ok", f"{reverted.detail}; healthy after {back - requested:.1f} s")
    return back


def manual_revert(recipe: Recipe) -> list[str]:
    """What a person types when nothing else has worked."""
    return [f"nomad job start {recipe.job_id}", "obsctl drill recover"]
