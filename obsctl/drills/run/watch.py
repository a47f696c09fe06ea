"""What shows that an alert has reached a stage. The times come from the programs themselves, not from the polling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from obsctl.drills import faults
from obsctl.drills.faults import Scrape
from obsctl.drills.plan.experiment import Experiment, Labels, matches
from obsctl.drills.plan.gate import silenced_by
from obsctl.drills.world import World
from obsctl.model import Json, unix_time


@dataclass(frozen=True, slots=True)
class Sighting:
    """A stage that was reached. at: Unix seconds, by the clock of the program named in `source`."""

    stage: str
    at: float
    source: str
    evidence: Json


def pending(expected: Labels, world: World, since: float) -> Sighting | None:
    """The alert is pending or firing in Prometheus; its time is `activeAt`, the evaluation that first saw it."""
    for alert in _alerts(expected, world, since):
        return Sighting("pending", unix_time(alert["activeAt"]), "Prometheus activeAt", alert)
    return None


def firing(expected: Labels, world: World, since: float) -> Sighting | None:
    """The alert fires in Prometheus. Until the webhook tells the exact `startsAt`, the time is that of the poll."""
    for alert in _alerts(expected, world, since):
        if alert["state"] == "firing":
            return Sighting("firing", world.clock.now(), "Prometheus state, polled", alert)
    return None


def delivered(expected: Labels, world: World, since: float) -> Sighting | None:
    return _notified("delivered", "firing", expected, world, since)


def cleared(expected: Labels, world: World, since: float) -> Sighting | None:
    """Prometheus holds no such alert any more. Until the webhook tells `endsAt`, the time is that of the poll."""
    if any(_alerts(expected, world, since)):
        return None
    return Sighting("cleared", world.clock.now(), "Prometheus state, polled", {})


def resolved(expected: Labels, world: World, since: float) -> Sighting | None:
    return _notified("resolved", "resolved", expected, world, since)


PROBES = {"pending": pending, "firing": firing, "delivered": delivered, "cleared": cleared, "resolved": resolved}
"""Stage -> what sees it, given the alert's labels; an alert that became active before `since` does not count."""


def scraped(world: World, service: str, *, since: float) -> Sighting | None:
    """Prometheus has scraped the service successfully after `since`: the first `up == 1`, at the sample's own time.

    `timestamp()` of anything but a plain selector is the time of the query.
    """
    up = f'up{{job="{service}"}}'
    samples = world.programs.prometheus.query(f"timestamp({up}) > {since:.3f} and {up} == 1")
    times = [float(sample["value"][1]) for sample in samples]
    return Sighting("recovered", min(times), "timestamp(up) and up == 1", {"up": samples}) if times else None


def exact(notification: Sighting) -> Sighting:
    """The stage before a notification, at the exact time that its webhook tells: when it began to fire, or ended."""
    alert = notification.evidence["alert"]
    stage, key = {"delivered": ("firing", "startsAt"), "resolved": ("cleared", "endsAt")}[notification.stage]
    return Sighting(stage, unix_time(alert[key]), f"webhook {key}", alert)


def active_now(world: World) -> list[Json]:
    """Label sets of all alerts that are pending or fire."""
    return [alert["labels"] for alert in world.programs.prometheus.alerts()]


def fired(world: World, *, seconds: float) -> list[Json]:
    """Label sets of all alerts that fired at any time in the last `seconds`, from Prometheus' own ALERTS series."""
    window = f"{math.ceil(seconds)}s"
    samples = world.programs.prometheus.query_each(f'max_over_time(ALERTS{{alertstate="firing"}}[{window}])')
    alerts = [_without_markers(sample["metric"]) for sample in samples]
    return [alert for place, alert in enumerate(alerts) if alert not in alerts[:place]]


def why_missed(stage: str, expected: Labels, experiment: Experiment, world: World) -> str:
    """The first broken link, as far as the programs can tell."""
    if stage == "pending" and _still_answers(experiment, world):
        return "Prometheus still scrapes the service successfully"
    if stage in ("delivered", "resolved"):
        return _why_not_delivered(expected, world)
    return {
        "pending": "the fault is there for Prometheus too, but the rule does not become true",
        "firing": "it was pending, and then the rule was no longer true: something resets its `for`",
        "recovered": "Prometheus does not see the service work again",
        "cleared": "the rule is still true",
    }[stage]


def _still_answers(experiment: Experiment, world: World) -> bool:
    """Whether scrapes succeed although this fault should end them."""
    if faults.named(experiment.fault).scrape is Scrape.ANSWERS:
        return False
    return bool(world.programs.prometheus.query(f'up{{job="{experiment.service}"}} == 1'))


def _why_not_delivered(expected: Labels, world: World) -> str:
    alerts = world.programs.alertmanager.alerts()
    for alert in alerts:
        if matches(expected, alert["labels"]):
            return _why_held(alert["status"], alerts)
    if silences := silenced_by(world, expected):
        return _silenced(silences)
    return "Alertmanager does not hold it: Prometheus could not send it, or it has ended there"


def _why_held(status: Json, alerts: list[Json]) -> str:
    """Why Alertmanager, which holds an alert with this status among these, has not notified it."""
    if status["silencedBy"]:
        return _silenced(status["silencedBy"])
    if status["inhibitedBy"]:
        sources = [alert["labels"] for alert in alerts if alert["fingerprint"] in status["inhibitedBy"]]
        return f"{', '.join(sorted({labels['alertname'] for labels in sources}))} inhibits it"
    if status.get("mutedBy"):  # Alertmanager 0.28 and newer
        return f"its route is muted now by the time interval {', '.join(status['mutedBy'])}"
    return "Alertmanager holds it, but the receiver did not get it: see obsctl logs alertmanager"


def _silenced(silences: list[str]) -> str:
    return f"the silence {', '.join(silences)} covers it"


def _without_markers(metric: Json) -> Json:
    return {name: value for name, value in metric.items() if name not in ("__name__", "alertstate")}


def _alerts(expected: Labels, world: World, since: float) -> Iterator[Json]:
    """Our alert, if it became active after `since`: an old one proves nothing."""
    for alert in world.programs.prometheus.alerts():
        if matches(expected, alert["labels"]) and unix_time(alert["activeAt"]) >= since:
            yield alert


def _notified(stage: str, status: str, expected: Labels, world: World, since: float) -> Sighting | None:
    """The first notification with this status of our alert, if it began to fire after `since`: the end of an
    earlier one may come in late."""
    for notification in world.programs.sink.notifications(since=since, alertname=expected["alertname"]):
        for alert in notification["payload"]["alerts"]:
            ours = matches(expected, alert["labels"]) and unix_time(alert["startsAt"]) >= since
            if ours and alert["status"] == status:
                evidence = {"alert": alert, "receiver": notification["payload"]["receiver"]}
                return Sighting(stage, notification["received_at"], "alert-sink received_at", evidence)
    return None
