"""Several instances of one program as one. A question goes to all of them, or to one that answers.

They are looked up anew for each question, because one may have moved. An instance that does not answer is left out
while another one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from obsctl.clients.protocols import AlertmanagerApi, PrometheusApi, StackProgram
from obsctl.clients.tally import Tallies
from obsctl.errors import ApiError, TimedOut, Unreachable
from obsctl.model import Json, unix_time

Api = TypeVar("Api", bound=StackProgram)
Answer = TypeVar("Answer")


class Replicas(Generic[Api]):
    """What all programs have in common. each: gives the instances, at least one, or raises ApiError."""

    def __init__(self, each: Callable[[], Sequence[Api]]) -> None:
        self.each = each

    @property
    def address(self) -> str:
        return self.each()[0].address

    def server_time(self) -> float:
        return self._first(lambda instance: instance.server_time())

    def _first(self, ask: Callable[[Api], Answer]) -> Answer:
        return next(self._answers(ask))

    def _all(self, ask: Callable[[Api], list[Json]]) -> list[Json]:
        return [item for answer in self._answers(ask) for item in answer]

    def _answers(self, ask: Callable[[Api], Answer]) -> Iterator[Answer]:
        """What the instances answer, in their order. Raises when none of them answers."""
        failure: ApiError | None = None
        answered = False
        for instance in self.each():
            try:
                answer = ask(instance)
            except (Unreachable, TimedOut) as error:
                failure = error
                continue
            answered = True
            yield answer
        if failure and not answered:
            raise failure


class PrometheusReplicas(Replicas[PrometheusApi]):
    """PrometheusApi of all instances. They scrape and evaluate alike, so one speaks for all; but an alert begins and
    ends at its own moment in each."""

    def query(self, promql: str) -> list[Json]:
        return self._first(lambda instance: instance.query(promql))

    def query_each(self, promql: str) -> list[Json]:
        """Of every instance: one that started a moment ago knows nothing of what was before."""
        return self._all(lambda instance: instance.query(promql))

    def count(self, promql: str) -> int:
        return self._first(lambda instance: instance.count(promql))

    def targets(self) -> list[Json]:
        return self._first(lambda instance: instance.targets())

    def rule_groups(self) -> list[Json]:
        return self._first(lambda instance: instance.rule_groups())

    def alerts(self) -> list[Json]:
        """Of every instance; the alert that was active first comes first."""
        alerts = self._all(lambda instance: instance.alerts())
        return sorted(alerts, key=lambda alert: unix_time(alert["activeAt"]))

    def alertmanagers(self) -> list[str]:
        """Those that every instance knows."""
        known = list(self._answers(lambda instance: instance.alertmanagers()))
        return [url for url in known[0] if all(url in others for others in known)]

    def config_yaml(self) -> str:
        return self._first(lambda instance: instance.config_yaml())

    def format_query(self, promql: str) -> str:
        return self._first(lambda instance: instance.format_query(promql))


class AlertmanagerReplicas(Replicas[AlertmanagerApi]):
    """AlertmanagerApi of all instances. They share silences, not alerts."""

    def status(self) -> Json:
        return self._first(lambda instance: instance.status())

    def alerts(self) -> list[Json]:
        """Of every instance."""
        return self._all(lambda instance: instance.alerts())

    def silences(self) -> list[Json]:
        return self._first(lambda instance: instance.silences())

    def silence(self, labels: Mapping[str, str], *, until: float, comment: str) -> str:
        return self._first(lambda instance: instance.silence(labels, until=until, comment=comment))

    def expire(self, silence_id: str) -> None:
        self._first(lambda instance: instance.expire(silence_id))

    def post(self, alerts: list[Json]) -> None:
        """To every instance, as Prometheus does it: they agree which of them sends it."""
        list(self._answers(lambda instance: instance.post(alerts)))

    def tallies_each(self) -> dict[str, Tallies]:
        """Those of each instance that answers, by its address."""
        return dict(self._answers(lambda instance: (instance.address, instance.tallies())))
