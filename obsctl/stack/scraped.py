"""What Prometheus tells of a stack: its targets, its rules, and the nodes on which nothing answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from obsctl import names
from obsctl.clients.programs import Clients
from obsctl.errors import ApiError, Forbidden
from obsctl.model import Json

_INELIGIBLE = "node:ineligible"
"""The record by which the alert NodeDown leaves out who was drained, or closed to new work, before it went."""


@dataclass(frozen=True, slots=True)
class Scraping:
    """What Prometheus says of a component, or of everything: how many of its targets are up."""

    up: int
    targets: int

    @classmethod
    def of(cls, targets: Sequence[Json]) -> Scraping:
        return cls(sum(target["health"] == "up" for target in targets), len(targets))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The alert rules of Prometheus, and how many of them it cannot evaluate."""

    rules: int
    failing: int

    @classmethod
    def of(cls, groups: Iterable[Json]) -> Evaluation:
        rules = [rule for group in groups for rule in group["rules"]]
        return cls(len(rules), sum(rule.get("health") == "err" for rule in rules))


class NodeState(StrEnum):
    ANSWERS = "answers"
    UNKNOWN = "unknown"
    """Nothing there was up yet, and not all of it was asked."""
    SILENT = "silent"
    """Nothing there answers, as NodeDown means it: it is lost or cut off, and what is on it has not crashed."""
    SWITCHED_OFF = "switched off"
    """Silent, and drained or closed to new work before: somebody meant it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with an agent of Nomad or Consul. name: in Consul. targets: how many it has."""

    name: str
    state: NodeState
    targets: int

    @property
    def is_away(self) -> bool:
        return self.state in (NodeState.SILENT, NodeState.SWITCHED_OFF)

    @property
    def count(self) -> str:
        return "1 target" if self.targets == 1 else f"{self.targets} targets"

    @property
    def words(self) -> str:
        """Of one that is away."""
        if self.state is NodeState.SWITCHED_OFF:
            return f"node {self.name}, which has {self.count}, is drained and switched off"
        return f"nothing answers on {self.name}, which has {self.count}"


def is_known(targets: Iterable[Json]) -> bool:
    """Whether anything was scraped, well or not: a Prometheus that has just begun says nothing."""
    return any(target["health"] != "unknown" for target in targets)


def nodes(targets: Iterable[Json], clients: Clients) -> tuple[Node, ...]:
    """Those that Prometheus has targets on."""
    every = tuple(_nodes(targets))
    closed = _closed(clients) if any(node.is_away for node in every) else frozenset[str]()
    return tuple(
        replace(node, state=NodeState.SWITCHED_OFF) if node.is_away and node.name in closed else node for node in every
    )


def _nodes(targets: Iterable[Json]) -> Iterator[Node]:
    healths, agents = defaultdict[str, Counter[str]](Counter), set[str]()
    for target in targets:
        labels = target["labels"]
        healths[labels.get("node", "")][target["health"]] += 1
        if labels.get("job") in names.SERVERS:
            agents.add(labels.get("node", ""))
    for name in sorted(agents - {""}):
        health = healths[name]
        away = NodeState.UNKNOWN if health["unknown"] else NodeState.SILENT
        yield Node(name, NodeState.ANSWERS if health["up"] else away, health.total())


def _closed(clients: Clients) -> frozenset[str]:
    """Names of the nodes that are drained or closed to new work. Nomad forgets one a day after it went, and may have
    another name for it; Prometheus remembers it. Without the right to list nodes nothing is known."""
    try:
        eligibility = {node["Name"]: node.get("SchedulingEligibility") for node in clients.nomad.nodes()}
    except Forbidden:
        return frozenset()
    remembered = set[str]()
    with suppress(ApiError):  # then what Nomad lists is all that is known
        remembered = {sample["metric"].get("node", "") for sample in clients.programs.prometheus.query(_INELIGIBLE)}
    return frozenset(
        name for name in remembered | set(eligibility) if eligibility.get(name, "ineligible") != "eligible"
    )
