"""Jaeger and Loki of one's own, as small as they get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obsctl.clients import connect
from obsctl.clients.protocols import JaegerApi, LokiApi
from tests.contract.agents import listens, program, running, until_it_answers
from tests.ports import free_port

JAEGER = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_query:
    storage: {{traces: main}}
    http: {{endpoint: "127.0.0.1:{http}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
  jaeger_storage: {{backends: {{main: {storage}}}}}
receivers: {{otlp: {{protocols: {{{protocol}: {{endpoint: "127.0.0.1:{otlp}"}}}}}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: main}}}}
"""
STORAGES = {
    "memory": "{memory: {max_traces: 10000}}",
    "badger": "{badger: {directories: {keys: badger/keys, values: badger/values}, ephemeral: false}}",
}
LOKI = """
auth_enabled: false
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc}
  log_level: warn
common:
  path_prefix: data
  instance_addr: 127.0.0.1
  replication_factor: 1
  storage: {{filesystem: {{chunks_directory: data/chunks, rules_directory: data/rules}}}}
  ring: {{kvstore: {{store: inmemory}}}}
schema_config:
  configs:
    - {{from: "2024-01-01", store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}
limits_config:
  otlp_config:
    resource_attributes:
      attributes_config:
        - {{action: index_label, attributes: [nomad.job, nomad.group, nomad.task, nomad.namespace]}}
analytics: {{reporting_enabled: false}}
"""


@contextmanager
def running_jaeger(folder: Path, storage: str, protocol: str = "http") -> Iterator[tuple[JaegerApi, str]]:
    """Jaeger, and where it takes OTLP. storage: "memory" or "badger". protocol: "http" or "grpc"."""
    http, grpc, otlp = free_port(), free_port(), free_port()
    config = JAEGER.format(http=http, grpc=grpc, otlp=otlp, protocol=protocol, storage=STORAGES[storage])
    (folder / "jaeger.yml").write_text(config)
    with running([program("jaeger"), "--config=jaeger.yml"], folder, OTEL_TRACES_SAMPLER="always_off"):
        jaeger = connect.jaeger(f"http://127.0.0.1:{http}")
        until_it_answers(lambda: jaeger.services() is not None, folder)
        until_it_answers(lambda: listens(otlp), folder)  # the receivers start last
        yield jaeger, f"http://127.0.0.1:{otlp}"


@contextmanager
def running_loki(folder: Path) -> Iterator[tuple[LokiApi, str]]:
    """Loki, ready, and where it takes OTLP/HTTP."""
    http = free_port()
    (folder / "loki.yml").write_text(LOKI.format(http=http, grpc=free_port()))
    with running([program("loki"), "-config.file=loki.yml"], folder):
        loki = connect.loki(f"http://127.0.0.1:{http}")
        until_it_answers(loki.ready, folder)
        yield loki, f"http://127.0.0.1:{http}/otlp"
