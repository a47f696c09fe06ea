"""The state of each component: its job, instances, checks and address, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl import names
from obsctl.clients.instances import failing, of_job, url
from obsctl.clients.jobs import expected_count, is_running, is_system
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.schema import Config
from obsctl.errors import NotFound
from obsctl.model import Json


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """state: "healthy", "unhealthy", "stopped" or "missing". running, wanted: how many allocations run and should run.
    address: "" without an instance."""

    component: str
    job_id: str
    state: str
    running: int
    wanted: int
    address: str
    version: str
    note: str = ""


def status(config: Config, nomad: NomadApi, consul: ConsulApi) -> list[ComponentStatus]:
    """The enabled components, in the order of their start."""
    return [_component(config, component.row.name, nomad, consul) for component in config.enabled_components()]


def _component(config: Config, name: str, nomad: NomadApi, consul: ConsulApi) -> ComponentStatus:
    job_name = names.job_id(config.stack, name)
    try:
        job = nomad.job(job_name)
    except NotFound:
        return ComponentStatus(name, job_name, "missing", 0, 0, "", "", "obsctl deploy brings it up")
    allocations = nomad.job_allocations(job_name)
    expected, running = _expected(job, allocations), sum(map(is_running, allocations))
    version = (job.get("Meta") or {}).get(names.VERSION_MARK, "")
    instances = of_job(consul.health(name), allocations)
    address = url(instances[0]) if instances else ""
    note = "somebody stopped its job" if job.get("Stop") else _note(running, expected, instances)
    state = "stopped" if job.get("Stop") else "unhealthy" if note else "healthy"
    return ComponentStatus(name, job_name, state, running, expected, address, version, note)


def _expected(job: Json, allocations: list[Json]) -> int:
    """How many allocations there should be: of a system job one on each node that Nomad chose, at least one."""
    if is_system(job):
        return max(1, len({alloc["NodeID"] for alloc in allocations if alloc["DesiredStatus"] == "run"}))
    return expected_count(job)


def _note(running: int, expected: int, instances: list[Json]) -> str:
    if running < expected:
        return f"{running} of {expected} allocations run"
    return next(filter(None, map(failing, instances)), "" if instances else "not registered in Consul")
