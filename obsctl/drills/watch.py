"""Watches an alert go through its stages. Polling only wakes us up; the times come from the programs themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from obsctl.clients.protocols import Json
from obsctl.drills.experiment import Experiment, matches
from obsctl.drills.world import World
from obsctl.model import unix_time


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
    """The first notification of our alert with this status that alert-sink wrote down after `since`."""
    stage = "delivered" if status == "firing" else "resolved"
    for notification in _notifications(experiment, world, since):
        for alert in notification["payload"]["alerts"]:
            if alert["status"] == status and matches(experiment.expect, alert["labels"]):
                evidence = {"alert": alert, "receiver": notification["payload"]["receiver"]}
                return Sighting(stage, notification["received_at"], "alert-sink received_at", evidence)
    return None


def cleared(experiment: Experiment, world: World) -> bool:
    """Prometheus holds no such alert any more."""
    return not any(matches(experiment.expect, alert["labels"]) for alert in world.prometheus.alerts())


def recovered(experiment: Experiment, world: World, *, since: float) -> Sighting | None:
    """Prometheus scraped the service successfully after `since`: the first `up == 1`."""
    found = world.prometheus.query(f'timestamp(up{{job="{experiment.service}"}} == 1) > {since:.3f}')
    times = [float(sample["value"][1]) for sample in found]
    return Sighting("recovered", min(times), "timestamp(up == 1)", {"up": found}) if times else None


def bystanders(experiment: Experiment, world: World, ignore: Sequence[str]) -> Iterator[Json]:
    """Firing alerts that are neither expected, nor allowed, nor in `ignore` (they fired before the fault)."""
    for alert in world.prometheus.alerts():
        if alert["state"] == "firing" and not experiment.is_allowed(alert["labels"]) and identity(alert) not in ignore:
            yield alert


def identity(alert: Json) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(alert["labels"].items()))


def _alerts(experiment: Experiment, world: World, since: float) -> Iterator[Json]:
    """Our alert, if it became active after `since`: an old one proves nothing."""
    for alert in world.prometheus.alerts():
        if matches(experiment.expect, alert["labels"]) and unix_time(alert["activeAt"]) >= since:
            yield alert


def _notifications(experiment: Experiment, world: World, since: float) -> Sequence[Json]:
    return world.sink.notifications(since=since, alertname=experiment.expect["alertname"])
