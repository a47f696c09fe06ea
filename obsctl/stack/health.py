"""Waits until a job is placed, deployed and healthy, and passes its checks in Consul; or says why it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from obsctl.clients import jobs
from obsctl.clients.instances import allocation_id, passes
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Emit, Event, Json
from obsctl.stack.facts import Cause
from obsctl.stack.why import Watch, log_end, unplaced, why
from obsctl.wait import HICCUPS, SYSTEM_CLOCK, Clock, wait_until

PLACEMENT_GRACE = 15.0
"""Seconds that a job may stay unplaced before that counts as a failure: a port may become free."""
LOG_LINES = 8


class Unhealthy(ObsctlError):
    """A job did not become healthy. The message has the reasons that Nomad and the task's log give.

    explained: whether the message is a cause already.
    """

    explained = False

    @classmethod
    def because(cls, cause: Cause) -> Unhealthy:
        error = cls(cause.sentence, hint=cause.hint)
        error.explained = True
        return error


@dataclass(frozen=True, slots=True)
class Tools:
    """What a deploy works with. timeout: seconds for each job. `check` is called again and again, and raises to stop
    early (the lock was lost)."""

    nomad: NomadApi
    consul: ConsulApi
    emit: Emit
    timeout: float
    check: Callable[[], None] = lambda: None
    clock: Clock = SYSTEM_CLOCK


def wait_healthy(tools: Tools, job_id: str, eval_id: str) -> None:
    """Wait until the job is deployed and its Consul checks pass; the timeout is for each of the two.

    A check asks the program's own ready endpoint. Raises Unhealthy, what `tools.check` raises, and the error of a
    server that still fails at the deadline: Nomad goes on while it does not answer.
    """
    nomad, clock = tools.nomad, tools.clock
    job = nomad.job(job_id)
    placed_by, watch = clock.monotonic() + PLACEMENT_GRACE, Watch(nomad, tools.consul, job, clock)
    progress = _Progress(tools.emit, job)

    def is_deployed() -> bool:
        tools.check()
        if _is_deployed(nomad, job, eval_id):
            return True
        allocations = _allocations(nomad, job)
        progress.tell(allocations)
        _refuse_certain(watch.cause(allocations))
        if clock.monotonic() > placed_by:
            _refuse_unplaced(nomad, job, eval_id)
        return False

    def passes() -> bool:
        # The allocation of a system job may end meanwhile, and no other takes its place.
        if not is_deployed():
            return False
        allocations = _allocations(nomad, job)
        if is_passing(tools.consul, job, allocations):
            return True
        _refuse_certain(watch.cause(allocations))
        return False

    with explained(tools, job):
        for probe, lack in ((is_deployed, "did not become healthy"), (passes, "did not pass its Consul checks")):
            failure = f"{job_id} {lack}"
            hint, timeout = _inspect(job_id), tools.timeout
            wait_until(probe, timeout=timeout, failure=failure, hint=hint, clock=clock, tolerate=HICCUPS)


class _Progress:
    """Tells how many of several are healthy, whenever that changes: Nomad may change one after the other."""

    def __init__(self, emit: Emit, job: Json) -> None:
        self._emit, self._job, self._told = emit, job, 0

    def tell(self, allocations: list[Json]) -> None:
        healthy = sum(bool((alloc.get("DeploymentStatus") or {}).get("Healthy")) for alloc in allocations)
        if healthy > self._told:
            self._told = healthy
            self._emit(Event(self._job["ID"], "progress", f"{healthy} of {jobs.expected_count(self._job)} healthy"))


@contextmanager
def explained(tools: Tools, job: Json) -> Iterator[None]:
    """Turns the end of a wait into Unhealthy: the cause first, then what happened to the job's newest allocation."""
    try:
        yield
    except (Unhealthy, DeadlineExceeded) as error:
        lines, hint = [error.message, *_history(tools.nomad, job)], error.hint
        cause = None if isinstance(error, Unhealthy) and error.explained else why(tools.nomad, tools.consul, job)
        if cause:
            lines, hint = [cause.sentence, *lines], cause.hint
        raise Unhealthy("\n    ".join(lines), hint=hint) from error


def is_passing(consul: ConsulApi, job: Json, allocations: list[Json]) -> bool:
    """Whether each of these allocations that is alive has an instance of every service of its group in Consul, and all
    checks of these pass. Other instances do not count: another stack may have a service of the same name."""
    services = {group["Name"]: jobs.service_names(job, group) for group in jobs.groups(job)}
    health = {name: consul.health(name) for names in services.values() for name in names}
    alive = list(filter(jobs.is_alive, allocations))
    if health and not alive:
        return False
    return all(_passes(alloc, health[name]) for alloc in alive for name in services[alloc["TaskGroup"]])


def _history(nomad: NomadApi, job: Json) -> list[str]:
    """What happened to the newest allocation of this version: task events, last log lines. One that failed comes before
    the one that Nomad has put in its place."""
    try:
        allocations = _allocations(nomad, job)
    except ApiError as error:
        return [f"its allocations cannot be read ({error.message})"]
    if not allocations:
        return [f"Nomad made no allocation of {job['ID']}"]
    allocation = max(allocations, key=lambda alloc: (alloc["ClientStatus"] == "failed", int(alloc["CreateIndex"])))
    lines = [f"allocation {allocation['ID'][:8]} on {allocation.get('NodeName', '?')}: {allocation['ClientStatus']}"]
    for task in sorted(jobs.task_states(allocation)):
        lines += _task_events(allocation, task)
        lines += _last_lines(nomad, allocation["ID"], task)
    return lines


def _allocations(nomad: NomadApi, job: Json) -> list[Json]:
    return jobs.of_version(nomad.job_allocations(job["ID"]), job)


def _passes(allocation: Json, instances: list[Json]) -> bool:
    own = [entry for entry in instances if allocation_id(entry) == allocation["ID"]]
    return bool(own) and all(passes(entry) for entry in own)


def _is_deployed(nomad: NomadApi, job: Json, eval_id: str) -> bool:
    """The deployment decides. For a system job the allocations decide too: it has a deployment only since Nomad 1.11,
    which succeeds even when no node takes the job."""
    deployment = nomad.job_deployment(job["ID"])
    current = deployment if deployment and deployment["JobVersion"] == job["Version"] else None
    if current and current["Status"] in ("failed", "cancelled"):
        state = "failed" if current["Status"] == "failed" else "was cancelled"
        what = f"{job['ID']}: the deployment {state} ({current['StatusDescription']})"
        raise Unhealthy(what, hint=_inspect(job["ID"]))
    if job["Type"] == "service":
        return current is not None and current["Status"] == "successful"
    ended = current is None or current["Status"] == "successful"
    return ended and _all_run(nomad, job) and not _unplaced(nomad, job, eval_id)


def _all_run(nomad: NomadApi, job: Json) -> bool:
    """Whether every allocation of this version runs, and no eligible node still has an older one."""
    allocations = [alloc for alloc in nomad.job_allocations(job["ID"]) if alloc["DesiredStatus"] == "run"]
    own = jobs.of_version(allocations, job)
    others = {alloc["NodeID"] for alloc in allocations if alloc not in own and jobs.is_alive(alloc)}
    if not own or not all(map(jobs.is_running, own)):
        return False
    # Nomad does not touch what runs on an ineligible node.
    return not others or not others & {node["ID"] for node in nomad.nodes() if jobs.takes_jobs(node)}


def _refuse_certain(cause: Cause | None) -> None:
    """Do not wait longer for what does not heal, although Nomad would try it elsewhere for minutes."""
    if cause and cause.certain:
        raise Unhealthy.because(cause)


def _refuse_unplaced(nomad: NomadApi, job: Json, eval_id: str) -> None:
    if reasons := _unplaced(nomad, job, eval_id):
        raise Unhealthy.because(unplaced(nomad, job, reasons))


def _unplaced(nomad: NomadApi, job: Json, eval_id: str) -> tuple[str, ...]:
    """Why the job lacks allocations: all of them, some, or that of one node."""
    evaluation, system = nomad.evaluation(eval_id), jobs.is_system(job)
    reasons = jobs.placement_failures(evaluation)
    allocations = _allocations(nomad, job)
    placed = sum(jobs.is_alive(alloc) or alloc["ClientStatus"] == "complete" for alloc in allocations)
    if placed:
        blocked = any(other["Status"] == "blocked" for other in nomad.job_evaluations(job["ID"]))
        missing = system or placed < jobs.expected_count(job)
        return reasons if missing and blocked else ()
    if system and not reasons and evaluation["Status"] == "complete":  # Nomad gives no reason for a system job
        return (jobs.NO_NODE,)
    return reasons


def _task_events(allocation: Json, task: str) -> list[str]:
    events = jobs.task_events(allocation, task)[-5:]
    return [f"task {task}: {event['Type']}: {event.get('DisplayMessage') or ''}".rstrip(": ") for event in events]


def _last_lines(nomad: NomadApi, alloc_id: str, task: str) -> list[str]:
    try:
        text = log_end(nomad, alloc_id, task)
    except ApiError as error:
        return [f"task {task}: its log cannot be read ({error.message})"]
    return [f"{task} | {line}" for line in text.splitlines()[-LOG_LINES:]]


def _inspect(job_id: str) -> str:
    return f"nomad job status {job_id} shows more; obsctl deploy tries again"
