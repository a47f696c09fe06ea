"""What a drill sees and touches, and when a service counts as healthy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from obsctl.clients import jobs
from obsctl.clients.instances import not_of_others, passes
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.schema import Service
from obsctl.config.secrets import Secret
from obsctl.errors import NotFound
from obsctl.model import Emit
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True)
class Cluster:
    """Where faults are injected and put back: all that a revert needs.

    namespace: the one that `nomad` acts in. secret: signs the recipes of this stack.
    """

    stack: str
    namespace: str
    nomad: NomadApi
    consul: ConsulApi
    secret: Secret
    clock: Clock = SYSTEM_CLOCK


@dataclass(frozen=True, kw_only=True)
class World(Cluster):
    """The cluster, and the programs that an alert passes through.

    heartbeat: seconds between two deliveries of Watchdog. interrupted: whether somebody asked to stop.
    services: what obsctl.yaml says of services, by their names.
    """

    programs: Programs
    heartbeat: float
    emit: Emit
    interrupted: Callable[[], bool] = lambda: False
    services: Mapping[str, Service] = field(default_factory=dict)


def is_healthy(cluster: Cluster, service: str, job_id: str) -> bool:
    """Whether the job runs with all its allocations, and each of its instances of the service passes in Consul."""
    try:
        job = cluster.nomad.job(job_id)
    except NotFound:
        return False
    current = jobs.of_version(cluster.nomad.job_allocations(job_id), job)
    if job.get("Stop") or sum(map(jobs.is_running, current)) < jobs.expected_count(job):
        return False
    return passing(cluster, service) >= max(1, jobs.expected_instances(job, service))


def passing(cluster: Cluster, service: str) -> int:
    """How many instances of the service pass all their checks."""
    return sum(passes(each) for each in cluster.consul.health(service) if not_of_others(each, cluster.stack))
