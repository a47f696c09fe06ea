"""The gate after a file in Consul KV that a job reads: the job runs with it, and is well. Or the reason why not.

Nomad writes such a file anew some seconds after the key has changed, and then signals or restarts the task. It makes no
deployment of it, so without this nothing would be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.model import Json
from obsctl.stack.health import Tools, Unhealthy, explained, is_passing
from obsctl.wait import wait_until

NOTICED = 60.0
"""Seconds in which Nomad must have acted. It waits up to ten for further changes (template wait and splay)."""
CRASHES = 2
"""So many ends of a task since the change are its fault. One may be that of the program before it."""
RESTART = "Restart Signaled"
_TOLD = {"restart": RESTART, "signal": "Signaling"}
"""change_mode of a template -> the event by which Nomad says that it acts on a change. Others leave the task alone."""


@dataclass(frozen=True, slots=True)
class Readers:
    """The tasks of a job that are told when a file changes, as they were before.

    tasks: name -> the event that tells. newest: (allocation, task) -> Unix nanoseconds of the newest event by then.
    ailing: allocations in which one did not run: that they fail once more says nothing of what they will read next.
    """

    job: Json
    tasks: Mapping[str, str]
    newest: Mapping[tuple[str, str], int]
    ailing: frozenset[str]

    def since(self, alloc: Json, task: str, *kinds: str) -> list[int]:
        """When the task has had events of these kinds since, in order."""
        before = self.newest.get((alloc["ID"], task), 0)
        return [
            event["Time"]
            for event in jobs.task_events(alloc, task)
            if event["Time"] > before and event["Type"] in kinds
        ]


def readers_of(nomad: NomadApi, job_id: str, key: str) -> Readers:
    """The tasks of the job that are told when this key of Consul KV changes."""
    job = nomad.job(job_id)
    tasks = {
        task["Name"]: _TOLD[template["ChangeMode"]]
        for task in jobs.tasks(job)
        for template in task.get("Templates") or []
        if f'key "{key}"' in template["EmbeddedTmpl"] and template["ChangeMode"] in _TOLD
    }
    allocations = nomad.job_allocations(job_id) if tasks else []
    newest = {
        (alloc["ID"], task): max((event["Time"] for event in jobs.task_events(alloc, task)), default=0)
        for alloc in allocations
        for task in tasks
    }
    ailing = {alloc["ID"] for alloc in allocations for task in tasks if jobs.task_state(alloc, task) != "running"}
    return Readers(job, tasks, newest, frozenset(ailing))


def wait_reloaded(tools: Tools, readers: Readers, file: str) -> None:
    """Wait until Nomad has told every reader, and all have passed their checks for a while since.

    file: what it is called in messages. Raises Unhealthy, and what `tools.check` raises.
    """
    job_id, clock = str(readers.job["ID"]), tools.clock
    patience, well_since = _patience(readers.job), float("inf")

    def allocations() -> list[Json]:
        tools.check()
        return jobs.of_version(tools.nomad.job_allocations(job_id), readers.job)

    def are_told() -> bool:
        return all(
            readers.since(alloc, task, event, "Started")
            for alloc in allocations()
            if jobs.is_running(alloc)
            for task, event in readers.tasks.items()
        )

    def are_well() -> bool:
        nonlocal well_since
        current = allocations()
        _refuse_crashed(readers, current, file)
        passing = _all_run(readers, current) and is_passing(tools.consul, readers.job, current)
        well_since = min(well_since, clock.monotonic()) if passing else float("inf")
        return clock.monotonic() - well_since >= patience

    hint, timeout = f"nomad job status {job_id} shows more", tools.timeout
    with explained(tools.nomad, readers.job):
        unread = f"{job_id} did not read the new {file}"
        wait_until(are_told, timeout=min(NOTICED, timeout), failure=unread, hint=hint, clock=clock)
        unwell = f"{job_id} did not pass its checks with the new {file}"
        wait_until(are_well, timeout=timeout, failure=unwell, hint=hint, clock=clock)


def _all_run(readers: Readers, allocations: list[Json]) -> bool:
    """Whether each task runs, and has begun anew since it was last to be restarted."""
    return all(
        jobs.task_state(alloc, task) == "running"
        and max(readers.since(alloc, task, RESTART), default=0) <= max(readers.since(alloc, task, "Started"), default=0)
        for alloc in allocations
        if jobs.is_alive(alloc)
        for task in readers.tasks
    )


def _refuse_crashed(readers: Readers, allocations: list[Json], file: str) -> None:
    for alloc in (alloc for alloc in allocations if alloc["ID"] not in readers.ailing):
        for task in readers.tasks:
            crashes = len(readers.since(alloc, task, "Restarting")) - len(readers.since(alloc, task, RESTART))
            failed = alloc["ClientStatus"] == "failed" and readers.since(alloc, task, "Terminated", "Not Restarting")
            if crashes >= CRASHES or failed:
                raise Unhealthy(
                    f"{readers.job['ID']} does not run with the new {file}",
                    hint="correct it or put it back, and deploy again",
                )


def _patience(job: Json) -> float:
    """Seconds after which a check that passes was made of the program as it is now."""
    services = [service for group in jobs.groups(job) for service in group.get("Services") or []]
    checks = [check for service in services for check in service.get("Checks") or []]
    return max(((check["Interval"] + check["Timeout"]) / 1e9 for check in checks), default=0.0)
