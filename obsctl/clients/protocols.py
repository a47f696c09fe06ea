"""What obsctl asks of each server. The clients implement these, and so do the fakes of the unit tests.

A method raises nothing but the ApiError family of obsctl.errors. JSON objects are passed on as the server sent them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from obsctl.clients.nomad_actions import NomadActions
from obsctl.clients.tally import Tallies
from obsctl.model import Json


@dataclass(frozen=True, slots=True)
class KvPair:
    """A Consul KV entry. `modify_index` is what check-and-set compares; `session` holds the lock, if any.

    create_index: stays for as long as the entry is there; one that is made anew has another.
    """

    key: str
    value: bytes
    modify_index: int
    session: str | None = None
    create_index: int = 0


@dataclass(frozen=True, slots=True)
class Variable:
    """A Nomad Variable. Its items are secret, so the repr leaves them out."""

    path: str
    items: dict[str, str]
    modify_index: int

    def __repr__(self) -> str:
        return f"Variable({self.path!r}, keys={sorted(self.items)}, modify_index={self.modify_index})"


class AgentApi(Protocol):
    """What Nomad and Consul have in common."""

    address: str

    def leader(self) -> str:
        """`host:port` of the leader; "" while there is none."""

    def agent_version(self) -> str: ...
    def server_time(self) -> float:
        """Unix seconds, whole ones."""

    def metrics(self) -> str:
        """The agent's own metrics in Prometheus' format. Raises Rejected when the agent is configured without them."""


class NomadApi(AgentApi, NomadActions, Protocol):
    """Nomad, in one namespace and region."""

    def parse_job(self, hcl: str) -> Json:
        """Job HCL as canonical job JSON. Raises Rejected with Nomad's own message when the HCL is wrong."""

    def plan_job(self, job: Json) -> Json:
        """What registering `job` would do: Diff, JobModifyIndex, FailedTGAllocs, Warnings."""

    def jobs(self) -> list[Json]:
        """Stubs of all jobs of the namespace, with Meta."""

    def job(self, job_id: str) -> Json: ...
    def job_versions(self, job_id: str) -> list[Json]:
        """The last few versions, which Nomad keeps; newest first."""

    def register_job(self, job: Json, *, enforce_index: int | None = None) -> str:
        """Register and return the evaluation's id. Raises Conflict unless the job's JobModifyIndex is `enforce_index`
        (0: there is no such job)."""

    def stop_job(self, job_id: str) -> str:
        """Stop without purge; returns the evaluation's id. Every call makes a new version of the job, even when the job
        is stopped already. Raises NotFound when there is no such job."""

    def evaluation(self, eval_id: str) -> Json: ...
    def job_evaluations(self, job_id: str) -> list[Json]:
        """Newest first."""

    def job_allocations(self, job_id: str) -> list[Json]:
        """Of earlier versions too, newest first."""

    def allocations(self) -> list[Json]:
        """Stubs of all allocations of every namespace that the token may read, with AllocatedResources."""

    def job_deployment(self, job_id: str) -> Json | None:
        """The latest deployment; None when the job never had one. Only its JobVersion tells whether it belongs to the
        current job: a stopped job still has its last deployment."""

    def allocation(self, alloc_id: str) -> Json: ...
    def task_logs(self, alloc_id: str, task: str, *, stream: str = "stderr", tail_bytes: int = 4096) -> str:
        """The end of a task's log; "" when there is none."""

    def log_files(self, alloc_id: str) -> dict[str, int]:
        """The files of an allocation's logs and their sizes in bytes: "<task>.<stdout or stderr>.<number>", the
        newest with the highest number. {} when they are gone."""

    def read_log(self, alloc_id: str, file: str, *, offset: int) -> bytes:
        """One of the log_files from `offset` to its end; b"" when it is gone."""

    def signing_keys(self) -> list[str]:
        """The ids of the public keys by which others check the identities of workloads; from Nomad 1.7 on."""

    def nodes(self) -> list[Json]: ...
    def node(self, node_id: str) -> Json: ...
    def disk_stats(self, node_id: str) -> Json:
        """What the node's client measures now: AllocDirStats, of the file system of its allocations (Device, Size,
        Available in bytes), and DiskStats, of each with its Mountpoint. It waits for the node some seconds at most."""

    def watch_node(self, node_id: str, *, index: int, wait: float) -> tuple[int, list[Json]]:
        """Blocking query: the allocations of a node in all namespaces that the token may read, each with its Job. It
        returns at once when one changed after `index`, else after `wait` seconds (at most 25): (next index,
        allocations). Begin with index 0, which does not block. A node that does not exist has no allocations."""

    def volumes(self) -> list[Json]:
        """Stubs of all dynamic host volumes of the namespace: ID, Name, NodeID, State."""

    def create_volume(self, volume: Json) -> str:
        """Make a dynamic host volume and return its id; a job can use it once its State is "ready"."""

    def variable(self, path: str) -> Variable | None: ...
    def put_variable(self, path: str, items: dict[str, str], *, cas: int | None = None) -> None:
        """Raises Conflict unless the variable's ModifyIndex is `cas` (0: there is none)."""

    def delete_variable(self, path: str, *, cas: int | None = None) -> None:
        """Raises Conflict unless the variable's ModifyIndex is `cas` (0: there is none)."""


class ConsulApi(AgentApi, Protocol):
    """Consul, in one datacenter."""

    def get(self, key: str) -> KvPair | None: ...
    def entries(self, prefix: str) -> list[KvPair]:
        """All entries below `prefix`, sorted by key."""

    def watch(self, prefix: str, *, index: int, wait: float) -> tuple[int, list[KvPair]]:
        """Blocking query: returns at once when anything below `prefix` changed after `index`, else after `wait` seconds
        (at most 25): (next index, entries). Begin with index 0, which does not block. An empty prefix is an answer
        too."""

    def put(self, key: str, value: bytes, *, cas: int | None = None) -> None:
        """Raises Conflict unless the entry's ModifyIndex is `cas` (0: there is none)."""

    def delete(self, key: str, *, cas: int | None = None) -> None:
        """Raises Conflict when there is an entry with another ModifyIndex than `cas`."""

    def create_session(self, name: str, *, ttl: int, lock_delay: int = 1) -> str:
        """A session whose locks are deleted with it. ttl: seconds, 10..86400; Consul may let a session live up to twice
        as long. It also ends with the node of the agent that made it, when that leaves the cluster; what members think
        of the agent meanwhile does not end it."""

    def renew_session(self, session: str) -> None:
        """Raises NotFound when the session is gone."""

    def destroy_session(self, session: str) -> None: ...
    def session_exists(self, session: str) -> bool: ...
    def acquire(self, key: str, value: bytes, session: str) -> bool:
        """Take the lock, or keep it and change the value; False when another session holds it, and for `lock_delay`
        seconds after that session ended. Raises NotFound when the session is gone."""

    def services(self) -> dict[str, list[str]]:
        """Service name to tags, of the whole catalog."""

    def health(self, service: str) -> list[Json]:
        """All instances of a service with Node, Service and Checks, healthy or not."""


class StackProgram(Protocol):
    """What the programs of the alert path have in common."""

    @property
    def address(self) -> str: ...
    def server_time(self) -> float:
        """Unix seconds, whole ones."""


class PrometheusApi(StackProgram, Protocol):
    def query(self, promql: str) -> list[Json]:
        """The instant vector: [{"metric": {...}, "value": [unix, "1"]}]. Raises Rejected for what is no PromQL."""

    def count(self, promql: str) -> int:
        """How many series the answer has, of whatever type it is. Raises Rejected for what is no PromQL."""

    def targets(self) -> list[Json]:
        """Active targets, as /api/v1/targets gives them."""

    def rule_groups(self) -> list[Json]: ...
    def alerts(self) -> list[Json]: ...
    def alertmanagers(self) -> list[str]:
        """URLs of the active Alertmanagers."""

    def config_yaml(self) -> str: ...
    def format_query(self, promql: str) -> str:
        """The expression as Prometheus writes it: one text for all layouts. Raises Rejected for what is no PromQL."""


class AlertmanagerApi(StackProgram, Protocol):
    def status(self) -> Json:
        """config.original, versionInfo, and cluster with its status ("ready", "settling", "disabled") and peers."""

    def alerts(self) -> list[Json]: ...
    def silences(self) -> list[Json]:
        """The silences that are active now."""

    def silence(self, labels: Mapping[str, str], *, until: float, comment: str) -> str:
        """Silence alerts with these labels from now on until then (Unix seconds). Returns the silence's id."""

    def expire(self, silence_id: str) -> None: ...
    def post(self, alerts: list[Json]) -> None:
        """Let alerts begin, or end by their `endsAt`, as Prometheus does it."""

    def tallies(self) -> Tallies:
        """A version that does not count by receiver gives none."""


class SinkApi(StackProgram, Protocol):
    """alert-sink, the receiver that obsctl ships."""

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        """[{"received_at": unix seconds, "payload": Alertmanager webhook v4}], oldest first."""


class RegistryApi(Protocol):
    """A registry of container images."""

    def digest(self, repository: str, tag: str) -> str:
        """The digest ("sha256:…") of what the tag means now, of all platforms together if there are several.

        Raises NotFound when there is no such image, Forbidden when this login may not have it.
        """


class GrafanaApi(Protocol):
    """Grafana, as far as it answers without a login."""

    def plugins(self) -> dict[str, str]:
        """Id -> version of the plugins that it has loaded beside those that are part of it."""

    def accepts(self, user: str, password: str) -> bool:
        """Whether one can log in with these."""


class OtlpApi(Protocol):
    """A collector that takes spans and log records. trace_id: 32 hex digits, span_id: 16; at: Unix seconds."""

    address: str

    def send_span(self, service: str, name: str, *, trace_id: str, span_id: str, at: float) -> None:
        """A span without duration and without a parent."""

    def send_gauge(self, service: str, name: str, value: float, *, at: float) -> None:
        """One point of a metric."""

    def send_line(self, service: str, line: str, *, trace_id: str, span_id: str, at: float) -> None:
        """A log record of that span."""


class JaegerApi(Protocol):
    """Jaeger. Spans come as OTLP/JSON: a list of ResourceSpans."""

    address: str

    def services(self) -> list[str]:
        """Names of the services that sent spans, sorted."""

    def trace(self, trace_id: str) -> list[Json]:
        """The spans of one trace, as far as they are there; [] when there are none. trace_id: 32 hex digits."""

    def search(
        self, service: str, *, since: float, until: float, min_duration: float = 0.0, limit: int = 20
    ) -> list[Json]:
        """All spans of the `limit` newest traces that have a span of this service which began between the Unix
        times and took at least `min_duration` seconds."""


class LogsApi(Protocol):
    """VictoriaLogs. Raises Rejected with its own words for what is no LogsQL."""

    address: str

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        """At most `limit` lines of start <= time < end (Unix nanoseconds): the newest, or else the oldest of them.

        logsql: filters alone. [{"_time": RFC 3339 to the nanosecond, "_msg": line, …}] with all fields of a line, each
        as text, unsorted. A line can be found about a second after it was stored."""

    def results(self, logsql: str, kind: str, *, start: int, end: int) -> int:
        """How many lines (at most one) or series a panel of Grafana would get. kind: "instant", "stats", "statsRange"
        or "hits", as its plugin calls them."""

    def counts(self, logsql: str, *, start: int, end: int, step: int) -> dict[int, int]:
        """How many lines of start <= time < end (Unix nanoseconds) there are in each step of so many seconds: the
        step's begin (Unix seconds, a multiple of `step`) -> lines. Steps without a line are left out."""
