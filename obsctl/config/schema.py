"""What obsctl.yaml may say. pydantic stays in this package: everything else sees frozen values.

Units: durations are written like Prometheus writes them ("15s", "2m", "1h30m") and are seconds (float) here;
CPU is MHz and memory MB, as in Nomad.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from obsctl.config.alerting import Alerting, Email, PagerDuty, Receiver, RuleOverride, Slack, Webhook
from obsctl.config.api_servers import ConsulServer, NomadServer, Tls
from obsctl.config.components import Component, Components, Demo, Driver, Resources, Storage
from obsctl.config.durations import Duration, format_duration, parse_duration
from obsctl.config.shapes import Clash, KeyPath, LocalPath, Misfit, Name, ServiceName, Severity, Strict, Word
from obsctl.config.timing import PROFILES, Profile, Timing

__all__ = [
    "DEMO_SERVICES",
    "PROFILES",
    "SERVERS",
    "Alerting",
    "Component",
    "Components",
    "Config",
    "ConsulServer",
    "Demo",
    "Driver",
    "Email",
    "NomadServer",
    "PagerDuty",
    "Profile",
    "Receiver",
    "Resources",
    "RuleOverride",
    "Service",
    "Slack",
    "Storage",
    "Timing",
    "Tls",
    "Webhook",
    "format_duration",
    "parse_duration",
]

DEMO_SERVICES = ("hello-service", "response-service")
SERVERS = ("nomad", "consul", "prometheus", "promtool", "alertmanager", "amtool")


class Service(Strict):
    """A service that obsctl watches: it gets ServiceDown and JobNotRunning, and drills may stop it."""

    job: Word | None = None
    """The Nomad job that runs it; default: the job that has the service's own name."""
    severity: Severity = "critical"
    """The severity of its ServiceDown."""


class Drills(Strict):
    """Limits of fault injection."""

    journal_dir: LocalPath | None = None
    """Where journals are kept, relative to obsctl.yaml; default: below the user's state folder."""
    margin: Duration = 30.0
    """What a drill waits beyond the forecast of each stage before it gives up."""


def _known_server(name: str) -> str:
    if name not in SERVERS:
        raise ValueError(f"no such program; there are {', '.join(SERVERS)}")
    return name


class Config(Strict):
    """The whole of obsctl.yaml."""

    stack: Name = "obs"
    """The stack's name: jobs are called `<stack>-<component>`, and obsctl changes only what bears it."""
    driver: Driver = Driver.DOCKER
    """How Nomad runs the components: docker or raw_exec."""
    timing: Timing = Field(default_factory=lambda: Timing.model_validate("standard"))
    """How quickly a fault becomes a notification: a profile's name, or a mapping."""
    nomad: NomadServer = NomadServer()
    consul: ConsulServer = ConsulServer()
    components: Components = Components()
    services: dict[ServiceName, Service] = Field(default={}, json_schema_extra={"additionalProperties": False})
    """The services to watch, by their name in Consul."""
    alerting: Alerting = Alerting()
    drills: Drills = Drills()
    demo: Demo = Demo()
    servers: dict[Annotated[str, AfterValidator(_known_server)], LocalPath] = Field(
        default={}, json_schema_extra={"propertyNames": {"enum": list(SERVERS)}}
    )
    """Programs for `obsctl dev` and for checks, by name: nomad, consul, prometheus, promtool, alertmanager, amtool.
    Default: found on PATH, or downloaded."""

    def watched_services(self) -> dict[str, str]:
        """Service name -> Nomad job, of everything that gets availability rules; the demo's if it is on."""
        demo = {name: f"{self.stack}-{name}" for name in DEMO_SERVICES} if self.demo.enabled else {}
        return {**demo, **{name: service.job or name for name, service in self.services.items()}}

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> Config:
        """Two components can share neither a port (they use the node's own) nor a host volume."""
        misfits = [*_repeated(self._ports()), *_repeated(self._volumes())]
        if misfits:
            raise Clash(*misfits)
        return self

    @model_validator(mode="after")
    def _alertmanager_has_its_receiver(self) -> Config:
        """Its first receiver is alert-sink: without it the heartbeat goes nowhere, and a drill sees no delivery."""
        parts = self.components
        if parts.alertmanager.enabled and not parts.alert_sink.enabled:
            what = "alertmanager delivers to alert-sink: enable both or neither"
            raise Clash(
                Misfit(("components", "alert-sink", "enabled"), what, ("components", "alertmanager", "enabled"))
            )
        return self

    def _running(self) -> Iterator[tuple[KeyPath, Component]]:
        sections: list[Components | Demo] = [self.components, *([self.demo] if self.demo.enabled else [])]
        for section in sections:
            above = "demo" if isinstance(section, Demo) else "components"
            for name, field in type(section).model_fields.items():
                component = getattr(section, name)
                if isinstance(component, Component) and component.enabled:
                    yield (above, field.alias or name), component

    def _ports(self) -> Iterator[tuple[KeyPath, object]]:
        """Ports that are given come after the defaults, for a clash to be reported where it was written."""
        for path, component in sorted(self._running(), key=lambda each: "port" in each[1].model_fields_set):
            yield (*path, "port"), component.port

    def _volumes(self) -> Iterator[tuple[KeyPath, object]]:
        for path, component in self._running():
            storage = getattr(component, "storage", None)
            if storage and storage.source:
                yield (*path, "storage", "source"), storage.source


def _repeated(pairs: Iterator[tuple[KeyPath, object]]) -> Iterator[Misfit]:
    """Each value that came before, under another path."""
    first: dict[object, KeyPath] = {}
    for path, value in pairs:
        if value in first:
            other = first[value]
            yield Misfit(path, f"{value} is also {'.'.join(map(str, other))}", other)
        first.setdefault(value, path)
