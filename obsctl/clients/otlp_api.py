"""A collector, over OTLP/HTTP with JSON bodies (opentelemetry-proto, "OTLP/HTTP": ids are hex there)."""

from __future__ import annotations

from obsctl.clients.http import Client
from obsctl.model import Json

_INTERNAL_SPAN = 1
_INFO = 9


class OtlpClient(Client):
    """OtlpApi over HTTP."""

    def send_span(self, service: str, name: str, *, trace_id: str, span_id: str, at: float) -> None:
        time = _nanoseconds(at)
        span = {
            "traceId": trace_id,
            "spanId": span_id,
            "name": name,
            "kind": _INTERNAL_SPAN,
            "startTimeUnixNano": time,
            "endTimeUnixNano": time,
        }
        self._send("/v1/traces", "resourceSpans", service, {"scopeSpans": [{"spans": [span]}]})

    def send_line(self, service: str, line: str, *, trace_id: str, span_id: str, at: float) -> None:
        record = {
            "timeUnixNano": _nanoseconds(at),
            "severityNumber": _INFO,
            "severityText": "INFO",
            "body": {"stringValue": line},
            "traceId": trace_id,
            "spanId": span_id,
        }
        self._send("/v1/logs", "resourceLogs", service, {"scopeLogs": [{"logRecords": [record]}]})

    def _send(self, path: str, kind: str, service: str, content: Json) -> None:
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        self.session.request("POST", path, json={kind: [{"resource": resource, **content}]})


def _nanoseconds(unix: float) -> str:
    return str(int(unix * 1e9))
