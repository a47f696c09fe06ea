"""What Nomad's JSON says of jobs, allocations, deployments and nodes. Pure: nothing here asks a server."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from functools import partial
from itertools import pairwise, zip_longest

from obsctl.model import Json, unix_time

ENDED = ("successful", "failed", "cancelled")
"""The last states of a deployment."""
_INTERPOLATION = re.compile(r"\$\{([^}]*)\}")
NO_NODE = "no node is eligible in the job's datacenters and node pool"
_OF_IDENTITIES = {"LTarget": "${attr.nomad.version}", "Operand": "semver", "RTarget": ">= 1.7.0-a"}
_SERVER_FIELDS = frozenset(
    ("CreateIndex", "JobModifyIndex", "ModifyIndex", "NomadTokenID", "Stable", "Status", "StatusDescription", "Stop",
     "SubmitTime", "Version", "VersionTag")
)  # fmt: skip


def spec(job: Json) -> Json:
    """What somebody registered, without what Nomad adds to it: its state, its indexes, its version."""
    return {name: value for name, value in job.items() if name not in _SERVER_FIELDS}


def to_register_again(job: Json) -> Json:
    """The job as Nomad has it, so that it has the same after it is registered: from 1.7 on, each registration adds to
    every group with an identity this constraint, whether the group has it or not (read in Nomad 2.0.5)."""
    return {**job, "TaskGroups": [_without_implied(group) for group in groups(job)]}


def _without_implied(group: Json) -> Json:
    parts, constraints = [group, *(group.get("Tasks") or [])], group.get("Constraints") or []
    has_identity = any(service.get("Identity") for part in parts for service in part.get("Services") or [])
    has_identity = has_identity or any(part.get("Identities") for part in parts)
    is_implied = has_identity and constraints[-1:] == [_OF_IDENTITIES]  # Nomad adds it as the last one
    return {**group, "Constraints": constraints[:-1]} if is_implied else group


def groups(job: Json) -> list[Json]:
    return job.get("TaskGroups") or []


def tasks(job: Json) -> list[Json]:
    """The tasks of all groups."""
    return [task for group in groups(job) for task in group.get("Tasks") or []]


def service_names(job: Json, group: Json) -> set[str]:
    """The names under which the group and its tasks are registered in Consul. Those that a node completes are left
    out."""
    names = {
        _INTERPOLATION.sub(partial(_filled, _known(job, group, task)), name)
        for task in (None, *(group.get("Tasks") or []))
        for name in _own_service_names(task or group)
    }
    return {name for name in names if not _INTERPOLATION.search(name)}


def _filled(known: Mapping[str, str], part: re.Match[str]) -> str:
    return known.get(part[1], part[0])


def _own_service_names(owner: Json) -> list[str]:
    """owner: a group, or a task."""
    services = owner.get("Services") or []
    return [service["Name"] for service in services if service.get("Provider", "consul") == "consul"]


def expected_count(job: Json) -> int:
    """How many allocations a service job should have."""
    return sum(group.get("Count") or 0 for group in groups(job))


def expected_instances(job: Json, service: str) -> int:
    """How many instances of the service it should have: those of the groups that register it."""
    return sum(group.get("Count") or 0 for group in groups(job) if serves(job, group, service))


def declares(job: Json, service: str) -> bool:
    """Whether the job itself says that it registers a service of this name in Consul."""
    return any(serves(job, group, service) for group in groups(job))


def check_interval(job: Json, service: str) -> float:
    """Seconds between two checks of the service's health by Consul, the longest; 0 when it has none."""
    tasks = [
        task for group in groups(job) if serves(job, group, service) for task in (group, *(group.get("Tasks") or []))
    ]
    checks = [check for task in tasks for each in task.get("Services") or [] for check in each.get("Checks") or []]
    return max((float(check.get("Interval") or 0) / 1e9 for check in checks), default=0.0)


def serves(job: Json, group: Json, service: str) -> bool:
    """Whether this group of the job says that it registers a service of this name in Consul."""
    for task in (None, *(group.get("Tasks") or [])):
        known = _known(job, group, task)
        if any(_may_become(name, known, service) for name in _own_service_names(task or group)):
            return True
    return False


def _known(job: Json, group: Json, task: Json | None) -> dict[str, str]:
    """What Nomad puts in the place of `${…}` in names of services, as far as the job alone tells it."""
    levels = [job, group, task or {}]
    meta = {key: str(value) for level in levels for key, value in (level.get("Meta") or {}).items()}
    names = {
        "NOMAD_JOB_ID": job.get("ID"), "NOMAD_JOB_NAME": job.get("Name"), "NOMAD_NAMESPACE": job.get("Namespace"),
        "NOMAD_GROUP_NAME": group.get("Name"), "NOMAD_TASK_NAME": (task or {}).get("Name"),
    }  # fmt: skip
    keys = {f"NOMAD_META_{key}": value for key, value in meta.items()}
    return {
        **{name: str(value) for name, value in names.items() if value},
        **keys,
        **{key.upper(): value for key, value in keys.items()},
    }


def _may_become(name: str, known: Mapping[str, str], service: str) -> bool:
    """Whether a name in a job can be this one on a node: what only the node tells may be any text."""
    parts = _INTERPOLATION.split(name)
    texts = [re.escape(part) for part in parts[::2]]
    filled = [re.escape(known[part]) if part in known else ".+" for part in parts[1::2]]
    return (
        re.fullmatch("".join(text + more for text, more in zip_longest(texts, filled, fillvalue="")), service)
        is not None
    )


def is_system(job: Json) -> bool:
    """Whether it runs once on every node that can take it."""
    return job.get("Type") == "system"


def job_of(allocation: Json) -> tuple[str, str]:
    """Namespace and id of its job: two namespaces may each have a job with the same id."""
    return str(allocation["Namespace"]), str(allocation["JobID"])


def is_alive(allocation: Json) -> bool:
    return allocation["ClientStatus"] in ("pending", "running")


def may_run(allocation: Json) -> bool:
    """Whether its tasks may be running: also when its node does not answer ("unknown")."""
    return is_alive(allocation) or allocation["ClientStatus"] == "unknown"


def is_running(allocation: Json) -> bool:
    return bool(allocation["ClientStatus"] == "running")


def of_version(allocations: Iterable[Json], job: Json) -> list[Json]:
    """The allocations that Nomad made of this version of the job."""
    return [allocation for allocation in allocations if allocation.get("JobVersion") == job["Version"]]


def is_lost(node: Json) -> bool:
    """Whether Nomad has given the node up, and places elsewhere what ran there."""
    return node["Status"] in ("down", "disconnected")


def current(job: Json, allocations: Iterable[Json], lost: Container[str]) -> list[Json]:
    """Those that count now, newest first: of each place in the job the newest, if it should run there. What Nomad has
    replaced or lost with a node is left out. lost: ids of the nodes that it has given up.

    The desired status alone does not tell: of an ended allocation it stays what it was.
    """
    newest: dict[tuple[str, ...], Json] = {}
    for alloc in sorted(allocations, key=lambda each: int(each["CreateIndex"]), reverse=True):
        newest.setdefault((alloc["Name"], alloc["NodeID"]) if is_system(job) else (alloc["Name"],), alloc)
    return [alloc for alloc in newest.values() if _counts(alloc, lost)]


def _counts(allocation: Json, lost: Container[str]) -> bool:
    is_wanted = allocation["DesiredStatus"] == "run" and allocation["NodeID"] not in lost
    return is_wanted and (may_run(allocation) or allocation["ClientStatus"] == "failed")


def task_states(allocation: Json) -> dict[str, Json]:
    """Task -> its State, Events, StartedAt and so on; a task that never began has none."""
    return allocation.get("TaskStates") or {}


def task_state(allocation: Json, task: str) -> str:
    """ "pending", "running" or "dead"; "" when the task has not begun."""
    return str((task_states(allocation).get(task) or {}).get("State", ""))


CALM = 60.0
"""Seconds. A task that crashed in this time counts as failing, though it may run again at the moment."""


def failing_task(job: Json, allocation: Json, now: float) -> str:
    """What is wrong with the first task of this allocation that should run and does not, or keeps crashing; "" when all
    is well. now: Unix seconds."""
    for group in groups(job):
        for task in group.get("Tasks") or [] if group["Name"] == allocation["TaskGroup"] else []:
            lifecycle = task.get("Lifecycle") or {}
            words = _failing(allocation, task["Name"], now)
            if words and (not lifecycle or lifecycle.get("Sidecar")):
                return f"task {task['Name']} {words}"
    return ""


def _failing(allocation: Json, task: str, now: float) -> str:
    state = task_states(allocation).get(task) or {}
    last = next((words for event in reversed(task_events(allocation, task)) if (words := _words(event))), "")
    if state.get("State") != "running":
        return f"does not run{f' ({last})' if last else ''}"
    last_crash: Json = next(reversed(crashes(allocation, task)), {})
    if now - int(last_crash.get("Time") or 0) / 1e9 < CALM:
        return f"crashed less than a minute ago, {state.get('Restarts', 0)} restarts in all ({_words(last_crash)})"
    return ""


def crashes(allocation: Json, task: str) -> list[Json]:
    """The events of its ends by itself with an error, the oldest first."""
    events = task_events(allocation, task)
    return [event for before, event in pairwise([{}, *events]) if _is_crash(before, event)]


def _is_crash(before: Json, event: Json) -> bool:
    """Whether the task ended by itself: nobody had asked for a restart."""
    details = event.get("Details") or {}
    failed = any(details.get(name, "0") != "0" for name in ("exit_code", "signal"))
    asked_for = before.get("Type") in ("Restart Signaled", "Killing")
    return event["Type"] == "Terminated" and failed and not asked_for


def _words(event: Json) -> str:
    return str(event.get("DisplayMessage") or "") if event["Type"] not in ("Started", "Received", "Task Setup") else ""


def task_events(allocation: Json, task: str) -> list[Json]:
    """What happened to the task, the oldest event first. Nomad keeps the last ten."""
    return (task_states(allocation).get(task) or {}).get("Events") or []


def ports(allocation: Json) -> list[int]:
    """The ports of its node that Nomad gave it: the group's."""
    resources: Json = allocation.get("AllocatedResources") or {}
    shared = (resources.get("Shared") or {}).get("Ports") or []
    return [int(port["Value"]) for port in shared]


def started_at(allocation: Json) -> float | None:
    """When its last task began, in Unix seconds; None when none has begun yet."""
    return _latest(allocation, "StartedAt")


def finished_at(allocation: Json) -> float | None:
    """When its last task ended, in Unix seconds; None when none has ended yet."""
    return _latest(allocation, "FinishedAt")


def _latest(allocation: Json, event: str) -> float | None:
    times = [state.get(event) or "" for state in task_states(allocation).values()]
    return max((unix_time(time) for time in times if time and not time.startswith("0001-")), default=None)


def takes_jobs(node: Json) -> bool:
    """Whether Nomad places anything there now: the node is ready and eligible."""
    return bool(node["Status"] == "ready" and node["SchedulingEligibility"] == "eligible")


def placement_failures(answer: Json) -> tuple[str, ...]:
    """Why no node can take a group, one text a group. answer: a plan or an evaluation, with its FailedTGAllocs."""
    failed: Json = answer.get("FailedTGAllocs") or {}
    return tuple(f"group {group}: {_reasons(metric)}" for group, metric in sorted(failed.items()))


def _reasons(metric: Json) -> str:
    filtered, exhausted = metric.get("ConstraintFiltered") or {}, metric.get("DimensionExhausted") or {}
    reasons = [f"{name} ({_nodes(count)})" for name, count in filtered.items()]
    reasons += [f"{name} exhausted on {_nodes(count)}" for name, count in exhausted.items()]
    if not metric.get("NodesEvaluated"):
        reasons.append(NO_NODE)
    return "; ".join(reasons) or "no node can take it"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
