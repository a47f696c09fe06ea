"""A deploy ends when alerts reach alert-sink and telemetry its backends: healthy jobs alone do not show that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from obsctl import names
from obsctl.clients.programs import Clients, Programs
from obsctl.clients.protocols import PrometheusApi
from obsctl.config.schema import Config
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Event
from obsctl.stack import alert_path
from obsctl.stack.health import Tools
from obsctl.stack.status import status
from obsctl.stack.telemetry_path import TelemetryPath
from obsctl.wait import wait_until

_INCOMPLETE = "everything runs, but the %s path is not complete"
_PATIENCE = 10.0  # seconds, until what is missing is told, and told again when it is something else
_WAITED_OUT = (names.SERVICE_DOWN, names.COMPONENT_DOWN)


def wait_components(config: Config, clients: Clients, tools: Tools) -> None:
    """Wait until every component is healthy, as `obsctl status` has it; what did not change, too."""

    def missing() -> Iterator[str]:
        for each in status(config, clients, tools.clock).components:
            if each.state != "healthy":
                yield f"{each.job_id} is {each.state}: {each.note}"

    _wait_complete("every component", "until it is healthy", missing, tools, "not every component is healthy")


def verify(config: Config, programs: Programs, tools: Tools) -> None:
    """Wait until both paths work, as far as this stack has them. Raises ObsctlError that lists what is missing."""
    if config.has_alert_path():
        _wait_wired(config, programs, tools)
    if config.components.otel_agent.enabled:
        _wait_flowing(config, programs, tools)


def _wait_wired(config: Config, programs: Programs, tools: Tools) -> None:
    """Wait until the alert path works, and every component is scraped."""
    expected = alert_path.Expected.of(config)

    def missing() -> Iterator[str]:
        yield from alert_path.missing(expected, programs, tools.clock)
        yield from alert_path.of_each(programs.prometheus, lambda instance: _components(config, instance))

    _wait_complete("alert path", "until rules, targets and heartbeat are there", missing, tools, _INCOMPLETE % "alert")


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
    """Wait until the backends of this stack have a span and a log line that an agent gets now."""
    path = TelemetryPath(config, programs, tools.clock)

    def missing() -> Iterator[str]:
        yield from (sentence for _, sentence in path.missing())

    _wait_complete("telemetry path", "for a span and a log line of our own", missing, tools, _INCOMPLETE % "telemetry")


def _wait_complete(subject: str, what: str, look: Callable[[], Iterator[str]], tools: Tools, failure: str) -> None:
    """Wait until `look` finds nothing missing there; `failure` says that something is."""
    missing: list[str] = []
    last_note: list[str] = []
    started = noted_at = tools.clock.monotonic()

    def complete() -> bool:
        nonlocal noted_at
        try:
            missing[:] = look()
        except ApiError as error:
            missing[:] = [error.message]
        if missing and missing != last_note and tools.clock.monotonic() >= noted_at + _PATIENCE:
            tools.emit(Event(subject, "note", f"still missing: {'; '.join(missing)}"))
            last_note[:], noted_at = missing, tools.clock.monotonic()
        return not missing

    tools.emit(Event(subject, "start", f"waiting {what}"))
    try:
        wait_until(complete, timeout=tools.timeout, failure="", hint="", interval=0.5, clock=tools.clock)
    except DeadlineExceeded:
        lines = "\n  ".join(missing)
        raise ObsctlError(
            f"{failure} after {tools.timeout:g} s:\n  {lines}",
            hint="look at the page of the program that is named, and at obsctl status",
        ) from None
    tools.emit(Event(subject, "ok", f"works after {tools.clock.monotonic() - started:.1f} s"))
