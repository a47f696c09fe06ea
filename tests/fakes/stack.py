"""Prometheus, Alertmanager and alert-sink in memory: they answer what the test has put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import yaml

from obsctl import names
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import AlertmanagerApi, ConsulApi, NomadApi, PrometheusApi, SinkApi
from obsctl.clients.tally import Tally
from obsctl.config.durations import parse_duration
from obsctl.content.promql import parse
from obsctl.errors import Rejected
from obsctl.model import Json, unix_time
from obsctl.wait import Clock
from tests.fakes.breakable import Breakable
from tests.fakes.clock import FakeClock

NEVER = "9999-12-31T23:59:59+00:00"


class _Server(Breakable):
    """A program that has a clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.clock = clock or FakeClock()

    def server_time(self) -> float:
        return float(int(self.clock.now()))


class FakePrometheus(_Server, api=PrometheusApi):
    """PrometheusApi.

    results: query -> its vector, or a function that gives it; a query that is not there has an empty result.
    """

    address = "http://prometheus.fake:9090"

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.results: dict[str, list[Json] | Callable[[], list[Json]]] = {}
        self.active_targets: list[Json] = []
        self.groups: list[Json] = []
        self.active_alerts: list[Json] = []
        self.alertmanager_urls: list[str] = ["http://alertmanager.fake:9093/api/v2/alerts"]
        self.config = "global: {}\n"

    def query(self, promql: str) -> list[Json]:
        result = self.results.get(promql, [])
        return result() if callable(result) else result

    def count(self, promql: str) -> int:
        self.format_query(promql)
        return len(self.query(promql))

    def targets(self) -> list[Json]:
        return self.active_targets

    def rule_groups(self) -> list[Json]:
        return self.groups

    def alerts(self) -> list[Json]:
        return self.active_alerts

    def alertmanagers(self) -> list[str]:
        return self.alertmanager_urls

    def config_yaml(self) -> str:
        return self.config

    def format_query(self, promql: str) -> str:
        """As Prometheus does for what it knows: one text for all layouts."""
        try:
            return str(parse(promql).prettify())
        except ValueError as error:
            raise Rejected(str(error), hint="") from error

    def answer(self, promql: str, value: float, **labels: str) -> None:
        """From now on the query gives this one sample."""
        self.results[promql] = lambda: [{"metric": labels, "value": [self.clock.now(), f"{value:g}"]}]


class StackPrometheus(FakePrometheus, api=PrometheusApi):
    """A Prometheus that does its work at once: it scrapes every job of obsctl that runs, and has every rule that is in
    Consul. What a test puts in comes on top."""

    def __init__(self, nomad: NomadApi, consul: ConsulApi, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self._nomad, self._consul = nomad, consul

    def targets(self) -> list[Json]:
        running = [job for job in self._nomad.jobs() if names.COMPONENT_MARK in (job.get("Meta") or {})]
        scraped = [
            {"job": job["Meta"][names.COMPONENT_MARK], "allocation": alloc["ID"]}
            for job in running
            for alloc in self._nomad.job_allocations(job["ID"])
            if alloc["ClientStatus"] == "running"
        ]
        return [*self.active_targets, *({"labels": labels, "health": "up"} for labels in scraped)]

    def rule_groups(self) -> list[Json]:
        written = [entry for entry in self._consul.entries("") if "/rules/" in entry.key]
        return [*self.groups, *(loaded(entry.value) for entry in written)]


def loaded(written: str | bytes) -> Json:
    """A rule group as Prometheus tells of it: seconds for durations, text for labels."""
    [group] = yaml.load(written, Loader=yaml.BaseLoader)
    rules = [
        {
            "name": rule.get("alert") or rule.get("record"),
            "query": rule["expr"],
            "duration": parse_duration(rule.get("for") or "0s"),
            "labels": rule.get("labels") or {},
            "annotations": rule.get("annotations") or {},
        }
        for rule in group["rules"]
    ]
    return {"name": group["name"], "rules": rules}


class FakeAlertmanager(_Server, api=AlertmanagerApi):
    """AlertmanagerApi."""

    address = "http://alertmanager.fake:9093"

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.config = "route: {receiver: alert-sink}\nreceivers: [{name: alert-sink}]\n"
        self.active_alerts: list[Json] = []
        self.active_silences: list[Json] = []
        self.posted: list[Json] = []
        self.refusing: set[str] = set()
        self.gave_up: dict[str, str] = {}
        self.sent = {("alert-sink", "webhook"): Tally(), ("heartbeat", "webhook"): Tally(7, 0, 7, 0)}
        self.cluster: Json = {"status": "disabled", "peers": []}

    def status(self) -> Json:
        return {"config": {"original": self.config}, "versionInfo": {"version": "0.31.1"}, "cluster": self.cluster}

    def alerts(self) -> list[Json]:
        return self.active_alerts

    def silences(self) -> list[Json]:
        now = self.clock.now()
        return [each for each in self.active_silences if unix_time(each.get("endsAt", NEVER)) > now]

    def silence(self, labels: Mapping[str, str], *, until: float, comment: str) -> str:
        matchers = [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()]
        made = {"id": f"silence-{len(self.active_silences)}", "matchers": matchers, "comment": comment}
        self.active_silences.append({**made, "endsAt": datetime.fromtimestamp(until, UTC).isoformat()})
        return str(made["id"])

    def expire(self, silence_id: str) -> None:
        self.active_silences = [each for each in self.active_silences if each["id"] != silence_id]

    def post(self, alerts: list[Json]) -> None:
        """A test alert is delivered at once, by each channel of its receiver; to `refusing` in vain."""
        for alert in alerts:
            self.posted.append(alert)
            receiver = alert["labels"].get(names.TEST_LABEL, "")
            for place in [place for place in self.sent if place[0] == receiver and "startsAt" in alert]:
                failed = int(receiver in self.refusing)
                self.sent[place] += Tally(1, 0, 1, failed)

    def notify(self) -> None:
        """A notification goes to each receiver but the heartbeat's: to `refusing` in vain so far, while those in
        `gave_up` were refused for this reason."""
        for place in [place for place in self.sent if place[0] != names.HEARTBEAT_RECEIVER]:
            reason, refuses = self.gave_up.get(place[0]), place[0] in self.refusing
            reasons = {reason: 1} if reason else {}
            self.sent[place] += Tally(1, len(reasons), 1, int(refuses or bool(reason)), reasons)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        return dict(self.sent)


class FakeSink(_Server, api=SinkApi):
    """SinkApi."""

    address = "http://alert-sink.fake:8099"

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.received: list[Json] = []

    def notifications(self, *, since: float, alertname: str | None = None) -> Sequence[Json]:
        return [
            entry
            for entry in self.received
            if entry["received_at"] >= since and (alertname is None or alertname in _names(entry["payload"]))
        ]

    def deliver(self, alertname: str, *, status: str = "firing", **labels: str) -> None:
        """A webhook of Alertmanager about one alert comes in now."""
        alert = {"status": status, "labels": {"alertname": alertname, **labels}, "annotations": {}}
        payload = {"version": "4", "status": status, "receiver": "alert-sink", "alerts": [alert]}
        self.received.append({"received_at": self.clock.now(), "payload": payload})


def _names(payload: Json) -> set[str]:
    return {alert["labels"].get("alertname", "") for alert in payload["alerts"]}


class FakePrograms(Programs):
    """The programs that the test has put in; the real ones look for the others in Nomad and Consul."""

    def __init__(self, nomad: NomadApi, consul: ConsulApi, **programs: object) -> None:
        super().__init__("obs", nomad, consul)
        self.put(**programs)

    def put(self, **programs: object) -> None:
        vars(self).update(programs)

    def require(self, *services: str) -> None:
        """What was put in needs no entry in Consul."""
