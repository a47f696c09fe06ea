"""Whether all is steady for a drill, its target included, and waiting until it is."""

from __future__ import annotations

from contextlib import suppress

from obsctl import lease
from obsctl.drills.plan import gate
from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.plan.target import find
from obsctl.drills.world import World
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Event, Finding, Severity
from obsctl.wait import wait_until

INTERVAL = 2.0
"""Seconds between two looks: each asks every server."""


class Reasons:
    """Why a drill still waits until all is steady."""

    def __init__(self) -> None:
        self._places: list[str] = []

    def news(self, findings: list[Finding]) -> str:
        """The findings in words; empty when those before them had the same places."""
        before, self._places = self._places, [each.where for each in findings]
        if self._places == before:
            return ""
        return in_words(findings)


def in_words(findings: list[Finding]) -> str:
    return "; ".join(dict.fromkeys(f"{each.where}: {each.what}" for each in findings))


def findings(experiment: Experiment, world: World) -> list[Finding]:
    """All that is not steady; empty means go. Raises ApiError when the target cannot be looked for."""
    try:
        return gate.check(find(experiment, world), world)
    except ApiError:
        raise
    except ObsctlError as error:  # the service, its rule or its target is not there
        return [_finding("target", error)]


def wait(experiment: Experiment, world: World, seconds: float) -> None:
    """Until all is steady and nobody holds the lock, or the time is over. It holds nothing and leaves nothing: what is
    not steady then is for the gate to say."""
    reasons = Reasons()

    def is_steady() -> bool:
        obstacles = _obstacles(experiment, world)
        if news := reasons.news(obstacles):
            world.emit(Event("waiting", "note", f"not steady yet: {news}"))
        return not obstacles

    with suppress(DeadlineExceeded):
        wait_until(is_steady, timeout=seconds, interval=INTERVAL, failure="", hint="", clock=world.clock)


def _obstacles(experiment: Experiment, world: World) -> list[Finding]:
    try:
        holder = lease.holder(world.consul, world.stack)
        if holder is not None:
            return [Finding(Severity.ERROR, "lock", f"held by {holder}")]
        return findings(experiment, world)
    except ApiError as error:
        return [_finding("cluster", error)]


def _finding(where: str, error: ObsctlError) -> Finding:
    return Finding(Severity.ERROR, where, error.message, error.hint)
