"""What stands on the cluster, next to what should: the two values that a plan compares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TypeVar

from obsctl import __version__, names
from obsctl.clients.jobs import ENDED, placement_failures
from obsctl.clients.protocols import ConsulApi, KvPair, NomadApi
from obsctl.config.secrets import Secret, SecretRef, generate, resolve
from obsctl.errors import Forbidden, ObsctlError, Rejected
from obsctl.model import Json
from obsctl.stack.drift import differences, spec_of
from obsctl.stack.render import Content, Rendered, RenderedJob, SecretItems
from obsctl.stack.storage import Volume

Resolve = Callable[[str, str], Secret]
Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class DesiredJob:
    """A job as it should be registered, marks included. `spec` is the mark that says from which text it was made."""

    component: str
    job_id: str
    spec: str
    job: Json


@dataclass(frozen=True, slots=True)
class Desired:
    """What should stand on the cluster. The secrets' values are here alone, and never in the plan."""

    stack: str
    jobs: tuple[DesiredJob, ...]
    content: tuple[Content, ...]
    variables: Mapping[str, Mapping[str, Secret]] = field(repr=False)
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A job of Nomad, and what Nomad says that registering the desired one would change.

    index: JobModifyIndex. differences: short lines, empty when nothing differs.
    failed: its newest deployment failed, or goes on after a failure; unfinished: it goes on.
    replaces: whether registering it replaces a running allocation.
    """

    job_id: str
    index: int
    meta: Mapping[str, str]
    stopped: bool
    failed: bool = False
    unfinished: bool = False
    differences: tuple[str, ...] = ()
    placement: tuple[str, ...] = ()
    replaces: bool = False

    @property
    def owner(self) -> str | None:
        """The stack whose mark it carries."""
        return self.meta.get(names.STACK_MARK)

    @property
    def spec(self) -> str:
        return self.meta.get(names.SPEC_MARK, "")


@dataclass(frozen=True, slots=True)
class Observed:
    """What stands on the cluster: jobs by id, KV entries and variables that concern this stack."""

    jobs: Mapping[str, ObservedJob]
    content: Mapping[str, KvPair]
    variables: Mapping[str, tuple[int, bool]]
    """path -> (ModifyIndex, whether its items are the desired ones)."""
    nodes: tuple[Json, ...] = ()
    """Stubs of the nodes; none when the token may not list them and no volume is asked for."""
    volumes: tuple[Json, ...] = ()
    """Nomad's dynamic host volumes, if any is asked for."""


def resolver(nomad: NomadApi) -> Resolve:
    """Gives the secret behind a reference. The `key` of obsctl.yaml that has it is named in errors."""

    def read_variable(path: str) -> Mapping[str, str] | None:
        variable = nomad.variable(path)
        return variable.items if variable else None

    return lambda reference, key: resolve(SecretRef(reference), key=key, read_variable=read_variable)


def desire(rendered: Rendered, nomad: NomadApi, resolve: Resolve) -> Desired:
    """Let Nomad parse every job, and resolve every secret. All faults of the jobs are reported at once."""
    jobs, faults = [], []
    for rendered_job, parsed in zip(rendered.jobs, _at_once(partial(_parsed, nomad), rendered.jobs), strict=True):
        if isinstance(parsed, Rejected):
            faults.append(f"{rendered_job.component}: {parsed.message}")
        else:
            jobs.append(_desired_job(rendered.stack, rendered_job, parsed))
    if faults:
        raise ObsctlError(
            "Nomad cannot read these jobs:\n  " + "\n  ".join(faults),
            hint="obsctl render -o DIR writes the jobs as Nomad gets them",
        )
    variables = {item.path: _resolved(item, nomad, resolve) for item in rendered.secrets}
    return Desired(rendered.stack, tuple(jobs), rendered.content, variables, rendered.volumes)


def observe(desired: Desired, nomad: NomadApi, consul: ConsulApi) -> Observed:
    """Read the cluster; changes nothing."""
    wanted = {job.job_id: job for job in desired.jobs}
    seen = [job for job in map(_observed_job, nomad.jobs()) if job.owner == desired.stack or job.job_id in wanted]
    return Observed(
        jobs={job.job_id: job for job in _at_once(lambda job: _compared(job, wanted.get(job.job_id), nomad), seen)},
        content=_observed_content(desired, consul),
        variables={path: _variable(path, items, nomad) for path, items in desired.variables.items()},
        nodes=_nodes(desired, nomad),
        volumes=tuple(nomad.volumes()) if desired.volumes else (),
    )


def digest(value: bytes) -> str:
    """A short content hash: enough to tell two versions apart, and to read."""
    return hashlib.sha256(value).hexdigest()[:16]


def marked(job: Json, *, stack: str, component: str, spec: str, version: str = __version__) -> Json:
    """The job with the marks by which obsctl knows its own."""
    marks = {
        names.STACK_MARK: stack,
        names.COMPONENT_MARK: component,
        names.SPEC_MARK: spec,
        names.VERSION_MARK: version,
    }
    return {**job, "Meta": {**(job.get("Meta") or {}), **marks}}


def _at_once(call: Callable[[Given], Got], items: Sequence[Given]) -> list[Got]:
    """What `call` answers to each, in order: a question to a server is mostly waiting."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(call, items))


def _parsed(nomad: NomadApi, rendered: RenderedJob) -> Json | Rejected:
    try:
        return nomad.parse_job(rendered.hcl)
    except Rejected as error:
        return error


def _desired_job(stack: str, rendered: RenderedJob, job: Json) -> DesiredJob:
    spec = spec_of(rendered.hcl)
    whole = marked(job, stack=stack, component=rendered.component, spec=spec)
    return DesiredJob(rendered.component, rendered.job_id, spec, whole)


def _resolved(item: SecretItems, nomad: NomadApi, resolve: Resolve) -> dict[str, Secret]:
    """What the Variable should hold. What was generated stays; what is not there yet is made now."""
    variable = nomad.variable(item.path) if item.generated else None
    held = variable.items if variable else {}
    kept = {name: Secret(held[name]) if held.get(name) else generate() for name in item.generated}
    return {**kept, **{name: resolve(ref, f"{item.path}#{name}") for name, ref in item.items.items()}}


def _observed_job(stub: Json) -> ObservedJob:
    return ObservedJob(stub["ID"], stub["JobModifyIndex"], stub.get("Meta") or {}, bool(stub.get("Stop")))


def _compared(seen: ObservedJob, desired: DesiredJob | None, nomad: NomadApi) -> ObservedJob:
    """Ask Nomad what registering the desired job would change, and how its last deployment went."""
    if desired is None:
        return seen
    answer = nomad.plan_job(registered_as(seen, desired))
    deployment = nomad.job_deployment(seen.job_id) or {"Status": "none", "JobSpecModifyIndex": None}
    ended = deployment["Status"] in ENDED
    return replace(
        seen,
        failed=deployment["Status"] == "failed" or (not ended and _has_failures(deployment)),
        unfinished=deployment["JobSpecModifyIndex"] == seen.index and not ended,
        differences=tuple(differences(answer.get("Diff") or {}, desired.job, nomad)),
        placement=placement_failures(answer),
        replaces=any(group.get("DestructiveUpdate") for group in _updates(answer)),
    )


def _has_failures(deployment: Json) -> bool:
    """Nomad may go on for minutes with what has failed already, and wait longer each time."""
    return any(group.get("UnhealthyAllocs") for group in (deployment.get("TaskGroups") or {}).values())


def _updates(answer: Json) -> Iterable[Json]:
    """What a plan of Nomad would do to the allocations of each group."""
    groups: Json = (answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}
    return groups.values()


def _nodes(desired: Desired, nomad: NomadApi) -> tuple[Json, ...]:
    try:
        return tuple(nomad.nodes())
    except Forbidden:
        if desired.volumes:
            raise
        return ()


def registered_as(seen: ObservedJob, desired: DesiredJob) -> Json:
    """The desired job as it is to be registered over the one that was seen.

    A job whose spec is as desired keeps the marks of whoever wrote it: a new obsctl alone is no reason to restart
    anything (Nomad replaces allocations when a job's meta changes). A failed one is marked anew, to be tried again.
    """
    if seen.spec != desired.spec:
        return desired.job
    kept = {name: seen.meta[name] for name in (names.VERSION_MARK, names.RETRY_MARK) if name in seen.meta}
    retry = {names.RETRY_MARK: str(seen.index)} if seen.failed else {}
    return {**desired.job, "Meta": {**desired.job["Meta"], **kept, **retry}}


def _observed_content(desired: Desired, consul: ConsulApi) -> dict[str, KvPair]:
    stack = desired.stack
    folders = (names.config_folder(stack), names.dashboards_folder(stack), names.rules_folder(stack))
    pairs = list(chain(*_at_once(consul.entries, [f"{folder}/" for folder in folders])))
    for seed in (content.key for content in desired.content if content.seed):
        pair = consul.get(seed)
        pairs += [pair] if pair else []
    return {pair.key: pair for pair in pairs}


def _variable(path: str, items: Mapping[str, Secret], nomad: NomadApi) -> tuple[int, bool]:
    variable = nomad.variable(path)
    if variable is None:
        return 0, False
    return variable.modify_index, variable.items == {name: secret.reveal() for name, secret in items.items()}
