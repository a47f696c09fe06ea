"""Several instances of one program as one: who is asked, and who may be silent."""

from __future__ import annotations

import io
import json

import pytest
import requests

from obsctl.clients.alert_apis import AlertmanagerClient, PrometheusClient, SinkClient
from obsctl.clients.http import Session
from obsctl.clients.programs import Programs, endpoint
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.errors import Rejected, ServerFailed, Unreachable
from tests.fakes import FakeAlertmanager, FakeConsul, FakeNomad, FakePrometheus

AWAY = Unreachable("no connection", hint="start it")


@pytest.fixture
def two() -> list[FakePrometheus]:
    return [FakePrometheus(), FakePrometheus()]


def active(name: str, since: str) -> dict[str, object]:
    return {"labels": {"alertname": name}, "state": "firing", "activeAt": f"2026-01-01T00:00:{since}Z"}


def test_what_is_required_must_be_registered() -> None:
    with pytest.raises(Unreachable, match="alert-sink of stack obs is not registered"):
        Programs("obs", FakeNomad(), FakeConsul()).require("alert-sink")


def test_an_alert_is_there_while_any_has_it_and_the_first_to_see_it_comes_first(two: list[FakePrometheus]) -> None:
    two[0].active_alerts, two[1].active_alerts = [active("later", "05.12")], [active("first", "05.1")]
    together = PrometheusReplicas(lambda: two)
    assert [alert["labels"]["alertname"] for alert in together.alerts()] == ["first", "later"]


def test_one_that_is_away_is_passed_over(two: list[FakePrometheus]) -> None:
    two[0].failures["*"] = AWAY
    two[1].answer("up", 1)
    together = PrometheusReplicas(lambda: two)
    assert together.query("up")[0]["value"][1] == "1"
    assert together.alerts() == []


def test_what_only_one_has_seen_is_found_among_the_samples_of_each(two: list[FakePrometheus]) -> None:
    two[1].answer("ALERTS", 1)
    assert [sample["value"][1] for sample in PrometheusReplicas(lambda: two).query_each("ALERTS")] == ["1"]


def test_when_all_are_away_that_is_said(two: list[FakePrometheus]) -> None:
    for one in two:
        one.failures["*"] = AWAY
    together = PrometheusReplicas(lambda: two)
    for ask in (together.alerts, together.rule_groups, together.alertmanagers):
        with pytest.raises(Unreachable):
            ask()


def test_a_wrong_question_is_not_asked_again(two: list[FakePrometheus]) -> None:
    two[0].failures["query"] = Rejected("no PromQL", hint="correct it")
    with pytest.raises(Rejected):
        PrometheusReplicas(lambda: two).query("((")
    assert two[1].called("query") == []


def test_only_what_every_prometheus_knows_is_known(two: list[FakePrometheus]) -> None:
    two[0].alertmanager_urls, two[1].alertmanager_urls = ["a", "b"], ["b", "c"]
    assert PrometheusReplicas(lambda: two).alertmanagers() == ["b"]


def test_alerts_are_those_of_every_alertmanager() -> None:
    two = [FakeAlertmanager(), FakeAlertmanager()]
    for number, one in enumerate(two):
        one.active_alerts = [{"number": number}]
    assert AlertmanagerReplicas(lambda: two).alerts() == [{"number": 0}, {"number": 1}]


# Where they are


class Cluster:
    """Nomad and Consul, with an instance of Alertmanager at port 9093."""

    def __init__(self) -> None:
        self.nomad, self.consul = FakeNomad(), FakeConsul()
        self.programs = Programs("obs", self.nomad, self.consul)
        self.first = self.register(9093)

    def register(self, port: int, *, status: str = "passing", job: str = "obs-alertmanager", again: str = "") -> str:
        """An allocation of this job, or the one that is registered already, has an instance here. Returns its id."""
        instance = again or self.nomad.place(job)
        meta = {"obsctl_stack": "obs"}
        self.consul.register("alertmanager", instance=instance, port=port, status=status, meta=meta)
        return instance

    def ports(self) -> list[str]:
        return [one.address.rpartition(":")[2] for one in self.programs.alertmanager.each()]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_those_that_pass_their_checks_are_asked(cluster: Cluster) -> None:
    cluster.register(9193)
    cluster.register(9293, status="critical")
    assert cluster.ports() == ["9093", "9193"]


def test_when_none_passes_all_are_asked_for_what_they_can_say(cluster: Cluster) -> None:
    cluster.register(9093, status="critical", again=cluster.first)
    assert cluster.ports() == ["9093"]


def test_one_that_has_moved_is_found_again(cluster: Cluster) -> None:
    found = cluster.programs.alertmanager
    cluster.register(9999, again=cluster.first)
    assert found.address.endswith(":9999")


def test_without_an_instance_the_stack_is_not_there(cluster: Cluster) -> None:
    with pytest.raises(Unreachable, match="of stack obs is not registered in Consul"):
        cluster.programs.prometheus.alerts()


def test_what_another_job_registers_under_its_name_is_not_asked(cluster: Cluster) -> None:
    """Whoever may register a job chooses its services' names and meta."""
    cluster.register(6666, job="impostor")
    assert cluster.ports() == ["9093"]
    cluster.consul.deregister(cluster.first)
    cluster.consul.register("alertmanager", instance="by-hand", port=6667, meta={"obsctl_stack": "obs"})
    with pytest.raises(Unreachable, match="not registered in Consul"):
        cluster.ports()


def reply(answer: object) -> requests.Response:
    made = requests.Response()
    made.status_code, made.raw = 200, io.BytesIO(json.dumps(answer).encode())
    return made


@pytest.mark.parametrize("answer", [{"impostor": True}, [1], {"notifications": [{}]}, {"data": []}, 7])
def test_a_program_that_answers_otherwise_is_named(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    there = endpoint("alert-sink", "http://127.0.0.1:1")
    monkeypatch.setattr(Session, "request", lambda *args, **options: reply(answer))
    prometheus, alertmanager = PrometheusClient(there), AlertmanagerClient(there)
    for ask in (
        lambda: SinkClient(there).notifications(since=0),
        lambda: prometheus.query("up"), prometheus.targets, prometheus.rule_groups, prometheus.alerts,
        prometheus.alertmanagers, prometheus.config_yaml, alertmanager.silences,
    ):  # fmt: skip
        with pytest.raises(ServerFailed, match="answers otherwise than"):
            ask()
