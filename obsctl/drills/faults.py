"""Faults: how each is injected, seen, taken back, and seen to be gone. One row a fault.

obsctl and the warden run the same revert: it is idempotent, reads the state first, and never overwrites a job
that somebody changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from obsctl.clients.instances import passes
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.drills.recipes import Recipe
from obsctl.errors import Conflict, NotFound
from obsctl.model import Json, unix_time

_MAY_RUN = ("pending", "running", "unknown")  # unknown: its node does not answer
_RACES = 3
"""How often a revert starts over when somebody else (the warden, obsctl) changes the job at the same moment."""


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revert did. state: "reverted", "already" (it ran), or "superseded" (somebody changed the job since)."""

    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. vanishes: whether its target leaves service discovery.

    rehearse: changes nothing, and raises what the revert would if it were not allowed.
    inject: raises Conflict when the job is not the recipe's any more.
    effect_at: Unix seconds at which the effect was there, None while it is not.
    """

    rehearse: Callable[[NomadApi, Recipe], None]
    inject: Callable[[NomadApi, Recipe], None]
    effect_at: Callable[[NomadApi, ConsulApi, Recipe], float | None]
    revert: Callable[[NomadApi, Recipe], Reverted]
    vanishes: bool


def wanted_count(job: Json) -> int:
    """How many allocations the job wants."""
    return sum(group.get("Count") or 0 for group in job.get("TaskGroups") or [])


def wanted_instances(job: Json, service: str) -> int:
    """How many instances of the service the job wants: those of the groups that register it."""
    groups = job.get("TaskGroups") or []
    return sum(group.get("Count") or 0 for group in groups if service in _services(group))


def is_back(nomad: NomadApi, consul: ConsulApi, recipe: Recipe) -> bool:
    """Whether the job runs with all its allocations, and the service passes in Consul as often as wanted."""
    try:
        job = nomad.job(recipe.job_id)
    except NotFound:
        return False
    running = [alloc for alloc in nomad.job_allocations(recipe.job_id) if _is_running(alloc, job)]
    if job.get("Stop") or len(running) < wanted_count(job):
        return False
    return passing(consul, recipe.service) >= max(1, wanted_instances(job, recipe.service))


def passing(consul: ConsulApi, service: str) -> int:
    """How many instances of the service pass all their checks."""
    return sum(passes(instance) for instance in consul.health(service))


def _plan_start(nomad: NomadApi, recipe: Recipe) -> None:
    """Nomad asks the same rights of a plan as of the registration."""
    nomad.plan_job(recipe.job)


def _stop(nomad: NomadApi, recipe: Recipe) -> None:
    current = nomad.job(recipe.job_id)
    if current.get("Stop") or current["Version"] != recipe.version:
        what = f"the job {recipe.job_id} was changed: version {current['Version']}, the drill knows {recipe.version}"
        raise Conflict(what, hint="run the drill again")
    nomad.stop_job(recipe.job_id)


def _stopped_at(nomad: NomadApi, consul: ConsulApi, recipe: Recipe) -> float | None:
    """When the last task ended, once the job is stopped, nothing of it runs and Consul has no instance."""
    if not nomad.job(recipe.job_id).get("Stop"):
        return None
    allocations = nomad.job_allocations(recipe.job_id)
    if any(alloc["ClientStatus"] in _MAY_RUN for alloc in allocations) or passing(consul, recipe.service):
        return None
    ends = [_finished_at(state) for alloc in allocations for state in (alloc.get("TaskStates") or {}).values()]
    return max((end for end in ends if end is not None), default=None)


def _start_again(nomad: NomadApi, recipe: Recipe) -> Reverted:
    """Start what is stopped, if it is the fault that stopped it.

    Nomad compares the index before it applies, so that of two within the same milliseconds both may be taken; they
    start the same job, once.
    """
    for _ in range(_RACES):
        try:
            return _start_once(nomad, recipe)
        except Conflict:
            continue
    return _start_once(nomad, recipe)


def _start_once(nomad: NomadApi, recipe: Recipe) -> Reverted:
    try:
        current = nomad.job(recipe.job_id)
    except NotFound:  # stopped and collected as garbage
        nomad.register_job({**recipe.job, "Stop": False}, enforce_index=0)
        return Reverted("reverted", "the job was gone; registered it from the recipe")
    if not current.get("Stop"):
        return Reverted("already", f"the job runs, version {current['Version']}")
    if not _is_our_stop(nomad, recipe, current):
        detail = f"somebody changed the job since, and left it stopped: version {current['Version']}"
        return Reverted("superseded", f"{detail}, the drill's {recipe.version + 1}")
    nomad.register_job({**current, "Stop": False}, enforce_index=current["JobModifyIndex"])
    return Reverted("reverted", f"started version {current['Version']}, which was stopped")


def _is_our_stop(nomad: NomadApi, recipe: Recipe, stopped: Json) -> bool:
    """Whether the job is stopped because of the fault: it is the very version that the fault made, or that one
    scaled, which Nomad allows while a job is stopped. A second stop by somebody leaves the groups as they are."""
    ours = recipe.version + 1
    if stopped["Version"] == ours:
        return True
    versions = [job for job in nomad.job_versions(recipe.job_id) if job["Version"] >= ours]
    scaled = all(newer["TaskGroups"] != older["TaskGroups"] for newer, older in pairwise(versions))
    return scaled and versions[-1]["Version"] == ours and all(job["Stop"] for job in versions)


def _services(group: Json) -> set[str]:
    owners = [group, *(group.get("Tasks") or [])]
    return {service["Name"] for owner in owners for service in owner.get("Services") or []}


def _is_running(alloc: Json, job: Json) -> bool:
    return bool(alloc["ClientStatus"] == "running" and alloc.get("JobVersion") == job["Version"])


def _finished_at(state: Json) -> float | None:
    text = state.get("FinishedAt")
    if not text or text.startswith("0001-"):
        return None
    return unix_time(text)


FAULTS: dict[str, Fault] = {
    "stop": Fault(rehearse=_plan_start, inject=_stop, effect_at=_stopped_at, revert=_start_again, vanishes=True),
}
