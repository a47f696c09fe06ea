"""How long each stage should take, from the live configuration. Pure. docs/drills.md derives the model.

Symbols: s scrape interval, e evaluation interval. A fault falls at a random moment of the scrape cycle (X, uniform in
0..s) and of the evaluation cycle (Y, uniform in 0..e). Of several Prometheus the first to see it counts.

A job that is stopped also leaves service discovery, after D (the discovery manager's throttle) and L (the scrape
manager's reload ticker). Whichever is first decides: a scrape that is refused (pending after X + Y), or the removal,
whose stale marker is written 1.1 s after the next scrape would have been (X + 1.1 s + Y; Prometheus 3.16,
scrape/scrape.go, endOfRunStaleness).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from obsctl.drills.faults import Scrape
from obsctl.drills.plan.crossing import Crossing
from obsctl.drills.plan.delay import Delay, Phases, exactly, first, together
from obsctl.model import Json

FAULT_STAGES = ("pending", "firing", "delivered")
REVERT_STAGES = ("cleared", "resolved")
QUIET_MOST = 0.2
"""D, seconds, when nothing else changes: Prometheus' discovery manager looks every 0.1 s or so. L is then 0."""
THROTTLE_MOST = 7.5
"""D, seconds, when changes come all the time: the manager backs off to 5 s, give or take half (3.12 and later)."""
RELOAD_MOST = 5.0
"""L, seconds, when changes come all the time: the ticker of the scrape manager (scrape/manager.go, reloader)."""
STALENESS = 1.1
"""A stale marker comes this many scrape intervals after the last scrape that would have been."""
GROUP_LIFE = 30.0
"""Seconds that Alertmanager may keep a group whose alerts have ended (--dispatch.maintenance-interval). An alert that
comes meanwhile waits for the group's next tick, up to group_interval away, in place of group_wait."""
TRANSPORT_USUAL, TRANSPORT_MOST = 0.1, 1.0
"""n, seconds: from Prometheus to Alertmanager to the receiver, on a healthy network mostly and at most."""
POLL = 0.25
"""Seconds between two looks whether the service is back."""
START_LEAST, START_MOST = 0.5, 3.0
"""Seconds that a service takes from its start to its first answer; all that depends on it is where in the cycle of
group_interval the end of an alert falls, and how much of a slow discovery is over by then."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the live configuration says, in seconds. refresh_interval: how long service discovery may wait.

    prometheus, alertmanagers: how many there are. peer_timeout: what each Alertmanager waits for the one before it.
    check_interval: how often Consul checks the service. is_busy: whether service discovery changes all the time.
    """

    scrape_interval: float
    scrape_timeout: float
    evaluation_interval: float
    pending: float
    keep_firing: float
    group_wait: float
    group_interval: float
    refresh_interval: float
    prometheus: int = 1
    alertmanagers: int = 1
    peer_timeout: float = 0.0
    check_interval: float = 0.0
    is_busy: bool = False

    @property
    def turns(self) -> float:
        """How long the last Alertmanager waits for all before it, which may have died unnoticed."""
        return (self.alertmanagers - 1) * self.peer_timeout

    @property
    def wait(self) -> float:
        """How long an alert is pending: a rule fires only at an evaluation."""
        return self.evaluation_interval * math.ceil(self.pending / self.evaluation_interval)


@dataclass(frozen=True, slots=True)
class Band:
    """Seconds from the reference point. `since` is "fault" (its effect) or "revert" (the service is seen to be back;
    Prometheus may see it earlier, so a minimum can be negative). p50, p90, p99: percentiles."""

    stage: str
    minimum: float
    mean: float
    p50: float
    p90: float
    p99: float
    maximum: float
    since: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The bands of all stages in order, and what they were made from."""

    settings: Settings
    bands: tuple[Band, ...]

    def band(self, stage: str) -> Band:
        return {band.stage: band for band in self.bands}[stage]

    def to_dict(self) -> Json:
        return asdict(self)

    @staticmethod
    def from_dict(data: Json) -> Forecast:
        return Forecast(Settings(**data["settings"]), tuple(Band(**band) for band in data["bands"]))


def forecast(settings: Settings, scrape: Scrape, crossing: Crossing | None = None, *, hangs: bool = False) -> Forecast:
    """Bands of pending, firing, delivered (since the fault) and cleared, resolved (since the revert).

    scrape: what Prometheus meets at the target during the fault; hangs: a failing one takes its whole timeout.
    crossing: how what the rule reads crosses its threshold; None for a rule that asks whether the target is up.
    """
    phases = Phases()
    onset = crossing.onset(phases) if crossing else exactly(settings.scrape_timeout if hangs else 0.0)
    sights = [_until_seen(settings, scrape, crossing, phases) for _ in range(settings.prometheus)]
    pending = onset + first(*sights)
    firing = pending + settings.wait
    # The alert of an earlier drill ended before this fault: with a long `for` its group is gone when this one fires.
    waits = (settings.group_wait, 0.0, settings.group_interval) if settings.wait < GROUP_LIFE else ()
    transport = _transport(settings, phases)
    grouping = exactly(settings.group_wait).rarely(least=min(waits, default=math.inf), most=max(waits, default=0.0))
    stages = {"pending": pending, "firing": firing, "delivered": firing + grouping + transport}
    bands = [_band(stage, delay, "fault") for stage, delay in stages.items()]
    cleared, resolved = _ends(settings, _good_again(settings, scrape, crossing, phases), phases)
    bands += [_band("cleared", cleared, "revert"), _band("resolved", resolved, "revert")]
    return Forecast(settings, tuple(bands))


def _transport(settings: Settings, phases: Phases) -> Delay:
    """n, and the turns of Alertmanagers that have just died."""
    return phases.uniform(0, TRANSPORT_USUAL).rarely(least=0, most=settings.turns + TRANSPORT_MOST)


def _band(stage: str, delay: Delay, since: str) -> Band:
    p50, p90, p99 = delay.percentiles(0.5, 0.9, 0.99)
    return Band(stage, delay.least, delay.mean, p50, p90, p99, delay.most, since)


def _until_seen(settings: Settings, scrape: Scrape, crossing: Crossing | None, phases: Phases) -> Delay:
    """From the onset to the evaluation of one Prometheus that sees it."""
    s = settings.scrape_interval
    evaluation = phases.uniform(0, settings.evaluation_interval)
    if crossing is not None:
        return crossing.sampling(phases) + evaluation
    sample = phases.uniform(0, s)
    if scrape is not Scrape.VANISHES:
        slow = settings.scrape_timeout if scrape is Scrape.FAILS else 0.0
        return sample.rarely(most=s + slow) + evaluation
    removal = _discovery(settings, phases)
    marker = together(lambda sample, removal: STALENESS * s if removal < sample else 0.0, sample, removal)
    return sample + evaluation + marker.rarely(least=0, most=STALENESS * s)


def _discovery(settings: Settings, phases: Phases) -> Delay:
    """D + L: from Consul's change to the targets of the scrape manager."""
    if settings.is_busy:
        return phases.uniform(0, THROTTLE_MOST) + phases.uniform(0, RELOAD_MOST)
    return phases.uniform(0, QUIET_MOST).rarely(most=THROTTLE_MOST + RELOAD_MOST)


def _good_again(settings: Settings, scrape: Scrape, crossing: Crossing | None, phases: Phases) -> Delay:
    """From the moment when the service is seen to be back to the first good sample in Prometheus.

    obsctl looks every POLL, and where the service was away, Consul every check_interval: it was back before.
    """
    checked = 0.0 if scrape is Scrape.ANSWERS else settings.check_interval
    noticed = phases.uniform(0, checked) + phases.uniform(0, POLL)
    if crossing is not None:
        return crossing.end(phases) + crossing.sampling(phases) - noticed
    s = settings.scrape_interval
    sample = phases.uniform(0, s)
    if scrape is not Scrape.VANISHES:
        return sample.rarely(most=s + settings.scrape_timeout) - noticed
    # Registered in Consul when it starts, `start` before its first answer: what comes before that is a failed scrape.
    start = phases.uniform(START_LEAST, START_MOST)
    scraped = sample + _discovery(settings, phases)
    good = together(
        lambda scraped, start: scraped - start + s * max(0, math.ceil((start - scraped) / s)), scraped, start
    )
    slowest = settings.refresh_interval + THROTTLE_MOST + RELOAD_MOST
    return Delay(0.0, slowest + s, good.samples) - noticed


def _ends(settings: Settings, good: Delay, phases: Phases) -> tuple[Delay, Delay]:
    """When the alert ends in Prometheus, and when its receiver is told, counted from the moment the service is back.

    An alert fires at an evaluation and ends at one, and its group is notified group_wait after the first and every
    group_interval from then on: so all is counted from the moment it fired, and both are whole cycles later.
    """
    e, g, interval, keep = (
        settings.evaluation_interval, settings.group_wait, settings.group_interval, settings.keep_firing,
    )  # fmt: skip
    back = phases.uniform(START_LEAST, START_MOST) + phases.uniform(0, max(settings.check_interval, e)) + g

    def ended(back: float, good: float) -> float:
        return e * math.ceil((back + good) / e) + keep - back

    def notified(back: float, cleared: float) -> float:
        after = back + cleared - g - 1e-6
        return g + interval * max(0, math.ceil(after / interval)) - back if interval else cleared

    cleared = together(ended, back, good)
    limits = (good.least + keep, good.most + keep + e)
    resolved = together(notified, back, cleared)
    transport = _transport(settings, phases)
    return (
        Delay(*limits, cleared.samples),
        Delay(limits[0], limits[1] + interval, resolved.samples) + transport,
    )
