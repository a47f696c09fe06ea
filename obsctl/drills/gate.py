"""The gate: nothing is injected unless everything is steady and the whole alert path is known to work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from obsctl.clients import jobs
from obsctl.drills import faults, recipes
from obsctl.drills.experiment import Experiment
from obsctl.drills.faults import Scrape
from obsctl.drills.routing import matches_regex
from obsctl.drills.rulecheck import sees_vanished_target
from obsctl.drills.target import Target
from obsctl.drills.world import World, passing
from obsctl.errors import ApiError
from obsctl.model import Finding, Json, Severity, unix_time
from obsctl.names import ALERT_SINK
from obsctl.stack import alert_path

MAX_CLOCK_OFFSET = 3.0
"""Seconds. The Date header, from which offsets are read, has a resolution of one second."""


def check(experiment: Experiment, target: Target, world: World, *, leftovers: bool = True) -> list[Finding]:
    """All that is not steady; empty means go. `leftovers`: earlier drills must be over too."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _service(experiment, target, world),
        lambda: _rule(experiment, target, world),
        lambda: _quiet(experiment, world),
        lambda: _path(target, world),
        lambda: _clocks(world),
    ]
    if leftovers:
        checks.append(lambda: _leftovers(world))
    return [finding for one in checks for finding in _guarded(one)]


def _guarded(one: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(one())
    except ApiError as error:
        return [_error("cluster", error.message, error.hint)]


def _service(experiment: Experiment, target: Target, world: World) -> Iterator[Finding]:
    """The target runs as wanted, is healthy, is scraped, and nobody deploys it."""
    wanted = jobs.expected_instances(target.job, experiment.service) or jobs.expected_count(target.job)
    where = f"service {experiment.service}"
    if target.job.get("Stop") or not wanted:
        yield _error(where, f"its job {target.job_id} is not running", f"nomad job start {target.job_id}")
        return
    healthy = passing(world, experiment.service)
    if healthy < wanted:
        hint = f"nomad job status {target.job_id}"
        yield _error(where, f"{healthy} of {wanted} instances pass their Consul checks", hint)
    up = world.prometheus.query(f'up{{job="{experiment.service}"}} == 1')
    if len(up) < wanted:
        yield _error(where, f"{len(up)} of {wanted} instances are up in Prometheus", "look at its targets page")
    deployment = world.nomad.job_deployment(target.job_id)
    if deployment and deployment["Status"] not in jobs.ENDED:
        yield _error(where, f"a deployment is {deployment['Status']}", "wait for its end")


def _rule(experiment: Experiment, target: Target, world: World) -> Iterator[Finding]:
    """The rule can fire for this fault, is healthy, and is being evaluated."""
    where = f"rule {target.rule['name']}"
    vanishes = faults.named(experiment.fault).SCRAPE is Scrape.VANISHES
    if vanishes and not sees_vanished_target(target.rule["query"]):
        what = f"it can never fire: {target.rule['query']} needs the target, and this fault takes it out of Consul"
        yield _error(where, what, 'write it with absent(), as in absent(up{job="…"} == 1)')
    if target.rule["health"] != "ok":
        yield _error(where, f"Prometheus cannot evaluate it: {target.rule.get('lastError')}", "correct the rule")
    age = world.clock.now() - unix_time(target.rule["lastEvaluation"])
    if age > 3 * target.settings.evaluation_interval + MAX_CLOCK_OFFSET:
        yield _error(where, f"its last evaluation is {age:.0f} s ago", "Prometheus is overloaded or stands still")


def _quiet(experiment: Experiment, world: World) -> Iterator[Finding]:
    """No alert that this drill watches is awake, neither in Prometheus nor in Alertmanager."""
    for alert in world.prometheus.alerts():
        if _concerns(experiment, alert["labels"]):
            name = alert["labels"]["alertname"]
            yield _error(f"alert {name}", f"it is {alert['state']} already", "wait until it has cleared")
    for alert in world.alertmanager.alerts():
        if _concerns(experiment, alert["labels"]):
            name = alert["labels"]["alertname"]
            yield _error(f"alert {name}", "Alertmanager still holds it", "wait until its end has been notified")
    for silence in world.alertmanager.silences():
        if _silences(silence, experiment.expect):
            yield _error(
                "alertmanager", f"silence {silence['id']} covers the alert", "expire it: amtool silence expire"
            )


def _path(target: Target, world: World) -> Iterator[Finding]:
    """An alert reaches Alertmanager and alert-sink, and the route of this one ends there."""
    counts = target.settings.prometheus, target.settings.alertmanagers
    expected = alert_path.Expected(world.stack, *counts, heartbeat=world.heartbeat)
    for sentence in alert_path.missing(expected, world, world.clock):
        yield _error("alert path", sentence, "obsctl status shows what runs, obsctl deploy brings up what does not")
    if target.route is None:
        names = ", ".join(route.receiver for route in target.routes)
        hint = "set alerting.copy_to_sink: true in obsctl.yaml and run obsctl deploy"
        yield _error("alertmanager", f"the alert goes to {names}, not to alert-sink: a delivery cannot be seen", hint)


def _clocks(world: World) -> Iterator[Finding]:
    """Times of five programs are compared, so their clocks must agree."""
    servers: dict[str, Any] = {
        "nomad": world.nomad, "prometheus": world.prometheus, "alertmanager": world.alertmanager,
        ALERT_SINK: world.sink,
    }  # fmt: skip
    for name, server in servers.items():
        offset = server.server_time() - world.clock.now()
        if abs(offset) > MAX_CLOCK_OFFSET:
            yield _error(name, f"its clock is off by {offset:+.0f} s", "run a time service on both machines")


def _leftovers(world: World) -> Iterator[Finding]:
    for entry in recipes.read(world.consul, world.stack):
        yield _error(f"drill {entry.drill}", "an earlier drill was not finished", "obsctl drill recover")


def _concerns(experiment: Experiment, labels: Json) -> bool:
    return experiment.is_allowed(labels) or labels.get("service") == experiment.service


def _silences(silence: Json, labels: Any) -> bool:
    """Whether every matcher of the silence that names one of our labels fits; others are taken to fit."""
    known = [matcher for matcher in silence["matchers"] if matcher["name"] in labels]
    return bool(known) and all(_fits(matcher, labels[matcher["name"]]) for matcher in known)


def _fits(matcher: Json, value: str) -> bool:
    hit = matches_regex(matcher["value"], value) if matcher["isRegex"] else matcher["value"] == value
    return hit is bool(matcher.get("isEqual", True))


def _error(where: str, what: str, hint: str) -> Finding:
    return Finding(Severity.ERROR, where, what, hint)
