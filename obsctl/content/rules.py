"""Alert rules: the shipped files, generated availability rules, the user's own files, and the overrides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from obsctl import names
from obsctl.config.alerting import RuleOverride
from obsctl.config.durations import format_duration, parse_duration
from obsctl.config.schema import Config, NomadJob
from obsctl.config.timing import PROFILES, Timing
from obsctl.errors import ObsctlError
from obsctl.model import Json

_STANDARD = Timing.model_validate("standard")
_WINDOW = f"[{PROFILES['standard']['window']}]"
AVAILABILITY = "availability"
"""The group whose alerts fire when a watched service, or an instance of a component, does not answer."""


def groups(config: Config, shipped: Path, root: Path, dashboards: Collection[str]) -> dict[str, str]:
    """Group name -> the group as a YAML list item, to stand below `groups:`.

    dashboards: the uids of those that Grafana has.
    Raises ObsctlError for a rule file that cannot be read, a group name used twice, or an override that names no alert.
    """
    owners = ["stack", *(component.row.name for component in config.enabled_components())]
    files = [file for name in owners if (file := shipped / f"{name}.yml").is_file()]
    groups = [_timed(group, config.timing) for file in files for group in _read(file)]
    groups.append(availability_group(config))
    grafana = config.components.grafana
    if grafana.enabled and grafana.root_url:
        groups = [_linked(group, grafana.root_url.rstrip("/"), dashboards) for group in groups]
    for pattern in config.alerting.rule_files:
        groups += [group for file in _matches(root, pattern) for group in _read(file)]
    _refuse_unknown_overrides(config.alerting.rules, groups)
    _refuse_twins(group["name"] for group in groups)
    groups = [_overridden(group, config.alerting.rules) for group in groups]
    return {
        group["name"]: yaml.safe_dump([group], sort_keys=False, allow_unicode=True, width=110)
        for group in groups
        if group["rules"]  # Prometheus hides empty groups
    }


def availability_group(config: Config) -> Json:
    """ServiceDown and JobNotRunning for each watched service, ReplicaMissing for each component that runs several
    times, and ComponentDown for the others that are not on the alert path: without that nobody would be told.

    `absent(up == 1)` also sees a target that vanished: a stopped Nomad job leaves Consul, so `up == 0` has
    no series to fire on. JobNotRunning is the second, independent signal: Nomad's own job summary.
    """
    return {"name": AVAILABILITY, "rules": [*_service_alerts(config), *_component_alerts(config)]}


def _service_alerts(config: Config) -> Iterator[Json]:
    for service, job in sorted(config.watched_services().items()):
        severity = config.services[service].severity if service in config.services else "critical"
        summary = f"No instance of {service} answers: it is gone, down or unreachable."
        yield _alert(config, names.SERVICE_DOWN, service, _absent(service), summary, severity)
        yield _alert(
            config, names.JOB_NOT_RUNNING, service, _stopped(job), f"Nomad runs no allocation of job {job.id}."
        )


def _component_alerts(config: Config) -> Iterator[Json]:
    counts = [(component.row, config.count(component)) for component in config.enabled_components()]
    for row, count in counts:
        if count > 1:  # it does not fire when none runs at all: before the first deploy that is no problem
            expr = f'count(up{{job="{row.name}"}} == 1) < {count}'
            summary = f"{{{{ $value }}}} of {count} instances of {row.name} answer."
            yield _alert(config, names.REPLICA_MISSING, row.name, expr, summary)
    for row, _ in counts:
        if row.down_alert == names.COMPONENT_DOWN:
            summary = f"No {row.name} answers: what it keeps cannot be seen, and what should come to it waits."
            yield _alert(config, names.COMPONENT_DOWN, row.name, _absent(row.name), summary)


def _stopped(job: NomadJob) -> str:
    """Nomad counts each run of a periodic or dispatched job as a job of its own, with the job as its parent."""
    running, home = "nomad_nomad_job_summary_running", f'namespace="{job.namespace}"'
    return f'sum({running}{{exported_job="{job.id}", {home}}} or {running}{{parent_id="{job.id}", {home}}}) == 0'


def _absent(service: str) -> str:
    return f'absent(up{{job="{service}"}} == 1)'


def _alert(config: Config, name: str, service: str, expr: str, summary: str, severity: str = "warning") -> Json:
    return {
        "alert": name,
        "expr": expr,
        "for": format_duration(config.timing.pending),
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


def _read(file: Path) -> list[Json]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _no_rule_file(file, str(error)) from error
    groups = document.get("groups") if isinstance(document, dict) else None
    if not isinstance(groups, list):
        raise _no_rule_file(file, "it has no list of groups")
    for number, group in enumerate(groups, start=1):
        if not _is_group(group):
            raise _no_rule_file(file, f"group {number} needs a name, and rules that each have an expr")
    return groups


def _is_group(group: object) -> bool:
    """Whether it has what is read here; promtool checks the rest."""
    match group:
        case {"name": str(), "rules": [*rules]}:
            return all(isinstance(rule, dict) and "expr" in rule for rule in rules)
    return False


def _no_rule_file(file: Path, reason: str) -> ObsctlError:
    return ObsctlError(f"{file}: not a Prometheus rule file: {reason}", hint=f"promtool check rules {file} says more")


def _timed(group: Json, timing: Timing) -> Json:
    """A shipped group, which is written for the standard profile, with the configured timing."""
    return {**group, "rules": [_timed_rule(rule, timing) for rule in group["rules"]]}


def _timed_rule(rule: Json, timing: Timing) -> Json:
    window = f"[{format_duration(timing.window)}]"
    timed = {**rule, "expr": rule["expr"].replace(_WINDOW, window)}
    if "for" in rule:
        seconds = parse_duration(rule["for"])
        timed["for"] = format_duration(seconds * timing.pending / _STANDARD.pending)
    return timed


def _linked(group: Json, grafana: str, uids: Collection[str]) -> Json:
    """Each alert with a link to the dashboard of its service, or to the overview if the service has none."""
    rules = [_with_dashboard(rule, grafana, uids) if "alert" in rule else rule for rule in group["rules"]]
    return {**group, "rules": rules}


def _with_dashboard(rule: Json, grafana: str, uids: Collection[str]) -> Json:
    own = f"obsctl-{(rule.get('labels') or {}).get('service')}"
    link = f"{grafana}/d/{own if own in uids else 'obsctl-overview'}"
    return {**rule, "annotations": {**(rule.get("annotations") or {}), "dashboard_url": link}}


def _overridden(group: Json, overrides: Mapping[str, RuleOverride]) -> Json:
    rules = [_override(rule, overrides.get(rule.get("alert", ""))) for rule in group["rules"]]
    return {**group, "rules": [rule for rule in rules if rule is not None]}


def _override(rule: Json, override: RuleOverride | None) -> Json | None:
    if override is None:
        return rule
    if not override.enabled:
        return None
    labels = {**(rule.get("labels") or {}), **override.labels}
    if override.severity is not None:
        labels["severity"] = override.severity
    annotations = {**(rule.get("annotations") or {}), **override.annotations}
    pending = {} if override.pending is None else {"for": format_duration(override.pending)}
    return {**rule, "labels": labels, "annotations": annotations, **pending}


def _refuse_unknown_overrides(overrides: Mapping[str, RuleOverride], groups: Iterable[Json]) -> None:
    known = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
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
