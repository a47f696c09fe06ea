"""Waiting: as long as the drill may go on, and for the revert whatever happens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from obsctl.drills.world import World
from obsctl.errors import ApiError, DeadlineExceeded, Interrupted, ObsctlError
from obsctl.lease import Lease
from obsctl.wait import Clock, wait_until

T = TypeVar("T")

OUTAGE = 10.0
"""Seconds for which a server may be away before the drill gives up."""
SUSTAIN_EVERY = 1.0
"""Seconds between two calls of what keeps a fault up."""


def insist(call: Callable[[], T], *, failure: str, timeout: float, clock: Clock) -> T:
    """The call's first true value. Whatever goes wrong, it is tried again, for `timeout` seconds.

    Raises ObsctlError with the last failure.
    """
    last = ""

    def attempt() -> T | None:
        nonlocal last
        try:
            return call()
        except Exception as error:
            last = f": {error.message if isinstance(error, ObsctlError) else repr(error)}"
            return None

    try:
        return wait_until(attempt, timeout=timeout, failure=failure, hint="", clock=clock)
    except DeadlineExceeded as error:
        raise ObsctlError(f"{error.message}{last}", hint="") from error


class Guard:
    """Ends every wait with an ObsctlError when somebody asks to stop, the lock is lost, the deadline (Unix seconds)
    has passed, or a server is away for too long.

    sustain: what is to be done about once a second meanwhile.
    """

    def __init__(
        self, world: World, lease: Lease, *, deadline: float = math.inf, sustain: Callable[[], None] | None = None
    ) -> None:
        self._world = world
        self._lease = lease
        self._deadline = deadline
        self._sustain = sustain
        self._sustained_at = -math.inf
        self._away_since: float | None = None
        self._last_error: ApiError | None = None

    def check(self) -> None:
        """Raises when the drill has to end."""
        if self._world.interrupted():
            raise Interrupted("interrupted", hint="")
        if self._world.clock.now() > self._deadline:
            raise ObsctlError("the deadline has passed", hint="give the drill more time: --deadline SECONDS")
        self._lease.check()

    def check_lock(self) -> None:
        """As `check`, and asks Consul itself: a process that stood still does not know that it lost the lock."""
        if not self._world.consul.session_exists(self._lease.session):
            self._lease.lost.set()
        self.check()

    def wait_for(self, probe: Callable[[], T | None], *, until: float) -> T | None:
        """The probe's first true value, or None at `until` (Unix seconds). A short outage is waited out."""

        def guarded() -> T | None:
            self.check()
            return self._ask(probe)

        timeout = max(0.0, until - self._world.clock.now())
        try:
            return wait_until(guarded, timeout=timeout, failure="", hint="", clock=self._world.clock)
        except DeadlineExceeded:
            if self._last_error is not None:  # nobody looked at the end, which does not prove that there was nothing
                raise self._blind(self._last_error) from None
            return None

    def _ask(self, probe: Callable[[], T | None]) -> T | None:
        now = self._world.clock.monotonic()
        try:
            self._keep_up(now)
            value = probe()
        except ApiError as error:
            self._last_error = error
            self._away_since = now if self._away_since is None else self._away_since
            if now - self._away_since > OUTAGE:
                raise self._blind(error) from error
            return None
        self._away_since = self._last_error = None
        return value

    def _keep_up(self, now: float) -> None:
        if self._sustain and now - self._sustained_at >= SUSTAIN_EVERY:
            self.check_lock()
            self._sustained_at = now
            self._sustain()

    def _blind(self, error: ApiError) -> ObsctlError:
        return ObsctlError(f"the drill can no longer watch: {error.message}", hint=error.hint)
