"""A deploy's last look: every component is scraped, its alerts are quiet again, and the alert path works.

A healthy job is not yet a working alert path, so a deploy ends only when this is so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from obsctl import names
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import PrometheusApi
from obsctl.config.schema import Config
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Emit, Event
from obsctl.stack import alert_path
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

_WAITED_OUT = (names.SERVICE_DOWN, names.COMPONENT_DOWN)


def wait_wired(config: Config, programs: Programs, *, emit: Emit, timeout: float, clock: Clock = SYSTEM_CLOCK) -> None:
    """Wait until nothing is missing. timeout: seconds. Raises ObsctlError that lists what still is."""
    parts = config.components
    expected = alert_path.Expected(
        prometheus=config.count(parts.prometheus),
        alertmanagers=config.count(parts.alertmanager),
        heartbeat=config.timing.heartbeat,
    )

    def missing() -> list[str]:
        of_components = alert_path.of_each(programs.prometheus, lambda instance: _components(config, instance))
        return [*alert_path.missing(expected, programs, clock), *of_components]

    what = "until rules, targets and heartbeat are there"
    wait_complete("alert path", missing, what, emit=emit, timeout=timeout, clock=clock)


def wait_complete(
    path: str,
    look: Callable[[], list[str]],
    what: str,
    *,
    emit: Emit,
    timeout: float,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Wait until `look` finds nothing missing on this path. Raises ObsctlError that lists what still is."""
    missing: list[str] = []

    def complete() -> bool:
        try:
            missing[:] = look()
        except ApiError as error:
            missing[:] = [error.message]
        return not missing

    emit(Event(path, "start", f"waiting {what}"))
    started = clock.monotonic()
    try:
        wait_until(complete, timeout=timeout, failure="", hint="", interval=0.5, clock=clock)
    except DeadlineExceeded:
        lines = "\n  ".join(missing)
        raise ObsctlError(
            f"everything runs, but the {path} is not complete after {timeout:g} s:\n  {lines}",
            hint="look at the page of the program that is named, and at obsctl status",
        ) from None
    emit(Event(path, "ok", f"works after {clock.monotonic() - started:.1f} s"))


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
