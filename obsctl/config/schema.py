"""What obsctl.yaml may say. pydantic stays in this package: everything else sees frozen values.

Units: durations are written like Prometheus writes them ("15s", "2m", "1h30m") and are seconds (float) here;
CPU is MHz and memory MB, as in Nomad.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from obsctl.config.alerting import Alerting, Email, PagerDuty, Receiver, RuleOverride, Slack, Webhook
from obsctl.config.durations import Duration, Positive, format_duration, parse_duration
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import (
    Address,
    Clash,
    KeyPath,
    Line,
    LocalPath,
    Name,
    Port,
    ServiceName,
    Severity,
    Strict,
    Word,
)
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


class Driver(StrEnum):
    """How Nomad runs a component: docker on a cluster, raw_exec on a laptop."""

    DOCKER = "docker"
    RAW_EXEC = "raw_exec"


class Tls(Strict):
    """TLS of a server's API. Paths are relative to obsctl.yaml."""

    ca_file: LocalPath | None = None
    """Certificates to trust, instead of the system's."""
    cert_file: LocalPath | None = None
    """The client certificate."""
    key_file: LocalPath | None = None
    """The client certificate's key."""
    verify: bool = True
    """false is for laboratories alone; every command then warns."""

    @model_validator(mode="after")
    def _certificate_has_key(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            given, other = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            raise Clash(((given,), f"needs {other} beside it: give both or neither"))
        return self


def _not_in_nomad(reference: SecretRef) -> SecretRef:
    if reference.kind == "nomad-var":
        raise ValueError("a token cannot be read from Nomad before Nomad can be asked; use env:NAME or file:/path")
    return reference


Token = Annotated[SecretRef, AfterValidator(_not_in_nomad)]


class NomadServer(Strict):
    """Where Nomad is and how to talk to it."""

    address: Address = "http://127.0.0.1:4646"
    """Of any Nomad server or client."""
    region: Word | None = None
    """Default: the region of that server."""
    namespace: Word = "default"
    """Where the stack's jobs run."""
    datacenters: tuple[Word, ...] = ("*",)
    """Where they may be placed; `*` means everywhere."""
    token: Token | None = None
    """An ACL token, as a reference (env: or file:)."""
    tls: Tls = Tls()
    """TLS of Nomad's API."""
    timeout: Positive = 10.0
    """How long one call may take."""


class ConsulServer(Strict):
    """Where Consul is and how to talk to it."""

    address: Address = "http://127.0.0.1:8500"
    """Of any Consul agent."""
    datacenter: Word | None = None
    """Default: the datacenter of that agent."""
    token: Token | None = None
    """An ACL token, as a reference (env: or file:)."""
    tls: Tls = Tls()
    """TLS of Consul's API."""
    timeout: Positive = 10.0
    """How long one call may take."""


class Resources(Strict):
    """What Nomad reserves for a task."""

    cpu: Annotated[int, Field(strict=True, ge=1)] = 100
    """MHz."""
    memory: Annotated[int, Field(strict=True, ge=10)] = 128
    """MB."""


class Storage(Strict):
    """Where a component keeps its data."""

    kind: Literal["host", "ephemeral"] = "host"
    """host survives restarts, updates and stops of the job; ephemeral is gone with the allocation."""
    source: Word | None = None
    """With driver docker and kind host: the Nomad host volume; default: the job's name.
    With raw_exec data lies in the folder <meta.obsctl_volumes>/<job> of the node."""

    @model_validator(mode="after")
    def _ephemeral_has_no_source(self) -> Storage:
        if self.kind == "ephemeral" and self.source is not None:
            raise Clash((("source",), "only kind: host has a source"))
        return self


class Component(Strict):
    """What every component of the stack has."""

    enabled: bool = True
    """false leaves it out."""
    driver: Driver | None = None
    """docker or raw_exec, for this component alone."""
    image: Word
    """The container image (driver docker)."""
    command: Line
    """The program (driver raw_exec): a path, or a name on the PATH of the Nomad client."""
    port: Port
    """The port on the node."""
    resources: Resources
    """What Nomad reserves for it."""

    @model_validator(mode="before")
    @classmethod
    def _keep_other_resources(cls, value: Any) -> Any:
        """`resources: {cpu: 300}` changes the cpu and keeps this component's memory."""
        given = value.get("resources") if isinstance(value, dict) else None
        if not isinstance(given, dict):
            return value
        usual = cls.model_fields["resources"].default
        return {**value, "resources": {**usual.model_dump(), **given}}


class Prometheus(Component):
    """Scrapes, keeps and evaluates."""

    image: Word = "prom/prometheus:v3.14.0"
    command: Line = "prometheus"
    port: Port = 9090
    resources: Resources = Resources(cpu=500, memory=1024)
    retention: Positive = 15 * 86400.0
    """How long samples are kept."""
    storage: Storage = Storage()
    """Where samples are kept."""


class Alertmanager(Component):
    """Groups, silences and sends."""

    image: Word = "prom/alertmanager:v0.34.0"
    command: Line = "alertmanager"
    port: Port = 9093
    resources: Resources = Resources(cpu=200, memory=256)
    storage: Storage = Storage()
    """Where silences and the notification log are kept."""


class AlertSink(Component):
    """Records each delivered notification, and notices when the heartbeat stops."""

    image: Word = "obsctl/obsctl:0.1.0"
    command: Line = "obsctl"
    port: Port = 8099
    resources: Resources = Resources(cpu=100, memory=128)
    storage: Storage = Storage()
    """Where notifications are kept."""


class Warden(Component):
    """Puts back what a drill left behind, when obsctl cannot."""

    image: Word = "obsctl/obsctl:0.1.0"
    command: Line = "obsctl"
    port: Port = 8098
    resources: Resources = Resources(cpu=100, memory=128)


class Components(Strict):
    """The programs of the stack."""

    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    alert_sink: AlertSink = Field(default=AlertSink(), alias="alert-sink")
    warden: Warden = Warden()


class DemoService(Component):
    """A program of the demo."""

    image: Word = "obsctl/obsctl:0.1.0"
    command: Line = "obsctl"
    resources: Resources = Resources(cpu=100, memory=128)


class HelloService(DemoService):
    """Answers GET /hello by asking response-service."""

    port: Port = 5050


class ResponseService(DemoService):
    """Answers with a phrase from Consul KV."""

    port: Port = 6060


class Traffic(DemoService):
    """Calls hello-service all the time."""

    port: Port = 5051


class Demo(Strict):
    """Two small services and their traffic, to try obsctl on."""

    enabled: bool = False
    """Off unless asked for."""
    requests_per_second: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=100)] = 4.0
    """How fast traffic calls hello-service."""
    hello_service: HelloService = Field(default=HelloService(), alias="hello-service")
    response_service: ResponseService = Field(default=ResponseService(), alias="response-service")
    traffic: Traffic = Traffic()


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
    """The stack's name: jobs are called <stack>-<component>, and obsctl changes only what bears it."""
    driver: Driver = Driver.DOCKER
    """How Nomad runs the components: docker or raw_exec."""
    timing: Timing = Field(default_factory=lambda: Timing.model_validate("standard"))
    """How quickly a fault becomes a notification: a profile's name, or a mapping."""
    nomad: NomadServer = NomadServer()
    consul: ConsulServer = ConsulServer()
    components: Components = Components()
    services: dict[ServiceName, Service] = Field(default={})
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
        faults = [
            (path, f"{value} is also {_dotted(first)}")
            for pairs in (self._ports(), self._volumes())
            for path, first, value in _repeated(pairs)
        ]
        if faults:
            raise Clash(*faults)
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


def _repeated(pairs: Iterator[tuple[KeyPath, object]]) -> Iterator[tuple[KeyPath, KeyPath, object]]:
    """The path of each value that came before, with the path it came from first."""
    seen: dict[object, KeyPath] = {}
    for path, value in pairs:
        if value in seen:
            yield path, seen[value], value
        seen.setdefault(value, path)


def _dotted(path: KeyPath) -> str:
    return ".".join(str(step) for step in path)
