"""Where a component's lines are read from, and how they are followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from obsctl.clients.protocols import LokiApi, NomadApi
from obsctl.errors import Forbidden, ObsctlError, ServerFailed, TimedOut, Unreachable
from obsctl.telemetry.lines import Line, Query, Tail
from obsctl.telemetry.loki_logs import LokiTail
from obsctl.telemetry.nomad_logs import NomadTail
from obsctl.wait import SYSTEM_CLOCK, Clock

Source = Literal["loki", "nomad"]
FOLLOW_INTERVAL = 1.0


@dataclass(frozen=True)
class Found:
    """The lines that are there, and where more will come from. reason: why it is not Loki, "" when it is."""

    source: Source
    address: str
    lines: list[Line]
    tail: Tail
    reason: str = ""


def from_loki(loki: Callable[[], LokiApi], query: Query, *, clock: Clock = SYSTEM_CLOCK) -> Found:
    """loki: gives the client; raises when Loki is not there."""
    client = loki()
    tail = LokiTail(client, query, clock=clock)
    return Found("loki", client.address, tail.lines(), tail)


def from_nomad(nomad: NomadApi, query: Query, reason: str) -> Found:
    tail = NomadTail(nomad, query)
    return Found("nomad", nomad.address, tail.lines(), tail, reason)


def from_either(loki: Callable[[], LokiApi], nomad: NomadApi, query: Query, *, clock: Clock = SYSTEM_CLOCK) -> Found:
    """From Loki; from Nomad when Loki is not there, or has none of these lines while Nomad has some."""
    try:
        found = from_loki(loki, query, clock=clock)
    except ObsctlError as error:
        return from_nomad(nomad, query, error.message)
    if found.lines:
        return found
    try:
        fallback = from_nomad(nomad, query, f"Loki at {found.address} has no such lines")
    except Forbidden:  # whoever may not look there has the answer of Loki
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
