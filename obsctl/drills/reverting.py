"""Putting things back, and seeing that they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from obsctl.drills.arming import disarm
from obsctl.drills.books import Books
from obsctl.drills.faults import FAULTS, is_back
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import World
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.wait import wait_until

T = TypeVar("T")

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
        reverted = _insist(lambda: FAULTS[recipe.fault].revert(world.nomad, recipe), "Nomad's taking the revert", world)
        if reverted.state != "superseded":
            _insist(lambda: is_back(world.nomad, world.consul, recipe), f"the return of {recipe.service}", world)
    except Exception as error:
        reason = error.message if isinstance(error, ObsctlError) else f"unexpected: {error!r}"
        books.note("revert_failed", reason=reason, commands=manual_revert(recipe))
        books.say("reverted", "failed", f"{reason}; the warden goes on trying")
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


def _insist(call: Callable[[], T], what: str, world: World) -> T:
    """The call's first true value; a server that does not answer, or refuses, is asked again."""
    last = ""

    def attempt() -> T | None:
        nonlocal last
        try:
            return call()
        except ApiError as error:
            last = f": {error.message}"
            return None

    try:
        return wait_until(attempt, timeout=TIMEOUT, what=what, hint="", clock=world.clock)
    except DeadlineExceeded as error:
        raise ObsctlError(f"{error.message}{last}", hint="") from error
