"""Whether and how the rule of an expected alert sees the fault of an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from obsctl.drills import faults
from obsctl.drills.faults import Scrape
from obsctl.drills.plan import shape
from obsctl.drills.plan.crossing import Crossing, Live, crossing, never
from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.plan.reading import Reader
from obsctl.drills.plan.rulecheck import reads, sees_vanished_target
from obsctl.drills.plan.shape import Either, Presence, Shape
from obsctl.model import Json


class Sight:
    """groups: Prometheus' rules, as it lists them."""

    def __init__(self, reader: Reader, groups: Sequence[Json], experiment: Experiment) -> None:
        fault = faults.named(experiment.fault)
        self._reader, self._groups, self._service = reader, groups, experiment.service
        self._scrape, self._signal = fault.scrape, fault.signal(experiment.parameters)
        recording = [(group, rule) for group in groups for rule in group["rules"] if rule.get("type") == "recording"]
        self._recordings = {str(rule["name"]): str(rule["query"]) for _, rule in recording}
        self._recorders = {str(rule["name"]): group for group, rule in recording}

    def crossing(self, group: Json, rule: Json) -> Crossing | None:
        """None for a rule that asks whether the target is up. Raises NoForecast when it cannot see the fault."""
        query = str(rule["query"])
        reading = shape.of(query, self._recordings)
        is_own = self._is_own(query, reading.shape)
        if is_own and self._scrape is not Scrape.ANSWERS:
            self._refuse_blind(query, reading.shape)
            return None
        hops = [float(self._recorders[name]["interval"]) for name in reading.recorded]
        elsewhere = [
            hop for name, hop in zip(reading.recorded, hops, strict=True) if self._recorders[name] is not group
        ]

        def live(part: Shape) -> Live:
            return self._reader.live(part, elsewhere)

        return crossing(reading.shape, self._signal, live)

    def _is_own(self, query: str, form: Shape) -> bool:
        """Whether the rule reads what is scraped from the service itself."""
        if _asks_presence(form):
            return reads(query, self._service)
        return self._service in self._reader.homes(form.read)

    def _refuse_blind(self, query: str, form: Shape) -> None:
        """Raises NoForecast for a rule on series that the fault ends."""
        if self._scrape is Scrape.VANISHES and not sees_vanished_target(query):
            what = f"{query} needs the target, and this fault takes it out of Consul"
            raise never(what, hint='write it with absent(), as in absent(up{job="…"} == 1)')
        if not _asks_presence(form):
            what = f"{query} needs what {self._service} tells, and this fault keeps it from telling"
            raise never(what, hint="measure it at those who call the service")


def _asks_presence(form: Shape) -> bool:
    if isinstance(form, Either):
        return any(map(_asks_presence, form.shapes))
    return isinstance(form, Presence)
