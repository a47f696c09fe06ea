"""Whether telemetry flows: what an agent gets from us is looked for where people look."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from obsctl.clients.programs import Programs
from obsctl.config.schema import Config
from obsctl.telemetry.stored_logs import of_trace
from obsctl.wait import Clock

SERVICE = "obsctl"
"""The service.name of what is sent."""
METRIC = "obsctl_verify_sent_seconds"
"""Its value is when it was sent: so it is one series, however often that is."""


class TelemetryPath:
    """What this stack has of it. signals: "trace" and "log line", "metric" too with `metrics`, in this order."""

    def __init__(self, config: Config, programs: Programs, clock: Clock, *, metrics: bool = False) -> None:
        self._programs, self._sent_at = programs, clock.now()
        self._trace_id, self._span_id = secrets.token_hex(16), secrets.token_hex(8)
        parts = config.components
        with_metrics = metrics and parts.prometheus.enabled and parts.otel_gateway.enabled
        has = {"metric": with_metrics, "trace": parts.jaeger.enabled, "log line": parts.victorialogs.enabled}
        self.signals = [name for name, is_there in has.items() if is_there and parts.otel_agent.enabled]
        self._unsent = list(self.signals)

    def missing(self) -> Iterator[tuple[str, str]]:
        """Send what is not sent yet, as an agent that reloads its configuration accepts nothing for a moment; then the
        signals that have not arrived, each with a sentence."""
        while self._unsent:
            self._send(self._unsent[0])
            del self._unsent[0]
        arrivals: dict[str, Callable[[], bool]] = {
            "metric": self._has_metric, "trace": self._has_trace, "log line": self._has_line
        }  # fmt: skip
        for signal in self.signals:
            if not arrivals[signal]():
                yield signal, f"{self._lack(signal)}, which was sent to {self._programs.otel_agent.address}"

    def _send(self, signal: str) -> None:
        agent, at = self._programs.otel_agent, self._sent_at
        ids = {"trace_id": self._trace_id, "span_id": self._span_id}
        if signal == "metric":
            agent.send_gauge(SERVICE, METRIC, at, at=at)
        elif signal == "trace":
            agent.send_span(SERVICE, "verify", **ids, at=at)
        else:
            agent.send_line(SERVICE, "telemetry flows", **ids, at=at)

    def _has_metric(self) -> bool:
        return bool(self._programs.prometheus.query(f"{METRIC} > {self._sent_at - 0.5:.3f}"))

    def _has_trace(self) -> bool:
        return bool(self._programs.jaeger.trace(self._trace_id))

    def _has_line(self) -> bool:
        at = int(self._sent_at * 1e9)
        return bool(of_trace(self._programs.logs, self._trace_id, at, at, limit=1))

    def _lack(self, signal: str) -> str:
        return {
            "metric": f"Prometheus does not have the metric {METRIC} of {self._sent_at:.3f}",
            "trace": f"Jaeger does not have the trace {self._trace_id}",
            "log line": f"VictoriaLogs does not have the line of trace {self._trace_id}",
        }[signal]
