"""Several instances of one program as one: what each has to say, or what any of them says, as the question demands.

They are found anew at each call, because one may have moved. One that does not answer is passed over while another
does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from obsctl.clients.protocols import AlertmanagerApi, PrometheusApi, StackProgram
from obsctl.errors import ApiError, TimedOut, Unreachable
from obsctl.model import Json, unix_time

Api = TypeVar("Api", bound=StackProgram)
Answer = TypeVar("Answer")


class Replicas(Generic[Api]):
    """What is alike for every program. find: its instances, at least one, else it raises ApiError."""

    def __init__(self, find: Callable[[], Sequence[Api]]) -> None:
        self._find = find

    @property
    def address(self) -> str:
        return self._find()[0].address

    def server_time(self) -> float:
        return self._any(lambda one: one.server_time())

    def each(self) -> Sequence[Api]:
        return self._find()

    def _any(self, ask: Callable[[Api], Answer]) -> Answer:
        return next(self._answers(ask))

    def _all(self, ask: Callable[[Api], Answer]) -> list[Answer]:
        return list(self._answers(ask))

    def _answers(self, ask: Callable[[Api], Answer]) -> Iterator[Answer]:
        """The answers of those that answer, in the order of the instances; raises when nobody does."""
        silent: ApiError | None = None
        answered = False
        for one in self._find():
            try:
                answer = ask(one)
            except (Unreachable, TimedOut) as error:
                silent = error
                continue
            answered = True
            yield answer
        if silent is not None and not answered:
            raise silent


class PrometheusReplicas(Replicas[PrometheusApi]):
    """PrometheusApi of all instances. They scrape and evaluate alike, so one speaks for all; but an alert begins and
    ends at its own moment in each."""

    def query(self, promql: str) -> list[Json]:
        return self._any(lambda one: one.query(promql))

    def targets(self) -> list[Json]:
        return self._any(lambda one: one.targets())

    def rule_groups(self) -> list[Json]:
        return self._any(lambda one: one.rule_groups())

    def alerts(self) -> list[Json]:
        """Of every instance, the one that was active first comes first."""
        found = [alert for alerts in self._all(lambda one: one.alerts()) for alert in alerts]
        return sorted(found, key=lambda alert: unix_time(alert["activeAt"]))

    def alertmanagers(self) -> list[str]:
        """Those that every instance knows."""
        known = self._all(lambda one: one.alertmanagers())
        return [url for url in known[0] if all(url in others for others in known)]

    def config_yaml(self) -> str:
        return self._any(lambda one: one.config_yaml())


class AlertmanagerReplicas(Replicas[AlertmanagerApi]):
    """AlertmanagerApi of all instances. They share silences, not alerts."""

    def status(self) -> Json:
        return self._any(lambda one: one.status())

    def gossip(self) -> list[Json]:
        return [cluster for clusters in self._all(lambda one: one.gossip()) for cluster in clusters]

    def alerts(self) -> list[Json]:
        """Of every instance."""
        return [alert for alerts in self._all(lambda one: one.alerts()) for alert in alerts]

    def silences(self) -> list[Json]:
        return self._any(lambda one: one.silences())
