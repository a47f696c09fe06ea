"""The channels by which an alert reaches people: of each receiver on its routes, and when it should. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from obsctl.drills.plan import mute_times
from obsctl.drills.plan.forecast import Band, Forecast
from obsctl.model import Json
from obsctl.stack.routing import Route

_CONFIGS = "_configs"


@dataclass(frozen=True, slots=True)
class Channel:
    """All entries of one type that a receiver has.

    kind: as Alertmanager's counters call it, like "webhook". count: how many notifications a new alert is; ends: how
    many its end is, 0 where send_resolved is false. silent_by: the time intervals for which its route notifies nobody
    now. delivered, resolved: the bands of its route, which may be others than those of alert-sink's.
    """

    receiver: str
    kind: str
    count: int
    ends: int
    silent_by: tuple[str, ...]
    delivered: Band
    resolved: Band

    def expects(self, stage: str) -> int:
        """How many notifications of "delivered" or "resolved" are to come."""
        return {"delivered": self.count, "resolved": self.ends}[stage]

    def band(self, stage: str) -> Band:
        return {"delivered": self.delivered, "resolved": self.resolved}[stage]


def channels(
    config: Json, routes: Iterable[Route], at: float, forecast: Callable[[Route], Forecast]
) -> tuple[Channel, ...]:
    """One for each type of each receiver. config: as Alertmanager shows it. at: Unix seconds, for the time intervals.
    forecast: of an alert that takes the route."""
    merged: dict[tuple[str, str], Channel] = {}
    for route in routes:
        for channel in _of_route(config, route, at, forecast(route)):
            place = channel.receiver, channel.kind
            merged[place] = _both(merged[place], channel) if place in merged else channel
    return tuple(merged.values())


def _of_route(config: Json, route: Route, at: float, forecast: Forecast) -> Iterator[Channel]:
    silent_by = mute_times.silent_by(config, route, at)
    bands = forecast.band("delivered"), forecast.band("resolved")
    entries: Json = next((each for each in config.get("receivers") or [] if each["name"] == route.receiver), {})
    for key, own in entries.items():
        if key.endswith(_CONFIGS) and own:
            ends = sum(bool(entry.get("send_resolved", True)) for entry in own)
            yield Channel(route.receiver, key.removesuffix(_CONFIGS), len(own), ends, silent_by, *bands)


def _both(first: Channel, second: Channel) -> Channel:
    """A receiver on two routes is notified by each that is not silent."""
    if first.silent_by or second.silent_by:
        return second if first.silent_by else first
    later = max(first, second, key=lambda each: each.delivered.maximum)
    return replace(later, count=first.count + second.count, ends=first.ends + second.ends)
