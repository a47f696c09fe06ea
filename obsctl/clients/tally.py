"""What Alertmanager counts of its notifications to one receiver by one type of channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Alertmanager's own counters. notifications: those begun; notifications_failed: given up; requests and
    requests_failed: the attempts of all of them."""

    notifications: int = 0
    notifications_failed: int = 0
    requests: int = 0
    requests_failed: int = 0

    @property
    def delivered(self) -> int:
        return self.requests - self.requests_failed

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Tally) -> Tally:
        return Tally(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


Tallies = dict[tuple[str, str], Tally]
"""(receiver, type of its channel, like "webhook") -> what was sent there since Alertmanager began."""


def since(before: Mapping[str, Tallies], after: Mapping[str, Tallies], place: tuple[str, str]) -> Tally:
    """What was sent there between the two, by instances that answered both times: what another had counted before is
    not known."""
    both = before.keys() & after.keys()
    return sum((after[each].get(place, Tally()) - before[each].get(place, Tally()) for each in both), Tally())
