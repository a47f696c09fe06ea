"""The faults that a drill can inject, one module each.

The name of the file is the name of the fault, of its command, and of its experiment in library/.
obsctl and the warden run the same revert, so either may come first, or both at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from obsctl.drills.recipes import Recipe
    from obsctl.drills.run.watch import Sighting
    from obsctl.drills.world import Cluster, World
    from obsctl.model import Json

NAMES = tuple(sorted(name for _, name, _ in pkgutil.iter_modules(__path__) if not name.startswith("_")))


class Scrape(StrEnum):
    """What Prometheus meets at the target while the fault lasts."""

    VANISHES = "vanishes"
    """The target leaves service discovery, and its series end."""
    FAILS = "fails"
    """The target stays, and its scrapes fail."""
    ANSWERS = "answers"
    """The target stays, and its scrapes succeed."""


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revert did. state: "reverted", "already" (there was no fault), or "superseded" (somebody changed the
    target since, and their change stands)."""

    state: str
    detail: str


class Fault(Protocol):
    """What the module of a fault has."""

    SCRAPE: Scrape

    def prepare(self, cluster: Cluster, service: str, job: Json) -> Json:
        """The `data` of the recipe: what a revert needs beside the job. It stands in Consul: no place for secrets.
        job: that of the service, as Nomad has it.

        Changes nothing. Raises ObsctlError when the fault needs something of its target that is not so.
        """

    def rehearse(self, cluster: Cluster, recipe: Recipe) -> None:
        """Change nothing, and raise what the revert would raise if it were not allowed."""

    def inject(self, cluster: Cluster, recipe: Recipe) -> None:
        """Raises Conflict when the target is not what the recipe says any more."""

    def effect_at(self, cluster: Cluster, recipe: Recipe) -> float | None:
        """When the effect was there (Unix seconds); None while it is not. An accepted request is no effect."""

    def revert(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Put the target back. Idempotent: it looks first, and never overwrites what somebody else has changed."""

    def is_gone(self, cluster: Cluster, recipe: Recipe) -> bool:
        """Whether nothing is left of the fault, and the service works as before."""

    def recovered(self, world: World, recipe: Recipe, since: float) -> Sighting | None:
        """The first sign after `since` (Unix seconds) that Prometheus sees the service work again."""

    def by_hand(self, recipe: Recipe) -> list[str]:
        """What a person types to put the target back when nothing else has worked."""


def named(name: str) -> Fault:
    """The fault with this name, one of NAMES."""
    return cast(Fault, importlib.import_module(f"{__name__}.{name}"))
