"""All checks, suite after suite. What fails is looked at again until it passes or the time is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from obsctl.errors import ApiError, DeadlineExceeded
from obsctl.junit import Check, Outcome
from obsctl.model import Event
from obsctl.stack.telemetry_path import TelemetryPath
from obsctl.verify.dashboards import dashboards
from obsctl.verify.receivers import receivers
from obsctl.verify.scraping import alerting, components, rules, targets
from obsctl.verify.site import Site, judge
from obsctl.wait import wait_until

_ON_ITS_WAY = 15.0
"""Seconds that what was sent may take, beside a scrape."""


@dataclass(frozen=True, slots=True)
class _Suite:
    """patience: seconds that it may take, whatever the user says. is_repeated: whether it is looked at again."""

    name: str
    look: Callable[[], Iterator[Check]]
    patience: float = 0.0
    is_repeated: bool = True


def verify(site: Site, wait: float = 0.0) -> list[Check]:
    """wait: seconds that everything together may take to become right."""
    deadline = site.clock.monotonic() + wait
    return list(_distinct(check for suite in _suites(site) for check in _run(suite, site, deadline)))


def _distinct(checks: Iterable[Check]) -> Iterator[Check]:
    """Each with a name of its own, by which a CI system knows it again."""
    seen_before: Counter[tuple[str, str]] = Counter()
    for check in checks:
        seen_before[check.suite, check.name] += 1
        number = seen_before[check.suite, check.name]
        yield replace(check, name=f"{check.name} #{number}") if number > 1 else check


def _suites(site: Site) -> Iterator[_Suite]:
    parts = site.config.components
    path = TelemetryPath(site.config, site.clients.programs, site.clock, metrics=True)
    yield _Suite("components", partial(components, site))
    if path.signals:
        patience = _ON_ITS_WAY + 2 * site.config.timing.scrape_interval
        yield _Suite("telemetry", partial(_telemetry, path), patience=patience)
    if parts.prometheus.enabled:
        yield _Suite("targets", partial(targets, site))
        yield _Suite("rules", partial(rules, site))
    if parts.prometheus.enabled and parts.alertmanager.enabled:
        yield _Suite("alert path", partial(alerting, site))
    if parts.alertmanager.enabled:
        yield _Suite("receivers", partial(receivers, site), is_repeated=False)
    if site.rendered.dashboards:
        yield _Suite("dashboards", partial(dashboards, site))


def _telemetry(path: TelemetryPath) -> Iterator[Check]:
    lacks = dict(path.missing())
    for signal in path.signals:
        yield judge("telemetry", signal, lacks.get(signal, ""))


def _run(suite: _Suite, site: Site, deadline: float) -> list[Check]:
    clock, checks = site.clock, list[Check]()

    def passes() -> bool:
        try:
            checks[:] = suite.look()
        except ApiError as error:
            checks[:] = [judge(suite.name, "answers", error.message)]
        return not suite.is_repeated or all(check.outcome is not Outcome.FAILED for check in checks)

    site.emit(Event(suite.name, "progress", "looking"))
    timeout = max(deadline - clock.monotonic(), suite.patience)
    with suppress(DeadlineExceeded):
        wait_until(passes, timeout=timeout, failure="", hint="", interval=1.0, clock=clock)
    failed = sum(check.outcome is Outcome.FAILED for check in checks)
    words = f"{failed} of {len(checks)} fail" if failed else f"{len(checks)} pass or are left out"
    site.emit(Event(suite.name, "failed" if failed else "ok", words))
    return checks
