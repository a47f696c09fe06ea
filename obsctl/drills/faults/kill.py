"""Kills the task of some instances once, as a crash would. Nomad restarts it."""

from __future__ import annotations

from obsctl.drills.faults._allocation import AllocationFault, require_another_start
from obsctl.drills.world import Cluster
from obsctl.model import Json


class Kill(AllocationFault):
    def require(self, job: Json, group: Json) -> None:
        require_another_start(job, group)

    def shows(self, event: Json) -> bool:
        return bool(event["Type"] == "Terminated")

    def strike(self, cluster: Cluster, allocation: str, task: str) -> None:
        cluster.nomad.signal_allocation(allocation, task, "SIGKILL")


FAULT = Kill()
