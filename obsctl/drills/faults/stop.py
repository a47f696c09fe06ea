"""Stops the Nomad job of a service, as `nomad job stop` does. The service leaves Consul."""

from __future__ import annotations

from itertools import pairwise

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.drills import kept
from obsctl.drills.faults import Reverted, Scrape
from obsctl.drills.faults._job import JobFault
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster, World, passing
from obsctl.errors import NotFound
from obsctl.model import Json


class Stop(JobFault):
    scrape = Scrape.VANISHES

    def inject(self, cluster: Cluster, recipe: Recipe) -> None:
        cluster.nomad.stop_job(self.unchanged(cluster, recipe)["ID"])

    def effect_at(self, world: World, recipe: Recipe) -> float | None:
        """When the last task ended, once the job is stopped, nothing of it runs and Consul has no instance."""
        if not world.nomad.job(recipe.job).get("Stop"):
            return None
        allocations = world.nomad.job_allocations(recipe.job)
        if any(map(jobs.may_run, allocations)) or passing(world, recipe.service):
            return None
        return max((end for end in map(jobs.finished_at, allocations) if end is not None), default=None)

    def put_back(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Start what is stopped, if it is the fault that stopped it."""
        nomad = cluster.nomad
        try:
            current = nomad.job(recipe.job)
        except NotFound:  # stopped and collected as garbage
            nomad.register_job(jobs.to_register_again(self.kept_job(cluster, recipe)), enforce_index=0)
            return Reverted("reverted", "Nomad had forgotten the job; registered it as the drill had found it")
        version, ours = current["Version"], recipe.version + 1
        if not current.get("Stop"):
            return Reverted("already", f"the job runs, version {version}")
        if not _is_our_stop(nomad, current, recipe):
            detail = f"somebody changed the job since and left it stopped at version {version}; the drill made {ours}"
            return Reverted("superseded", detail)
        nomad.register_job({**jobs.to_register_again(current), "Stop": False}, enforce_index=current["JobModifyIndex"])
        return Reverted("reverted", f"started version {version}, which was stopped")

    def by_hand(self, recipe: Recipe) -> list[str]:
        return [f"nomad job start {recipe.job}"]


FAULT = Stop()


def _is_our_stop(nomad: NomadApi, stopped: Json, recipe: Recipe) -> bool:
    """Whether the fault stopped the job: the version that the fault made says what the recipe's signature covers, and
    is the current one, or has only been scaled since, which Nomad allows while a job is stopped. A second stop by
    somebody leaves the groups as they are."""
    versions = range(recipe.version + 1, stopped["Version"] + 1)  # another revert may have made a newer one meanwhile
    since = [job for job in nomad.job_versions(stopped["ID"]) if job["Version"] in versions]
    made_by_us = since[-1]["Version"] == recipe.version + 1 and kept.digest_of(jobs.spec(since[-1])) == recipe.digest
    scaled = all(newer["TaskGroups"] != older["TaskGroups"] for newer, older in pairwise(since))
    return made_by_us and scaled and all(job["Stop"] for job in since)
