"""The state of each component: its job, what runs of it now, and what is wrong. What was replaced stands apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from obsctl import names
from obsctl.clients.instances import allocation_id, failing, url
from obsctl.clients.jobs import (
    current,
    expected_count,
    failing_task,
    groups,
    is_lost,
    is_running,
    is_system,
    may_run,
    service_names,
    started_at,
)
from obsctl.clients.programs import Clients
from obsctl.config.schema import Config
from obsctl.errors import ApiError, NotFound
from obsctl.model import Json
from obsctl.stack.facts import Cause
from obsctl.stack.scraped import Evaluation, Node, NodeState, Scraping, has_scraped, nodes, nomad_nodes
from obsctl.stack.why import why
from obsctl.wait import SYSTEM_CLOCK, Clock

_START = 60.0
"""Seconds that a Prometheus may take to find its first targets."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One allocation. state: Nomad's word. checks: those in Consul, checks_passing of them pass; the node's own counts.
    started: when its last task began, in Unix seconds, as its node has the time; None when none has. note: what is
    wrong, or why it does not count any more."""

    allocation: str
    node: str
    state: str
    address: str
    checks_passing: int
    checks: int
    started: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Drift:
    """differences: component -> how it differs from obsctl.yaml, "" -> what belongs to none. unknown: why that cannot
    be said; "" when it can."""

    differences: Mapping[str, tuple[str, ...]]
    unknown: str = ""

    def of(self, component: str) -> tuple[str, ...] | None:
        return None if self.unknown else self.differences.get(component, ())

    @property
    def of_none(self) -> tuple[str, ...]:
        """What belongs to no component, as far as it is known."""
        return self.of("") or ()


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """state: "healthy", "unhealthy", "stopped" or "missing". running, wanted: how many allocations run and should run.
    version: of the obsctl that made the job; job_version: the job's own in Nomad, None without a job. instances: what
    counts now; replaced: what does not, and is still there for Nomad or Consul. scraping: None when Prometheus cannot
    say it. drift: how it differs from obsctl.yaml, None when that is not known; it is no fault by itself."""

    component: str
    job_id: str
    state: str
    running: int
    wanted: int
    version: str
    note: str
    instances: tuple[Instance, ...] = ()
    replaced: tuple[Instance, ...] = ()
    scraping: Scraping | None = None
    drift: tuple[str, ...] | None = None
    job_version: int | None = None

    @property
    def address(self) -> str:
        """Of an instance without a fault, if there is one; "" without an instance."""
        known = sorted((instance for instance in self.instances if instance.address), key=lambda each: bool(each.note))
        return known[0].address if known else ""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """components: in the order of their start. scraping, evaluation: None while Prometheus does not answer, of which
    `silence` tells the reason. is_starting: Prometheus has targets and has asked none yet, or has none and has just
    started."""

    components: tuple[ComponentStatus, ...]
    scraping: Scraping | None
    evaluation: Evaluation | None
    silence: str = ""
    is_starting: bool = False
    drift: Drift | None = None
    nodes: tuple[Node, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.faults and all(each.state == "healthy" for each in self.components)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong beside the components, each in a sentence. A lost node is, though each component may run
        elsewhere."""
        return tuple(self._faults())

    @property
    def blindness(self) -> str:
        """Why nothing is known of what runs, in a sentence; "" when something is."""
        if self.silence:
            return f"Prometheus does not say what it scrapes: {self.silence}"
        if self.scraping is None or self.scraping.up or self.is_starting:
            return ""
        targets = self.scraping.targets
        return f"Prometheus scrapes nothing: {f'none of {targets} targets is up' if targets else 'it has no target'}"

    def _faults(self) -> Iterator[str]:
        if self.blindness:
            yield self.blindness
        for node in self.nodes:
            if node.state is NodeState.SILENT:
                yield node.words
        if self.evaluation and self.evaluation.failing:
            unable = f"{self.evaluation.failing} of {self.evaluation.rules} rules"
            yield f"Prometheus cannot evaluate {unable}; `obsctl verify` names them"


def status(config: Config, clients: Clients, clock: Clock = SYSTEM_CLOCK, drift: Drift | None = None) -> StackStatus:
    """Look at each enabled component. drift: what is known of it from before."""
    known = nomad_nodes(clients.nomad)  # of a node that is not known to be lost, the checks fail
    lost = {node["ID"]: f"node {node['Name']} is {node['Status']}" for node in known if is_lost(node)}
    targets, evaluation, silence = _prometheus(config, clients)
    scraped = targets if targets and has_scraped(targets) else None
    look = _Look(config.stack, clients, lost, scraped, clock.now())
    components = tuple(look.component(component.row.name) for component in config.enabled_components())
    if drift:
        components = tuple(replace(each, drift=drift.of(each.component)) for each in components)
    return StackStatus(
        components,
        scraping=None if targets is None else Scraping.of(targets),
        evaluation=evaluation,
        silence=silence,
        is_starting=_is_starting(targets, components, clock.now()),
        drift=drift,
        nodes=nodes(targets or [], clients, known),
    )


def _prometheus(config: Config, clients: Clients) -> tuple[list[Json] | None, Evaluation | None, str]:
    if not config.components.prometheus.enabled:
        return None, None, ""
    try:
        prometheus = clients.programs.prometheus
        return prometheus.targets(), Evaluation.of(prometheus.rule_groups()), ""
    except ApiError as error:
        return None, None, error.message


def _is_starting(targets: list[Json] | None, components: Iterable[ComponentStatus], now: float) -> bool:
    if targets is None:
        return False
    if targets:
        return not has_scraped(targets)
    instances = (instance for each in components if each.component == "prometheus" for instance in each.instances)
    return any(instance.started and now - instance.started < _START for instance in instances)


@dataclass(frozen=True, slots=True)
class _Look:
    """lost: id of a node that Nomad has given up -> how to say that. targets: None when Prometheus cannot say it."""

    stack: str
    clients: Clients
    lost: Mapping[str, str]
    targets: list[Json] | None
    now: float

    def component(self, name: str) -> ComponentStatus:
        nomad, job_id = self.clients.nomad, names.job_id(self.stack, name)
        try:
            job = nomad.job(job_id)
        except NotFound:
            return ComponentStatus(name, job_id, "missing", 0, 0, "", "obsctl deploy brings it up")
        allocations = nomad.job_allocations(job_id)
        counted = current(job, allocations, self.lost)
        registered = self._registered(job, name)
        instances = tuple(self._instance(alloc, registered.get(alloc["ID"]), job) for alloc in counted)
        others = [alloc for alloc in allocations if alloc not in counted]
        there = [alloc for alloc in others if alloc["ID"] in registered or may_run(alloc)]
        replaced = tuple(self._replaced(alloc, registered.get(alloc["ID"])) for alloc in there)
        running, wanted = sum(map(is_running, counted)), _wanted(job, counted)
        scraping = self._scraped(name, instances)
        cause = why(nomad, self.clients.consul, job) if running < wanted and not job.get("Stop") else None
        note = "somebody stopped its job" if job.get("Stop") else _note(running, wanted, instances, scraping, cause)
        state = "stopped" if job.get("Stop") else "unhealthy" if note else "healthy"
        version = (job.get("Meta") or {}).get(names.VERSION_MARK, "")
        return ComponentStatus(
            name, job_id, state, running, wanted, version, note, instances, replaced, scraping,
            job_version=job["Version"],
        )  # fmt: skip

    def _registered(self, job: Json, name: str) -> dict[str, Json]:
        """Allocation -> its instance of the component's service, with the checks of all services of the job."""
        others = {service for group in groups(job) for service in service_names(job, group)} - {name}
        own = {allocation_id(entry): entry for entry in self.clients.consul.health(name)}
        entries = [entry for service in others for entry in self.clients.consul.health(service)]
        checks = {
            allocation: {check["CheckID"]: check for check in entry["Checks"]} for allocation, entry in own.items()
        }
        for entry in entries:
            checks.get(allocation_id(entry), {}).update({check["CheckID"]: check for check in entry["Checks"]})
        return {allocation: {**entry, "Checks": list(checks[allocation].values())} for allocation, entry in own.items()}

    def _instance(self, allocation: Json, registered: Json | None, job: Json) -> Instance:
        of_task = failing_task(job, allocation, self.now)
        of_checks = failing(registered) if registered else "not registered in Consul"
        return _instance(allocation, registered, of_task or of_checks)

    def _replaced(self, allocation: Json, registered: Json | None) -> Instance:
        note = self.lost.get(allocation["NodeID"]) or "Nomad has replaced it"
        return _instance(allocation, registered, note)

    def _scraped(self, name: str, instances: Iterable[Instance]) -> Scraping | None:
        """Only what counts now: of an instance that is gone Prometheus may still have a target."""
        if self.targets is None:
            return None
        allocations = {instance.allocation for instance in instances}
        labels = [(target, target["labels"]) for target in self.targets]
        return Scraping.of(
            [
                target
                for target, label in labels
                if label.get("job") == name and label.get("allocation", "") in allocations
            ]
        )


def _instance(allocation: Json, registered: Json | None, note: str) -> Instance:
    checks = registered["Checks"] if registered else []
    passing = sum(check["Status"] == "passing" for check in checks)
    address = url(registered) if registered else ""
    state, node = str(allocation["ClientStatus"]), str(allocation.get("NodeName") or allocation["NodeID"])
    return Instance(
        str(allocation["ID"]), node, state, address, passing, len(checks), started_at(allocation), note
    )  # fmt: skip


def _wanted(job: Json, counted: Sequence[Json]) -> int:
    """How many allocations there should be: of a system job one on each node that Nomad chose, at least one."""
    return max(1, len(counted)) if is_system(job) else expected_count(job)


def _note(
    running: int, wanted: int, instances: Iterable[Instance], scraping: Scraping | None, cause: Cause | None
) -> str:
    first = next((instance.note for instance in instances if instance.note), "")
    if running < wanted:
        reason = cause.sentence if cause else first
        return f"{running} of {wanted} allocations run" + (f": {reason}" if reason else "")
    if not first and scraping and scraping.up < running:
        return f"Prometheus scrapes {scraping.up} of {running}"
    return first
