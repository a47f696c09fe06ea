"""The desired and the observed state of the cluster: the two values that a plan compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from typing import TypeVar

from obsctl import __version__, names
from obsctl.clients.constraints import constraints_of
from obsctl.clients.jobs import ENDED, is_alive, placement_failures, takes_jobs, task_states
from obsctl.clients.protocols import ConsulApi, KvPair, NomadApi
from obsctl.config.secrets import Secret, SecretRef, generate, resolve
from obsctl.errors import Forbidden, ObsctlError, Rejected
from obsctl.model import Json
from obsctl.stack.drift import differences, spec_of
from obsctl.stack.facts import needs
from obsctl.stack.render import Content, Rendered, RenderedJob, SecretItems
from obsctl.stack.storage import Volume

Resolve = Callable[[SecretRef, str], Secret]
Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class DesiredJob:
    """A job as it should be registered, with marks. spec: the mark that tells from which text it was made."""

    component: str
    job_id: str
    spec: str
    job: Json


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be on the cluster. Only this value holds the secrets; a plan never does."""

    stack: str
    jobs: tuple[DesiredJob, ...]
    content: tuple[Content, ...]
    variables: Mapping[str, Mapping[str, Secret]] = field(repr=False)
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A job in Nomad, and what would change if the desired job were registered.

    index: JobModifyIndex. differences: short lines, empty when nothing differs.
    failed: its newest deployment failed, or continues after a failure; unfinished: it has not ended. blocked: a task of
    it waits in a template.
    replaces: whether a running allocation would be replaced.
    """

    job_id: str
    index: int
    meta: Mapping[str, str]
    stopped: bool
    failed: bool = False
    unfinished: bool = False
    blocked: bool = False
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
    """What is on the cluster: jobs by id, KV entries and variables of this stack."""

    jobs: Mapping[str, ObservedJob]
    content: Mapping[str, KvPair]
    variables: Mapping[str, tuple[int, bool]]
    """path -> (ModifyIndex, whether its items are the desired ones)."""
    nodes: tuple[Json, ...] = ()
    """Stubs of the nodes; none when the token may not list them and no volume is needed."""
    volumes: tuple[Json, ...] = ()
    """Nomad's dynamic host volumes, if the configuration asks for any."""


def resolver(nomad: NomadApi) -> Resolve:
    """Gives the secret behind a reference. The `key` of obsctl.yaml that has it is named in errors."""

    def read_variable(path: str) -> Mapping[str, str] | None:
        variable = nomad.variable(path)
        return variable.items if variable else None

    return lambda reference, key: resolve(reference, key=key, read_variable=read_variable)


def desire(rendered: Rendered, nomad: NomadApi, resolve: Resolve) -> Desired:
    """Let Nomad parse every job, and resolve every secret. Raises ObsctlError that names every job with an error."""
    jobs, errors = [], []
    for rendered_job, parsed in zip(rendered.jobs, _at_once(partial(_parsed, nomad), rendered.jobs), strict=True):
        if isinstance(parsed, Rejected):
            errors.append(f"{rendered_job.component}: {parsed.message}")
        else:
            component, spec = rendered_job.component, spec_of(rendered_job.hcl)
            whole = marked(parsed, stack=rendered.stack, component=component, spec=spec)
            jobs.append(DesiredJob(component, rendered_job.job_id, spec, whole))
    if errors:
        raise ObsctlError(
            "Nomad cannot read these jobs:\n  " + "\n  ".join(errors),
            hint="obsctl render -o DIR writes the jobs as Nomad gets them",
        )
    generated = cache(partial(_generated, nomad))
    variables = {item.path: _resolved(item, generated, resolve) for item in rendered.secrets}
    return Desired(rendered.stack, tuple(jobs), rendered.content, variables, rendered.volumes)


def observe(desired: Desired, nomad: NomadApi, consul: ConsulApi) -> Observed:
    """Read the cluster; changes nothing."""
    by_id = {job.job_id: job for job in desired.jobs}
    all_jobs = [
        ObservedJob(stub["ID"], stub["JobModifyIndex"], stub.get("Meta") or {}, bool(stub.get("Stop")))
        for stub in nomad.jobs()
    ]
    known = [job for job in all_jobs if job.owner == desired.stack or job.job_id in by_id]
    jobs = _at_once(lambda job: _compared(job, by_id.get(job.job_id), nomad), known)
    return Observed(
        jobs={job.job_id: job for job in jobs},
        content=_observed_content(desired, consul),
        variables={path: _variable(path, items, nomad) for path, items in desired.variables.items()},
        nodes=_nodes(desired, nomad),
        volumes=tuple(nomad.volumes()) if desired.volumes else (),
    )


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
    """The answers in order. A call to a server is mostly waiting, so they run at the same time."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(call, items))


def _parsed(nomad: NomadApi, rendered: RenderedJob) -> Json | Rejected:
    try:
        return nomad.parse_job(rendered.hcl)
    except Rejected as error:
        return error


def _resolved(item: SecretItems, generated: Callable[[str, str], Secret], resolve: Resolve) -> dict[str, Secret]:
    """What the Variable should hold."""
    stored = {name: generated(keeper, name) for name, keeper in item.generated.items()}
    return {**stored, **{name: resolve(ref, f"{item.path}#{name}") for name, ref in item.items.items()}}


def _generated(nomad: NomadApi, keeper: str, item: str) -> Secret:
    """What the Variable that keeps it holds; a missing one is generated now."""
    variable = nomad.variable(keeper)
    held = variable.items.get(item) if variable else None
    return Secret(held) if held else generate()


def _compared(current: ObservedJob, desired: DesiredJob | None, nomad: NomadApi) -> ObservedJob:
    """Ask Nomad what registering the desired job would change, and how its last deployment went."""
    if desired is None:
        return current
    answer = nomad.plan_job(registered_as(current, desired))
    updates = (answer.get("Annotations") or {}).get("DesiredTGUpdates") or {}
    deployment = nomad.job_deployment(current.job_id) or {"Status": "none", "JobSpecModifyIndex": None}
    ended = deployment["Status"] in ENDED
    return replace(
        current,
        failed=deployment["Status"] == "failed" or (not ended and _has_failures(deployment)),
        unfinished=deployment["JobSpecModifyIndex"] == current.index and not ended,
        blocked=not current.stopped and any(map(_waits, nomad.job_allocations(current.job_id))),
        differences=tuple(differences(answer.get("Diff") or {}, desired.job, nomad)),
        placement=placement_failures(answer),
        replaces=any(group.get("DestructiveUpdate") for group in updates.values()),
    )


def _waits(allocation: Json) -> bool:
    return is_alive(allocation) and any(needs(allocation, task) for task in task_states(allocation))


def _has_failures(deployment: Json) -> bool:
    """After a failure Nomad may try again for minutes, with longer and longer pauses."""
    return any(group.get("UnhealthyAllocs") for group in (deployment.get("TaskGroups") or {}).values())


def nodes_for(jobs: Iterable[Json], nomad: NomadApi) -> list[Json]:
    """Stubs of the nodes; with all that Nomad knows of them, one call each, when a job has constraints."""
    stubs = nomad.nodes()
    if not any(True for job in jobs for _ in constraints_of(job)):
        return stubs
    return [{**nomad.node(stub["ID"]), **stub} if takes_jobs(stub) else stub for stub in stubs]


def _nodes(desired: Desired, nomad: NomadApi) -> tuple[Json, ...]:
    try:
        return tuple(nodes_for((job.job for job in desired.jobs), nomad))
    except Forbidden:
        if desired.volumes:
            raise
        return ()


def registered_as(current: ObservedJob, desired: DesiredJob) -> Json:
    """The desired job as it is registered over the current one.

    A job whose spec is as desired keeps its marks: Nomad replaces allocations when a job's meta changes, and a new
    obsctl alone must not restart anything. One that failed gets a new mark, so that Nomad tries it again; one whose
    task waits in a template, too: it keeps the Consul token that it got at its start.
    """
    if current.spec != desired.spec:
        return desired.job
    stored = {name: current.meta[name] for name in (names.VERSION_MARK, names.RETRY_MARK) if name in current.meta}
    retry = {names.RETRY_MARK: str(current.index)} if current.failed or current.blocked else {}
    return {**desired.job, "Meta": {**desired.job["Meta"], **stored, **retry}}


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
