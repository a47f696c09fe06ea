"""What makes the alert path work, from the rules to alert-sink. Each function yields what is missing, as a sentence.

A deploy ends when nothing is missing any more, and a drill does not begin while something is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import yaml

from obsctl import names
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import AlertmanagerApi, KvPair, PrometheusApi, SinkApi, StackProgram
from obsctl.clients.replicas import Replicas
from obsctl.config.durations import parse_duration
from obsctl.config.schema import Config
from obsctl.content import promql, rule_text
from obsctl.errors import Rejected
from obsctl.model import Json, one_line
from obsctl.wait import Clock

Instance = TypeVar("Instance", bound=StackProgram)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What tells two versions of a rule apart, as Prometheus has it: the labels of its group are its own, and those
    that are empty are none."""

    expression: str
    name: str
    pending: float
    keep_firing: float
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def details(self) -> tuple[object, ...]:
        """All but the expression."""
        return self.name, self.pending, self.keep_firing, self.labels, self.annotations


@dataclass(frozen=True, slots=True)
class Expected:
    """prometheus, alertmanagers: how many there should be. heartbeat: seconds between two deliveries of Watchdog."""

    prometheus: int
    alertmanagers: int
    heartbeat: float

    @classmethod
    def of(cls, config: Config) -> Expected:
        parts, count = config.components, config.count
        return cls(count(parts.prometheus), count(parts.alertmanager), config.timing.heartbeat)


def missing(expected: Expected, programs: Programs, clock: Clock) -> Iterator[str]:
    """Everything that keeps an alert from being delivered."""
    groups = _expected_groups(programs)
    yield from of_each(programs.prometheus, lambda instance: _rules(groups, instance))
    yield from links(expected, programs)
    yield from heartbeat(expected.heartbeat, programs.sink, clock)


def links(expected: Expected, programs: Programs) -> Iterator[str]:
    """What lacks between Prometheus and Alertmanager: an instance of them, or that one knows the others."""
    yield from _running("Prometheus", expected.prometheus, programs.prometheus)
    yield from _running("Alertmanagers", expected.alertmanagers, programs.alertmanager)
    yield from of_each(programs.prometheus, lambda instance: _alertmanagers(expected.alertmanagers, instance))
    yield from _gossip(expected.alertmanagers, programs.alertmanager)


def rule_faults(programs: Programs) -> Iterator[tuple[str, str]]:
    """Each rule that the last deploy wrote, as group and name, with what is wrong with it in one of the Prometheus; ""
    when all have loaded it as it was written, and can evaluate it."""
    instances = [{group["name"]: group["rules"] for group in each.rule_groups()} for each in programs.prometheus.each()]
    for name, rules in _expected_groups(programs).items():
        for place, rule in enumerate(rules):
            faults = [_fault(rule, loaded.get(name, []), place, programs.prometheus) for loaded in instances]
            service = rule.labels.get("service")
            label = f" of {service}" if service else ""
            yield f"{name}: {rule.name}{label}", next(filter(None, faults), "")


def _fault(written: _Rule, loaded: list[Json], place: int, prometheus: PrometheusApi) -> str:
    if place >= len(loaded):
        return "Prometheus has not loaded it"
    if not _same([written], [_loaded(loaded[place])], prometheus):
        return "Prometheus has another version of it"
    is_broken = loaded[place].get("health") == "err"
    return f"Prometheus cannot evaluate it: {loaded[place].get('lastError')}" if is_broken else ""


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
        document, _ = rule_text.compose(entry.value.decode())
        groups = [rule_text.entries(group) for group in _list(document)]
        return {_text(group["name"]): _written_rules(group) for group in groups}
    except (yaml.YAMLError, RecursionError, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        hint = "obsctl deploy writes it again, or removes it when it does not belong there"
        raise Rejected(
            f"the Consul key {one_line(entry.key)} holds no rule group ({type(error).__name__})", hint=hint
        ) from error


def _rules(groups: dict[str, list[_Rule]], prometheus: PrometheusApi) -> Iterator[str]:
    loaded = {group["name"]: [_loaded(rule) for rule in group["rules"]] for group in prometheus.rule_groups()}
    for name, rules in groups.items():
        if name not in loaded:
            yield f"Prometheus has not loaded the rule group {name}"
        elif not _same(rules, loaded[name], prometheus):
            yield f"Prometheus still has another version of the rule group {name}"


def _same(written: list[_Rule], loaded: list[_Rule], prometheus: PrometheusApi) -> bool:
    if [rule.details for rule in written] != [rule.details for rule in loaded]:
        return False
    pairs = zip(written, loaded, strict=True)
    return all(_mean_the_same(here.expression, there.expression, prometheus) for here, there in pairs)


def _mean_the_same(written: str, loaded: str, prometheus: PrometheusApi) -> bool:
    """Prometheus shows a rule in a layout of its own: what our parser cannot tell, Prometheus writes down anew."""
    if written == loaded:
        return True
    with suppress(ValueError):
        if promql.parse(written).prettify() == promql.parse(loaded).prettify():
            return True
    try:
        return prometheus.format_query(written) == prometheus.format_query(loaded)
    except Rejected:
        return False


def _written_rules(group: Mapping[str, yaml.Node]) -> list[_Rule]:
    """Of a group as its file has it. Raises KeyError, TypeError or ValueError for what is no rule."""
    common = rule_text.texts(group.get("labels"))
    rules = [rule_text.entries(rule) for rule in _list(group.get("rules"))]
    return [
        _Rule(
            _text(rule["expr"]),
            _text(rule.get("alert")) or _text(rule.get("record")),
            parse_duration(_text(rule.get("for")) or "0"),
            parse_duration(_text(rule.get("keep_firing_for")) or "0"),
            {**common, **rule_text.texts(rule.get("labels"))},
            rule_text.texts(rule.get("annotations")),
        )
        for rule in rules
    ]


def _list(node: yaml.Node | None) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise TypeError("it is not a list")
    return list(node.value)


def _text(node: yaml.Node | None) -> str:
    text = rule_text.text(node)
    if text is None:
        raise TypeError("it is not a text")
    return text


def _loaded(rule: Json) -> _Rule:
    return _Rule(
        rule["query"],
        rule["name"],
        float(rule.get("duration", 0)),
        float(rule.get("keepFiringFor", 0)),
        _filled(rule.get("labels")),
        _filled(rule.get("annotations")),
    )


def _filled(texts: Mapping[str, str] | None) -> dict[str, str]:
    return {name: text for name, text in (texts or {}).items() if text}


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


def heartbeat(interval: float, sink: SinkApi, clock: Clock) -> Iterator[str]:
    """Whether the Watchdog still arrives."""
    seconds = names.MISSED_HEARTBEATS * interval
    if not sink.notifications(since=clock.now() - seconds, alertname=names.WATCHDOG):
        yield f"alert-sink has received no heartbeat (the alert {names.WATCHDOG}) for {seconds:g} s"
