"""The schema of obsctl.yaml. Only this package uses pydantic; everything else sees frozen values.

Units: durations are written like Prometheus writes them ("15s", "2m", "1h30m") and are seconds (float) here;
CPU is MHz and memory MB, as in Nomad.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from obsctl import names
from obsctl.config import versions
from obsctl.config.alerting import Alerting
from obsctl.config.api_servers import ConsulServer, Images, NomadServer
from obsctl.config.catalog import PROGRAMS, Components
from obsctl.config.components import NOBODY, Availability, Component, Driver, Replicated
from obsctl.config.demo import Demo
from obsctl.config.durations import Duration
from obsctl.config.placement import Placement
from obsctl.config.shapes import (
    Clash,
    KeyPath,
    LocalPath,
    Misfit,
    Name,
    Namespace,
    ServiceName,
    SeverityName,
    Strict,
    Word,
)
from obsctl.config.telemetry import Logs
from obsctl.config.timing import Timing

_RUN = re.compile("/(periodic|dispatch)-")
"""What Nomad adds to a job's id for one run of it."""


def _more_than_a_run(job: str) -> str:
    if _RUN.search(job):
        raise ValueError("is one run of a periodic or dispatched job, and ends: name the job itself, without its run")
    return job


def _more_than_a_sidecar(service: str) -> str:
    if service.endswith("-sidecar-proxy"):
        raise ValueError("is a sidecar, which has no metrics of its own: name the service that it stands beside")
    return service


class NomadJob(NamedTuple):
    """A job's identity: ids are unique within a namespace alone."""

    namespace: str
    id: str


class Service(Strict):
    """A service that obsctl watches: it gets ServiceDown and JobNotRunning, and drills may stop it."""

    job: Annotated[Word, AfterValidator(_more_than_a_run)] | None = Field(default=None, examples=["shop-checkout"])
    """The Nomad job that runs it; default: the job that has the service's own name. Runs of a periodic or dispatched
    job count as that job."""
    namespace: Namespace | None = Field(default=None, examples=["shop"])
    """The Nomad namespace of that job; default: nomad.namespace."""
    severity: SeverityName = "critical"
    """The severity of its ServiceDown."""


class Drills(Strict):
    """Limits of fault injection."""

    journal_dir: LocalPath | None = Field(default=None, examples=["journals"])
    """Where journals are kept, relative to obsctl.yaml; default: below the user's state folder."""
    margin: Duration = 30.0
    """What a drill waits beyond the forecast of each stage before it gives up."""


def _known_program(name: str) -> str:
    if name not in PROGRAMS:
        raise ValueError(f"no such program; there are {', '.join(PROGRAMS)}")
    return name


class Config(Strict):
    """The whole of obsctl.yaml."""

    stack: Name = "obs"
    """The stack's name: jobs are called `<stack>-<component>`, and obsctl changes only what bears it."""
    driver: Driver = Driver.DOCKER
    """How Nomad runs the components: from images (docker, podman), or as programs of the nodes (exec: in a chroot;
    raw_exec)."""
    profile: Availability = Availability.SINGLE
    """single: one of each component. ha: two Prometheus, three Alertmanagers, three gateways and two wardens, each on
    a node of its own. ha-one-node: the same on one node, with ports that Nomad chooses."""
    timing: Timing = Field(default_factory=lambda: Timing.model_validate("standard"))
    """How quickly a fault becomes a notification. fast: seconds, for the demo and tests. standard: minutes. relaxed:
    fewer samples, later alerts. `timing: fast` is short for a mapping with the profile alone."""
    nomad: NomadServer = NomadServer()
    consul: ConsulServer = ConsulServer()
    images: Images = Images()
    components: Components = Components()
    services: dict[Annotated[ServiceName, AfterValidator(_more_than_a_sidecar)], Service] = Field(
        default={}, examples=[{"checkout": {}}], json_schema_extra={"additionalProperties": False}
    )
    """The services to watch, by their name in Consul: each gets the alerts ServiceDown and JobNotRunning, and drills
    may stop it."""
    logs: Logs = Logs()
    alerting: Alerting = Alerting()
    drills: Drills = Drills()
    demo: Demo = Demo()
    servers: dict[Annotated[str, AfterValidator(_known_program)], LocalPath] = Field(
        default={},
        examples=[{"nomad": "/usr/local/bin/nomad"}],
        json_schema_extra={"propertyNames": {"enum": list(PROGRAMS)}},
    )
    """Programs for `obsctl dev`, and where OBSCTL_TRUST names this folder for checks, by name: nomad, consul,
    prometheus, promtool, alertmanager, amtool, jaeger, victoria-logs, otelcol. Default: found on PATH, or got."""

    def all_components(self) -> Iterator[Component]:
        """Every component, in the order of a plan."""
        for section in (self.components, self.demo):
            for name in type(section).model_fields:
                component = getattr(section, name)
                if isinstance(component, Component):
                    yield component

    def enabled_components(self) -> tuple[Component, ...]:
        """The components that this configuration asks for, in the same order."""
        every = self.all_components()
        return tuple(each for each in every if each.enabled and (self.demo.enabled or not each.row.demo))

    def component(self, name: str) -> Component:
        return next(component for component in self.all_components() if component.row.name == name)

    def driver_of(self, component: Component) -> Driver:
        """How Nomad runs the component: by its own driver, or else by the stack's."""
        return component.driver or self.driver

    def owner_of(self, component: Component) -> int | None:
        """The uid that writes its data; None with raw_exec, where tasks run as Nomad's own user."""
        return {Driver.EXEC: NOBODY, Driver.RAW_EXEC: None}.get(self.driver_of(component), component.row.uid)

    def has_alert_path(self) -> bool:
        """Whether every component runs that a notification passes through."""
        return all(each.enabled for each in self.all_components() if each.row.on_alert_path)

    def count(self, component: Component) -> int:
        """How many instances of the component run at once."""
        if not isinstance(component, Replicated):
            return 1
        usual = 1 if self.profile is Availability.SINGLE else component.replicas
        return usual if component.count is None else component.count

    def placement_of(self, component: Component) -> Placement:
        """Which nodes the component may run on."""
        return self.nomad.placement.with_own(component.placement)

    def shares_node(self, component: Component) -> bool:
        """Whether several instances run on one node, each with its own ports and data folder."""
        return self.profile is Availability.HA_ONE_NODE and self.count(component) > 1

    @property
    def routes_by_trace(self) -> bool:
        """Whether agents send all spans of a trace to the same gateway of several, which judges the trace."""
        gateway = self.components.otel_gateway
        return gateway.sampling is not None and self.components.jaeger.enabled and self.count(gateway) > 1

    def watched_services(self) -> dict[str, NomadJob]:
        """Service name -> its job, of each service with availability rules, including the demo's."""
        rows = [component.row for component in self.enabled_components()]
        ours = {row.name: names.job_id(self.stack, row.name) for row in rows if row.down_alert == names.SERVICE_DOWN}
        home = self.nomad.namespace
        theirs = {
            name: NomadJob(service.namespace or home, service.job or name) for name, service in self.services.items()
        }
        return {**{name: NomadJob(home, job) for name, job in ours.items()}, **theirs}

    @property
    def collects_logs(self) -> bool:
        """Whether the stack has a log store."""
        return self.components.victorialogs.enabled or self.logs.endpoint is not None

    @model_validator(mode="before")
    @classmethod
    def _another_store_replaces_ours(cls, value: object) -> object:
        """With logs.endpoint VictoriaLogs is off by default."""
        logs = value.get("logs") if isinstance(value, dict) else None
        elsewhere = isinstance(logs, dict) and logs.get("endpoint")
        return _with_default(value, ("components", "victorialogs", "enabled"), default=False) if elsewhere else value

    @model_validator(mode="after")
    def _values_fit_together(self) -> Config:
        checks = (self._log_stores, self._shared, self._volumes_of_raw_exec, self._versions, self._turns, self._senders)
        misfits = [misfit for check in checks for misfit in check()]
        if misfits:
            raise Clash(*misfits)
        return self

    def _log_stores(self) -> Iterator[Misfit]:
        if self.logs.endpoint and self.components.victorialogs.enabled:
            words = "logs go to logs.endpoint, so there is no VictoriaLogs: take out one of the two"
            yield Misfit(("components", "victorialogs", "enabled"), words, ("logs", "endpoint"))

    def _shared(self) -> Iterator[Misfit]:
        """Two components can share neither a port (they use the node's own) nor a host volume."""
        yield from _repeated(self._ports())
        yield from _repeated(self._volumes())

    def _volumes_of_raw_exec(self) -> Iterator[Misfit]:
        for component in self.enabled_components():
            storage = component.data()
            if storage and storage.kind == "dynamic" and self.driver_of(component) is Driver.RAW_EXEC:
                words = "raw_exec mounts no volumes: with kind: host its data is in a folder of the node"
                path = component.key_path()
                yield Misfit((*path, "storage", "kind"), words, (*path, "driver") if component.driver else ("driver",))

    def _versions(self) -> Iterator[Misfit]:
        """What the servers are too old for, if the file says how old they are; a deploy and `doctor` ask them."""
        written = {"nomad": self.nomad.version, "consul": self.consul.version}
        known = {server: versions.parse(version) for server, version in written.items() if version}
        for need, path in versions.unmet(self, known):
            if need.refused:
                yield Misfit(path, need.words, (need.server, "version"))

    def _turns(self) -> Iterator[Misfit]:
        """Each Alertmanager waits for those before it, and must be done before the group's next turn."""
        count = self.count(self.components.alertmanager)
        if count > 1 and self.peer_timeout < 1:
            words = f"must be at least {2 * count}s with {count} Alertmanagers, which send in turns"
            yield Misfit(("timing", "group_interval"), words, ("profile",))

    def _senders(self) -> Iterator[Misfit]:
        """Without alert-sink the heartbeat goes nowhere and a drill sees no delivery; an agent has only the gateway."""
        parts = self.components
        if parts.alertmanager.enabled and not parts.alert_sink.enabled:
            yield _left_out(names.ALERT_SINK, "alertmanager delivers to alert-sink", names.ALERTMANAGER)
        if parts.otel_agent.enabled and not parts.otel_gateway.enabled:
            yield _left_out(names.OTEL_GATEWAY, "otel-agent sends to otel-gateway", names.OTEL_AGENT)

    @property
    def peer_timeout(self) -> float:
        """Seconds that an Alertmanager waits for each one before it; 15 s is Alertmanager's default.

        They judge what they saw before the wait, so all waits together must fit well into the group interval."""
        return min(15.0, self.timing.group_interval / (2 * self.count(self.components.alertmanager)))

    def _ports(self) -> Iterator[tuple[KeyPath, object]]:
        """Defaults come first, so that a clash is reported where the user wrote a port."""
        ports = [(each, key) for each in self.enabled_components() for key in each.ports()]
        for component, key in sorted(ports, key=lambda port: port[1] in port[0].model_fields_set):
            yield (*component.key_path(), key), component.ports()[key]

    def _volumes(self) -> Iterator[tuple[KeyPath, object]]:
        for component in self.enabled_components():
            storage = component.data()
            if storage and storage.source:
                yield (*component.key_path(), "storage", "source"), storage.source


def _with_default(section: object, path: tuple[str, ...], *, default: object) -> object:
    """The mapping with a default at this path. What is not a mapping stays as it is, and is reported later."""
    mapping = {} if section is None else section
    if not isinstance(mapping, dict):
        return mapping
    if len(path) == 1:
        return {path[0]: default, **mapping}
    return {**mapping, path[0]: _with_default(mapping.get(path[0]), path[1:], default=default)}


def _left_out(receiver: str, why: str, sender: str) -> Misfit:
    words = f"{why}: enable both or neither"
    return Misfit(("components", receiver, "enabled"), words, ("components", sender, "enabled"))


def _repeated(pairs: Iterator[tuple[KeyPath, object]]) -> Iterator[Misfit]:
    """Each value that another path has already."""
    first: dict[object, KeyPath] = {}
    for path, value in pairs:
        if value in first:
            other = first[value]
            yield Misfit(path, f"{value} is also {'.'.join(map(str, other))}", other)
        first.setdefault(value, path)
