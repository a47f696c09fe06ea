"""Where log lines are read from, the log store or Nomad, and how new ones are followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from obsctl.clients.protocols import LogsApi, NomadApi
from obsctl.errors import Forbidden, ObsctlError, ServerFailed, TimedOut, Unreachable
from obsctl.telemetry.lines import Line, Query, Tail
from obsctl.telemetry.nomad_logs import NomadTail
from obsctl.telemetry.stored_logs import StoredTail
from obsctl.wait import SYSTEM_CLOCK, Clock

LogSource = Literal["victorialogs", "nomad"]
TITLES: dict[LogSource, str] = {"victorialogs": "VictoriaLogs", "nomad": "Nomad"}
FOLLOW_INTERVAL = 1.0


@dataclass(frozen=True)
class LogView:
    """The lines that are there, and where new ones come from. reason: why it is not the log store, "" when it is."""

    source: LogSource
    address: str
    lines: list[Line]
    tail: Tail
    reason: str = ""


def from_store(store: Callable[[], LogsApi], query: Query, *, clock: Clock = SYSTEM_CLOCK) -> LogView:
    """store: gives the client; raises when the log store is not there."""
    client = store()
    tail = StoredTail(client, query, clock=clock)
    return LogView("victorialogs", client.address, tail.lines(), tail)


def from_nomad(nomad: NomadApi, query: Query, reason: str) -> LogView:
    tail = NomadTail(nomad, query)
    return LogView("nomad", nomad.address, tail.lines(), tail, reason)


def from_either(store: Callable[[], LogsApi], nomad: NomadApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> LogView:
    """From the log store; from Nomad when the store is not there, or has none of these lines while Nomad has some."""
    try:
        stored = from_store(store, query, clock=clock)
    except ObsctlError as error:
        return from_nomad(nomad, query, error.message)
    if stored.lines:
        return stored
    try:
        from_jobs = from_nomad(nomad, query, f"{TITLES[stored.source]} at {stored.address} has no such lines")
    except Forbidden:  # then the store's answer has to do
        return stored
    return from_jobs if from_jobs.lines else stored


def follow(tail: Tail, warn: Callable[[ObsctlError], None], *, clock: Clock = SYSTEM_CLOCK) -> Iterator[Line]:
    """Every line that is added from now on. Ends when the caller stops asking.

    warn: is called once when the server goes away. The lines of that time follow when the server is back.
    """
    answers = True
    while True:
        clock.sleep(FOLLOW_INTERVAL)
        try:
            yield from tail.lines()
            answers = True
        except (Unreachable, TimedOut, ServerFailed) as error:
            if answers:
                warn(error)
            answers = False
