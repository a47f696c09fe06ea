"""A deploy ends when alerts reach alert-sink and telemetry its backends: healthy jobs alone do not show that."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator

from obsctl import names
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import LogsApi, PrometheusApi
from obsctl.config.schema import Config
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Event
from obsctl.stack import alert_path
from obsctl.stack.health import Tools
from obsctl.telemetry.stored_logs import of_trace
from obsctl.wait import wait_until

SERVICE = "obsctl"
"""The service.name of what is sent: one span and one log line in each deploy."""
_WAITED_OUT = (names.SERVICE_DOWN, names.COMPONENT_DOWN)


def verify(config: Config, programs: Programs, tools: Tools) -> None:
    """Wait until both paths work, as far as this stack has them. Raises ObsctlError that lists what is missing."""
    if config.has_alert_path():
        _wait_wired(config, programs, tools)
    if config.components.otel_agent.enabled:
        _wait_flowing(config, programs, tools)


def _wait_wired(config: Config, programs: Programs, tools: Tools) -> None:
    """Wait until the alert path works, and every component is scraped."""
    parts = config.components
    expected = alert_path.Expected(
        prometheus=config.count(parts.prometheus),
        alertmanagers=config.count(parts.alertmanager),
        heartbeat=config.timing.heartbeat,
    )

    def missing() -> Iterator[str]:
        yield from alert_path.missing(expected, programs, tools.clock)
        yield from alert_path.of_each(programs.prometheus, lambda instance: _components(config, instance))

    _wait_complete("alert path", "until rules, targets and heartbeat are there", missing, tools)


def _components(config: Config, prometheus: PrometheusApi) -> Iterator[str]:
    """Every instance of each is scraped. While the stack starts some are absent for a moment; that has to be over."""
    up = Counter(target["labels"].get("job") for target in prometheus.targets() if target["health"] == "up")
    counts = {component.row.name: config.count(component) for component in config.enabled_components()}
    for name, count in counts.items():
        if up[name] < count:
            scraped = f" ({up[name]} of {count} instances)" if count > 1 else ""
            yield f"Prometheus does not scrape {name} successfully{scraped}"
    for alert in prometheus.alerts():
        name, service = alert["labels"]["alertname"], alert["labels"].get("service")
        if name in _WAITED_OUT and service in counts:
            yield f"{name} is {alert['state']} for {service}"


def _wait_flowing(config: Config, programs: Programs, tools: Tools) -> None:
    """Send a span and a log line to an agent, and wait until the backends of this stack have them.

    An agent that reloads its configuration accepts nothing for a moment, so what it refuses is sent again.
    """
    agent, sent_at = programs.otel_agent, tools.clock.now()
    jaeger = programs.jaeger if config.components.jaeger.enabled else None
    logs = programs.logs if config.components.victorialogs.enabled else None
    ids = {"trace_id": secrets.token_hex(16), "span_id": secrets.token_hex(8)}
    unsent: list[Callable[[], None]] = []
    if jaeger:
        unsent.append(lambda: agent.send_span(SERVICE, "verify", **ids, at=sent_at))
    if logs:
        unsent.append(lambda: agent.send_line(SERVICE, "telemetry flows", **ids, at=sent_at))

    def missing() -> Iterator[str]:
        while unsent:
            unsent[0]()
            del unsent[0]
        if jaeger and not jaeger.trace(ids["trace_id"]):
            yield f"Jaeger does not have the trace {ids['trace_id']}, which was sent to {agent.address}"
        if logs and not _has_line(logs, ids["trace_id"], sent_at):
            yield f"VictoriaLogs does not have the line of trace {ids['trace_id']}, which was sent to {agent.address}"

    _wait_complete("telemetry path", "for a span and a log line of our own", missing, tools)


def _has_line(logs: LogsApi, trace_id: str, sent_at: float) -> bool:
    at = int(sent_at * 1e9)
    return bool(of_trace(logs, trace_id, at, at, limit=1))


def _wait_complete(path: str, what: str, look: Callable[[], Iterator[str]], tools: Tools) -> None:
    """Wait until `look` finds nothing missing on this path."""
    missing: list[str] = []

    def complete() -> bool:
        try:
            missing[:] = look()
        except ApiError as error:
            missing[:] = [error.message]
        return not missing

    tools.emit(Event(path, "start", f"waiting {what}"))
    started = tools.clock.monotonic()
    try:
        wait_until(complete, timeout=tools.timeout, failure="", hint="", interval=0.5, clock=tools.clock)
    except DeadlineExceeded:
        lines = "\n  ".join(missing)
        raise ObsctlError(
            f"everything runs, but the {path} is not complete after {tools.timeout:g} s:\n  {lines}",
            hint="look at the page of the program that is named, and at obsctl status",
        ) from None
    tools.emit(Event(path, "ok", f"works after {tools.clock.monotonic() - started:.1f} s"))
