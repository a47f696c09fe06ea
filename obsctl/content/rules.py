"""Alert rules: the shipped files, generated availability rules, the user's own files, and the overrides."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from obsctl import names
from obsctl.config.alerting import RuleOverride
from obsctl.config.durations import format_duration, parse_duration
from obsctl.config.schema import Config, NomadJob
from obsctl.config.timing import PROFILES, Timing
from obsctl.content import rule_text
from obsctl.content.rule_files import Group, RuleFile, alert_of, read
from obsctl.model import Finding, Json, Severity

_STANDARD = Timing.model_validate("standard")
_WINDOW, _PENDING = (f"[{PROFILES['standard'][key]}]" for key in ("window", "for"))
_RANGE = re.compile(r"\[\w+\]")
AVAILABILITY = "availability"
"""The group whose alerts fire when a watched service, or an instance of a component, does not answer."""


@dataclass(frozen=True, slots=True)
class Rules:
    """texts: group name -> the group as a YAML list item, to stand below `groups:`. files: the user's own.
    findings: what is wrong with all of them together."""

    texts: dict[str, str]
    files: tuple[RuleFile, ...]
    findings: tuple[Finding, ...]


def load(config: Config, shipped: Path, root: Path, dashboards: Collection[str]) -> Rules:
    """dashboards: the uids of those that Grafana has."""
    own, unmatched = _own_files(config.alerting.rule_files, root)
    theirs = [group for file in own for group in file.groups]
    every = list(_distinct([*_ours(config, shipped, dashboards), *theirs], root))
    findings = [*unmatched, *_twins(every)]
    if all(file.is_readable for file in own):  # else an alert may only not have been read
        findings += _unknown_overrides(config.alerting.rules, every)
    changed = [_overridden(group, config.alerting.rules) for group in every]
    filled = [group for group in changed if group.rules]  # Prometheus hides empty groups
    texts = {group.name: rule_text.write(group.node) for group in reversed(filled)}
    findings += [finding for group in filled for finding in _of_group(group, texts[group.name])]
    return Rules({group.name: texts[group.name] for group in filled}, tuple(own), tuple(findings))


def _ours(config: Config, shipped: Path, dashboards: Collection[str]) -> list[Group]:
    owners = ["stack", *(component.row.name for component in config.enabled_components())]
    files = [file for name in owners if (file := shipped / f"{name}.yml").is_file()]
    groups = [_timed(replace(group, place=""), config.timing) for file in files for group in read(file, shipped).groups]
    text = yaml.safe_dump(availability_group(config), sort_keys=False, allow_unicode=True)
    groups.append(Group(AVAILABILITY, rule_text.compose(text)[0] or rule_text.listed([])))
    grafana = config.components.grafana
    if grafana.enabled and grafana.root_url:
        groups = [_linked(group, grafana.root_url.rstrip("/"), dashboards) for group in groups]
    return groups


def _own_files(patterns: Iterable[str], root: Path) -> tuple[list[RuleFile], list[Finding]]:
    files: dict[Path, RuleFile] = {}
    unmatched = []
    for pattern in patterns:
        matches = _matches(root, pattern)
        files |= {file: read(file, root) for file in matches if file not in files}
        if not matches:
            what, hint = f"no file matches {pattern!r} below {root}", "correct the pattern, or take it out"
            unmatched.append(Finding(Severity.ERROR, "alerting.rule_files", what, hint))
    return list(files.values()), unmatched


def _matches(root: Path, pattern: str) -> list[Path]:
    """The files; none for what is no pattern."""
    anchor = Path(pattern).anchor  # of an absolute one
    try:
        return sorted(Path(anchor).glob(pattern[len(anchor) :]) if anchor else root.glob(pattern))
    except (OSError, ValueError):
        return []


def availability_group(config: Config) -> Json:
    """ServiceDown and JobNotRunning for each watched service, ReplicaMissing for each component that runs several
    times, and ComponentDown for the others that are not on the alert path: without that nobody would be told.

    `absent(up == 1)` also sees a target that vanished: a stopped Nomad job leaves Consul, so `up == 0` has
    no series to fire on. `present_over_time(up[2m])` leaves out one that vanished while Prometheus was dead: its last
    sample would hold for five minutes. JobNotRunning is the second, independent signal: Nomad's own job summary.
    """
    return {"name": AVAILABILITY, "rules": [*_service_alerts(config), *_component_alerts(config)]}


def _service_alerts(config: Config) -> Iterator[Json]:
    for service, job in sorted(config.watched_services().items()):
        severity = config.services[service].severity if service in config.services else "critical"
        summary = f"No instance of {service} answers: it is gone, down or unreachable."
        yield _alert(config, names.SERVICE_DOWN, service, _absent(config, service), summary, severity)
        summary = f"Nomad runs no allocation of job {_literal(job.id)}."
        yield _alert(config, names.JOB_NOT_RUNNING, service, _unless_lost(_stopped(job), service), summary)


def _component_alerts(config: Config) -> Iterator[Json]:
    counts = [(component.row, config.count(component)) for component in config.enabled_components()]
    for row, count in counts:
        if count > 1:  # it does not fire when none runs at all: before the first deploy that is no problem
            expr = f"count({_answering(config, row.name)} or {_up(row.name)} and on (node) node:lost) < {count}"
            summary = f"{{{{ $value }}}} of {count} instances of {row.name} answer."
            yield _alert(config, names.REPLICA_MISSING, row.name, expr, summary)
    for row, _ in counts:
        if row.down_alert == names.COMPONENT_DOWN:
            summary = f"No {row.name} answers: what it keeps cannot be seen, and what should come to it waits."
            yield _alert(config, names.COMPONENT_DOWN, row.name, _absent(config, row.name), summary)


def _stopped(job: NomadJob) -> str:
    """Nomad counts each run of a periodic or dispatched job as a job of its own, with the job as its parent."""
    running, home = "nomad_nomad_job_summary_running", f'job="nomad", namespace="{job.namespace}"'
    return f'sum({running}{{exported_job="{job.id}", {home}}} or {running}{{parent_id="{job.id}", {home}}}) == 0'


def _literal(text: str) -> str:
    """In an annotation, of which Prometheus evaluates what stands in double braces."""
    return text.replace("{{", '{{ "{{" }}')


def _absent(config: Config, service: str) -> str:
    return _unless_lost(f"absent({_answering(config, service)})", service)


def _answering(config: Config, service: str) -> str:
    return f"{_up(service)} == 1 and present_over_time({_up(service)}[{format_duration(_young(config.timing))}])"


def _young(timing: Timing) -> float:
    """How old a sample of `up` may be that a rule believes, in seconds; a few scrapes, however short `for` is."""
    return max(timing.pending, 4 * timing.scrape_interval)


def _up(service: str) -> str:
    return f'up{{job="{service}"}}'


def _unless_lost(expr: str, service: str) -> str:
    """Not true of a service that was lost with its node: NodeDown names it."""
    return f'{expr} unless on () job:lost_with_node{{job="{service}"}}'


def _alert(config: Config, name: str, service: str, expr: str, summary: str, severity: str = "warning") -> Json:
    return {
        "alert": name,
        "expr": expr,
        "for": format_duration(config.timing.pending),
        "labels": {"severity": severity, "service": service},
        "annotations": {"summary": summary},
    }


def _timed(group: Group, timing: Timing) -> Group:
    """A shipped group, which is written for the standard profile, with the configured timing."""
    return group.with_rules([_timed_rule(rule, timing) for rule in group.rules])


def _timed_rule(rule: yaml.Node, timing: Timing) -> yaml.Node:
    values = {key: rule_text.text(value) or "" for key, value in rule_text.entries(rule).items()}
    seconds = {_WINDOW: timing.window, _PENDING: _young(timing)}
    ranges = {text: f"[{format_duration(own)}]" for text, own in seconds.items()}
    changes = {"expr": _RANGE.sub(lambda match: ranges.get(match[0], match[0]), values["expr"])}
    if "for" in values:
        changes["for"] = format_duration(parse_duration(values["for"]) * timing.pending / _STANDARD.pending)
    return rule_text.changed(rule, changes)


def _linked(group: Group, grafana: str, uids: Collection[str]) -> Group:
    """Each alert with a link to the dashboard of its service, or to the overview if the service has none."""
    return group.with_rules([_with_dashboard(rule, grafana, uids) if alert_of(rule) else rule for rule in group.rules])


def _with_dashboard(rule: yaml.Node, grafana: str, uids: Collection[str]) -> yaml.Node:
    labels = rule_text.entries(_labels(rule))
    own = f"obsctl-{rule_text.text(labels.get('service'))}"
    link = f"{grafana}/d/{own if own in uids else 'obsctl-overview'}"
    return rule_text.changed(rule, {"annotations": {"dashboard_url": link}})


def _overridden(group: Group, overrides: Mapping[str, RuleOverride]) -> Group:
    """The group as it is when nothing in it is overridden."""
    if not any(alert_of(rule) in overrides for rule in group.rules):
        return group
    rules = [_override(rule, overrides.get(alert_of(rule))) for rule in group.rules]
    return group.with_rules([rule for rule in rules if rule is not None])


def _override(rule: yaml.Node, override: RuleOverride | None) -> yaml.Node | None:
    if override is None:
        return rule
    if not override.enabled:
        return None
    severity = {} if override.severity is None else {"severity": override.severity}
    pending = {} if override.pending is None else {"for": format_duration(override.pending)}
    maps = {"labels": {**override.labels, **severity}, "annotations": override.annotations}
    return rule_text.changed(rule, {**pending, **{key: texts for key, texts in maps.items() if texts}})


def _unknown_overrides(overrides: Collection[str], groups: Iterable[Group]) -> Iterator[Finding]:
    known = {alert_of(rule) for group in groups for rule in group.rules} - {""}
    for name in sorted(set(overrides) - known):
        hint = f"the alerts of this stack are {', '.join(sorted(known))}"
        yield Finding(Severity.ERROR, f"alerting.rules.{name}", "there is no alert of this name", hint)


def _distinct(groups: Iterable[Group], root: Path) -> Iterator[Group]:
    """A group whose name another file has too gets that of its own file behind it. To Prometheus a name belongs to its
    file, and here all groups come into one."""
    owner: dict[str, str] = {}
    for group in groups:
        file = _file(group)
        is_first = owner.setdefault(group.name, file) == file
        yield group if is_first else group.renamed(f"{group.name} ({file.removeprefix(f'{root}/')})")


def _twins(groups: Iterable[Group]) -> Iterator[Finding]:
    """Groups of two files that have one name even so; those of one file are that file's problem."""
    first: dict[str, Group] = {}
    for group in groups:
        other = first.setdefault(group.name, group)
        if _file(other) != _file(group):
            what = f"the group name {group.name!r} is taken: {other.place or 'obsctl itself'} has it too"
            yield Finding(Severity.ERROR, group.place, what, "rename yours; names must be unique in a stack")


def _file(group: Group) -> str:
    return group.place.rpartition(":")[0]


def _of_group(group: Group, text: str) -> Iterator[Finding]:
    """What is wrong with a group as it goes to the cluster."""
    size, limit = len(text.encode()), names.CONSUL_VALUE_BYTES
    if size > limit:
        what = f"the rule group {group.name} has {size} bytes, and Consul takes values of at most {limit}"
        yield Finding(Severity.ERROR, group.place or "alert rules", what, "split it into several groups")
    if group.place and "service" not in group.labels:
        alerts = [alert_of(rule) for rule in group.rules if "service" not in rule_text.entries(_labels(rule))]
        if named := ", ".join(dict.fromkeys(filter(None, alerts))):
            what = f"no label service in {named}: unless the expression gives it, nothing inhibits them or is inhibited"
            yield Finding(Severity.WARNING, group.place, what, "add the label service to the rules, or to their group")


def _labels(rule: yaml.Node) -> yaml.Node | None:
    return rule_text.entries(rule).get("labels")
