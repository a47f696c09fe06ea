"""The gate after a job: placed, deployed and healthy, passing in Consul. Or the reason why not."""

from __future__ import annotations

from collections.abc import Callable

from obsctl.clients.instances import passes
from obsctl.clients.protocols import ConsulApi, Json, NomadApi
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.stack.observe import DesiredJob, placement_failures
from obsctl.wait import Clock, wait_until

PLACEMENT_GRACE = 15.0
"""Seconds that a job may stay unplaced before that is a failure: a port may be about to become free."""
LOG_LINES = 8


class Unhealthy(ObsctlError):
    """A job did not become what it should. The message has the reasons that Nomad and the task's log give."""


def wait_healthy(
    nomad: NomadApi,
    consul: ConsulApi,
    desired: DesiredJob,
    eval_id: str,
    *,
    timeout: float,
    check: Callable[[], None],
    clock: Clock,
) -> None:
    """Wait until the job's deployment is successful and its Consul checks pass; `timeout` is for each of the two.

    The check is the program's own ready endpoint, so passing means that the program says so itself.
    Raises Unhealthy, and what `check` raises to end the wait early.
    """
    job_id = desired.job_id
    version = nomad.job(job_id)["Version"]
    placed_by = clock.monotonic() + PLACEMENT_GRACE

    def deployed() -> bool:
        check()
        if _is_deployed(nomad, job_id, version):
            return True
        _refuse_failed(nomad, job_id, version)
        if clock.monotonic() > placed_by:
            _refuse_unplaced(nomad, job_id, eval_id)
        return False

    def passing() -> bool:
        check()
        return is_passing(consul, desired.component, _allocations(nomad, job_id, version))

    try:
        for probe, what in ((deployed, "a healthy deployment"), (passing, "passing Consul checks")):
            wait_until(probe, timeout=timeout, what=f"{job_id}: {what}", hint=_inspect(job_id), clock=clock)
    except (Unhealthy, DeadlineExceeded) as error:
        raise Unhealthy("\n    ".join([error.message, *explain(nomad, job_id, version)]), hint=error.hint) from error


def is_passing(consul: ConsulApi, service: str, allocations: list[Json]) -> bool:
    """Whether these allocations have an instance of the service, and every check of their instances passes.

    The instances of others say nothing: another stack of the cluster may well have a service of the same name.
    """
    ours = tuple(f"_nomad-task-{allocation['ID']}-" for allocation in allocations)
    instances = [entry for entry in consul.health(service) if entry["Service"]["ID"].startswith(ours)]
    return bool(instances) and all(passes(entry) for entry in instances)


def explain(nomad: NomadApi, job_id: str, version: int) -> list[str]:
    """Lines that say what happened to the newest allocation of this version: task events, last log lines."""
    allocations = _allocations(nomad, job_id, version)
    if not allocations:
        return [f"no allocation of {job_id} was made"]
    allocation = max(allocations, key=lambda alloc: int(alloc["CreateIndex"]))
    lines = [f"allocation {allocation['ID'][:8]} on {allocation.get('NodeName', '?')}: {allocation['ClientStatus']}"]
    for task, state in sorted((allocation.get("TaskStates") or {}).items()):
        lines += _task_events(task, state)
        lines += _last_lines(nomad, allocation["ID"], task)
    return lines


def _allocations(nomad: NomadApi, job_id: str, version: int) -> list[Json]:
    return [alloc for alloc in nomad.job_allocations(job_id) if alloc.get("JobVersion") == version]


def _is_deployed(nomad: NomadApi, job_id: str, version: int) -> bool:
    deployment = nomad.job_deployment(job_id)
    if deployment is None or deployment["JobVersion"] != version:
        return False
    if deployment["Status"] in ("failed", "cancelled"):
        words = f"{job_id}: the deployment {deployment['Status']} ({deployment['StatusDescription']})"
        raise Unhealthy(words, hint=_inspect(job_id))
    return bool(deployment["Status"] == "successful")


def _refuse_failed(nomad: NomadApi, job_id: str, version: int) -> None:
    """A task that failed for good needs no more patience, although Nomad would try it elsewhere for minutes."""
    for alloc in _allocations(nomad, job_id, version):
        unhealthy = (alloc.get("DeploymentStatus") or {}).get("Healthy") is False
        if unhealthy and alloc["ClientStatus"] == "failed":
            raise Unhealthy(f"{job_id}: its task failed", hint=_inspect(job_id))


def _refuse_unplaced(nomad: NomadApi, job_id: str, eval_id: str) -> None:
    placed = any(alloc["ClientStatus"] in ("pending", "running") for alloc in nomad.job_allocations(job_id))
    reasons = placement_failures(nomad.evaluation(eval_id).get("FailedTGAllocs"))
    if reasons and not placed:
        raise Unhealthy(
            f"{job_id} cannot be placed: {'; '.join(reasons)}",
            hint="give a node what is missing, or change driver, resources or datacenters in obsctl.yaml",
        )


def _task_events(task: str, state: Json) -> list[str]:
    events = (state.get("Events") or [])[-5:]
    return [f"task {task}: {event['Type']}: {event.get('DisplayMessage') or ''}".rstrip(": ") for event in events]


def _last_lines(nomad: NomadApi, alloc_id: str, task: str) -> list[str]:
    try:
        text = "".join(nomad.task_logs(alloc_id, task, stream=stream) for stream in ("stdout", "stderr"))
    except ApiError as error:
        return [f"task {task}: its log cannot be read ({error.message})"]
    return [f"{task} | {line}" for line in text.splitlines()[-LOG_LINES:]]


def _inspect(job_id: str) -> str:
    return f"nomad job status {job_id} shows more; obsctl deploy tries again"
