"""The programs of the stack and of the demo: image, port, resources, storage of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from obsctl.config.durations import Positive
from obsctl.config.shapes import Clash, Line, Misfit, Port, Strict, Word


class Driver(StrEnum):
    """How Nomad runs a component: docker on a cluster, raw_exec on a laptop."""

    DOCKER = "docker"
    RAW_EXEC = "raw_exec"


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
    With raw_exec data lies in the folder `<meta.obsctl_volumes>/<job>` of the node."""

    @model_validator(mode="after")
    def _ephemeral_has_no_source(self) -> Storage:
        if self.kind == "ephemeral" and self.source is not None:
            raise Clash(Misfit(("source",), "only kind: host has a source", ("kind",)))
        return self


Image = Annotated[Word, Field(description="The container image (driver docker).")]
Command = Annotated[
    Line, Field(description="The program (driver raw_exec): a path, or a name on the PATH of the Nomad client.")
]
NodePort = Annotated[Port, Field(description="The port on the node.")]


class Component(Strict):
    """What every component of the stack has."""

    enabled: bool = True
    """false leaves it out."""
    driver: Driver | None = None
    """docker or raw_exec, for this component alone."""
    image: Image
    command: Command
    port: NodePort
    resources: Resources

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

    image: Image = "prom/prometheus:v3.14.0"
    command: Command = "prometheus"
    port: NodePort = 9090
    resources: Resources = Resources(cpu=500, memory=1024)
    retention: Positive = 15 * 86400.0
    """How long samples are kept."""
    storage: Storage = Storage()
    """Where samples are kept."""


class Alertmanager(Component):
    """Groups, silences and sends."""

    image: Image = "prom/alertmanager:v0.34.0"
    command: Command = "alertmanager"
    port: NodePort = 9093
    resources: Resources = Resources(cpu=200, memory=256)
    storage: Storage = Storage()
    """Where silences and the notification log are kept."""


class AlertSink(Component):
    """Records each delivered notification, and notices when the heartbeat stops."""

    image: Image = "obsctl/obsctl:0.1.0"
    command: Command = "obsctl"
    port: NodePort = 8099
    resources: Resources = Resources(cpu=100, memory=128)
    storage: Storage = Storage()
    """Where notifications are kept."""


class Warden(Component):
    """Puts back what a drill left behind, when obsctl cannot."""

    image: Image = "obsctl/obsctl:0.1.0"
    command: Command = "obsctl"
    port: NodePort = 8098
    resources: Resources = Resources(cpu=100, memory=128)


class Components(Strict):
    """The programs of the stack."""

    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    alert_sink: AlertSink = Field(default=AlertSink(), alias="alert-sink")
    warden: Warden = Warden()


class DemoService(Component):
    """A program of the demo."""

    image: Image = "obsctl/obsctl:0.1.0"
    command: Command = "obsctl"
    resources: Resources = Resources(cpu=100, memory=128)


class HelloService(DemoService):
    """Answers GET /hello by asking response-service."""

    port: NodePort = 5050


class ResponseService(DemoService):
    """Answers with a phrase from Consul KV."""

    port: NodePort = 6060


class Traffic(DemoService):
    """Calls hello-service all the time."""

    port: NodePort = 5051


class Demo(Strict):
    """Two small services and their traffic, to try obsctl on."""

    enabled: bool = False
    """Off unless asked for."""
    requests_per_second: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=100)] = 4.0
    """How fast traffic calls hello-service."""
    hello_service: HelloService = Field(default=HelloService(), alias="hello-service")
    response_service: ResponseService = Field(default=ResponseService(), alias="response-service")
    traffic: Traffic = Traffic()
