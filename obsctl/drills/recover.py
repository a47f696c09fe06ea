"""After a crash: put back what a dead drill left, finish its books, and let new drills start."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl.drills import recipes
from obsctl.drills.faults import FAULTS, is_back
from obsctl.drills.recipes import Entry
from obsctl.drills.world import Cluster
from obsctl.errors import ObsctlError
from obsctl.wait import wait_until

TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What happened to one unfinished drill. state: "reverted", "already" or "superseded"; by: who did it."""

    drill: str
    service: str
    state: str
    detail: str
    by: str


def recover(cluster: Cluster, entry: Entry) -> Recovered:
    """Revert (a no-op when the warden has done it), see that the service is back, and remove the recipe.

    Raises ObsctlError when it cannot be put back; the recipe then stays.
    """
    recipe = entry.recipe
    if recipe is None:
        raise ObsctlError(
            f"drill {entry.drill}: {entry.fault}",
            hint=f"look at the service yourself, then: consul kv delete -recurse "
            f"{recipes.folder(cluster.stack)}{entry.drill}/",
        )
    reverted = FAULTS[recipe.fault].revert(cluster.nomad, recipe)
    if reverted.state != "superseded":
        wait_until(
            lambda: is_back(cluster.nomad, cluster.consul, recipe),
            timeout=TIMEOUT,
            what=f"{recipe.service} to be back",
            hint=f"nomad job status {recipe.job_id}, then obsctl drill recover again",
            clock=cluster.clock,
        )
    recipes.remove(cluster.consul, cluster.stack, entry.drill)
    outcome = entry.outcome or {}
    if outcome.get("state") == "reverted":
        return Recovered(entry.drill, recipe.service, "reverted", str(outcome["detail"]), by="the warden")
    return Recovered(entry.drill, recipe.service, reverted.state, reverted.detail, by="obsctl drill recover")
