"""The gate: nothing is injected unless everything is steady and the whole alert path works."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from obsctl import names
from obsctl.clients import jobs
from obsctl.drills import faults, recipes
from obsctl.drills.plan.experiment import Labels
from obsctl.drills.plan.target import Target
from obsctl.drills.world import World, passing
from obsctl.errors import ApiError
from obsctl.model import Finding, Json, unix_time
from obsctl.stack import alert_path
from obsctl.stack.routing import fits

MAX_CLOCK_OFFSET = 3.0
"""Seconds. The Date header, from which offsets are read, has a resolution of one second."""


def check(target: Target, world: World) -> list[Finding]:
    """All that is not steady; empty means go."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _service(target, world),
        lambda: faults.named(target.experiment.fault).objections(target, world),
        lambda: _rules(target, world),
        lambda: _quiet(target, world),
        lambda: _path(target, world),
        lambda: _clocks(world),
        lambda: _leftovers(world),
    ]
    return [finding for look in checks for finding in _guarded(look)]


def _guarded(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except ApiError as error:
        return [Finding.error("cluster", error.message, error.hint)]


def _service(target: Target, world: World) -> Iterator[Finding]:
    """As many instances run as expected; they are healthy and scraped, and nobody deploys them."""
    service = target.experiment.service
    where = f"service {service}"
    expected = jobs.expected_instances(target.job, service) or jobs.expected_count(target.job)
    if target.job.get("Stop") or not expected:
        yield Finding.error(where, f"its job {target.job_id} is not running", f"nomad job start {target.job_id}")
        return
    for other in target.others:
        what = f"{other} registers it too: the fault in {target.job_id} would leave that one"
        yield Finding.error(where, what, "give each job a service name of its own, or stop the other one first")
    healthy = passing(world, service)
    if healthy < expected:
        hint = f"nomad job status {target.job_id}"
        yield Finding.error(where, f"{healthy} of {expected} instances pass their Consul checks", hint)
    up = world.programs.prometheus.query(f'up{{job="{service}"}} == 1')
    if len(up) < expected:
        what = f"{len(up)} of {expected} instances are up in Prometheus"
        yield Finding.error(where, what, "its targets page says why")
    deployment = world.nomad.job_deployment(target.job_id)
    if deployment and deployment["Status"] not in jobs.ENDED:
        yield Finding.error(where, f"a deployment is {deployment['Status']}", "wait for its end")


def _rules(target: Target, world: World) -> Iterator[Finding]:
    """Each rule can fire for this fault, is healthy, and is being evaluated."""
    for name, alert in target.alerts.items():
        rule, where = alert.rule, f"rule {alert.rule['name']}"
        budget, band = target.experiment.within.get(name, math.inf), alert.forecast.band("delivered")
        if alert.blind and name in target.experiment.expect:
            yield Finding.error(where, alert.blind.message, alert.blind.hint)
        if budget < band.minimum:
            what = f"it can never be delivered within {budget:g} s: its forecast is {band.minimum:.1f} s at least"
            yield Finding.error(where, what, "give the experiment more time, or the rule a shorter `for`")
        if rule["health"] != "ok":
            yield Finding.error(where, f"Prometheus cannot evaluate it: {rule.get('lastError')}", "correct the rule")
        age = world.clock.now() - unix_time(rule["lastEvaluation"])
        if age > 3 * alert.forecast.settings.evaluation_interval + MAX_CLOCK_OFFSET:
            what, hint = f"its last evaluation is {age:.0f} s ago", "see obsctl status: Prometheus may be overloaded"
            yield Finding.error(where, what, hint)


def _quiet(target: Target, world: World) -> Iterator[Finding]:
    """No alert of this drill is active, neither in Prometheus nor in Alertmanager, and none is silenced."""
    active = [(alert["labels"], f"it is {alert['state']} already", "wait until it has cleared")
              for alert in world.programs.prometheus.alerts()]  # fmt: skip
    active += [(alert["labels"], "Alertmanager still holds it", "wait until its end was notified")
               for alert in world.programs.alertmanager.alerts()]  # fmt: skip
    for labels, what, hint in active:
        if target.experiment.concerns(labels):
            of = f" of {labels['instance']}" if "instance" in labels else ""
            yield Finding.error(f"alert {labels['alertname']}{of}", what, hint)
    for silence in silenced_by(world, *(alert.labels for alert in target.alerts.values())):
        yield Finding.error("alertmanager", f"silence {silence} covers the alert", "expire it: amtool silence expire")


def _path(target: Target, world: World) -> Iterator[Finding]:
    """An alert reaches Alertmanager and alert-sink, and the route of each expected one ends there."""
    settings = next(iter(target.alerts.values())).forecast.settings
    expected = alert_path.Expected(settings.prometheus, settings.alertmanagers, world.heartbeat)
    for sentence in alert_path.missing(expected, world.programs, world.clock):
        yield Finding.error(
            "alert path", sentence, "obsctl status shows what runs, obsctl deploy brings up what does not"
        )
    for alert in target.alerts.values():
        if alert.route is None:
            receivers = ", ".join(route.receiver for route in alert.routes)
            what = f"the alert {alert.rule['name']} goes to {receivers}, not to alert-sink: nobody would see a delivery"
            hint = "set alerting.copy_to_sink: true in obsctl.yaml and run obsctl deploy"
            yield Finding.error("alertmanager", what, hint)
        if alert.inhibited_by:
            what = f"{', '.join(alert.inhibited_by)} is active and inhibits {alert.rule['name']}"
            yield Finding.error("alertmanager", what, "wait until it has cleared")
        if alert.silent_by:
            what = f"the route of {alert.rule['name']} to alert-sink is silent now, by {', '.join(alert.silent_by)}"
            yield Finding.error(
                "alertmanager", what, "wait for the end of these times: alerting.time_intervals has them"
            )


def _clocks(world: World) -> Iterator[Finding]:
    """Times of five programs are compared, so their clocks must agree."""
    programs = world.programs
    clocks: dict[str, Callable[[], float]] = {
        "nomad": world.nomad.server_time,
        names.PROMETHEUS: programs.prometheus.server_time,
        names.ALERTMANAGER: programs.alertmanager.server_time,
        names.ALERT_SINK: programs.sink.server_time,
    }
    for name, server_time in clocks.items():
        offset = server_time() - world.clock.now()
        if abs(offset) > MAX_CLOCK_OFFSET:
            yield Finding.error(name, f"its clock is off by {offset:+.0f} s", "run a time service on both machines")


def _leftovers(world: World) -> Iterator[Finding]:
    """What is not signed was never a drill, and must not keep one from starting."""
    for entry in filter(lambda entry: entry.is_genuine, recipes.read(world)):
        yield Finding.error(f"drill {entry.drill}", "an earlier drill was not finished", "obsctl drill recover")


def silenced_by(world: World, *alerts: Labels) -> list[str]:
    """The ids of the silences that cover any of these alerts now."""
    silences = world.programs.alertmanager.silences()
    return [str(silence["id"]) for silence in silences if any(_silences(silence, labels) for labels in alerts)]


def _silences(silence: Json, labels: Labels) -> bool:
    """Whether each matcher of the silence fits that names one of these labels; what the others name is not known."""
    known = [matcher for matcher in silence["matchers"] if "{{" not in labels.get(matcher["name"], "{{")]
    return bool(known) and all(_fits(matcher, labels[matcher["name"]]) for matcher in known)


def _fits(matcher: Json, value: str) -> bool:
    return fits(matcher["value"], value, is_regex=matcher["isRegex"], is_equal=bool(matcher.get("isEqual", True)))
