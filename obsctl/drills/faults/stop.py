"""Stops the Nomad job of a service, as `nomad job stop` does. The service leaves Consul."""

from __future__ import annotations

from itertools import pairwise

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
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
    return {"job": job}


def is_complete(data: Json) -> bool:
    match data.get("job"):
        case {"ID": str(), "Version": int()}:
            return True
    return False


def rehearse(cluster: Cluster, recipe: Recipe) -> None:
    """Nomad asks for the same rights to plan a job as to register it."""
    cluster.nomad.plan_job(recipe.data["job"])


def inject(cluster: Cluster, recipe: Recipe) -> None:
    current, version = cluster.nomad.job(_job_id(recipe)), recipe.data["job"]["Version"]
    if current.get("Stop") or current["Version"] != version:
        what = f"somebody changed the job {current['ID']}: it has version {current['Version']}, not {version}"
        raise Conflict(what, hint="run the drill again")
    cluster.nomad.stop_job(current["ID"])


def effect_at(cluster: Cluster, recipe: Recipe) -> float | None:
    """When the last task ended, once the job is stopped, nothing of it runs and Consul has no instance."""
    if not cluster.nomad.job(_job_id(recipe)).get("Stop"):
        return None
    allocations = cluster.nomad.job_allocations(_job_id(recipe))
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
    return is_healthy(cluster, recipe.service, _job_id(recipe))


def recovered(world: World, recipe: Recipe, since: float) -> Sighting | None:
    return watch.scraped(world, recipe.service, since=since)


def by_hand(recipe: Recipe) -> list[str]:
    return [f"nomad job start {_job_id(recipe)}"]


def _job_id(recipe: Recipe) -> str:
    return str(recipe.data["job"]["ID"])


def _start(cluster: Cluster, recipe: Recipe) -> Reverted:
    nomad = cluster.nomad
    try:
        current = nomad.job(_job_id(recipe))
    except NotFound:  # stopped and collected as garbage
        nomad.register_job({**recipe.data["job"], "Stop": False}, enforce_index=0)
        return Reverted("reverted", "the job was gone; registered it from the recipe")
    version, ours = current["Version"], recipe.data["job"]["Version"] + 1
    if not current.get("Stop"):
        return Reverted("already", f"the job runs, version {version}")
    if not _is_our_stop(nomad, current, ours):
        detail = f"somebody changed the job since and left it stopped at version {version}; the drill made {ours}"
        return Reverted("superseded", detail)
    nomad.register_job({**current, "Stop": False}, enforce_index=current["JobModifyIndex"])
    return Reverted("reverted", f"started version {version}, which was stopped")


def _is_our_stop(nomad: NomadApi, stopped: Json, ours: int) -> bool:
    """Whether the fault stopped the job: it is the very version that the fault made, or that version scaled, which
    Nomad allows while a job is stopped. A second stop by somebody leaves the groups as they are."""
    if stopped["Version"] == ours:
        return True
    since = [job for job in nomad.job_versions(stopped["ID"]) if job["Version"] >= ours]
    scaled = all(newer["TaskGroups"] != older["TaskGroups"] for newer, older in pairwise(since))
    return scaled and since[-1]["Version"] == ours and all(job["Stop"] for job in since)
