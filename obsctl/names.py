"""The names by which obsctl finds things on the cluster, each spelled here alone. Templates see them as `names`."""

from __future__ import annotations

# In the meta of a Nomad job: the marks of obsctl.
MARK_PREFIX = "obsctl."
STACK_MARK = f"{MARK_PREFIX}stack"
COMPONENT_MARK = f"{MARK_PREFIX}component"
SPEC_MARK = f"{MARK_PREFIX}spec"
VERSION_MARK = f"{MARK_PREFIX}version"
RETRY_MARK = f"{MARK_PREFIX}retry"
"""Set when a job whose deployment failed is registered again: Nomad does nothing for a job that is the same."""

# In the meta of a Nomad job or task: which of its output files are collected. In the meta of a node: its data folder.
LOGS_META = "obsctl_logs"
VOLUMES_META = "obsctl_volumes"
LOG_LANES = [*(f"{number:02}" for number in range(16)), "busy"]
"""Log files are read in lanes: one that is written without end holds up its lane alone. The last is for such files."""
SOURCE_FIELD = "obsctl.source"
"""A field that agents alone set: "file" if Nomad wrote the line for a task, "otlp" if a program sent it."""
# Host volumes of a Nomad client that the log collector reads.
ALLOC_VOLUME = "obsctl-nomad-alloc"
ROOT_VOLUME = "obsctl-host-root"

SIGNING_KEYS = "/.well-known/jwks.json"
"""Where Nomad tells the public keys by which others check the identities of its workloads."""

# In Consul: the tag by which a service is scraped, and the meta that says which stack runs it.
SCRAPE_TAG = "obsctl.scrape"
STACK_META = "obsctl_stack"
# In the meta of a service in Consul: where its metrics are, and the Nomad namespace of its job.
PROOF_META = "obsctl_proof"
"""By which Alertmanager knows that an instance of alert-sink is this stack's."""
PATH_META = "metrics_path"
SCHEME_META = "metrics_scheme"
PORT_META = "metrics_port"
PARAMETER_META = "metrics_param_"
"""How the meta of each parameter of the metrics' address begins; its name follows."""
NAMESPACE_META = "nomad_namespace"
PATH_PARAMETERS = 4
"""How many parameters metrics_path itself may have."""
CONNECT_PROXY = "connect-proxy"
"""The kind of a sidecar in Consul. It has the tags of its service, and no metrics."""

# Components and services, as Consul and obsctl.yaml call them.
ALERT_SINK = "alert-sink"
ALERTMANAGER = "alertmanager"
GRAFANA = "grafana"
HELLO_SERVICE = "hello-service"
JAEGER = "jaeger"
LOG_LINKS = "log-links"
OTEL_AGENT = "otel-agent"
OTEL_GATEWAY = "otel-gateway"
PROMETHEUS = "prometheus"
RESPONSE_SERVICE = "response-service"
TRAFFIC = "traffic"
VICTORIALOGS = "victorialogs"
WARDEN = "warden"
DEMO = (HELLO_SERVICE, RESPONSE_SERVICE, TRAFFIC)
COMPONENTS = (
    ALERT_SINK,
    ALERTMANAGER,
    GRAFANA,
    JAEGER,
    OTEL_AGENT,
    OTEL_GATEWAY,
    PROMETHEUS,
    VICTORIALOGS,
    WARDEN,
    *DEMO,
)
"""Each has a job of its own."""
DOCTOR_PROBE = "doctor-probe"
"""The job by which `obsctl doctor --probe` looks from each node."""
JOBS = (*COMPONENTS, DOCTOR_PROBE)
"""All that a stack runs."""
NOMAD_CLIENT = "nomad-client"
"""Nomad's clients, as they are in Consul; the local cluster calls their agents the same."""
# Further ports of components, each a service of its own in Consul.
ALERTMANAGER_CLUSTER = "alertmanager-cluster"
JAEGER_OTLP = "jaeger-otlp"
GATEWAY_GRPC = "otel-gateway-grpc"
GATEWAY_METRICS = "otlp-metrics"

# Items of Nomad Variables.
DELIVERY_KEY = "delivery_key"
"""The secret by which alert-sink knows Alertmanager's deliveries."""
SILENCE_ITEM = "silence_webhook"
OUTSIDE_ITEM = "heartbeat_outside_url"

# Receivers of Alertmanager that are obsctl's own; the first is the program of that name.
SINK_RECEIVER = ALERT_SINK
HEARTBEAT_RECEIVER = "heartbeat"

RECIPE_KEY = "recipe_key"
"""The item of the warden's Nomad Variable that signs the recipes of drills."""

TEST_LABEL = "obsctl_test"
"""Of the alerts by which `obsctl verify` tests receivers: the receiver that alone gets it."""

REPLICA_LABEL = "prometheus_replica"
"""Which of several Prometheus says it; they do not send it to Alertmanager."""

# Alerts.
TEST_ALERT = "ObsctlTest"
WATCHDOG = "Watchdog"
MISSED_HEARTBEATS = 3
"""After so many intervals without a Watchdog the alert path counts as silent."""
SERVICE_DOWN = "ServiceDown"
JOB_NOT_RUNNING = "JobNotRunning"
REPLICA_MISSING = "ReplicaMissing"
COMPONENT_DOWN = "ComponentDown"
NODE_DOWN = "NodeDown"

SERVERS = ("consul", "nomad")
"""The jobs in Prometheus of Nomad's and Consul's own agents, which no service's tag brings there."""
CONSUL_VALUE_BYTES = 512 * 1024
"""Consul takes no longer value."""
DEMO_PHRASES_KEY = "minion_phrases"
"""The Consul key that response-service reads."""
DEMO_SONGS_KEY = "minion_songs"
"""Which nobody has written: the bug of the tutorial is to ask for it."""
NEVER_MADE = "/wait/"
"""In a key of the stack that nobody makes: a template waits with it for what is no key."""


def job_id(stack: str, component: str) -> str:
    return f"{stack}-{component}"


def variable_path(job: str) -> str:
    """The Nomad Variable that a job may read without a policy."""
    return f"nomad/jobs/{job}"


def drill_variable(stack: str) -> str:
    """Where the job of the drill that runs is kept: below the warden's own."""
    return f"{variable_path(job_id(stack, WARDEN))}/drill"


def kv_prefix(stack: str) -> str:
    """Below this Consul KV prefix everything belongs to the stack."""
    return f"obsctl/{stack}"


def config_folder(stack: str) -> str:
    return f"{kv_prefix(stack)}/config"


def rules_folder(stack: str) -> str:
    return f"{kv_prefix(stack)}/rules"


def dashboards_folder(stack: str) -> str:
    return f"{kv_prefix(stack)}/dashboards"


def drills_folder(stack: str) -> str:
    return f"{kv_prefix(stack)}/drills"


def lock_key(stack: str) -> str:
    return f"{kv_prefix(stack)}/lock"
