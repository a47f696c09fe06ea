"""Jaeger and VictoriaLogs of one's own, as small as they get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obsctl.clients.programs import endpoint
from obsctl.clients.protocols import JaegerApi, LogsApi
from obsctl.clients.telemetry_apis import JaegerClient, LogsClient
from tests.agents import answers, listens, program, running, until_it_answers
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


@contextmanager
def running_jaeger(folder: Path, storage: str, protocol: str = "http") -> Iterator[tuple[JaegerApi, str]]:
    """Jaeger, and where it takes OTLP. storage: "memory" or "badger". protocol: "http" or "grpc"."""
    http, grpc, otlp = free_port(), free_port(), free_port()
    config = JAEGER.format(http=http, grpc=grpc, otlp=otlp, protocol=protocol, storage=STORAGES[storage])
    (folder / "jaeger.yml").write_text(config)
    with running([program("jaeger"), "--config=jaeger.yml"], folder, OTEL_TRACES_SAMPLER="always_off"):
        jaeger = JaegerClient(endpoint("jaeger", f"http://127.0.0.1:{http}"))
        until_it_answers(lambda: jaeger.services() is not None, folder)
        until_it_answers(lambda: listens(otlp), folder)  # the receivers start last
        yield jaeger, f"http://127.0.0.1:{otlp}"


@contextmanager
def running_logs(folder: Path) -> Iterator[LogsApi]:
    """VictoriaLogs, ready."""
    http = free_port()
    argv = [program("victoria-logs"), f"-httpListenAddr=127.0.0.1:{http}", "-storageDataPath=data", "-defaultMsgValue="]
    with running(argv, folder):
        logs = LogsClient(endpoint("victorialogs", f"http://127.0.0.1:{http}"))
        until_it_answers(lambda: answers(f"{logs.address}/health"), folder)
        yield logs
