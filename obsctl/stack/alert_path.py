"""What makes the alert path work, from the rules to alert-sink. Each function yields what is missing, as a sentence.

A deploy ends when nothing is missing any more, and a drill does not begin while something is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import yaml

from obsctl import names
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import AlertmanagerApi, KvPair, PrometheusApi, SinkApi, StackProgram
from obsctl.clients.replicas import Replicas
from obsctl.config.durations import parse_duration
from obsctl.content import promql
from obsctl.errors import Rejected
from obsctl.model import Json
from obsctl.wait import Clock

Instance = TypeVar("Instance", bound=StackProgram)
_Rule = tuple[object, ...]
"""What tells two versions of a rule apart: name, expression, `for`, labels, annotations."""


@dataclass(frozen=True, slots=True)
class Expected:
    """prometheus, alertmanagers: how many there should be. heartbeat: seconds between two deliveries of Watchdog."""

    prometheus: int
    alertmanagers: int
    heartbeat: float


def missing(expected: Expected, programs: Programs, clock: Clock) -> Iterator[str]:
    """Everything that keeps an alert from being delivered."""
    groups = _expected_groups(programs)
    yield from _running("Prometheus", expected.prometheus, programs.prometheus)
    yield from _running("Alertmanagers", expected.alertmanagers, programs.alertmanager)
    yield from of_each(programs.prometheus, lambda instance: _rules(groups, instance))
    yield from of_each(programs.prometheus, lambda instance: _alertmanagers(expected.alertmanagers, instance))
    yield from _gossip(expected.alertmanagers, programs.alertmanager)
    yield from _heartbeat(expected.heartbeat, programs.sink, clock)


def _running(name: str, count: int, replicas: Replicas[Instance]) -> Iterator[str]:
    running = len(replicas.each())
    if running < count:
        yield f"{running} of {count} {name} run"


def of_each(replicas: Replicas[Instance], look: Callable[[Instance], Iterator[str]]) -> Iterator[str]:
    """What each instance lacks; where there are several, with its address."""
    instances = replicas.each()
    for instance in instances:
        where = f" ({instance.address})" if len(instances) > 1 else ""
        yield from (f"{sentence}{where}" for sentence in look(instance))


def _expected_groups(programs: Programs) -> dict[str, list[_Rule]]:
    """Group -> its rules, as the last deploy wrote them. Raises Rejected for an entry that holds no group."""
    entries = programs.consul.entries(f"{names.rules_folder(programs.stack)}/")
    return {name: rules for entry in entries for name, rules in _groups(entry).items()}


def _groups(entry: KvPair) -> dict[str, list[_Rule]]:
    try:
        return {group["name"]: [_written(rule) for rule in group["rules"]] for group in yaml.safe_load(entry.value)}
    except (yaml.YAMLError, RecursionError, AttributeError, KeyError, TypeError, ValueError) as error:
        hint = "obsctl deploy writes it again, or removes it when it does not belong there"
        raise Rejected(f"the Consul key {entry.key} holds no rule group ({type(error).__name__})", hint=hint) from error


def _rules(groups: dict[str, list[_Rule]], prometheus: PrometheusApi) -> Iterator[str]:
    loaded = {group["name"]: group for group in prometheus.rule_groups()}
    for name, rules in groups.items():
        if name not in loaded:
            yield f"Prometheus has not loaded the rule group {name}"
        elif rules != [_loaded(rule) for rule in loaded[name]["rules"]]:
            yield f"Prometheus still has another version of the rule group {name}"


def _written(rule: Json) -> _Rule:
    pending = str(rule.get("for") or "0s")
    details = _as_text(rule.get("labels")), _as_text(rule.get("annotations"))
    name = rule.get("alert") or rule.get("record")
    return name, _canonical(rule["expr"]), 0.0 if pending == "0" else parse_duration(pending), *details


def _loaded(rule: Json) -> _Rule:
    details = _as_text(rule.get("labels")), _as_text(rule.get("annotations"))
    return rule["name"], _canonical(rule["query"]), float(rule.get("duration", 0)), *details


def _as_text(labels: Json | None) -> dict[str, str]:
    """As Prometheus has them: texts, where a rule file may have a number or `true`, and none that is empty.

    Raises TypeError for a list or a mapping.
    """
    texts = {}
    for name, value in (labels or {}).items():
        if isinstance(value, list | dict):
            raise TypeError(f"{name} is not a text")
        texts[name] = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    return {name: text for name, text in texts.items() if text}


def _canonical(expression: object) -> str:
    """The same text for expressions that mean the same: Prometheus shows a rule in its own layout.

    "" for what only a newer Prometheus understands: such an expression is not compared.
    """
    try:
        return str(promql.parse(str(expression)).prettify())
    except ValueError:
        return ""


def _alertmanagers(count: int, prometheus: PrometheusApi) -> Iterator[str]:
    known = len(prometheus.alertmanagers())
    if known < count:
        yield f"Prometheus has {known} of {count} active Alertmanagers"


def _gossip(count: int, alertmanager: Replicas[AlertmanagerApi]) -> Iterator[str]:
    """Several are a cluster: each knows all others and is ready to send, else one notification may become two."""
    for instance in alertmanager.each() if count > 1 else ():
        cluster = instance.status()["cluster"]
        if cluster["status"] != "ready" or len(cluster["peers"]) != count:
            peers = f"{len(cluster['peers'])} of {count} Alertmanagers"
            yield f"Alertmanager at {instance.address} is {cluster['status']} and sees {peers}"


def _heartbeat(interval: float, sink: SinkApi, clock: Clock) -> Iterator[str]:
    seconds = names.MISSED_HEARTBEATS * interval
    if not sink.notifications(since=clock.now() - seconds, alertname=names.WATCHDOG):
        yield f"alert-sink has received no heartbeat (the alert {names.WATCHDOG}) for {seconds:g} s"
