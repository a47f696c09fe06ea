"""Stops the Nomad job of a service, as `nomad job stop` does. The service leaves Consul."""

from __future__ import annotations

from itertools import pairwise

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.drills import kept_job
from obsctl.drills.faults import Reverted, Scrape
from obsctl.drills.recipes import Recipe
from obsctl.drills.run import watch
from obsctl.drills.run.watch import Sighting
from obsctl.drills.world import Cluster, World, is_healthy, passing
from obsctl.errors import Conflict, NotFound
from obsctl.model import Json

SCRAPE = Scrape.VANISHES
_RACES = 3
"""How often a revert starts over when somebody else (the warden, obsctl) changes the job at the same moment."""


def prepare(cluster: Cluster, service: str, job: Json) -> Json:
    return {}


def rehearse(cluster: Cluster, recipe: Recipe) -> None:
    """Nomad asks for the same rights to plan a job as to register it."""
    cluster.nomad.plan_job(_job_of(cluster, recipe))


def inject(cluster: Cluster, recipe: Recipe) -> None:
    current, version = cluster.nomad.job(recipe.job), recipe.version
    if current.get("Stop") or current["Version"] != version:
        what = f"somebody changed the job {current['ID']}: it has version {current['Version']}, not {version}"
        raise Conflict(what, hint="run the drill again")
    cluster.nomad.stop_job(current["ID"])


def effect_at(cluster: Cluster, recipe: Recipe) -> float | None:
    """When the last task ended, once the job is stopped, nothing of it runs and Consul has no instance."""
    if not cluster.nomad.job(recipe.job).get("Stop"):
        return None
    allocations = cluster.nomad.job_allocations(recipe.job)
    if any(map(jobs.may_run, allocations)) or passing(cluster, recipe.service):
        return None
    return max((end for end in map(jobs.finished_at, allocations) if end is not None), default=None)


def revert(cluster: Cluster, recipe: Recipe) -> Reverted:
    """Start what is stopped, if it is the fault that stopped it.

    Nomad compares the index before it applies, so that of two within the same milliseconds both may be taken; they
    start the same job, once.
    """
    for _ in range(_RACES):
        try:
            return _start(cluster, recipe)
        except Conflict:
            continue
    return _start(cluster, recipe)


def is_gone(cluster: Cluster, recipe: Recipe) -> bool:
    return is_healthy(cluster, recipe.service, recipe.job)


def recovered(world: World, recipe: Recipe, since: float) -> Sighting | None:
    return watch.scraped(world, recipe.service, since=since)


def by_hand(recipe: Recipe) -> list[str]:
    return [f"nomad job start {recipe.job}"]


def _job_of(cluster: Cluster, recipe: Recipe) -> Json:
    job = kept_job.read(cluster, recipe)
    if job is None:
        raise NotFound(f"the job {recipe.job} is not kept any more: the drill is over", hint="deploy the job again")
    return job


def _start(cluster: Cluster, recipe: Recipe) -> Reverted:
    nomad = cluster.nomad
    try:
        current = nomad.job(recipe.job)
    except NotFound:  # stopped and collected as garbage
        nomad.register_job(jobs.to_register_again(_job_of(cluster, recipe)), enforce_index=0)
        return Reverted("reverted", "Nomad had forgotten the job; registered it as the drill had found it")
    version, ours = current["Version"], recipe.version + 1
    if not current.get("Stop"):
        return Reverted("already", f"the job runs, version {version}")
    if not _is_our_stop(nomad, current, recipe):
        detail = f"somebody changed the job since and left it stopped at version {version}; the drill made {ours}"
        return Reverted("superseded", detail)
    nomad.register_job({**jobs.to_register_again(current), "Stop": False}, enforce_index=current["JobModifyIndex"])
    return Reverted("reverted", f"started version {version}, which was stopped")


def _is_our_stop(nomad: NomadApi, stopped: Json, recipe: Recipe) -> bool:
    """Whether the fault stopped the job: the version that the fault made says what the recipe's signature covers, and
    is the current one, or has only been scaled since, which Nomad allows while a job is stopped. A second stop by
    somebody leaves the groups as they are."""
    versions = range(recipe.version + 1, stopped["Version"] + 1)  # another revert may have made a newer one meanwhile
    since = [job for job in nomad.job_versions(stopped["ID"]) if job["Version"] in versions]
    made_by_us = since[-1]["Version"] == recipe.version + 1 and kept_job.digest_of(since[-1]) == recipe.digest
    scaled = all(newer["TaskGroups"] != older["TaskGroups"] for newer, older in pairwise(since))
    return made_by_us and scaled and all(job["Stop"] for job in since)
