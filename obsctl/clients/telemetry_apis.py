"""The programs that take, keep and show telemetry, over HTTP: a collector, Jaeger, VictoriaLogs, Grafana."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from obsctl.clients.form import objects_of
from obsctl.clients.http import Client
from obsctl.clients.paths import quoted
from obsctl.errors import NotFound, ServerFailed
from obsctl.model import Json

BADGER_END = timedelta(microseconds=1)
"""A search is sent with its end so much later. Jaeger's Badger storage seeks backwards from the end's key followed by
one byte ff (scanIndexKeys in its reader.go, 1.62), which leaves out ids from ff on in the end's own microsecond."""
_INTERNAL_SPAN = 1
_INFO = 9
_SECOND = 1_000_000_000
_PLUGIN = "grafana_plugin_build_info{"
_PLUGIN_LABEL = re.compile(r'[{,](plugin_id|version)="([^"]*)"')


class OtlpClient(Client):
    """OtlpApi over OTLP/HTTP with JSON bodies, in which ids are hexadecimal (opentelemetry-proto)."""

    def send_span(self, service: str, name: str, *, trace_id: str, span_id: str, at: float) -> None:
        time = str(int(at * 1e9))
        times = {"startTimeUnixNano": time, "endTimeUnixNano": time}
        span = {"traceId": trace_id, "spanId": span_id, "name": name, "kind": _INTERNAL_SPAN, **times}
        self._send("/v1/traces", "resourceSpans", service, {"scopeSpans": [{"spans": [span]}]})

    def send_line(self, service: str, line: str, *, trace_id: str, span_id: str, at: float) -> None:
        severity = {"severityNumber": _INFO, "severityText": "INFO"}
        ids = {"traceId": trace_id, "spanId": span_id}
        record = {"timeUnixNano": str(int(at * 1e9)), "body": {"stringValue": line}, **severity, **ids}
        self._send("/v1/logs", "resourceLogs", service, {"scopeLogs": [{"logRecords": [record]}]})

    def send_gauge(self, service: str, name: str, value: float, *, at: float) -> None:
        point = {"timeUnixNano": str(int(at * 1e9)), "asDouble": value}
        metric = {"name": name, "gauge": {"dataPoints": [point]}}
        self._send("/v1/metrics", "resourceMetrics", service, {"scopeMetrics": [{"metrics": [metric]}]})

    def _send(self, path: str, kind: str, service: str, content: Json) -> None:
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        self.session.request("POST", path, json={kind: [{"resource": resource, **content}]})


class JaegerClient(Client):
    """JaegerApi over Jaeger's HTTP API, version 3: the older one is removed in 2.21.

    Parameters are in snake_case, which 2.0 knows and later versions still accept. The number of traces was renamed
    meanwhile, so both names are sent; a version ignores the one that it does not know.
    """

    def services(self) -> list[str]:
        return self.read(lambda answer: sorted(map(str, answer.get("services") or [])), "/api/v3/services")

    def trace(self, trace_id: str) -> list[Json]:
        return self._spans(f"/api/v3/traces/{quoted(trace_id)}", {})

    def search(
        self, service: str, *, since: float, until: float, min_duration: float = 0.0, limit: int = 20
    ) -> list[Json]:
        query = {
            "service_name": service,
            "start_time_min": _rfc3339(datetime.fromtimestamp(since, UTC)),
            "start_time_max": _rfc3339(datetime.fromtimestamp(until, UTC) + BADGER_END),
            "num_traces": str(limit),
            "search_depth": str(limit),
            **({"duration_min": f"{min_duration:.6f}s"} if min_duration else {}),
        }
        return self._spans("/api/v3/traces", {f"query.{name}": value for name, value in query.items()})

    def _spans(self, path: str, params: dict[str, str]) -> list[Json]:
        try:
            return self.read(lambda answer: objects_of(answer["result"].get("resourceSpans") or []), path, **params)
        except NotFound:  # newer versions answer so when a search finds nothing
            return []


def _rfc3339(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LogsClient(Client):
    """LogsApi over VictoriaLogs' HTTP API."""

    def lines(self, logsql: str, *, start: int, end: int, limit: int, newest: bool = True) -> list[Json]:
        query = logsql if newest else f"{logsql} | sort by (_time)"
        return self._query("_time", query=query, start=start, end=end, limit=limit)

    def counts(self, logsql: str, *, start: int, end: int, step: int) -> dict[int, int]:
        query = f"{logsql} | stats by (_time:{step}s) count() lines"
        steps = self._query("_time", "lines", query=query, start=start, end=end)
        try:
            return {int(datetime.fromisoformat(entry["_time"]).timestamp()): int(entry["lines"]) for entry in steps}
        except (ValueError, OverflowError):
            raise self._unexpected("times and numbers") from None

    def results(self, logsql: str, kind: str, *, start: int, end: int) -> int:
        if kind == "instant":
            return len(self._query(query=logsql, start=start, end=end, limit=1))
        step = f"{max(1, (end - start) // _SECOND // 100)}s"
        if kind == "hits":
            answer = self._form("hits", query=logsql, start=start, end=end, step=step)
            return len(objects_of(answer["hits"]))
        times = {"time": end} if kind == "stats" else {"start": start, "end": end, "step": step}
        answer = self._form("stats_query" if kind == "stats" else "stats_query_range", query=logsql, **times)
        return len(objects_of(answer["data"]["result"]))

    def _form(self, path: str, **form: str | int) -> Json:
        answer: Json = self.session.request("POST", f"/select/logsql/{path}", data=form).json()
        return answer

    def _query(self, *needed: str, **form: str | int) -> list[Json]:
        """Each line an object of texts that has the fields `needed`."""
        answer = self.session.request("POST", "/select/logsql/query", data=form, text=True)
        try:
            # Split as bytes: a line may hold characters that Python takes for line breaks, and bytes that are no UTF-8.
            lines = [json.loads(line.decode(errors="replace")) for line in answer.content.split(b"\n") if line]
        except (ValueError, RecursionError):
            raise self._unexpected("lines of JSON") from None
        if not all(_is_of_texts(line, needed) for line in lines):
            raise self._unexpected(f"fields of text with {' and '.join(needed)}")
        return lines

    def _unexpected(self, expected: str) -> ServerFailed:
        return ServerFailed(f"{self.endpoint} answered something that is not {expected}", hint=self.endpoint.down)


def _is_of_texts(entry: object, needed: Iterable[str]) -> bool:
    if not isinstance(entry, dict):
        return False
    return all(isinstance(value, str) for value in entry.values()) and all(name in entry for name in needed)


class GrafanaClient(Client):
    """GrafanaApi over HTTP."""

    def plugins(self) -> dict[str, str]:
        text = self.session.request("GET", "/metrics", text=True).text
        plugins = (dict(_PLUGIN_LABEL.findall(line)) for line in text.splitlines() if line.startswith(_PLUGIN))
        return {labels["plugin_id"]: labels.get("version", "") for labels in plugins if labels.get("plugin_id")}

    def accepts(self, user: str, password: str) -> bool:
        return self.session.request("GET", "/api/org", auth=(user, password), accept=(401, 403)).ok
