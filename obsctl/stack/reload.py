"""Waits until a job runs with a changed file from Consul KV or a Nomad Variable, and passes its checks; or says why it
does not.

Nomad writes the file some seconds after its source has changed, and then signals or restarts the task. It makes no
deployment for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.model import Json
from obsctl.stack.health import Tools, Unhealthy, explained, is_passing
from obsctl.wait import HICCUPS, wait_until

NOTICED = 60.0
"""Seconds in which Nomad must act. It waits up to ten for further changes (template wait and splay)."""
CRASHES = 2
"""So many crashes of a task since the change show that the file is wrong. One may be of the program before it."""
RESTART = "Restart Signaled"
_EVENTS = {"restart": RESTART, "signal": "Signaling"}
"""change_mode of a template -> Nomad's event when it acts on a change. Other modes leave the task alone."""


@dataclass(frozen=True, slots=True)
class Readers:
    """The tasks of a job that Nomad signals or restarts when a file changes, as they were before the change.

    tasks: name -> that event. newest: (allocation, task) -> time of the newest event before, in Unix nanoseconds.
    failing: allocations of which a task did not run before: when they fail again, that is not because of the file.
    """

    job: Json
    tasks: Mapping[str, str]
    newest: Mapping[tuple[str, str], int]
    failing: frozenset[str]

    def since(self, alloc: Json, task: str, *kinds: str) -> list[int]:
        """The times of the task's events of these kinds since the change, in order."""
        before = self.newest.get((alloc["ID"], task), 0)
        return [
            event["Time"]
            for event in jobs.task_events(alloc, task)
            if event["Time"] > before and event["Type"] in kinds
        ]


def readers_of_key(nomad: NomadApi, job_id: str, key: str) -> Readers:
    """The tasks of the job that Nomad signals or restarts when this key of Consul KV changes."""
    return _readers(nomad, job_id, lambda text: f'key "{key}"' in text)


def readers_of_items(nomad: NomadApi, job_id: str, path: str, items: Iterable[str]) -> Readers:
    """Those that it signals or restarts when one of these items of the Variable changes."""
    item = re.compile(rf"[.\"]({'|'.join(map(re.escape, items))})\b")
    return _readers(nomad, job_id, lambda text: f'nomadVar "{path}"' in text and bool(item.search(text)))


def _readers(nomad: NomadApi, job_id: str, reads: Callable[[str], bool]) -> Readers:
    job = nomad.job(job_id)
    tasks = {
        task["Name"]: _EVENTS[template["ChangeMode"]]
        for task in jobs.tasks(job)
        for template in task.get("Templates") or []
        if reads(template["EmbeddedTmpl"]) and template["ChangeMode"] in _EVENTS
    }
    allocations = nomad.job_allocations(job_id) if tasks else []
    newest = {
        (alloc["ID"], task): max((event["Time"] for event in jobs.task_events(alloc, task)), default=0)
        for alloc in allocations
        for task in tasks
    }
    failing = {alloc["ID"] for alloc in allocations for task in tasks if jobs.task_state(alloc, task) != "running"}
    return Readers(job, tasks, newest, frozenset(failing))


def wait_reloaded(tools: Tools, readers: Readers, file: str) -> None:
    """Wait until Nomad has signalled or restarted every reader, and all have passed their checks for a while since.

    file: its name for messages. Raises as wait_healthy does.
    """
    job_id, clock = str(readers.job["ID"]), tools.clock
    patience, healthy_since = _patience(readers.job), float("inf")

    def allocations() -> list[Json]:
        tools.check()
        return jobs.of_version(tools.nomad.job_allocations(job_id), readers.job)

    def have_read() -> bool:
        return all(
            readers.since(alloc, task, event, "Started")
            for alloc in allocations()
            if jobs.is_running(alloc)
            for task, event in readers.tasks.items()
        )

    def are_healthy() -> bool:
        nonlocal healthy_since
        current = allocations()
        _refuse_crashed(readers, current, file)
        passing = _all_run(readers, current) and is_passing(tools.consul, readers.job, current)
        healthy_since = min(healthy_since, clock.monotonic()) if passing else float("inf")
        return clock.monotonic() - healthy_since >= patience

    hint, timeout = f"nomad job status {job_id} shows more", tools.timeout
    with explained(tools, readers.job):
        unread = f"{job_id} did not read the new {file}"
        noticed = min(NOTICED, timeout)
        wait_until(have_read, timeout=noticed, failure=unread, hint=hint, clock=clock, tolerate=HICCUPS)
        unhealthy = f"{job_id} did not pass its checks with the new {file}"
        wait_until(are_healthy, timeout=timeout, failure=unhealthy, hint=hint, clock=clock, tolerate=HICCUPS)


def _all_run(readers: Readers, allocations: list[Json]) -> bool:
    """Whether each task runs, and has started since it was last told to restart."""
    return all(
        jobs.task_state(alloc, task) == "running"
        and max(readers.since(alloc, task, RESTART), default=0) <= max(readers.since(alloc, task, "Started"), default=0)
        for alloc in allocations
        if jobs.is_alive(alloc)
        for task in readers.tasks
    )


def _refuse_crashed(readers: Readers, allocations: list[Json], file: str) -> None:
    for alloc in (alloc for alloc in allocations if alloc["ID"] not in readers.failing):
        for task in readers.tasks:
            crashes = len(readers.since(alloc, task, "Restarting")) - len(readers.since(alloc, task, RESTART))
            failed = alloc["ClientStatus"] == "failed" and readers.since(alloc, task, "Terminated", "Not Restarting")
            if crashes >= CRASHES or failed:
                raise Unhealthy(
                    f"{readers.job['ID']} does not run with the new {file}",
                    hint="correct it or put it back, and deploy again",
                )


def _patience(job: Json) -> float:
    """Seconds after which every check has asked the program as it is now."""
    services = [service for group in jobs.groups(job) for service in group.get("Services") or []]
    checks = [check for service in services for check in service.get("Checks") or []]
    return max(((check["Interval"] + check["Timeout"]) / 1e9 for check in checks), default=0.0)
