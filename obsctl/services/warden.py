"""The warden: the dead man's handle of drills.

Level-triggered: in each turn it reads the recipes in Consul, acknowledges the new ones, and reverts each whose
lease is gone or whose deadline has passed. It keeps nothing in memory that a restart could lose.
"""

from __future__ import annotations

import os
import socket

from prometheus_client import CollectorRegistry, Counter, Gauge

from obsctl.drills import faults, kept, recipes
from obsctl.drills.recipes import Entry, Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import Conflict
from obsctl.model import Json
from obsctl.services.turns import Turns

TURN = 2.0
"""Seconds between two looks at the leases; it sees a new recipe at once."""
STALE = 15.0
"""Seconds without a good turn after which the warden no longer calls itself ready."""


class Warden(Turns):
    """Looks after the drills of one stack."""

    def __init__(self, cluster: Cluster, registry: CollectorRegistry) -> None:
        super().__init__("warden", registry, pause=TURN, stale=STALE, clock=cluster.clock)
        self._cluster = cluster
        self._index = 0
        self._recipes = Gauge("warden_recipes", "Revert recipes of drills that are not over.", registry=registry)
        self._left = Gauge("warden_entries_left", "Entries of drills that are not for this warden.", registry=registry)
        self._named: dict[str, int] = {}
        self._reverts = Counter("warden_reverts", "Faults put back after a drill died.", registry=registry)

    def turn(self, *, wait: float = TURN) -> bool:
        """Look at all recipes as soon as one has changed, at most after `wait` seconds. Whether all were served."""
        cluster, index, self._index = self._cluster, self._index, 0  # after a failure it does not wait for a change
        self._index, pairs = cluster.consul.watch(recipes.folder(cluster.stack), index=index, wait=wait)
        entries = recipes.from_pairs(cluster, pairs)
        self._name_left([entry for entry in entries if entry.recipe is None and not entry.is_reserved])
        ours = [(entry, entry.recipe) for entry in entries if entry.recipe is not None]
        self._recipes.set(len(ours))
        return all([self._serve(entry, recipe) for entry, recipe in ours])

    def _name_left(self, left: list[Entry]) -> None:
        """What nobody may act on is counted, named once, and left: it is not a failure of the warden."""
        self._left.set(len(left))
        for pair, trouble in ((entry.pair, entry.trouble) for entry in left):
            if self._named.get(pair.key) != pair.modify_index:
                self.log.warning("Consul's key %r is left alone: %s", pair.key, trouble)
        self._named = {entry.pair.key: entry.pair.modify_index for entry in left}

    def _serve(self, entry: Entry, recipe: Recipe) -> bool:
        """An error of one drill does not keep the others waiting."""
        try:
            self._look_after(entry, recipe)
        except Conflict as error:  # obsctl changed it at the same moment; the next turn sees the new state
            self.log.info("drill %s: %s", entry.drill, error.message)
        except Exception as error:
            self.failed(f"drill {entry.drill}", error)
            return False
        return True

    def _look_after(self, entry: Entry, recipe: Recipe) -> None:
        if self._is_abandoned(recipe):
            self._put_back(entry, recipe)
        elif entry.ack is None:
            faults.named(recipe.fault).rehearse(self._cluster, recipe)  # no promise that cannot be kept
            recipes.amend(self._cluster, recipe, entry, ack=self._signature(), outcome=None)
            self.log.info("drill %s: has its recipe for %s", entry.drill, recipe.service)

    def _is_abandoned(self, recipe: Recipe) -> bool:
        overdue = self._cluster.clock.now() > recipe.deadline
        return overdue or not self._cluster.consul.session_exists(recipe.session)

    def _put_back(self, entry: Entry, recipe: Recipe) -> None:
        """Revert, and see that the service is back. Before the deadline again and again, because a drill that was only
        asleep may still inject its fault; after it, once is enough. Then nothing is kept any more, and without it
        nothing is done: an earlier state of the entry, which somebody writes again, is signed as well."""
        outcome = entry.outcome
        if kept.read(self._cluster, recipe) is None:
            return
        if outcome and outcome["healthy"] and self._cluster.clock.now() > recipe.deadline:
            kept.forget(self._cluster, recipe)
            return
        fault = faults.named(recipe.fault)
        reverted = fault.revert(self._cluster, recipe)
        if reverted.state == "reverted":
            self._reverts.inc()
            self.log.warning(
                "drill %s: its holder is gone; put %s back: %s", recipe.drill, recipe.service, reverted.detail
            )
        if outcome is None or reverted.state == "reverted":
            self._record(entry, recipe, reverted.state, reverted.detail, healthy=False)
        elif not outcome["healthy"] and fault.is_gone(self._cluster, recipe):
            self.log.info("drill %s: %s is back", recipe.drill, recipe.service)
            self._record(entry, recipe, outcome["state"], outcome["detail"], healthy=True)

    def _record(self, entry: Entry, recipe: Recipe, state: str, detail: str, *, healthy: bool) -> None:
        outcome = {**self._signature(), "state": state, "detail": detail, "healthy": healthy}
        recipes.amend(self._cluster, recipe, entry, ack=entry.ack, outcome=outcome)

    def _signature(self) -> Json:
        allocation = os.environ.get("NOMAD_ALLOC_ID", "")
        return {"host": socket.gethostname(), "allocation": allocation, "at": self._cluster.clock.now()}


def run(cluster: Cluster, *, bind: str, port: int) -> None:
    """Look after the drills until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    Warden(cluster, registry).serve(registry, bind=bind, port=port)
