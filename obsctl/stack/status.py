"""The state of each component: its job, what runs of it now, and what is wrong. What was replaced stands apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

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
)
from obsctl.clients.programs import Clients
from obsctl.config.schema import Config
from obsctl.errors import ApiError, Forbidden, NotFound
from obsctl.model import Json
from obsctl.stack.facts import Cause
from obsctl.stack.why import why
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Instance:
    """One allocation. state: Nomad's word. checks: those in Consul, checks_passing of them pass; the node's own counts.
    note: what is wrong, or why it does not count any more."""

    allocation: str
    node: str
    state: str
    address: str
    checks_passing: int
    checks: int
    note: str


@dataclass(frozen=True, slots=True)
class Scraping:
    """What Prometheus says of a component, or of everything: how many of its targets are up."""

    up: int
    targets: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The alert rules of Prometheus, and how many of them it cannot evaluate."""

    rules: int
    failing: int


@dataclass(frozen=True, slots=True)
class Drift:
    """differences: component -> how it differs from obsctl.yaml, "" -> what belongs to none. unknown: why that cannot
    be said; "" when it can."""

    differences: Mapping[str, tuple[str, ...]]
    unknown: str = ""

    def of(self, component: str) -> tuple[str, ...] | None:
        return None if self.unknown else self.differences.get(component, ())


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """state: "healthy", "unhealthy", "stopped" or "missing". running, wanted: how many allocations run and should run.
    version: of the obsctl that made the job. instances: what counts now; replaced: what does not, and is still there
    for Nomad or Consul. scraping: None when Prometheus cannot say it. drift: how it differs from obsctl.yaml, None
    when that is not known; it is no fault by itself."""

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

    @property
    def address(self) -> str:
        """Of an instance without a fault, if there is one; "" without an instance."""
        known = sorted((instance for instance in self.instances if instance.address), key=lambda each: bool(each.note))
        return known[0].address if known else ""


@dataclass(frozen=True, slots=True)
class StackStatus:
    """components: in the order of their start. scraping, evaluation: None while Prometheus does not answer, of which
    `silence` tells the reason. silent_nodes: as the function of that name has them."""

    components: tuple[ComponentStatus, ...]
    scraping: Scraping | None
    evaluation: Evaluation | None
    silence: str = ""
    drift: Drift | None = None
    silent_nodes: Mapping[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """A lost node counts, though each component may run elsewhere; and a Prometheus that scrapes nothing."""
        scrapes = self.scraping is None or self.scraping.up > 0
        return scrapes and not self.silent_nodes and all(each.state == "healthy" for each in self.components)


def status(config: Config, clients: Clients, clock: Clock = SYSTEM_CLOCK, drift: Drift | None = None) -> StackStatus:
    """Look at each enabled component. drift: what is known of it from before."""
    lost: dict[str, str] = {}
    with suppress(Forbidden):  # without the right nothing is known of nodes, and what is lost with one fails its checks
        lost = {
            node["ID"]: f"node {node['Name']} is {node['Status']}" for node in clients.nomad.nodes() if is_lost(node)
        }
    targets, evaluation, silence = _prometheus(config, clients)
    # One that has just begun says nothing.
    scraped = any(target["health"] != "unknown" for target in targets or [])
    look = _Look(config.stack, clients, lost, targets if scraped else None, clock.now())
    components = tuple(look.component(component.row.name) for component in config.enabled_components())
    if drift:
        components = tuple(replace(each, drift=drift.of(each.component)) for each in components)
    scraping = None if targets is None else _scraping(targets)
    return StackStatus(components, scraping, evaluation, silence, drift, silent_nodes(targets or []))


def silent_nodes(targets: Iterable[Json]) -> dict[str, int]:
    """Nodes of which nothing answers Prometheus, as NodeDown means it, and how many targets each has: they are lost or
    cut off, and what is on them has not crashed."""
    labels = [(target["labels"], target["health"] == "down") for target in targets]
    answering = {label.get("node", "") for label, is_down in labels if not is_down}
    agents = {label.get("node", "") for label, _ in labels if label.get("job") in names.SERVERS}
    return dict(Counter(node for label, _ in labels if (node := label.get("node", "")) in agents - answering))


def _prometheus(config: Config, clients: Clients) -> tuple[list[Json] | None, Evaluation | None, str]:
    if not config.components.prometheus.enabled:
        return None, None, ""
    try:
        prometheus = clients.programs.prometheus
        targets = prometheus.targets()
        rules = [rule for group in prometheus.rule_groups() for rule in group["rules"]]
    except ApiError as error:
        return None, None, error.message
    return targets, Evaluation(len(rules), sum(rule.get("health") == "err" for rule in rules)), ""


def _scraping(targets: Sequence[Json]) -> Scraping:
    return Scraping(sum(target["health"] == "up" for target in targets), len(targets))


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
            name, job_id, state, running, wanted, version, note, instances, replaced, scraping
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
        return _scraping(
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
    return Instance(str(allocation["ID"]), node, state, address, passing, len(checks), note)


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
