"""The warden: the dead man's handle of drills.

Level-triggered: each turn it reads the recipes in Consul, acknowledges the new ones, and reverts each whose
lease is gone or whose deadline has passed. It keeps nothing in memory that a restart could lose.
"""

from __future__ import annotations

import logging
import os
import socket
import threading

from prometheus_client import CollectorRegistry, Counter, Gauge

from obsctl.clients.protocols import Json
from obsctl.drills import recipes
from obsctl.drills.faults import FAULTS, is_back
from obsctl.drills.recipes import Entry, Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import ApiError, ObsctlError
from obsctl.services import web

TURN = 2.0
"""Seconds between two looks at the leases; a new recipe is seen at once."""
STALE = 15.0
"""Seconds without a good turn after which the warden no longer calls itself ready."""

_log = logging.getLogger("obsctl.warden")


class Warden:
    """Looks after the drills of one stack."""

    def __init__(self, cluster: Cluster, registry: CollectorRegistry) -> None:
        self._cluster = cluster
        self._index = 0
        self._good_turn_at: float | None = None
        self._recipes = Gauge("warden_recipes", "Revert recipes of drills that are not over.", registry=registry)
        self._reverts = Counter("warden_reverts", "Faults put back after a drill died.", registry=registry)
        self._failures = Counter("warden_failures", "Turns or reverts that failed.", registry=registry)

    def run(self, stop: threading.Event) -> None:
        """Take turns until told to stop. A turn that fails is counted and taken again."""
        while not stop.is_set():
            try:
                self.turn(wait=TURN)
            except ObsctlError as error:
                self._failures.inc()
                self._index = 0
                _log.warning("%s", error.message)
                stop.wait(TURN)

    def turn(self, *, wait: float) -> None:
        """One look at all recipes, at once when one has changed, else after `wait` seconds."""
        cluster = self._cluster
        self._index, pairs = cluster.consul.watch(recipes.folder(cluster.stack), index=self._index, wait=wait)
        entries = recipes.from_pairs(cluster.stack, pairs)
        self._recipes.set(len(entries))
        for entry in entries:
            self._look_after(entry)
        self._good_turn_at = cluster.clock.monotonic()

    def why_not_ready(self) -> str:
        """ "" when the last good turn is recent: only then is an acknowledgement worth anything."""
        if self._good_turn_at is None:
            return "Consul could not be read yet"
        age = self._cluster.clock.monotonic() - self._good_turn_at
        return f"the last good turn is {age:.0f} s ago" if age > STALE else ""

    def _look_after(self, entry: Entry) -> None:
        if entry.recipe is None:
            _log.error("drill %s: %s", entry.drill, entry.fault)
            self._failures.inc()
            return
        if entry.ack is None:
            recipes.acknowledge(self._cluster.consul, self._cluster.stack, entry.drill, self._signature())
            _log.info("drill %s: have its recipe for %s", entry.drill, entry.recipe.job_id)
        if self._is_abandoned(entry.recipe):
            self._put_back(entry.recipe, entry.outcome)

    def _is_abandoned(self, recipe: Recipe) -> bool:
        overdue = self._cluster.clock.now() > recipe.deadline
        return overdue or not self._cluster.consul.session_exists(recipe.session)

    def _put_back(self, recipe: Recipe, outcome: Json | None) -> None:
        """Revert until it is seen to be back. Before the deadline this is done again and again: a drill that was
        only asleep may still inject its fault. After it, what was put back once is left alone."""
        if outcome and outcome.get("healthy") and self._cluster.clock.now() > recipe.deadline:
            return
        reverted = FAULTS[recipe.fault].revert(self._cluster.nomad, recipe)
        if reverted.state == "reverted":
            self._reverts.inc()
            _log.warning("drill %s: its holder is gone; put %s back: %s", recipe.drill, recipe.job_id, reverted.detail)
            outcome = self._record(recipe, reverted.state, reverted.detail, healthy=False)
        elif outcome is None:
            outcome = self._record(recipe, reverted.state, reverted.detail, healthy=False)
        if not outcome.get("healthy") and is_back(self._cluster.nomad, self._cluster.consul, recipe):
            _log.info("drill %s: %s is back", recipe.drill, recipe.service)
            self._record(recipe, outcome["state"], outcome["detail"], healthy=True)

    def _record(self, recipe: Recipe, state: str, detail: str, *, healthy: bool) -> Json:
        outcome = {**self._signature(), "state": state, "detail": detail, "healthy": healthy}
        try:
            recipes.record_outcome(self._cluster.consul, self._cluster.stack, recipe.drill, outcome)
        except ApiError as error:  # the deed counts; the book is written at the next turn
            _log.warning("drill %s: the outcome cannot be written: %s", recipe.drill, error.message)
        return outcome

    def _signature(self) -> Json:
        return {
            "host": socket.gethostname(),
            "allocation": os.environ.get("NOMAD_ALLOC_ID", ""),
            "at": self._cluster.clock.now(),
        }


def run(cluster: Cluster, *, bind: str, port: int) -> None:
    """Serve /health, /alive and /metrics and take turns until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    warden = Warden(cluster, registry)
    server = web.Server(web.create_app(registry, why_not_ready=warden.why_not_ready), bind=bind, port=port)
    stop = threading.Event()
    turns = threading.Thread(target=warden.run, args=(stop,), name="warden", daemon=True)
    turns.start()
    server.run_until_signalled()
    stop.set()
    turns.join(timeout=TURN + 1)
