"""The programs of the stack and of the demo: image, port, resources, storage of each."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from obsctl.config.durations import Positive, within
from obsctl.config.shapes import Clash, Folder, Line, Link, Misfit, Port, Strict, Word


class Driver(StrEnum):
    """How Nomad runs a component: an image (docker, podman), or a program of the node (exec: in a chroot; raw_exec)."""

    DOCKER = "docker"
    PODMAN = "podman"
    EXEC = "exec"
    RAW_EXEC = "raw_exec"


class Availability(StrEnum):
    """How many of each component run: one (single), or several where one alone would be missed (ha), each on a node of
    its own; ha-one-node has them all on one, to rehearse it."""

    SINGLE = "single"
    HA = "ha"
    HA_ONE_NODE = "ha-one-node"


class Resources(Strict):
    """What Nomad reserves for a task."""

    cpu: Annotated[int, Field(strict=True, ge=1)] = 100
    """MHz."""
    memory: Annotated[int, Field(strict=True, ge=10)] = 128
    """MB."""


class Storage(Strict):
    """Where a component keeps its data."""

    kind: Literal["host", "dynamic", "ephemeral"] = "host"
    """host and dynamic survive restarts, updates and stops of the job; ephemeral is gone with the allocation.
    host is made by whoever runs the node; dynamic is a Nomad dynamic host volume, which a deploy makes."""
    source: Word | None = None
    """With kind host or dynamic: the Nomad host volume; default: the job's name.
    With raw_exec data lies in the folder `<meta.obsctl_volumes>/<job>` of the node."""

    @model_validator(mode="after")
    def _ephemeral_has_no_source(self) -> Storage:
        if self.kind == "ephemeral" and self.source is not None:
            raise Clash(Misfit(("source",), "only kind: host and kind: dynamic have a source", ("kind",)))
        return self


Image = Annotated[Word, Field(description="The container image (docker, podman).")]
Command = Annotated[
    Line, Field(description="The program (exec, raw_exec): a path, or a name on the PATH of the Nomad client.")
]
NodePort = Annotated[Port, Field(description="The port on the node.")]


class Component(Strict):
    """What every component of the stack has."""

    enabled: bool = True
    """false leaves it out."""
    driver: Driver | None = None
    """docker, podman, exec or raw_exec, for this component alone."""
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


class Replicated(Component):
    """A component that may run several times. replicas: how many are highly available."""

    replicas: ClassVar[int] = 2
    count: Annotated[int, Field(strict=True, ge=1, le=9)] | None = None
    """How many run at once; default: what the profile says."""


class Prometheus(Replicated):
    """Scrapes, keeps and evaluates."""

    image: Image = "prom/prometheus:v3.14.0"
    command: Command = "prometheus"
    port: NodePort = 9090
    resources: Resources = Resources(cpu=500, memory=1024)
    retention: Positive = 15 * 86400.0
    """How long samples are kept."""
    storage: Storage = Storage()
    """Where samples are kept."""


class Alertmanager(Replicated):
    """Groups, silences and sends."""

    replicas: ClassVar[int] = 3
    image: Image = "prom/alertmanager:v0.34.0"
    command: Command = "alertmanager"
    port: NodePort = 9093
    cluster_port: NodePort = 9094
    """Where several gossip (TCP and UDP)."""
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


class VictoriaLogs(Component):
    """Keeps logs."""

    image: Image = "victoriametrics/victoria-logs:v1.52.1"
    command: Command = "victoria-logs"
    port: NodePort = 9428
    resources: Resources = Resources(cpu=300, memory=256)
    retention: Annotated[Positive, within(86400.0)] = 7 * 86400.0
    """How long log lines are kept; at least a day."""
    max_disk_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 50
    """How much of its file system log lines may take: beyond it the oldest days are dropped, but for the last two."""
    min_free_disk: Annotated[int, Field(strict=True, ge=1)] = 256
    """MB: with less free on its file system it takes no lines, and gateways keep them."""
    storage: Storage = Storage()
    """Where log lines are kept."""


class Jaeger(Component):
    """Keeps traces."""

    image: Image = "jaegertracing/jaeger:2.20.0"
    command: Command = "jaeger"
    port: NodePort = 16686
    otlp_port: NodePort = 24317
    """Where the gateway sends spans (OTLP over gRPC)."""
    resources: Resources = Resources(cpu=300, memory=512)
    retention: Positive = 3 * 86400.0
    """How long spans are kept (storage of kind host)."""
    max_traces: Annotated[int, Field(strict=True, ge=1)] = 50_000
    """How many traces are kept (storage of kind ephemeral, which is memory)."""
    storage: Storage = Storage()
    """Where spans are kept."""


_COLLECTOR = "otel/opentelemetry-collector-contrib:0.165.0"
QueueSize = Annotated[int, Field(strict=True, ge=1)]


class Sampling(Strict):
    """Which traces Jaeger gets. Each trace is judged as a whole; one reason to keep it is enough."""

    keep: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=100)] = 10.0
    """Percent of the traces that nothing else keeps."""
    errors: bool = True
    """Keeps every trace in which a span has failed."""
    slower_than: Positive | None = None
    """Keeps every trace that took at least this long."""
    wait: Annotated[Positive, within(1.0, 60.0)] = 10.0
    """How long a trace is waited for from its first span on, until it is judged; 1s to 1m."""


class OtelGateway(Replicated):
    """Takes telemetry from the agents and sends it on: to Jaeger, to VictoriaLogs, and to Prometheus."""

    image: Image = _COLLECTOR
    command: Command = "otelcol"
    port: NodePort = 14318
    """OTLP over HTTP."""
    grpc_port: NodePort = 14317
    """OTLP over gRPC."""
    resources: Resources = Resources(cpu=300, memory=512)
    queue: QueueSize = 512
    """MB on disk, for each backend, of what it cannot take at the moment."""
    operations: Annotated[int, Field(strict=True, ge=10)] = 500
    """How many operations of one program have metrics of their own, each kind and status by itself; at least 10. The
    spans of all others are counted together."""
    sampling: Sampling | None = None
    """Which traces Jaeger gets; default: all of them."""
    storage: Storage = Storage()
    """Where queues are kept."""


class OtelAgent(Component):
    """Runs on every node: takes OTLP from its programs, reads the logs of its allocations, measures the host."""

    image: Image = _COLLECTOR
    command: Command = "otelcol"
    port: NodePort = 4318
    """OTLP over HTTP."""
    grpc_port: NodePort = 4317
    """OTLP over gRPC."""
    resources: Resources = Resources(cpu=200, memory=256)
    queue: QueueSize = 256
    """MB on disk, for each of traces, logs and metrics, of what the gateway cannot take at the moment."""
    disks: bool = True
    """Whether an agent in a container sees the disks of its node, which takes the host volume obsctl-host-root."""
    storage: Storage = Storage()
    """Where queues are kept, and how far each log was read."""


class Grafana(Component):
    """Shows it all: dashboards, and the ways from a metric to a trace to a log line."""

    image: Image = "grafana/grafana:13.1.3"
    command: Command = "grafana"
    home: Line = "/usr/share/grafana"
    """The folder with Grafana's own `conf` and `public` (exec, raw_exec)."""
    plugin: ClassVar[str] = "victoriametrics-logs-datasource"
    """What reads VictoriaLogs: the id of the datasource plugin."""
    plugin_version: ClassVar[str] = "0.30.1"
    plugins_dir: Folder | None = None
    """A folder that holds the plugin `victoriametrics-logs-datasource`, as Grafana sees it: of the node (raw_exec), of
    the chroot (exec), of the image (docker, podman). Default: Grafana fetches the plugin from grafana.com."""
    plugins_volume: Word | None = None
    """The Nomad host volume that is mounted at plugins_dir, to be read (docker, podman, exec)."""
    port: NodePort = 3000
    resources: Resources = Resources(cpu=200, memory=512)
    root_url: Link | None = None
    """Where people open it, when that is not its port on the node: behind a proxy."""
    anonymous: bool = False
    """true lets everybody who reaches it look at dashboards without logging in."""
    storage: Storage = Storage()
    """Where users, and what they made by hand, are kept."""

    @model_validator(mode="after")
    def _a_volume_has_a_place(self) -> Grafana:
        if self.plugins_volume is not None and self.plugins_dir is None:
            raise Clash(Misfit(("plugins_volume",), "needs plugins_dir: where it is mounted", ("plugins_dir",)))
        return self


class Components(Strict):
    """The programs of the stack."""

    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    victorialogs: VictoriaLogs = VictoriaLogs()
    jaeger: Jaeger = Jaeger()
    otel_gateway: OtelGateway = Field(default=OtelGateway(), alias="otel-gateway")
    otel_agent: OtelAgent = Field(default=OtelAgent(), alias="otel-agent")
    grafana: Grafana = Grafana()
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
    fixed: bool = False
    """Runs response-service without the bug that docs/tutorial-find-the-bug.md has you find."""
    requests_per_second: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=100)] = 4.0
    """How fast traffic calls hello-service."""
    hello_service: HelloService = Field(default=HelloService(), alias="hello-service")
    response_service: ResponseService = Field(default=ResponseService(), alias="response-service")
    traffic: Traffic = Traffic()
