"""The programs of the stack: the settings of each, and its row. A plan lists them in the order of Components."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from obsctl import names
from obsctl.config import releases
from obsctl.config.components import (
    NOBODY,
    Command,
    Component,
    Image,
    NodePort,
    OwnProgram,
    Replicated,
    Resources,
    Row,
    Storage,
)  # fmt: skip
from obsctl.config.demo import Demo
from obsctl.config.durations import Positive, within
from obsctl.config.releases import Program, Project
from obsctl.config.shapes import Clash, FolderPath, HostName, Link, Misfit, PlainLine, Strict, Word
from obsctl.config.telemetry import Sampling


class AlertSink(OwnProgram):
    """Records each delivered notification, and notices when the heartbeat stops."""

    row: ClassVar[Row] = Row(
        name=names.ALERT_SINK, shows="the notifications that were delivered", down_alert="", on_alert_path=True,
        generates=(names.DELIVERY_KEY,), secrets=lambda config: config.alerting.heartbeat.sink_secrets(),
    )  # fmt: skip
    port: NodePort = 8099
    hosts: tuple[HostName, ...] = Field(default=(), examples=[["alerts.example.org"]])
    """Names under which people open it, that of a reverse proxy for example. IP addresses, names without a dot and
    those in .consul, .internal, .local and .localhost need not be given. Others are refused, or a web page could read
    notifications by a name of its own that leads here."""
    storage: Storage = Storage()
    """Where notifications are kept."""


class Warden(OwnProgram, Replicated):
    """Puts back what a drill left behind, when obsctl cannot."""

    row: ClassVar[Row] = Row(
        name=names.WARDEN, shows="puts back what a drill left behind", page="/health", down_alert="",
        consul_program=names.WARDEN, asks_nomad=True, generates=(names.RECIPE_KEY,),
    )  # fmt: skip
    port: NodePort = 8098


class Prometheus(Replicated):
    """Scrapes, keeps and evaluates."""

    row: ClassVar[Row] = Row(
        name=names.PROMETHEUS, uid=NOBODY, shows="metrics, targets and rules",
        watches=True, down_alert="", on_alert_path=True, consul_program=names.PROMETHEUS, scrapes_servers=True,
        check=("promtool", "check", "config", "--syntax-only"),
        project=Project(
            name="prometheus", publisher=releases.PROMETHEUS, release_version="3.14.0", built_version="3.16.0",
            minimum=(3, 12, 0),  # health_filter came with 3.11.2, and --config.auto-reload is stable since 3.12
            packages={
                "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
                "promtool": "github.com/prometheus/prometheus/cmd/promtool",
            },
            build_minutes=7, version_variable=releases.PROMETHEUS_VERSION,
        ),
    )  # fmt: skip
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

    row: ClassVar[Row] = Row(
        name=names.ALERTMANAGER, uid=NOBODY, shows="alerts and silences",
        needs=(names.ALERT_SINK,), down_alert="", on_alert_path=True,
        secrets=lambda config: config.alerting.secrets(), copies=((names.ALERT_SINK, names.DELIVERY_KEY),),
        check=("amtool", "check-config"),
        project=Project(
            name="alertmanager", publisher=releases.PROMETHEUS, release_version="0.31.1", built_version="0.31.1",
            minimum=(0, 27, 0),
            packages={
                "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
                "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
            },
            build_minutes=1, version_variable=releases.PROMETHEUS_VERSION,
        ),
    )  # fmt: skip
    replicas: ClassVar[int] = 3
    image: Image = "prom/alertmanager:v0.34.0"
    command: Command = "alertmanager"
    port: NodePort = 9093
    cluster_port: NodePort = 9094
    """The port on which several gossip (TCP and UDP)."""
    resources: Resources = Resources(cpu=200, memory=256)
    storage: Storage = Storage()
    """Where silences and the notification log are kept."""


class VictoriaLogs(Component):
    """Keeps logs."""

    row: ClassVar[Row] = Row(
        name=names.VICTORIALOGS, uid=0, shows="log lines; in the terminal: obsctl logs", page="/select/vmui/",
        generates=("maintenance_key",),
        project=Project(
            name="victorialogs", released_as="victoria-logs",
            publisher=releases.VICTORIAMETRICS, release_version="1.52.1", built_version="1.52.1", minimum=(1, 0, 0),
            packages={"victoria-logs": "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"}, build_minutes=0.5,
            version_variable="github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
            version_text="victoria-logs-v{version}", version_argument="-version",
            version_title=r"victoria-logs-(?:\S*-)?",
        ),
    )  # fmt: skip
    image: Image = "victoriametrics/victoria-logs:v1.52.1"
    command: Command = "victoria-logs"
    port: NodePort = 9428
    resources: Resources = Resources(cpu=300, memory=256)
    retention: Annotated[Positive, within(86400.0)] = 7 * 86400.0
    """How long log lines are kept; at least a day."""
    max_disk_percent: Annotated[int, Field(strict=True, ge=1, le=100)] = 50
    """Percent of its file system that lines may take: beyond it the oldest days are dropped, but for the last two."""
    min_free_disk: Annotated[int, Field(strict=True, ge=1)] = 256
    """MB: with less free on its file system it takes no lines, and gateways keep them."""
    storage: Storage = Storage()
    """Where log lines are kept."""

    def disk(self) -> int:
        return self.min_free_disk


class Jaeger(Component):
    """Keeps traces: on disk (storage of kind host or dynamic), or in memory (ephemeral)."""

    row: ClassVar[Row] = Row(
        name=names.JAEGER, shows="traces; in the terminal: obsctl trace",
        check=("jaeger", "validate", "--config"),
        project=Project(
            name="jaeger", publisher=releases.JAEGER, release_version="2.20.0",
            # The module has the version 2 program under a version 1 tag; later versions are not available as a module.
            built_version="2.13.0", minimum=(2, 13, 0),
            packages={"jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger"}, build_minutes=4,
            version_variable="github.com/jaegertracing/jaeger/internal/version.latestVersion",
            version_title=r"jaeger version (?:.*git-version=)?",
        ),
    )  # fmt: skip
    image: Image = "jaegertracing/jaeger:2.20.0"
    command: Command = "jaeger"
    port: NodePort = 16686
    otlp_port: NodePort = 24317
    """The port to which gateways send spans (OTLP over gRPC)."""
    resources: Resources = Resources(cpu=300, memory=512)
    retention: Positive = 3 * 86400.0
    """How long spans are kept on disk."""
    max_traces: Annotated[int, Field(strict=True, ge=1)] = 50_000
    """How many traces are kept in memory."""
    storage: Storage = Storage()
    """Where spans are kept."""


_COLLECTOR_IMAGE = "otel/opentelemetry-collector-contrib:0.165.0"
_COLLECTOR_CHECK = ("otelcol", "validate", "--config")
QueueSize = Annotated[int, Field(strict=True, ge=1)]


class OtelGateway(Replicated):
    """Takes telemetry from the agents and sends it on: to Jaeger, to VictoriaLogs, and to Prometheus."""

    row: ClassVar[Row] = Row(
        name=names.OTEL_GATEWAY, shows="takes OTLP from the agents", needs=(names.VICTORIALOGS, names.JAEGER),
        secrets=lambda config: config.logs.secrets(),
        check=_COLLECTOR_CHECK, project=releases.COLLECTOR,
    )  # fmt: skip
    replicas: ClassVar[int] = 3
    """As many as a small cluster has nodes: what lies in the queue of a lost one is sent when its node is back."""
    image: Image = _COLLECTOR_IMAGE
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

    def disk(self) -> int:
        return 2 * self.queue  # one for Jaeger, one for the log store


class OtelAgent(Component):
    """Runs on every node: takes OTLP from its programs, reads the logs of its allocations, measures the host."""

    row: ClassVar[Row] = Row(
        name=names.OTEL_AGENT, shows="takes OTLP from the applications of its node", needs=(names.OTEL_GATEWAY,),
        asks_nomad=True, check=_COLLECTOR_CHECK, project=releases.COLLECTOR,
    )  # fmt: skip
    image: Image = _COLLECTOR_IMAGE
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

    def disk(self) -> int:
        return 3 * self.queue  # for traces, logs and metrics


class Grafana(Component):
    """Shows everything: dashboards, and links from a metric to a trace to a log line."""

    row: ClassVar[Row] = Row(
        name=names.GRAFANA, uid=472, shows="dashboards",
        needs=(names.PROMETHEUS, names.ALERTMANAGER, names.VICTORIALOGS, names.JAEGER), waits=True,
        generates=("admin_password", "secret_key"),
    )  # fmt: skip
    image: Image = "grafana/grafana:13.1.3"
    command: Command = "grafana"
    home: PlainLine = "/usr/share/grafana"
    """The folder with Grafana's own `conf` and `public` (exec, raw_exec)."""
    plugin: ClassVar[str] = "victoriametrics-logs-datasource"
    """The id of the datasource plugin that reads VictoriaLogs."""
    plugin_version: ClassVar[str] = "0.30.1"
    plugins_dir: FolderPath | None = Field(default=None, examples=["/opt/grafana-plugins"])
    """A folder that holds the plugin `victoriametrics-logs-datasource`, as Grafana sees it: of the node (raw_exec), of
    the chroot (exec), of the image (docker, podman). Default: Grafana fetches the plugin from grafana.com."""
    plugins_volume: Word | None = Field(default=None, examples=["grafana-plugins"])
    """The Nomad host volume that is mounted at plugins_dir, to be read (docker, podman, exec)."""
    port: NodePort = 3000
    resources: Resources = Resources(cpu=200, memory=512)
    root_url: Link | None = Field(default=None, examples=["https://grafana.example.org/"])
    """Where people open it, when that is not its port on the node: behind a proxy. Alerts then lead to their
    dashboards. With https its cookies are sent over TLS alone."""
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

    alert_sink: AlertSink = Field(default=AlertSink(), alias="alert-sink")
    warden: Warden = Warden()
    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    victorialogs: VictoriaLogs = VictoriaLogs()
    jaeger: Jaeger = Jaeger()
    otel_gateway: OtelGateway = Field(default=OtelGateway(), alias="otel-gateway")
    otel_agent: OtelAgent = Field(default=OtelAgent(), alias="otel-agent")
    grafana: Grafana = Grafana()


ROWS = {
    kind.row.name: kind.row
    for section in (Components, Demo)
    for kind in (field.annotation for field in section.model_fields.values())
    if isinstance(kind, type) and issubclass(kind, Component)
}
"""The rows of all components, by name."""
_PROJECTS = {row.project.name: row.project for row in ROWS.values() if row.project}
_SLOWEST_FIRST = sorted(_PROJECTS.values(), key=lambda project: -project.build_minutes)
PROGRAMS = {
    name: Program(name, project)
    for project in (releases.NOMAD, releases.CONSUL, *_SLOWEST_FIRST)
    for name in project.packages
}
"""The programs that obsctl gets: first those of the local cluster itself, then those that take longest to build."""
