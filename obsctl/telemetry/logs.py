"""Where a component's lines are read from, and how they are followed."""

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

Source = Literal["victorialogs", "nomad"]
TITLES: dict[Source, str] = {"victorialogs": "VictoriaLogs", "nomad": "Nomad"}
FOLLOW_INTERVAL = 1.0


@dataclass(frozen=True)
class Found:
    """The lines that are there, and where more will come from. reason: why it is not the log store, "" when it is."""

    source: Source
    address: str
    lines: list[Line]
    tail: Tail
    reason: str = ""


def from_store(store: Callable[[], LogsApi], query: Query, *, clock: Clock = SYSTEM_CLOCK) -> Found:
    """store: gives the client; raises when the log store is not there."""
    client = store()
    tail = StoredTail(client, query, clock=clock)
    return Found("victorialogs", client.address, tail.lines(), tail)


def from_nomad(nomad: NomadApi, query: Query, reason: str) -> Found:
    tail = NomadTail(nomad, query)
    return Found("nomad", nomad.address, tail.lines(), tail, reason)


def from_either(store: Callable[[], LogsApi], nomad: NomadApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> Found:
    """From the log store; from Nomad when that is not there, or has none of these lines while Nomad has some."""
    try:
        found = from_store(store, query, clock=clock)
    except ObsctlError as error:
        return from_nomad(nomad, query, error.message)
    if found.lines:
        return found
    try:
        fallback = from_nomad(nomad, query, f"{TITLES[found.source]} at {found.address} has no such lines")
    except Forbidden:  # whoever may not look there has the answer of the store
        return found
    return fallback if fallback.lines else found


def follow(tail: Tail, trouble: Callable[[ObsctlError], None], *, clock: Clock = SYSTEM_CLOCK) -> Iterator[Line]:
    """Every line that is added from now on. Ends when the caller stops asking.

    trouble: is told once when the server goes away; it is asked on, and what comes meanwhile is not lost.
    """
    answers = True
    while True:
        clock.sleep(FOLLOW_INTERVAL)
        try:
            yield from tail.lines()
            answers = True
        except (Unreachable, TimedOut, ServerFailed) as error:
            if answers:
                trouble(error)
            answers = False
