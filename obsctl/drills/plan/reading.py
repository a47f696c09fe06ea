"""What Prometheus says now of the series that a rule reads: where they come from, how often, how much traffic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from obsctl import names
from obsctl.clients.protocols import PrometheusApi
from obsctl.config.durations import parse_duration
from obsctl.drills.plan.crossing import Live
from obsctl.drills.plan.shape import Count, Quantile, Shape, Share
from obsctl.model import Json

NOMAD_COLLECTS, CONSUL_COLLECTS = 1.0, 10.0
"""Seconds between two looks at themselves of Nomad (telemetry.collection_interval) and Consul (its usage metrics)."""
SPANS_WAIT, FLUSH = 5.0, 2
"""Seconds that a program keeps spans before it sends them (OTEL_BSP_SCHEDULE_DELAY), and of how many scrape intervals
the gateway makes metrics of them at once."""
_UPDATES = 'prometheus_sd_received_updates_total{name="scrape"}[5m]'


class Reader:
    """scraped: the active targets. services: names that tell whose a sample is, when there are several."""

    def __init__(self, prometheus: PrometheusApi, scraped: Sequence[Json], service: str) -> None:
        self._prometheus = prometheus
        self._service = service
        self._intervals: dict[str, float] = {}
        for target in scraped:
            job, interval = str(target["labels"].get("job")), parse_duration(target["scrapeInterval"])
            self._intervals[job] = max(interval, self._intervals.get(job, 0.0))

    def homes(self, selectors: Iterable[str]) -> set[str]:
        """The jobs whose targets have such series now."""
        samples = [each for selector in selectors for each in self._prometheus.query(f"group by (job) ({selector})")]
        return {str(sample["metric"].get("job", "")) for sample in samples}

    def live(self, shape: Shape, hops: Sequence[float]) -> Live:
        """hops: the cycles of recording rules between the series and the rule."""
        homes = self.homes(shape.read) & self._intervals.keys() or {self._service}
        interval = max((self._intervals[job] for job in homes if job in self._intervals), default=0.0)
        cycles = (*self._collected(shape.read, homes, interval), *hops)
        match shape:
            case Share():
                level = self._of_service(f"({shape.part}) / ({shape.whole})")
                requests = self._of_service(shape.whole)
                return Live(interval, cycles, _per_second(shape.whole, requests, shape.window), level)
            case Quantile():
                buckets = self._buckets(shape.buckets)
                bounds = tuple(sorted(buckets))[:-1]
                requests = buckets.get(math.inf, 0.0)
                return Live(interval, cycles, _per_second(shape.buckets, requests, shape.window), bounds=bounds)
            case Count():
                return Live(interval, cycles, is_born=bool(self.homes(shape.read)))
        return Live(interval, cycles)

    def is_busy(self) -> bool:
        """Whether service discovery changes all the time: in nearly every scrape of the last minutes, and more often
        than it takes Prometheus to calm down."""
        changes = f"changes({_UPDATES}) >= 0.8 * (count_over_time({_UPDATES}) - 1)"
        return bool(self._prometheus.query(f"{changes} and rate({_UPDATES}) > 0.2"))

    def _collected(self, selectors: Iterable[str], homes: set[str], interval: float) -> tuple[float, ...]:
        """What the series wait for before they can be scraped."""
        if names.OTEL_GATEWAY in homes and all(text.startswith("traces_span_metrics") for text in selectors):
            return (SPANS_WAIT, FLUSH * interval)
        collectors = {"nomad": (NOMAD_COLLECTS,), "consul": (CONSUL_COLLECTS,)}
        return max((collectors[job] for job in homes if job in collectors), default=())

    def _of_service(self, promql: str) -> float:
        """The value of the service's own sample, or of all together; 0 when there is none."""
        values = [float(sample["value"][1]) for sample in self._ours(self._prometheus.query(promql))]
        return math.fsum(value for value in values if math.isfinite(value))

    def _buckets(self, promql: str) -> Mapping[float, float]:
        """Upper end -> what is counted up to it."""
        counts: dict[float, float] = {}
        for sample in self._ours(self._prometheus.query(promql)):
            if "le" in sample["metric"]:
                end = float(sample["metric"]["le"])
                counts[end] = counts.get(end, 0.0) + float(sample["value"][1])
        return counts

    def _ours(self, samples: list[Json]) -> list[Json]:
        ours = [sample for sample in samples if self._service in sample["metric"].values()]
        return ours or samples


def _per_second(promql: str, value: float, window: float) -> float:
    """`increase` counts over its window."""
    return value / window if "increase(" in promql else value
