"""Kills the task of every instance again and again, as a crash loop does."""

from __future__ import annotations

from contextlib import suppress

from obsctl.clients import jobs
from obsctl.drills.faults.kill import Kill
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import NotFound, Rejected, ServerFailed


class KillLoop(Kill):
    """It needs obsctl alive: when that dies, nobody kills any more, and the warden lets Nomad place what has failed."""

    def sustain(self, cluster: Cluster, recipe: Recipe) -> None:
        """Whatever runs of the job's group, also what Nomad has started in the place of the first ones."""
        task = recipe.data["task"]
        for allocation in cluster.nomad.job_allocations(recipe.job):
            if jobs.is_running(allocation) and jobs.task_state(allocation, task) == "running":
                with suppress(NotFound, Rejected, ServerFailed):  # it has ended just now
                    self.strike(cluster, allocation["ID"], task)


FAULT = KillLoop()
