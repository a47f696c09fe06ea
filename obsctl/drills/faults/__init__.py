"""The faults that a drill can inject, one module each; what several have in common is in modules that begin with `_`.

The name of the file, with dashes, is the name of the fault, of its command, and of its experiment in library/.
obsctl and the warden run the same revert, so either may come first, or both at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, cast

if TYPE_CHECKING:
    from obsctl.drills.plan.target import Target
    from obsctl.drills.recipes import Recipe
    from obsctl.drills.world import Cluster, World
    from obsctl.model import Finding, Json

_MODULES = [name for _, name, _ in pkgutil.iter_modules(__path__) if not name.startswith("_")]
NAMES = tuple(sorted(name.replace("_", "-") for name in _MODULES))

Value = float | str
"""Of a parameter."""


class Scrape(StrEnum):
    """What Prometheus meets at the target while the fault lasts."""

    VANISHES = "vanishes"
    """The target leaves service discovery, and its series end."""
    FAILS = "fails"
    """The target stays, and its scrapes fail."""
    ANSWERS = "answers"
    """The target stays, and its scrapes succeed."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a fault does to what is measured of a service, for the forecast. None: nothing that is known.

    errors: the share of requests that fail. latency: seconds that the slow ones take, and slow: their share. every:
    seconds between two of its events, as restarts. value: of the gauge that it moves. hangs: a scrape that fails does
    so after its timeout, in place of being refused.
    """

    errors: float | None = None
    latency: float | None = None
    slow: float = 1.0
    every: float | None = None
    value: float | None = None
    hangs: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a revert needs beside the service and its job.

    data: stands in Consul, so it is no place for secrets. document: is kept in a Nomad Variable until the drill is
    over, as the recipe's digest has it; at most 64 KB when compressed.
    """

    data: Json = field(default_factory=dict)
    document: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revert did. state: "reverted", "already" (there was no fault), or "superseded" (somebody changed the
    target since, and their change stands)."""

    state: str
    detail: str


class Fault(ABC):
    """What the module of a fault has as FAULT. An instance holds nothing: all is in the recipe and in the cluster."""

    scrape: ClassVar[Scrape]

    def prepare(self, cluster: Cluster, service: str, job: Json, parameters: Mapping[str, Value]) -> Prepared:
        """job: that of the service, as Nomad has it. parameters: of the experiment, each as its kind says.

        Changes nothing. Raises ObsctlError when the fault needs something of its target that is not so.
        """
        return Prepared()

    def signal(self, parameters: Mapping[str, Value]) -> Signal:
        """How rules see it, beside `scrape`. Of a service that is away, callers get errors alone."""
        return Signal(errors=None if self.scrape is Scrape.ANSWERS else 1.0)

    def objections(self, target: Target, world: World) -> Iterator[Finding]:
        """What the gate has to say against this fault at this target now, beside what it looks at for all faults."""
        return iter(())

    @abstractmethod
    def rehearse(self, cluster: Cluster, recipe: Recipe) -> None:
        """Change nothing, and raise what the revert would raise if it were not allowed."""

    @abstractmethod
    def inject(self, cluster: Cluster, recipe: Recipe) -> None:
        """Raises Conflict when the target is not what the recipe says any more."""

    def sustain(self, cluster: Cluster, recipe: Recipe) -> None:
        """Called about once a second while the fault lasts, for faults that end when nobody goes on with them."""
        return

    @abstractmethod
    def effect_at(self, world: World, recipe: Recipe) -> float | None:
        """When the effect was there (Unix seconds); None while it is not. An accepted request is no effect."""

    @abstractmethod
    def revert(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Put the target back. Idempotent: it looks first, and never overwrites what somebody else has changed."""

    def is_gone(self, cluster: Cluster, recipe: Recipe) -> bool:
        """Whether nothing is left of the fault, and the service works as before."""
        from obsctl.drills.world import is_healthy

        return is_healthy(cluster, recipe.service, recipe.job)

    @abstractmethod
    def by_hand(self, recipe: Recipe) -> list[str]:
        """What a person types to put the target back when nothing else has worked."""


def named(name: str) -> Fault:
    """The fault with this name, one of NAMES."""
    return cast(Fault, importlib.import_module(f"{__name__}.{name.replace('-', '_')}").FAULT)
