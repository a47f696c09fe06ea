"""The plan: what a deploy would change. A sorted, frozen value, made from values alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from obsctl import names
from obsctl.config.schema import Config
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Json, digest, one_line
from obsctl.stack import storage
from obsctl.stack.drift import is_another
from obsctl.stack.observe import Desired, DesiredJob, Observed, ObservedJob
from obsctl.stack.storage import Volume


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    STOP = "stop"
    NONE = "none"


class Step(StrEnum):
    """When a change is made, in this order; those of one step are made together."""

    PREPARE = "prepare"
    """What jobs need: variables, content, volumes."""
    JOBS = "jobs"
    WATCH = "watch"
    """Content that watches jobs."""
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes, or does not.

    kind: "variable", "content", "volume" or "job".
    index: what the cluster must still have when the change is made (JobModifyIndex or ModifyIndex, 0: nothing).
    digest: hash of the desired value; "" for variables, whose values have no place in a plan.
    replaces: whether a running allocation of the job makes way for a new one.
    """

    kind: str
    name: str
    action: Action
    reason: str
    step: Step
    index: int = 0
    digest: str = ""
    details: tuple[str, ...] = ()
    replaces: bool = False

    @property
    def shown(self) -> str:
        """The name for people: others can make keys in Consul."""
        return one_line(self.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes of a stack in the order in which they are made."""

    stack: str
    changes: tuple[Change, ...]

    @property
    def effective(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.action is not Action.NONE)

    def counts(self) -> dict[str, int]:
        return {action.value: sum(change.action is action for change in self.changes) for action in Action}

    def to_dict(self) -> Json:
        return asdict(self)

    def checksum(self) -> str:
        """A short hash that is the same for the same plan: it tells whether two runs would do the same."""
        return digest(json.dumps(self.to_dict(), sort_keys=True).encode())


def plan(desired: Desired, observed: Observed, *, only: frozenset[str] = frozenset(), adopt: str = "") -> Plan:
    """Compare. With `only`, nothing of other components is changed, and nothing is stopped or deleted.

    adopt: the job without a mark that this stack takes over. Raises ObsctlError when another one of that name exists
    and is not this stack's.
    """
    scope = _of(only, desired) if only else desired
    _refuse_foreign_jobs(scope, observed, adopt)
    changes = [
        *_variable_changes(scope, observed),
        *_content_changes(scope, observed),
        *_volume_changes(scope, observed),
        *(_job_change(job, observed.jobs.get(job.job_id)) for job in scope.jobs),
        *([] if only else _stops(desired, observed)),
    ]
    return Plan(desired.stack, tuple(sorted(changes, key=_order)))


def losses(changes: Plan, config: Config, desired: Desired, observed: Observed) -> list[Finding]:
    """Which components lose data when this plan is carried out, or may lose it afterwards."""
    jobs = {change.name: change for change in changes.changes if change.kind == "job"}
    return storage.losses(
        config,
        replaced={name for name, change in jobs.items() if change.replaces},
        stopped={name for name, change in jobs.items() if change.action is Action.STOP},
        jobs=[job.job for job in desired.jobs if job.job_id in jobs],
        nodes=observed.nodes,
    )


def _order(change: Change) -> tuple[int, int, str]:
    """Jobs keep the order in which they need each other."""
    kinds = ("variable", "content", "volume", "job")
    return list(Step).index(change.step), kinds.index(change.kind), "" if change.kind == "job" else change.name


def _of(components: frozenset[str], desired: Desired) -> Desired:
    """The part of `desired` that belongs to these components."""
    jobs = tuple(job for job in desired.jobs if job.component in components)
    paths = {names.variable_path(job.job_id) for job in jobs}
    return replace(
        desired,
        jobs=jobs,
        content=tuple(content for content in desired.content if content.component in components),
        variables={path: items for path, items in desired.variables.items() if path in paths},
        volumes=tuple(volume for volume in desired.volumes if volume.component in components),
    )


def _refuse_foreign_jobs(desired: Desired, observed: Observed, adopt: str) -> None:
    known = [observed.jobs[job.job_id] for job in desired.jobs if job.job_id in observed.jobs]
    foreign = [job for job in known if job.owner != desired.stack and (job.owner or job.job_id != adopt)]
    if foreign:
        listed = [f"{job.job_id} ({f'of stack {job.owner}' if job.owner else 'not made by obsctl'})" for job in foreign]
        unmarked = next((job.job_id for job in foreign if not job.owner), None)
        way = f", or take over what is yours, one job after the other: obsctl adopt {unmarked}" if unmarked else ""
        raise ObsctlError(
            f"these jobs exist and do not belong to stack {desired.stack}: {', '.join(listed)}",
            hint=f"choose another name with stack: in obsctl.yaml{way}",
        )


def _variable_changes(desired: Desired, observed: Observed) -> Iterator[Change]:
    for path, items in desired.variables.items():
        index, same = observed.variables[path]
        action = Action.NONE if same else Action.UPDATE if index else Action.CREATE
        reason = {"none": "as desired", "update": "a value differs", "create": "does not exist"}[action]
        yield Change("variable", path, action, reason, Step.PREPARE, index, details=tuple(sorted(items)))


def _content_changes(desired: Desired, observed: Observed) -> Iterator[Change]:
    for content in desired.content:
        value, current = content.value.encode(), observed.content.get(content.key)
        step = Step.WATCH if content.after_jobs else Step.PREPARE
        if current is None:
            yield Change("content", content.key, Action.CREATE, "does not exist", step, digest=digest(value))
        elif content.seed:
            reason, current_digest = "yours to change", digest(current.value)
            yield Change("content", content.key, Action.NONE, reason, step, current.modify_index, current_digest)
        else:
            same = current.value == value
            action, reason = (Action.NONE, "as desired") if same else (Action.UPDATE, "the value differs")
            yield Change("content", content.key, action, reason, step, current.modify_index, digest(value))


def _volume_changes(desired: Desired, observed: Observed) -> Iterator[Change]:
    """Volumes are created and never deleted: only their owner knows whether the data is still needed."""
    jobs = {job.component: job.job for job in desired.jobs}
    busy = [node["ID"] for volume in desired.volumes for node in _holders(volume, observed)]
    for volume in desired.volumes:
        for node in _holders(volume, observed):
            yield Change("volume", volume.on(node), Action.NONE, "as desired", Step.PREPARE)
        for node in storage.place(volume, jobs[volume.component], observed.nodes, observed.volumes, busy):
            busy.append(node["ID"])
            details = (f"a folder that uid {volume.uid} can write",)
            yield Change("volume", volume.on(node), Action.CREATE, "does not exist", Step.PREPARE, details=details)


def _holders(volume: Volume, observed: Observed) -> list[Json]:
    return storage.holders(volume, observed.nodes, observed.volumes)


def _job_change(job: DesiredJob, current: ObservedJob | None) -> Change:
    if current is None:
        return Change("job", job.job_id, Action.CREATE, "does not exist", Step.JOBS, 0, job.spec)
    drift = "it was changed outside obsctl" if current.spec == job.spec else "it is not as configured"
    reasons = (
        (current.owner is None, "obsctl takes it over"),
        (current.stopped, "it was stopped"),
        (is_another(current.spec, job.spec), "the configuration changed"),
        (bool(current.differences), drift),
        (current.failed, "its last deployment failed"),
        (current.blocked, "a task of it waits in a template"),
        (current.unfinished, "its last deployment has not ended"),
    )
    reason = next((words for applies, words in reasons if applies), None)
    change = Change("job", job.job_id, Action.NONE, "as desired", Step.JOBS, current.index, job.spec)
    if reason is None:
        return change
    details = (*current.differences, *current.placement)
    return replace(change, action=Action.UPDATE, reason=reason, details=details, replaces=current.replaces)


def _stops(desired: Desired, observed: Observed) -> Iterator[Change]:
    gone = "no longer in the config"
    for key in sorted(set(observed.content) - {content.key for content in desired.content}):
        yield Change("content", key, Action.STOP, gone, Step.STOP, observed.content[key].modify_index)
    desired_ids = {job.job_id for job in desired.jobs}
    for current in observed.jobs.values():
        if current.owner == desired.stack and current.job_id not in desired_ids and not current.stopped:
            yield Change("job", current.job_id, Action.STOP, gone, Step.STOP, current.index)
