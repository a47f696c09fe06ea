"""Stops some allocations of the service, as `nomad alloc stop` does. Nomad starts others in their place."""

from __future__ import annotations

from obsctl.clients import jobs
from obsctl.drills.faults import Scrape
from obsctl.drills.faults._allocation import AllocationFault
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.model import Json


class StopAlloc(AllocationFault):
    scrape = Scrape.VANISHES

    def shows(self, event: Json) -> bool:
        return bool(event["Type"] == "Killed")

    def strike(self, cluster: Cluster, allocation: str, task: str) -> None:
        cluster.nomad.stop_allocation(allocation)

    def is_gone(self, cluster: Cluster, recipe: Recipe) -> bool:
        stopped = (cluster.nomad.allocation(each) for each in recipe.data["allocations"])
        return super().is_gone(cluster, recipe) and not any(map(jobs.is_running, stopped))


FAULT = StopAlloc()
