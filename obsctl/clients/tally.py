"""What Alertmanager counts of its notifications to one receiver by one type of channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add, sub


@dataclass(frozen=True, slots=True)
class Tally:
    """Alertmanager's own counters. notifications: those begun; notifications_failed: given up; requests and
    requests_failed: the attempts of all of them. reasons: why notifications were given up -> how many."""

    notifications: int = 0
    notifications_failed: int = 0
    requests: int = 0
    requests_failed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def delivered(self) -> int:
        return self.requests - self.requests_failed

    def __add__(self, other: Tally) -> Tally:
        return self._combined(other, add, Counter(self.reasons) + Counter(other.reasons))

    def __sub__(self, other: Tally) -> Tally:
        return self._combined(other, sub, Counter(self.reasons) - Counter(other.reasons))

    def grown_from(self, earlier: Tally) -> Tally:
        """What was counted since; all of it when Alertmanager has begun anew meanwhile."""
        has_restarted = any(now < then for now, then in zip(self._counts(), earlier._counts(), strict=True))
        return self if has_restarted else self - earlier

    def _combined(self, other: Tally, combine: Callable[[int, int], int], reasons: Mapping[str, int]) -> Tally:
        begun, failed, requests, requests_failed = map(combine, self._counts(), other._counts())
        return Tally(begun, failed, requests, requests_failed, dict(reasons))

    def _counts(self) -> tuple[int, ...]:
        return self.notifications, self.notifications_failed, self.requests, self.requests_failed


Tallies = dict[tuple[str, str], Tally]
"""(receiver, type of its channel, like "webhook") -> what was sent there since Alertmanager began."""


def since(before: Mapping[str, Tallies], after: Mapping[str, Tallies], place: tuple[str, str]) -> Tally:
    """What was sent there between the two, by instances that answered both times: what another had counted before is
    not known."""
    both = before.keys() & after.keys()
    grown = (after[each].get(place, Tally()).grown_from(before[each].get(place, Tally())) for each in both)
    return sum(grown, Tally())
