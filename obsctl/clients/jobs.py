"""What Nomad's JSON says of jobs, allocations, deployments and nodes. Pure: nothing here asks a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest

from obsctl.model import Json, unix_time

ENDED = ("successful", "failed", "cancelled")
"""The last states of a deployment."""
_INTERPOLATION = re.compile(r"\$\{([^}]*)\}")
NO_NODE = "no node is eligible in the job's datacenters and node pool"
_SERVER_FIELDS = frozenset(
    ("CreateIndex", "JobModifyIndex", "ModifyIndex", "NomadTokenID", "Stable", "Status", "StatusDescription", "Stop",
     "SubmitTime", "Version", "VersionTag")
)  # fmt: skip


def spec(job: Json) -> Json:
    """What somebody registered, without what Nomad adds to it: its state, its indexes, its version."""
    return {name: value for name, value in job.items() if name not in _SERVER_FIELDS}


def groups(job: Json) -> list[Json]:
    return job.get("TaskGroups") or []


def tasks(job: Json) -> list[Json]:
    """The tasks of all groups."""
    return [task for group in groups(job) for task in group.get("Tasks") or []]


def service_names(group: Json) -> set[str]:
    """The names under which the group and its tasks are registered in Consul."""
    return {name for owner in (group, *(group.get("Tasks") or [])) for name in _own_service_names(owner)}


def _own_service_names(owner: Json) -> list[str]:
    """owner: a group, or a task."""
    services = owner.get("Services") or []
    return [service["Name"] for service in services if service.get("Provider", "consul") == "consul"]


def expected_count(job: Json) -> int:
    """How many allocations a service job should have."""
    return sum(group.get("Count") or 0 for group in groups(job))


def expected_instances(job: Json, service: str) -> int:
    """How many instances of the service it should have: those of the groups that register it."""
    return sum(group.get("Count") or 0 for group in groups(job) if _declares(job, group, service))


def declares(job: Json, service: str) -> bool:
    """Whether the job itself says that it registers a service of this name in Consul."""
    return any(_declares(job, group, service) for group in groups(job))


def _declares(job: Json, group: Json, service: str) -> bool:
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


def task_states(allocation: Json) -> dict[str, Json]:
    """Task -> its State, Events, StartedAt and so on; a task that never began has none."""
    return allocation.get("TaskStates") or {}


def task_state(allocation: Json, task: str) -> str:
    """ "pending", "running" or "dead"; "" when the task has not begun."""
    return str((task_states(allocation).get(task) or {}).get("State", ""))


def task_events(allocation: Json, task: str) -> list[Json]:
    """What happened to the task, the oldest event first. Nomad keeps the last ten."""
    return (task_states(allocation).get(task) or {}).get("Events") or []


def finished_at(allocation: Json) -> float | None:
    """When its last task ended, in Unix seconds; None when none has ended yet."""
    ends = [state.get("FinishedAt") or "" for state in task_states(allocation).values()]
    return max((unix_time(end) for end in ends if end and not end.startswith("0001-")), default=None)


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
