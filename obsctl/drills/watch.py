"""Watches an alert go through its stages. Polling only wakes us up; the times come from the programs themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from obsctl.drills.experiment import Experiment, matches
from obsctl.drills.world import World
from obsctl.model import Json, unix_time


@dataclass(frozen=True, slots=True)
class Sighting:
    """A stage that was reached. at: Unix seconds, by the clock of the program named in `source`."""

    stage: str
    at: float
    source: str
    evidence: Json


def pending(experiment: Experiment, world: World, *, since: float) -> Sighting | None:
    """The alert is pending or firing in Prometheus; its time is `activeAt`, the evaluation that first saw it."""
    for alert in _alerts(experiment, world, since):
        return Sighting("pending", unix_time(alert["activeAt"]), "Prometheus activeAt", alert)
    return None


def firing(experiment: Experiment, world: World, *, since: float) -> Sighting | None:
    """The alert fires in Prometheus. Until the webhook tells the exact `startsAt`, the time is that of the poll."""
    for alert in _alerts(experiment, world, since):
        if alert["state"] == "firing":
            return Sighting("firing", world.clock.now(), "Prometheus state, polled", alert)
    return None


def delivered(experiment: Experiment, world: World, *, since: float, status: str) -> Sighting | None:
    """The first notification with this status of our alert, if it began to fire after `since`: the end of an
    earlier one may come in late."""
    stage = "delivered" if status == "firing" else "resolved"
    for notification in _notifications(experiment, world, since):
        for alert in notification["payload"]["alerts"]:
            ours = matches(experiment.expect, alert["labels"]) and unix_time(alert["startsAt"]) >= since
            if ours and alert["status"] == status:
                evidence = {"alert": alert, "receiver": notification["payload"]["receiver"]}
                return Sighting(stage, notification["received_at"], "alert-sink received_at", evidence)
    return None


def cleared(experiment: Experiment, world: World) -> bool:
    """Prometheus holds no such alert any more."""
    return not any(matches(experiment.expect, alert["labels"]) for alert in world.prometheus.alerts())


def scraped(world: World, service: str, *, since: float) -> Sighting | None:
    """Prometheus has scraped the service successfully after `since`: the first `up == 1`."""
    samples = world.prometheus.query(f'timestamp(up{{job="{service}"}} == 1) > {since:.3f}')
    times = [float(sample["value"][1]) for sample in samples]
    return Sighting("recovered", min(times), "timestamp(up == 1)", {"up": samples}) if times else None


def from_alert(stage: str, timestamp: str, alert: Json) -> Sighting:
    """A stage whose exact time the webhook tells: `startsAt` is when it began to fire, `endsAt` when it cleared."""
    source = {"firing": "webhook startsAt", "cleared": "webhook endsAt"}[stage]
    return Sighting(stage, unix_time(timestamp), source, alert)


def firing_now(world: World) -> list[Json]:
    """Label sets of all alerts that fire."""
    return [alert["labels"] for alert in world.prometheus.alerts() if alert["state"] == "firing"]


def fired(world: World, *, seconds: float) -> list[Json]:
    """Label sets of all alerts that fired at any time in the last `seconds`, from Prometheus' own ALERTS series."""
    window = f"{math.ceil(seconds)}s"
    samples = world.prometheus.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{window}])')
    return [_without_markers(sample["metric"]) for sample in samples]


def why_missed(stage: str, experiment: Experiment, world: World) -> str:
    """The first broken link, as far as the programs can tell."""
    if stage in ("pending", "firing"):
        return _why_not_firing(stage, experiment, world)
    if stage in ("delivered", "resolved"):
        return _why_not_delivered(experiment, world)
    return "Prometheus does not see the service as up" if stage == "recovered" else "the rule is still true"


def _why_not_firing(stage: str, experiment: Experiment, world: World) -> str:
    if stage == "firing":
        return "it was pending, and then the rule was no longer true: something resets its `for`"
    if world.prometheus.query(f'up{{job="{experiment.service}"}} == 1'):
        return "Prometheus still scrapes the service successfully"
    return "the service is gone for Prometheus too, but the rule does not become true"


def _why_not_delivered(experiment: Experiment, world: World) -> str:
    for alert in world.alertmanager.alerts():
        if matches(experiment.expect, alert["labels"]):
            status = alert["status"]
            if status["state"] == "suppressed":
                return f"suppressed in Alertmanager by {[*status['silencedBy'], *status['inhibitedBy']]}"
            return "Alertmanager holds it, but the receiver did not get it: see its log"
    return "Alertmanager does not hold it: Prometheus could not send it, or it has ended there"


def _without_markers(metric: Json) -> Json:
    return {name: value for name, value in metric.items() if name not in ("__name__", "alertstate")}


def _alerts(experiment: Experiment, world: World, since: float) -> Iterator[Json]:
    """Our alert, if it became active after `since`: an old one proves nothing."""
    for alert in world.prometheus.alerts():
        if matches(experiment.expect, alert["labels"]) and unix_time(alert["activeAt"]) >= since:
            yield alert


def _notifications(experiment: Experiment, world: World, since: float) -> Sequence[Json]:
    return world.sink.notifications(since=since, alertname=experiment.expect["alertname"])
