"""What Prometheus tells of a stack: its targets, its rules, and the nodes on which nothing answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from obsctl import names
from obsctl.clients.programs import Clients
from obsctl.clients.protocols import NomadApi
from obsctl.errors import ApiError, Forbidden, NotFound
from obsctl.model import Json, unix_time

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
    CLOSED = "closed"
    """Silent, and drained or made ineligible before: somebody meant it to do no work."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with an agent of Nomad or Consul. name: in Consul. targets: how many it has."""

    name: str
    state: NodeState
    targets: int

    @property
    def answers(self) -> bool:
        return self.state is NodeState.ANSWERS

    @property
    def is_closed(self) -> bool:
        return self.state is NodeState.CLOSED

    @property
    def is_away(self) -> bool:
        return self.state in (NodeState.SILENT, NodeState.CLOSED)

    @property
    def count(self) -> str:
        return "1 target" if self.targets == 1 else f"{self.targets} targets"

    @property
    def before(self) -> str:
        """What was done to one that is closed, as the end of a sentence; "" of others."""
        return "; it was drained or made ineligible before" if self.is_closed else ""

    @property
    def words(self) -> str:
        """Of one that is away."""
        return f"nothing answers on {self.name}, which has {self.count}{self.before}"


def has_scraped(targets: Iterable[Json]) -> bool:
    """Whether anything was scraped, well or not: a Prometheus that has just started says nothing."""
    return any(target["health"] != "unknown" for target in targets)


def nomad_nodes(nomad: NomadApi) -> list[Json]:
    """None without the right to list them: then nothing is known of nodes."""
    with suppress(Forbidden):
        return nomad.nodes()
    return []


def nodes(targets: Iterable[Json], clients: Clients, known: Iterable[Json]) -> tuple[Node, ...]:
    """Those that Prometheus has targets on. known: Nomad's nodes."""
    every = tuple(_nodes(targets))
    away = [node.name for node in every if node.is_away]
    closed = set(_closed(away, clients, known)) if away else set()
    return tuple(replace(node, state=NodeState.CLOSED) if node.name in closed else node for node in every)


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


def _closed(away: Iterable[str], clients: Clients, known: Iterable[Json]) -> Iterator[str]:
    """Which of these were drained or made ineligible before they went, as NodeDown means it. Nomad forgets a node a day
    after it went, and may have another name for it; Prometheus remembers it. Of several of a name the newest counts."""
    newest = {node["Name"]: node for node in sorted(known, key=lambda node: int(node.get("CreateIndex") or 0))}
    if not newest:
        return
    remembered = set[str]()
    with suppress(ApiError):  # then what Nomad lists is all that is known
        remembered = {sample["metric"].get("node", "") for sample in clients.programs.prometheus.query(_INELIGIBLE)}
    for name in away:
        node = newest.get(name, {})
        is_eligible = node.get("SchedulingEligibility") == "eligible"
        if not is_eligible and (name in remembered or (node and _was_ineligible(node["ID"], clients.nomad))):
            yield name


def _was_ineligible(node_id: str, nomad: NomadApi) -> bool:
    """Whether a node was, when its heartbeat was missed: somebody may have drained it since, because it is lost. By the
    events of the node, of which Nomad keeps the last ten (nomad/node_endpoint.go, nomad/heartbeat.go)."""
    is_ineligible, when_missed, events = False, True, list[Json]()
    with suppress(NotFound):  # forgotten since it was listed
        events = nomad.node(node_id).get("Events") or []
    for event in sorted(events, key=lambda event: unix_time(event["Timestamp"])):
        message = str(event["Message"])
        if message == "Node heartbeat missed":
            when_missed = is_ineligible
        elif "eligible for scheduling" in message:
            is_ineligible = "ineligible" in message
        elif message.startswith("Node drain") and message != "Node drain disabled":
            is_ineligible = True
    return when_missed
