"""Spans and log lines as OTLP/JSON, as a service's SDK would send them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.model import Json

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
START = 1_700_000_000_000_000_000
MS = 1_000_000


def attributes(**values: Any) -> list[Json]:
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return [
        {"key": name.replace("_", "."), "value": {kinds[type(value)]: str(value) if type(value) is int else value}}
        for name, value in values.items()
    ]


def span(
    service: str,
    name: str,
    span_id: str,
    parent: str = "",
    *,
    at: float = 0,
    took: float = 10,
    error: str | None = None,
    exception: str = "",
    kind: int = 2,
    trace_id: str = TRACE,
    start: int = START,
    **given: Any,
) -> Json:
    """ResourceSpans with one span. at, took: milliseconds from `start` (Unix nanoseconds). error: the status's message.

    exception: "type: message" of an event. kind: 2 is a server's, 3 a client's.
    """
    begin = start + int(at * MS)
    found: Json = {
        "traceId": trace_id,
        "spanId": span_id.rjust(16, "0"),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int(took * MS)),
        "attributes": attributes(**given),
    }
    if parent:
        found["parentSpanId"] = parent.rjust(16, "0")
    if error is not None:
        found["status"] = {"code": 2, **({"message": error} if error else {})}
    if exception:
        type_, _, message = exception.partition(": ")
        told = attributes(exception_type=type_, exception_message=message)
        found["events"] = [{"timeUnixNano": str(begin), "name": "exception", "attributes": told}]
    resource = {"attributes": attributes(service_name=service)}
    return {"resource": resource, "scopeSpans": [{"scope": {"name": "tests"}, "spans": [found]}]}


def records(resource: dict[str, str], *lines: tuple[int, str, dict[str, str]]) -> Json:
    """ResourceLogs: each line with its Unix nanoseconds, its text, and what else a log record has."""
    entries = [
        {"timeUnixNano": str(at), "body": {"stringValue": text}, "severityText": "INFO", **more}
        for at, text, more in lines
    ]
    return {
        "resource": {"attributes": attributes(**resource)},
        "scopeLogs": [{"scope": {"name": "tests"}, "logRecords": entries}],
    }


def send_spans(address: str, spans: Iterable[Json]) -> None:
    """To an OTLP/HTTP receiver."""
    Session(Endpoint("OTLP", address, down="")).post("/v1/traces", json={"resourceSpans": list(spans)})


def send_logs(address: str, logs: Iterable[Json], *, path: str = "/v1/logs", **headers: str) -> None:
    """To whatever takes OTLP over HTTP. As protobuf, since not everybody takes JSON."""
    request = ParseDict({"resourceLogs": [_with_ids_in_base64(each) for each in logs]}, ExportLogsServiceRequest())
    headers = {"Content-Type": "application/x-protobuf", **headers}
    session = Session(Endpoint("OTLP", address, down=""))
    session.post(path, data=request.SerializeToString(), headers=headers, text=True)


def _with_ids_in_base64(value: Any) -> Any:
    """OTLP/JSON has ids in hex, which is not how JSON of protobuf has bytes."""
    if isinstance(value, list):
        return [_with_ids_in_base64(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: b64encode(bytes.fromhex(each)).decode() if key in ("traceId", "spanId") else _with_ids_in_base64(each)
        for key, each in value.items()
    }
