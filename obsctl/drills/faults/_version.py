"""Faults that are another version of the job, as one with fewer instances."""

from __future__ import annotations

from abc import abstractmethod

from obsctl.clients import jobs
from obsctl.drills import kept
from obsctl.drills.faults import Reverted
from obsctl.drills.faults._job import JobFault
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import NotFound
from obsctl.model import Json


class VersionFault(JobFault):
    @abstractmethod
    def changed(self, job: Json, recipe: Recipe) -> Json:
        """What the job says during the fault. job: what it says before, without what Nomad adds to it."""

    def inject(self, cluster: Cluster, recipe: Recipe) -> None:
        current = self.unchanged(cluster, recipe)
        faulty = jobs.to_register_again(self.changed(jobs.spec(current), recipe))
        cluster.nomad.register_job(faulty, enforce_index=current["JobModifyIndex"])

    def put_back(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Register the job as it was, if it is what the fault has made of it."""
        before = self.kept_job(cluster, recipe)
        try:
            current = cluster.nomad.job(recipe.job)
        except NotFound:
            return Reverted("superseded", "somebody has removed the job since")
        version, says = current["Version"], kept.digest_of(jobs.spec(current))
        if says == recipe.digest and not current.get("Stop"):
            return Reverted("already", f"the job is as it was, version {version}")
        if current.get("Stop") or says != kept.digest_of(self.changed(before, recipe)):
            return Reverted("superseded", f"somebody changed the job since; theirs, version {version}, stands")
        cluster.nomad.register_job(jobs.to_register_again(before), enforce_index=current["JobModifyIndex"])
        return Reverted("reverted", f"registered the job as it was before version {version}")

    def by_hand(self, recipe: Recipe) -> list[str]:
        return [f"nomad job revert {recipe.job} {recipe.version}"]
