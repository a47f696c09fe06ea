"""Is the stack wired: rules loaded, programs scraped, Alertmanager known, the heartbeat delivered?

A healthy job is not yet a working alert path, so a deploy ends only when this is so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser
import yaml

from obsctl.clients.protocols import AlertmanagerApi, PrometheusApi, SinkApi
from obsctl.clients.replicas import Replicas
from obsctl.config.schema import Config, parse_duration
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Emit, Event
from obsctl.stack import components
from obsctl.stack.render import Rendered, kv_prefix
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

HEARTBEATS = 3
"""How many heartbeat intervals may pass without one: what alert-sink itself calls silent."""


def wait_wired(
    config: Config,
    rendered: Rendered,
    prometheus: Replicas[PrometheusApi],
    alertmanager: Replicas[AlertmanagerApi],
    sink: SinkApi,
    *,
    emit: Emit,
    timeout: float,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Wait until nothing is missing. timeout: seconds. Raises ObsctlError that lists what still is."""
    wait_complete(
        "alert path",
        lambda: [
            *_prometheus(config, rendered, prometheus),
            *_gossip(config, alertmanager),
            *_heartbeat(config, sink, clock),
        ],
        "until rules, targets and heartbeat are there",
        emit=emit,
        timeout=timeout,
        clock=clock,
    )


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
        wait_until(complete, timeout=timeout, what="", hint="", interval=0.5, clock=clock)
    except DeadlineExceeded:
        lines = "\n  ".join(missing)
        raise ObsctlError(
            f"everything runs, but the {path} is not complete after {timeout:g} s:\n  {lines}",
            hint="look at the page of the program that is named, and at obsctl status",
        ) from None
    emit(Event(path, "ok", f"works after {clock.monotonic() - started:.1f} s"))


def _prometheus(config: Config, rendered: Rendered, prometheus: Replicas[PrometheusApi]) -> Iterator[str]:
    wanted, instances = config.count(config.components.prometheus), prometheus.each()
    if len(instances) < wanted:
        yield f"{len(instances)} of {wanted} Prometheus run"
    for one in instances:
        where = f" ({one.address})" if wanted > 1 else ""
        missing = (_rules(rendered, one), _targets(config, one), _quiet(config, one), _alertmanagers(config, one))
        yield from (f"{words}{where}" for found in missing for words in found)


def _alertmanagers(config: Config, prometheus: PrometheusApi) -> Iterator[str]:
    wanted, known = config.count(config.components.alertmanager), len(prometheus.alertmanagers())
    if known < wanted:
        yield f"Prometheus has {known} of {wanted} active Alertmanagers"


def _gossip(config: Config, alertmanager: Replicas[AlertmanagerApi]) -> Iterator[str]:
    """Several are a cluster: each knows all others, and is ready to send."""
    wanted = config.count(config.components.alertmanager)
    for one in alertmanager.each() if wanted > 1 else ():
        for cluster in one.gossip():
            if cluster["status"] != "ready" or len(cluster["peers"]) != wanted:
                peers = f"{len(cluster['peers'])} of {wanted} Alertmanagers"
                yield f"Alertmanager at {one.address} is {cluster['status']} and sees {peers}"


def _rules(rendered: Rendered, prometheus: PrometheusApi) -> Iterator[str]:
    prefix = f"{kv_prefix(rendered.stack)}/rules/"
    values = [content.value for content in rendered.content if content.key.startswith(prefix)]
    wanted = {group["name"]: group for value in values for group in yaml.safe_load(value)}
    loaded = {group["name"]: group for group in prometheus.rule_groups()}
    for name, group in wanted.items():
        if name not in loaded:
            yield f"Prometheus has not loaded the rule group {name}"
        elif [_written(rule) for rule in group["rules"]] != [_loaded(rule) for rule in loaded[name]["rules"]]:
            yield f"Prometheus still has another version of the rule group {name}"


def _written(rule: dict[str, Any]) -> tuple[Any, ...]:
    pending = str(rule.get("for", "0s"))
    details = _as_text(rule.get("labels")), _as_text(rule.get("annotations"))
    name = rule.get("alert") or rule.get("record")
    return name, _canonical(rule["expr"]), 0.0 if pending == "0" else parse_duration(pending), *details


def _loaded(rule: dict[str, Any]) -> tuple[Any, ...]:
    details = _as_text(rule.get("labels")), _as_text(rule.get("annotations"))
    return rule["name"], _canonical(rule["query"]), float(rule.get("duration", 0)), *details


def _as_text(labels: dict[str, Any] | None) -> dict[str, str]:
    """Prometheus has text where a rule file may have a number."""
    return {name: str(value) for name, value in (labels or {}).items()}


def _canonical(expression: str) -> str:
    """One text for expressions that mean the same: Prometheus shows a rule in its own layout."""
    return str(promql_parser.parse(str(expression)).prettify())


def _targets(config: Config, prometheus: PrometheusApi) -> Iterator[str]:
    up = Counter(target["labels"].get("job") for target in prometheus.targets() if target["health"] == "up")
    for spec in components.enabled(config):
        wanted = config.count(spec.settings(config))
        if up[spec.name] < wanted:
            scraped = f" ({up[spec.name]} of {wanted} instances)" if wanted > 1 else ""
            yield f"Prometheus does not scrape {spec.name} successfully{scraped}"


def _quiet(config: Config, prometheus: PrometheusApi) -> Iterator[str]:
    """While the stack starts, its services are absent for a moment; that has to be over."""
    ours = {spec.name for spec in components.enabled(config)}
    for alert in prometheus.alerts():
        labels = alert["labels"]
        if labels["alertname"] == "ServiceDown" and labels.get("service") in ours:
            yield f"ServiceDown is {alert['state']} for {labels['service']}"


def _heartbeat(config: Config, sink: SinkApi, clock: Clock) -> Iterator[str]:
    since = clock.now() - HEARTBEATS * config.timing.heartbeat
    if not sink.notifications(since=since, alertname="Watchdog"):
        yield "alert-sink has not received the heartbeat (the alert Watchdog)"
