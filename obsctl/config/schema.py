"""What obsctl.yaml may say. The only place for pydantic: everything else sees frozen values.

Units: durations are written like Prometheus writes them ("15s", "2m", "1h30m") and are seconds (float) here;
CPU is MHz and memory MB, as in Nomad.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from obsctl.config.secrets import SecretRef

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


def parse_duration(value: object) -> object:
    """Seconds from "1h30m", "15s", "250ms"; a plain number is refused because its unit would be a guess."""
    if not isinstance(value, str):
        raise ValueError('write a duration with its unit, like "30s" or "2m"')
    if not _DURATION.fullmatch(value):
        raise ValueError(f'{value!r} is no duration; write it like "30s", "2m" or "1h30m"')
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))


def format_duration(seconds: float) -> str:
    """The shortest form Prometheus and Alertmanager read: 90 -> "1m30s", 0.25 -> "250ms", 0 -> "0s"."""
    milliseconds = round(seconds * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[str, Field(pattern=_DURATION.pattern)]),
    PlainSerializer(format_duration, return_type=str),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=_NAME)]


class Strict(BaseModel):
    """Unknown keys are faults, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Driver(StrEnum):
    """How Nomad runs a component: docker on a cluster, raw_exec on a laptop."""

    DOCKER = "docker"
    RAW_EXEC = "raw_exec"


class Tls(Strict):
    """TLS of a server's API. `verify: false` exists for laboratories; every command then warns."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True

    @model_validator(mode="after")
    def _certificate_has_key(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or neither")
        return self


Address = Annotated[str, Field(pattern=r"^https?://[^/\s?#@]+$")]


class NomadServer(Strict):
    """Where Nomad is and how to talk to it."""

    address: Address = "http://127.0.0.1:4646"
    region: str | None = None
    namespace: str = "default"
    datacenters: tuple[str, ...] = ("*",)
    token: SecretRef | None = None
    tls: Tls = Tls()
    timeout: Duration = 10.0


class ConsulServer(Strict):
    """Where Consul is and how to talk to it."""

    address: Address = "http://127.0.0.1:8500"
    datacenter: str | None = None
    token: SecretRef | None = None
    tls: Tls = Tls()
    timeout: Duration = 10.0


class Profile(StrEnum):
    """How quickly a fault becomes a notification."""

    FAST = "fast"
    STANDARD = "standard"
    RELAXED = "relaxed"


class Timing(Strict):
    """Every interval on the way from a fault to a delivered notification.

    Written as a profile's name or as a mapping that names a profile and changes some of its values.
    `pending` is what alert rules call `for`; `window` is the range of rates in shipped rules.
    """

    profile: Profile = Profile.STANDARD
    scrape_interval: Duration
    scrape_timeout: Duration
    evaluation_interval: Duration
    pending: Duration = Field(alias="for")
    window: Duration
    group_wait: Duration
    group_interval: Duration
    repeat_interval: Duration
    heartbeat: Duration
    check_interval: Duration
    min_healthy: Duration

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, value: Any) -> Any:
        given = {"profile": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            return value
        profile = given.get("profile", Profile.STANDARD)
        if profile not in PROFILES:
            raise ValueError(f"{profile!r} is no timing profile; there are {', '.join(PROFILES)}")
        return {**PROFILES[profile], **given}

    @model_validator(mode="after")
    def _intervals_fit(self) -> Timing:
        if self.scrape_timeout > self.scrape_interval:
            raise ValueError("scrape_timeout must not be longer than scrape_interval")
        if self.pending < 2:
            raise ValueError("for must be at least 2s: absent() fires for a moment when Prometheus restarts")
        if self.window < 4 * self.scrape_interval:
            raise ValueError("window must span at least 4 scrape intervals, or a rate has too few samples")
        return self


PROFILES: dict[str, dict[str, str]] = {
    "fast": {
        "scrape_interval": "2s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
        "for": "10s",
        "window": "10s",
        "group_wait": "1s",
        "group_interval": "2s",
        "repeat_interval": "1h",
        "heartbeat": "10s",
        "check_interval": "1s",
        "min_healthy": "2s",
    },
    "standard": {
        "scrape_interval": "15s",
        "scrape_timeout": "10s",
        "evaluation_interval": "15s",
        "for": "2m",
        "window": "5m",
        "group_wait": "30s",
        "group_interval": "30s",
        "repeat_interval": "4h",
        "heartbeat": "1m",
        "check_interval": "10s",
        "min_healthy": "10s",
    },
    "relaxed": {
        "scrape_interval": "30s",
        "scrape_timeout": "10s",
        "evaluation_interval": "30s",
        "for": "5m",
        "window": "10m",
        "group_wait": "1m",
        "group_interval": "5m",
        "repeat_interval": "12h",
        "heartbeat": "2m",
        "check_interval": "15s",
        "min_healthy": "15s",
    },
}


class Resources(Strict):
    """What Nomad reserves for a task."""

    cpu: Annotated[int, Field(ge=1)]
    memory: Annotated[int, Field(ge=10)]


class Storage(Strict):
    """Where a component keeps its data.

    host: the Nomad host volume `source` (docker), or the folder `<meta.obsctl_volumes>/<job>` of the node
    (raw_exec): survives restarts, updates and stops of the job. ephemeral: gone with the allocation.
    """

    kind: Literal["host", "ephemeral"]
    source: str | None = None


class Component(Strict):
    """What every component of the stack has. `command` is for raw_exec: a path, or a name on the client's PATH."""

    enabled: bool = True
    driver: Driver | None = None
    image: str
    command: str
    port: Port
    resources: Resources


class Prometheus(Component):
    image: str = "prom/prometheus:v3.14.0"
    command: str = "prometheus"
    port: Port = 9090
    resources: Resources = Resources(cpu=500, memory=1024)
    retention: Duration = 15 * 86400.0
    storage: Storage = Storage(kind="host")


class Alertmanager(Component):
    image: str = "prom/alertmanager:v0.34.0"
    command: str = "alertmanager"
    port: Port = 9093
    resources: Resources = Resources(cpu=200, memory=256)
    storage: Storage = Storage(kind="host")


class AlertSink(Component):
    image: str = "obsctl/obsctl:0.1.0"
    command: str = "obsctl"
    port: Port = 8099
    resources: Resources = Resources(cpu=100, memory=128)
    storage: Storage = Storage(kind="host")


class Warden(Component):
    image: str = "obsctl/obsctl:0.1.0"
    command: str = "obsctl"
    port: Port = 8098
    resources: Resources = Resources(cpu=100, memory=128)


class Components(Strict):
    """The programs of the stack."""

    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    alert_sink: AlertSink = Field(default=AlertSink(), alias="alert-sink")
    warden: Warden = Warden()


class DemoService(Component):
    image: str = "obsctl/obsctl:0.1.0"
    command: str = "obsctl"
    resources: Resources = Resources(cpu=100, memory=128)


class Demo(Strict):
    """Two small services and their traffic, to try obsctl on. Off unless asked for.

    requests_per_second: how fast traffic calls hello-service.
    """

    enabled: bool = False
    requests_per_second: Annotated[float, Field(gt=0, le=100)] = 4.0
    hello_service: DemoService = Field(default=DemoService(port=5050), alias="hello-service")
    response_service: DemoService = Field(default=DemoService(port=6060), alias="response-service")
    traffic: DemoService = DemoService(port=5051)


class Service(Strict):
    """A service that obsctl watches: it gets ServiceDown and JobNotRunning, and drills may stop it.

    job: the Nomad job that runs it, default: the job that has the service's own name.
    """

    job: str | None = None
    severity: str = "critical"


class Webhook(Strict):
    url: SecretRef


class Slack(Strict):
    api_url: SecretRef
    channel: str


class PagerDuty(Strict):
    routing_key: SecretRef


class Email(Strict):
    to: str
    sender: str = Field(alias="from")
    smarthost: str
    username: str | None = None
    password: SecretRef | None = None
    require_tls: bool = True


class Receiver(Strict):
    """One place that alerts go to; all its channels are notified."""

    name: Name
    webhook: Webhook | None = None
    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    email: Email | None = None
    severities: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_a_channel(self) -> Receiver:
        if not (self.webhook or self.slack or self.pagerduty or self.email):
            raise ValueError("a receiver needs one of webhook, slack, pagerduty, email")
        if self.name == "alert-sink":
            raise ValueError("alert-sink is obsctl's own receiver; choose another name")
        return self


class RuleOverride(Strict):
    """Changes one shipped alert without a fork of its file."""

    enabled: bool = True
    pending: Duration | None = Field(default=None, alias="for")
    severity: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Alerting(Strict):
    """Who hears of an alert, and what is changed in the rules.

    receivers: with none, all alerts go to alert-sink; with some, they go there, and alert-sink gets a copy
    unless copy_to_sink is false. Without the copy a drill cannot see a delivery.
    rules: overrides by alert name. rule_files: globs of your own rule files, relative to obsctl.yaml.
    """

    receivers: tuple[Receiver, ...] = ()
    copy_to_sink: bool = True
    rules: dict[str, RuleOverride] = {}
    rule_files: tuple[str, ...] = ()


class Drills(Strict):
    """Limits of fault injection. journal_dir: where journals are kept, default below the user's state folder."""

    journal_dir: str | None = None
    margin: Duration = 30.0


class Config(Strict):
    """The whole of obsctl.yaml."""

    stack: Name = "obs"
    driver: Driver = Driver.DOCKER
    timing: Timing = Field(default_factory=lambda: Timing.model_validate("standard"))
    nomad: NomadServer = NomadServer()
    consul: ConsulServer = ConsulServer()
    components: Components = Components()
    services: dict[str, Service] = {}
    alerting: Alerting = Alerting()
    drills: Drills = Drills()
    demo: Demo = Demo()
    servers: dict[str, str] = {}

    def watched_services(self) -> dict[str, str]:
        """Service name -> Nomad job, of everything that gets availability rules; the demo's if it is on."""
        demo = {name: f"{self.stack}-{name}" for name in DEMO_SERVICES} if self.demo.enabled else {}
        return {**demo, **{name: service.job or name for name, service in self.services.items()}}


DEMO_SERVICES = ("hello-service", "response-service")
