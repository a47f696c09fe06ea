"""How long each stage should take, from the live configuration. Pure. docs/drills.md derives the model.

Symbols: s scrape interval, e evaluation interval. A fault falls at a random moment of the scrape cycle (X, uniform in
0..s) and of the evaluation cycle (Y, uniform in 0..e). Of several Prometheus the first to see it counts.

A job that is stopped also leaves service discovery, after D (the discovery manager's throttle) and L (the scrape
manager's reload ticker). Whichever is first decides: a scrape that is refused (pending after X + Y), or the removal,
whose stale marker is written 1.1 s after the next scrape would have been (X + 1.1 s + Y; Prometheus 3.15,
scrape/scrape.go, endOfRunStaleness). L is 0 after 5 quiet seconds (scrape/manager.go, reloader), so the removal wins
nearly always: in 45 of 50 drills.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from obsctl.drills.faults import Scrape
from obsctl.model import Json

FAULT_STAGES = ("pending", "firing", "delivered")
REVERT_STAGES = ("cleared", "resolved")
DISCOVERY_MEAN, DISCOVERY_MAX = 0.1, 5.0
"""D, seconds: Prometheus' discovery manager waits 0.1 s, and up to 5 s when changes come in a row (3.12 and later)."""
RELOAD_MAX = 5.0
"""L, seconds, when targets changed just before; 0 when all was quiet."""
STALENESS = 1.1
"""A stale marker comes this many scrape intervals after the last scrape that would have been."""
GROUP_LIFE = 30.0
"""Seconds that Alertmanager may keep a group whose alerts have ended (--dispatch.maintenance-interval). An alert that
comes meanwhile waits for the group's next tick, up to group_interval away, in place of group_wait."""
TRANSPORT_MEAN, TRANSPORT_MAX = 0.05, 1.0
"""n, seconds: from Prometheus to Alertmanager to the receiver on a healthy network."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the live configuration says, in seconds. refresh_interval: how long service discovery may wait.

    prometheus, alertmanagers: how many there are. peer_timeout: what each Alertmanager waits for the one before it.
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

    @property
    def turns(self) -> float:
        """How long the last Alertmanager waits for all before it, which may have died unnoticed."""
        return (self.alertmanagers - 1) * self.peer_timeout


@dataclass(frozen=True, slots=True)
class Band:
    """Seconds from the reference point. `since` is "fault" (its effect) or "revert" (the service is back)."""

    stage: str
    minimum: float
    mean: float
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


def forecast(settings: Settings, scrape: Scrape) -> Forecast:
    """Bands of pending, firing, delivered (since the fault) and cleared, resolved (since the revert).

    scrape: what Prometheus meets at the target during the fault.
    """
    pending = _pending(settings, scrape)
    wait = settings.evaluation_interval * math.ceil(settings.pending / settings.evaluation_interval)
    firing = _later(pending, "firing", wait, wait, wait)
    # The alert of an earlier drill ended before this fault: with a long `for` its group is gone when this one fires.
    waits = (settings.group_wait, 0.0, settings.group_interval) if wait < GROUP_LIFE else (settings.group_wait,)
    delivered = _later(firing, "delivered", min(waits), settings.group_wait + TRANSPORT_MEAN,
                       max(waits) + settings.turns + TRANSPORT_MAX)  # fmt: skip
    cleared = _cleared(settings, scrape)
    resolved = _later(cleared, "resolved", 0.0, settings.group_interval / 2 + TRANSPORT_MEAN,
                      settings.group_interval + settings.turns + TRANSPORT_MAX)  # fmt: skip
    return Forecast(settings, (pending, firing, delivered, cleared, resolved))


def _pending(settings: Settings, scrape: Scrape) -> Band:
    s, e = settings.scrape_interval, settings.evaluation_interval
    if scrape is not Scrape.VANISHES:
        fails = settings.scrape_timeout if scrape is Scrape.FAILS else 0.0
        return Band("pending", 0.0, _mean_of_first(settings), s + fails + e, "fault")
    mean = _mean_of_first(settings) + STALENESS * s * _removal_first(s)
    return Band("pending", 0.0, mean, s + STALENESS * s + e, "fault")


def _mean_of_first(settings: Settings) -> float:
    """Mean of the least of as many independent X + Y as there are Prometheus: the integral of P(X + Y > z)^n."""
    s, e, steps = settings.scrape_interval, settings.evaluation_interval, 1000

    def later_than(z: float) -> float:
        return 1 - (z**2 - max(0.0, z - s) ** 2 - max(0.0, z - e) ** 2) / (2 * s * e)

    if settings.prometheus == 1:
        return (s + e) / 2
    width = (s + e) / steps
    return width * sum(later_than((step + 0.5) * width) ** settings.prometheus for step in range(steps))


def _removal_first(scrape_interval: float) -> float:
    """P(D < X): the target is removed before its next scrape. X uniform in 0..s, D its mean."""
    return max(0.0, 1 - DISCOVERY_MEAN / scrape_interval)


def _cleared(settings: Settings, scrape: Scrape) -> Band:
    s, e = settings.scrape_interval, settings.evaluation_interval
    keep = settings.keep_firing
    if scrape is not Scrape.VANISHES:
        return Band("cleared", 0.0, keep + (s + e) / 2, keep + s + settings.scrape_timeout + e, "revert")
    slowest = settings.refresh_interval + DISCOVERY_MAX + RELOAD_MAX
    return Band("cleared", 0.0, keep + DISCOVERY_MEAN + (s + e) / 2, keep + slowest + s + e, "revert")


def _later(band: Band, stage: str, minimum: float, mean: float, maximum: float) -> Band:
    return Band(stage, band.minimum + minimum, band.mean + mean, band.maximum + maximum, band.since)
