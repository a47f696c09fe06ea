"""The lock of a stack: one deploy or drill at a time. It ends by itself when its holder dies."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from obsctl import names
from obsctl.clients.protocols import ConsulApi
from obsctl.errors import ApiError, Conflict, DeadlineExceeded, NotFound, ObsctlError
from obsctl.model import one_line
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

TTL = 10
"""Seconds, Consul's minimum. It may let a session live up to twice as long."""
RENEW_EVERY = 3.0
"""Seconds, so that two renewals may fail before the session ends."""
DELAY_AFTER_DEATH = 3.0
"""Seconds to wait for a lock without a holder: Consul withholds it for a second after the holder died."""
LAST_RENEWAL = 3.0
"""Seconds to wait at the end for a renewal that is under way."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, for the message to others."""

    command: str
    user: str
    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return one_line(f"{self.command} by {self.user} on {self.host} (pid {self.pid}), since {self.since}")


class Locked(ObsctlError):
    """Another command works on this stack."""

    exit_code = 21


class Lease:
    """A lock that is held. session: its session in Consul. lost: is set when the lock could not be kept."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.lost = threading.Event()

    def check(self) -> None:
        """Raises ObsctlError when the lock was lost: another command may be at work since then."""
        if self.lost.is_set():
            raise ObsctlError(
                "the lock of the stack was lost, because Consul ended its session",
                hint="Consul was away for too long, the agent that was asked left the cluster (as it does when it is "
                "stopped), or this process stood still; run the command again",
            )


@contextmanager
def hold(consul: ConsulApi, stack: str, command: str, *, clock: Clock = SYSTEM_CLOCK) -> Iterator[Lease]:
    """Hold the stack's lock while the block runs. Raises Locked when another command holds it."""
    session = consul.create_session(f"obsctl {command}", ttl=TTL)
    lease = Lease(session)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(consul, lease, ended, clock), name="obsctl-lease", daemon=True)
    try:
        _acquire(consul, stack, command, session, clock)
        keeper.start()
        yield lease
    finally:
        ended.set()
        if keeper.is_alive():
            keeper.join(timeout=LAST_RENEWAL)
        with suppress(ApiError):  # then it ends by itself after its TTL
            _release(consul, stack, session)


def holder(consul: ConsulApi, stack: str) -> Holder | None:
    """Who holds the lock now; None when it is free."""
    entry = consul.get(names.lock_key(stack))
    if entry is None or not entry.session:
        return None
    try:
        return Holder(**json.loads(entry.value))
    except (RecursionError, TypeError, ValueError):  # others can write to Consul too
        return Holder(command="an unknown command", user="?", host="?", pid=0, since="?")


def _acquire(consul: ConsulApi, stack: str, command: str, session: str, clock: Clock) -> None:
    me = Holder(
        command=command,
        user=os.environ.get("USER") or str(os.getuid()),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )

    def acquired() -> bool:
        if consul.acquire(names.lock_key(stack), json.dumps(asdict(me)).encode(), session):
            return True
        other = holder(consul, stack)
        if other is not None:
            raise Locked(
                f"stack {stack} is locked: {other}",
                hint="wait until it ends; the lock of a process that died is released within 20 s",
            )
        return False

    try:
        wait_until(acquired, timeout=DELAY_AFTER_DEATH, failure="", hint="", clock=clock)
    except DeadlineExceeded:
        raise Locked(
            f"stack {stack} is locked, but the lock {names.lock_key(stack)} in Consul has no holder",
            hint="the last holder died a moment ago: try again",
        ) from None


def _release(consul: ConsulApi, stack: str, session: str) -> None:
    """Delete the key before the session. A session that ends with its lock makes Consul delay the next holder."""
    entry = consul.get(names.lock_key(stack))
    if entry is not None and entry.session == session:
        with suppress(Conflict):
            consul.delete(entry.key, cas=entry.modify_index)
    consul.destroy_session(session)


def _keep(consul: ConsulApi, lease: Lease, ended: threading.Event, clock: Clock) -> None:
    kept_at = asked_at = clock.monotonic()
    # A process that stood still meanwhile asks again at once.
    while not ended.wait(max(0.0, asked_at + RENEW_EVERY - clock.monotonic())):
        asked_at = clock.monotonic()
        try:
            consul.renew_session(lease.session)
            kept_at = asked_at
        except NotFound:
            lease.lost.set()
            return
        except ApiError:  # the session outlives a short outage: it ends at the earliest TTL after the last renewal
            if clock.monotonic() - kept_at > TTL:
                lease.lost.set()
                return
