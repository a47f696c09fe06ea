"""Why a job does not come up: the facts, read from Nomad and Consul, and the cause that they show.

A deploy, `status` and a drill that waits for its service ask the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from obsctl import names
from obsctl.clients import jobs
from obsctl.clients.instances import allocation_id, failing
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.errors import ApiError
from obsctl.model import Json
from obsctl.stack.causes import cause, lacks_port
from obsctl.stack.facts import Cause, Facts, Need, needs, unhealthy
from obsctl.wait import SYSTEM_CLOCK, Clock

REGISTERED = 20.0
"""Seconds after which what runs is registered in Consul: Nomad does that at once, and what is refused never heals."""
_PAUSE = 1.0
"""Seconds between two looks: a look at what has crashed reads logs, and may list all allocations of the cluster."""
_COLLISION = re.compile(r"reserved port collision [\w-]+=(\d+)")


class Watch:
    """Looks at a job again and again, and remembers since when it has seen what a template waits for, and since when
    each allocation runs."""

    def __init__(self, nomad: NomadApi, consul: ConsulApi, job: Json, clock: Clock = SYSTEM_CLOCK) -> None:
        self._nomad = nomad
        self._consul = consul
        self._job = job
        self._clock = clock
        self._since: dict[Need, float] = {}
        self._runs_since: dict[str, float] = {}
        self._looks_again = 0.0
        self._last: Cause | None = None

    def cause(self, allocations: Iterable[Json], *, checks: bool = False) -> Cause | None:
        """The cause that is said first: one that does not heal. checks: whether to look in Consul before Nomad's
        deadline, too; until then a check may still pass. Asked again within a second, it does not look again."""
        now = self._clock.monotonic()
        if now >= self._looks_again:
            self._looks_again, self._last = now + _PAUSE, self._look(allocations, checks)
        return self._last

    def _look(self, allocations: Iterable[Json], checks: bool) -> Cause | None:
        concerned = [alloc for alloc in allocations if jobs.is_alive(alloc) or alloc["ClientStatus"] == "failed"]
        causes = list(filter(None, (cause(self._facts(alloc, checks)) for alloc in concerned)))
        return min(causes, key=lambda each: not each.certain, default=None)

    def _facts(self, allocation: Json, checks: bool) -> Facts:
        """All that is known of one allocation; little is asked about one without trouble."""
        nomad, job, tasks = self._nomad, self._job, jobs.task_states(allocation)
        awaited = {need for task in tasks for need in needs(allocation, task)}
        crashed = [task for task in tasks if Facts(job, allocation, 0.0).events(task, "Terminated")]
        settled = self._runs_for(allocation) >= REGISTERED
        looks = checks or settled or unhealthy(allocation)
        registered = _instances(self._consul, job, allocation) if looks else {}
        failing = tuple(_failing(registered))
        speakers = list(tasks) if failing else crashed
        facts = Facts(
            job,
            allocation,
            nomad.server_time() if crashed else 0.0,
            {task: _readable_end(nomad, allocation["ID"], task) for task in speakers},
            {need: seconds for need in awaited for seconds in self._ages(need)},
            failing,
            unregistered=tuple(name for name, own in registered.items() if not own),
            settled=settled,
        )
        if not lacks_port(facts):
            return facts
        return replace(facts, holders=port_holders(nomad, job["ID"], allocation["NodeID"]))

    def _runs_for(self, allocation: Json) -> float:
        """For how many seconds it was seen with all its tasks begun; 0 when one of them has not."""
        tasks = jobs.task_states(allocation)
        if not tasks or any(jobs.task_state(allocation, task) in ("", "pending") for task in tasks):
            self._runs_since.pop(allocation["ID"], None)
            return 0.0
        now = self._clock.monotonic()
        return now - self._runs_since.setdefault(allocation["ID"], now)

    def _ages(self, need: Need) -> list[float | None]:
        """For how many seconds it has been there, or None; nothing when obsctl may not know, or cannot look it up."""
        try:
            there = _exists(self._nomad, self._consul, need)
        except ApiError:
            return []
        if there:
            now = self._clock.monotonic()
            return [now - self._since.setdefault(need, now)]
        self._since.pop(need, None)
        return [] if there is None else [None]


def why(nomad: NomadApi, consul: ConsulApi, job: Json) -> Cause | None:
    """What keeps the job from being healthy, as far as one look tells and obsctl has the right to know."""
    try:
        allocations = jobs.of_version(nomad.job_allocations(job["ID"]), job)
        return Watch(nomad, consul, job).cause(allocations, checks=True) or _waiting(nomad, job)
    except ApiError:
        return None


def unplaced(nomad: NomadApi, job: Json, reasons: Iterable[str]) -> Cause:
    """reasons: those that Nomad gives, of which a port has the job that holds it."""
    text = "; ".join(_named(job, reason) for reason in reasons)
    ports = sorted({int(port) for port in _COLLISION.findall(text)})
    holders = port_holders(nomad, job["ID"]) if ports else {}
    taken = [f"port {port} is taken by the job {holders[port]}" for port in ports if port in holders]
    words = "; ".join([f"{job['ID']} cannot be placed: {text}", *taken])
    hint = "give a node what is missing, or change driver, resources or datacenters in obsctl.yaml"
    return Cause(words, "stop that job, or choose another port in obsctl.yaml" if taken else hint, certain=True)


def _named(job: Json, reason: str) -> str:
    """The reason with what it is about, which Nomad leaves out: "missing drivers docker"."""
    group = next((group for group in jobs.groups(job) if reason.startswith(f"group {group['Name']}: ")), {})
    drivers = sorted({task["Driver"] for task in group.get("Tasks") or [] if task.get("Driver")})
    volumes = sorted(each["Source"] for each in (group.get("Volumes") or {}).values() if each["Type"] == "host")
    for words, what in (("missing drivers", drivers), ("missing compatible host volumes", volumes)):
        reason = reason.replace(words, " ".join([words, ", ".join(what)]).strip())
    return reason


def log_end(nomad: NomadApi, alloc_id: str, task: str) -> str:
    """The end of both its logs."""
    return "".join(nomad.task_logs(alloc_id, task, stream=stream) for stream in ("stdout", "stderr"))


def _readable_end(nomad: NomadApi, alloc_id: str, task: str) -> str:
    try:
        return log_end(nomad, alloc_id, task)
    except ApiError:
        return ""


def port_holders(nomad: NomadApi, job_id: str, node_id: str = "") -> dict[int, str]:
    """Port -> the other job that Nomad gave it to on this node, or on any; {} without the right to know."""
    try:
        allocations = nomad.allocations()
    except ApiError:
        return {}
    there = [alloc for alloc in allocations if node_id in ("", alloc["NodeID"])]
    others = [alloc for alloc in there if jobs.may_run(alloc) and alloc["JobID"] != job_id]
    return {port: str(alloc["JobID"]) for alloc in others for port in jobs.ports(alloc)}


def _waiting(nomad: NomadApi, job: Json) -> Cause | None:
    evaluations = nomad.job_evaluations(job["ID"])
    if not any(each["Status"] == "blocked" for each in evaluations):
        return None
    reasons = next(filter(None, map(jobs.placement_failures, evaluations)), ())
    return unplaced(nomad, job, reasons) if reasons else None


def _exists(nomad: NomadApi, consul: ConsulApi, need: Need) -> bool | None:
    if need.kind == "key" and names.NEVER_MADE in need.name:
        return None
    if need.kind == "key":
        return consul.get(need.name) is not None
    if need.kind == "variable":
        return nomad.variable(need.name) is not None
    return True if need.kind == "service" else None  # Consul answers, be there an instance or not


def _instances(consul: ConsulApi, job: Json, allocation: Json) -> dict[str, list[Json]]:
    """Each service of the allocation -> what it has registered in Consul."""
    group = next((group for group in jobs.groups(job) if group["Name"] == allocation.get("TaskGroup")), {})
    return {
        name: [entry for entry in consul.health(name) if allocation_id(entry) == allocation["ID"]]
        for name in sorted(jobs.service_names(job, group))
    }


def _failing(registered: dict[str, list[Json]]) -> Iterable[str]:
    for name, own in registered.items():
        for entry in own:
            if failure := failing(entry):
                yield f"the check of its service {name} fails: {failure}"
