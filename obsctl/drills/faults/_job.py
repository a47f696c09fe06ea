"""Faults that change the job itself. It is kept as it was until the drill is over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from obsctl.clients import jobs
from obsctl.drills import kept
from obsctl.drills.faults import Fault, Prepared, Reverted, Value
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import Conflict, NotFound
from obsctl.model import Json

_RACES = 3
"""How often a revert starts over when somebody else (the warden, obsctl) changes the job at the same moment."""


class JobFault(Fault):
    def prepare(self, cluster: Cluster, service: str, job: Json, parameters: Mapping[str, Value]) -> Prepared:
        return Prepared(document=jobs.spec(job))

    def rehearse(self, cluster: Cluster, recipe: Recipe) -> None:
        """Nomad asks for the same rights to plan a job as to register it."""
        cluster.nomad.plan_job(self.kept_job(cluster, recipe))

    def revert(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Nomad compares the index before it applies, so that of two within the same milliseconds both may be taken;
        they register the same job, once."""
        for _ in range(_RACES):
            try:
                return self.put_back(cluster, recipe)
            except Conflict:
                continue
        return self.put_back(cluster, recipe)

    @abstractmethod
    def put_back(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """As `revert`. Raises Conflict when somebody else changed the job at the same moment."""

    def unchanged(self, cluster: Cluster, recipe: Recipe) -> Json:
        """The job as Nomad has it. Raises Conflict when it is not the recipe's any more."""
        current, version = cluster.nomad.job(recipe.job), recipe.version
        if current.get("Stop") or current["Version"] != version:
            what = f"somebody changed the job {current['ID']}: it has version {current['Version']}, not {version}"
            raise Conflict(what, hint="run the drill again")
        return current

    def kept_job(self, cluster: Cluster, recipe: Recipe) -> Json:
        """The job as the drill found it."""
        job = kept.read(cluster, recipe)
        if job is None:
            what = f"the job {recipe.job} is not kept any more: the drill is over"
            raise NotFound(what, hint="deploy the job again")
        return job
