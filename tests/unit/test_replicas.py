"""Several instances of one program as one: who is asked, and who may be silent."""

from __future__ import annotations

import pytest

from obsctl.clients.programs import Programs
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.errors import Rejected, Unreachable
from tests.fakes import FakeAlertmanager, FakeConsul, FakePrometheus

AWAY = Unreachable("no connection", hint="start it")


@pytest.fixture
def two() -> list[FakePrometheus]:
    return [FakePrometheus(), FakePrometheus()]


def active(name: str, since: str) -> dict[str, object]:
    return {"labels": {"alertname": name}, "state": "firing", "activeAt": f"2026-01-01T00:00:{since}Z"}


def test_what_is_required_must_be_registered() -> None:
    with pytest.raises(Unreachable, match="alert-sink of stack obs is not registered"):
        Programs("obs", FakeConsul()).require("alert-sink")


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


@pytest.fixture
def consul() -> FakeConsul:
    made = FakeConsul()
    for service, port in (("prometheus", 9090), ("alertmanager", 9093), ("alert-sink", 8099)):
        register(made, service, f"{service}-0", port)
    return made


def register(consul: FakeConsul, service: str, instance: str, port: int, status: str = "passing") -> None:
    consul.register(service, instance=instance, port=port, status=status, meta={"obsctl_stack": "obs"})


def addresses(consul: FakeConsul) -> list[str]:
    return [one.address for one in Programs("obs", consul).alertmanager.each()]


def test_those_that_pass_their_checks_are_asked(consul: FakeConsul) -> None:
    register(consul, "alertmanager", "alertmanager-1", 9193)
    register(consul, "alertmanager", "alertmanager-2", 9293, status="critical")
    assert [address.rpartition(":")[2] for address in addresses(consul)] == ["9093", "9193"]


def test_when_none_passes_all_are_asked_for_what_they_can_say(consul: FakeConsul) -> None:
    register(consul, "alertmanager", "alertmanager-0", 9093, status="critical")
    assert len(addresses(consul)) == 1


def test_one_that_has_moved_is_found_again(consul: FakeConsul) -> None:
    found = Programs("obs", consul).alertmanager
    register(consul, "alertmanager", "alertmanager-0", 9999)
    assert found.address.endswith(":9999")


def test_without_an_instance_the_stack_is_not_there() -> None:
    with pytest.raises(Unreachable, match="of stack obs is not registered in Consul"):
        Programs("obs", FakeConsul()).prometheus.alerts()
