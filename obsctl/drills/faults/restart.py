"""Restarts the task of some instances where they are, as `nomad alloc restart` does."""

from __future__ import annotations

from obsctl.drills.faults._allocation import AllocationFault
from obsctl.drills.world import Cluster
from obsctl.model import Json


class Restart(AllocationFault):
    def shows(self, event: Json) -> bool:
        return bool(event["Type"] == "Restart Signaled")

    def strike(self, cluster: Cluster, allocation: str, task: str) -> None:
        cluster.nomad.restart_allocation(allocation, task)


FAULT = Restart()
