"""Alert rules: shipped files, availability rules for each watched service, and the config's changes to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from obsctl import names
from obsctl.config.alerting import RuleOverride
from obsctl.config.components import Component
from obsctl.config.durations import format_duration, parse_duration
from obsctl.config.schema import Config
from obsctl.config.timing import PROFILES, Timing
from obsctl.errors import ObsctlError

Rule = dict[str, Any]
_STANDARD = Timing.model_validate("standard")
_WINDOW = f"[{PROFILES['standard']['window']}]"
AVAILABILITY = "availability"
"""The group that tells when a watched service, or an instance of a component, is not there."""


def groups(config: Config, shipped: Path, root: Path, dashboards: Collection[str]) -> dict[str, str]:
    """Group name -> YAML list item of the group, ready to stand below `groups:`.

    dashboards: the uids of those that Grafana has.
    Raises ObsctlError for a rule file that cannot be read, a group name used twice, or an override that names no alert.
    """
    owners = ["stack", *(component.row.name for component in config.enabled_components())]
    files = [file for name in owners if (file := shipped / f"{name}.yml").is_file()]
    found = [_timed(group, config.timing) for file in files for group in _read(file)]
    found += [availability_group(config)]
    grafana = config.components.grafana
    if grafana.enabled and grafana.root_url:
        found = [_linked(group, grafana.root_url.rstrip("/"), dashboards) for group in found]
    for pattern in config.alerting.rule_files:
        found += [group for file in _matches(root, pattern) for group in _read(file)]
    _refuse_unknown_overrides(config.alerting.rules, found)
    _refuse_twins(group["name"] for group in found)
    changed = [_overridden(group, config.alerting.rules) for group in found]
    return {group["name"]: _dump(group) for group in changed if group["rules"]}  # Prometheus hides empty ones


def availability_group(config: Config) -> Rule:
    """ServiceDown and JobNotRunning for each watched service, ReplicaMissing for each component that runs several
    times, and ComponentDown for the others that are not on the alert path: without that nobody would be told.

    `absent(up == 1)` also sees a target that vanished: a stopped Nomad job leaves Consul, so `up == 0` has
    no series to fire on. JobNotRunning is the second, independent signal: Nomad's own job summary.
    """
    rules: list[Rule] = []
    for service, job in sorted(config.watched_services().items()):
        severity = config.services[service].severity if service in config.services else "critical"
        rules.append(_service_down(service, severity, config.timing))
        rules.append(_job_not_running(service, job, config.timing))
    components = config.enabled_components()
    counts = {component.row.name: config.count(component) for component in components}
    rules += [_replica_missing(name, count, config.timing) for name, count in counts.items() if count > 1]
    rules += [_component_down(component.row.name, config.timing) for component in components if _is_watched(component)]
    return {"name": AVAILABILITY, "rules": rules}


def _is_watched(component: Component) -> bool:
    return component.row.down_alert == names.COMPONENT_DOWN and not component.row.on_alert_path


def _service_down(service: str, severity: str, timing: Timing) -> Rule:
    summary = f"No instance of {service} answers: it is gone, down or unreachable."
    return _availability(names.SERVICE_DOWN, service, severity, _absent(service), summary, timing)


def _job_not_running(service: str, job: str, timing: Timing) -> Rule:
    expr = f'sum(nomad_nomad_job_summary_running{{exported_job="{job}"}}) == 0'
    return _availability(
        names.JOB_NOT_RUNNING, service, "warning", expr, f"Nomad runs no allocation of job {job}.", timing
    )


def _replica_missing(component: str, count: int, timing: Timing) -> Rule:
    """Not true when there is none at all: before a component is deployed for the first time that is no fault."""
    expr = f'count(up{{job="{component}"}} == 1) < {count}'
    summary = f"{{{{ $value }}}} of {count} instances of {component} answer."
    return _availability(names.REPLICA_MISSING, component, "warning", expr, summary, timing)


def _component_down(component: str, timing: Timing) -> Rule:
    summary = f"No {component} answers: what it keeps cannot be seen, and what should come to it waits."
    return _availability(names.COMPONENT_DOWN, component, "warning", _absent(component), summary, timing)


def _absent(service: str) -> str:
    return f'absent(up{{job="{service}"}} == 1)'


def _availability(alert: str, service: str, severity: str, expr: str, summary: str, timing: Timing) -> Rule:
    return {
        "alert": alert,
        "expr": expr,
        "for": format_duration(timing.pending),
        "labels": {"severity": severity, "service": service},
        "annotations": {"summary": summary},
    }


def _matches(root: Path, pattern: str) -> list[Path]:
    files = sorted(root.glob(pattern))
    if not files:
        raise ObsctlError(
            f"alerting.rule_files: no file matches {pattern!r} below {root}",
            hint="correct the pattern in obsctl.yaml, or take it out",
        )
    return files


def _read(file: Path) -> list[Rule]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _no_rule_file(file, str(error)) from error
    found = document.get("groups") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise _no_rule_file(file, "it has no list of groups")
    for number, group in enumerate(found, start=1):
        if not _is_group(group):
            raise _no_rule_file(file, f"group {number} needs a name, and rules that each have an expr")
    return found


def _is_group(group: Any) -> bool:
    """Whether it has what we read of a group; promtool looks at the rest."""
    match group:
        case {"name": str(), "rules": [*rules]}:
            return all(isinstance(rule, dict) and "expr" in rule for rule in rules)
    return False


def _no_rule_file(file: Path, reason: str) -> ObsctlError:
    return ObsctlError(f"{file}: not a Prometheus rule file: {reason}", hint=f"promtool check rules {file} says more")


def _timed(group: Rule, timing: Timing) -> Rule:
    """A shipped group, from the standard profile to the configured timing."""
    return {**group, "rules": [_timed_rule(rule, timing) for rule in group["rules"]]}


def _timed_rule(rule: Rule, timing: Timing) -> Rule:
    window = f"[{format_duration(timing.window)}]"
    changed = {**rule, "expr": rule["expr"].replace(_WINDOW, window)}
    if "for" in rule:
        seconds = parse_duration(rule["for"])
        changed["for"] = format_duration(seconds * timing.pending / _STANDARD.pending)
    return changed


def _linked(group: Rule, grafana: str, uids: Collection[str]) -> Rule:
    """Each alert with the way to its dashboard: that of its service where there is one, else the overview."""
    return {
        **group,
        "rules": [_with_dashboard(rule, grafana, uids) if "alert" in rule else rule for rule in group["rules"]],
    }


def _with_dashboard(rule: Rule, grafana: str, uids: Collection[str]) -> Rule:
    own = f"obsctl-{(rule.get('labels') or {}).get('service')}"
    link = f"{grafana}/d/{own if own in uids else 'obsctl-overview'}"
    return {**rule, "annotations": {**(rule.get("annotations") or {}), "dashboard_url": link}}


def _overridden(group: Rule, overrides: Mapping[str, RuleOverride]) -> Rule:
    rules = [_override(rule, overrides.get(rule.get("alert", ""))) for rule in group["rules"]]
    return {**group, "rules": [rule for rule in rules if rule is not None]}


def _override(rule: Rule, override: RuleOverride | None) -> Rule | None:
    if override is None:
        return rule
    if not override.enabled:
        return None
    labels = {**(rule.get("labels") or {}), **override.labels}
    if override.severity is not None:
        labels["severity"] = override.severity
    changed = {
        **rule,
        "labels": labels,
        "annotations": {**(rule.get("annotations") or {}), **override.annotations},
    }
    if override.pending is not None:
        changed["for"] = format_duration(override.pending)
    return changed


def _refuse_unknown_overrides(overrides: Mapping[str, RuleOverride], found: Iterable[Rule]) -> None:
    known = {rule["alert"] for group in found for rule in group["rules"] if "alert" in rule}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise ObsctlError(
            f"alerting.rules: there is no alert {', '.join(unknown)}",
            hint=f"the alerts of this stack are {', '.join(sorted(known))}",
        )


def _refuse_twins(names: Iterable[str]) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ObsctlError(
            f"two rule groups have the name {twins[0]!r}",
            hint="rename the one in your own rule files; names must be unique in a stack",
        )


def _dump(group: Rule) -> str:
    return yaml.safe_dump([group], sort_keys=False, allow_unicode=True, width=110)
