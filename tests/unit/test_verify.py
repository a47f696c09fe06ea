"""A deploy ends when the alert path works; and says what is missing when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.config.schema import Config
from obsctl.errors import ObsctlError, Unreachable
from obsctl.model import Event
from obsctl.stack.health import Tools
from obsctl.stack.render import Content, Rendered, render
from obsctl.stack.verify import verify
from tests.fakes import FakeAlertmanager, FakeClock, FakeConsul, FakeNomad, FakePrograms, FakePrometheus, FakeSink
from tests.fakes.stack import loaded
from tests.world import NOWHERE, config

WANTED = config(timing="fast", services={"shop": {}})


class Wired:
    """A stack on which everything is as it should be, until a test changes something."""

    def __init__(self, wanted: Config = WANTED, rendered: Rendered | None = None) -> None:
        self.wanted, self.rendered = wanted, rendered or render(wanted, NOWHERE)
        self.clock = FakeClock()
        self.prometheus, self.alertmanager = FakePrometheus(self.clock), FakeAlertmanager(self.clock)
        self.sink = FakeSink(self.clock)
        self.consul = FakeConsul()
        rules = [item for item in self.rendered.content if "/rules/" in item.key]
        for item in rules:
            self.consul.put(item.key, item.value.encode())
        self.prometheus.groups = [loaded(item.value) for item in rules]
        self.prometheus.active_targets = [
            {"labels": {"job": component.row.name}, "health": "up"} for component in wanted.enabled_components()
        ]
        self.sink.deliver("Watchdog")
        self.events: list[Event] = []

    def wait(self, timeout: float = 20, prometheus: int = 1, alertmanagers: int = 1) -> None:
        nomad = FakeNomad()
        programs = FakePrograms(
            nomad,
            self.consul,
            prometheus=PrometheusReplicas(lambda: [self.prometheus] * prometheus),
            alertmanager=AlertmanagerReplicas(lambda: [self.alertmanager] * alertmanagers),
            sink=self.sink,
        )
        tools = Tools(nomad, self.consul, self.events.append, timeout, clock=self.clock)
        verify(self.wanted, programs, tools)


def test_when_all_is_there_it_takes_no_time() -> None:
    wired = Wired()
    wired.wait()
    assert wired.clock.monotonic() == 0
    assert [event.state for event in wired.events] == ["start", "ok"]


def test_a_users_own_rules_are_known_again_however_they_are_written() -> None:
    text = "- {name: a/b, rules: [{alert: A, expr: 1, for: 0, labels: {n: 1}}, {record: r, expr: 'sum by(x)(up)'}]}"
    plain = render(WANTED, NOWHERE)
    own = Content("obsctl/obs/rules/a%2Fb", text, "prometheus")
    Wired(rendered=Rendered(plain.stack, plain.jobs, (*plain.content, own), ())).wait()


def test_it_waits_for_what_comes_later() -> None:
    wired = Wired()
    groups, wired.prometheus.groups = wired.prometheus.groups, []
    wired.clock.after(7, lambda: wired.prometheus.groups.extend(groups))
    wired.wait()
    assert wired.clock.monotonic() == pytest.approx(7, abs=0.5)


def break_rule(wired: Wired) -> None:
    wired.prometheus.groups[0]["rules"][0]["duration"] = 77.0


def lose_group(wired: Wired) -> None:
    wired.prometheus.groups = wired.prometheus.groups[1:]


def lose_target(wired: Wired) -> None:
    wired.prometheus.active_targets[0]["health"] = "down"


def lose_alertmanager(wired: Wired) -> None:
    wired.prometheus.alertmanager_urls = []


def lose_heartbeat(wired: Wired) -> None:
    wired.clock.sleep(3 * wired.wanted.timing.heartbeat + 1)


def go_away(wired: Wired) -> None:
    wired.prometheus.failures["*"] = Unreachable("Prometheus: no connection", hint="")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (break_rule, "Prometheus still has another version of the rule group availability"),
        (lose_group, "Prometheus has not loaded the rule group availability"),
        (lose_target, "Prometheus does not scrape alert-sink successfully"),
        (lose_alertmanager, "Prometheus has 0 of 1 active Alertmanagers"),
        (lose_heartbeat, r"alert-sink has received no heartbeat \(the alert Watchdog\) for 30 s"),
        (go_away, "Prometheus: no connection"),
    ],
)
def test_what_is_missing_at_the_end_is_named(fault: Any, words: str) -> None:
    wired = Wired()
    fault(wired)
    with pytest.raises(ObsctlError, match=rf"the alert path is not complete after 5 s:\n  {words}$"):
        wired.wait(timeout=5)


ALIASES = b"- &a {a: x}\n" + b"".join(b"- &%c {a: [*%c, *%c]}\n" % (n + 1, n, n) for n in b"abcdefg")
NO_GROUPS = {
    "empty": b"",
    "a text": b"rules",
    "no YAML": b"- {",
    "no UTF-8": b"\xff\xfe\xfd",
    "a group without a name": b"- rules: []",
    "a rule without an expression": b"- {name: a, rules: [{alert: A}]}",
    "labels that are a list": b"- {name: a, rules: [{alert: A, expr: up, labels: [a]}]}",
    "a label that is a mapping": b"- {name: a, rules: [{alert: A, expr: up, labels: {a: {b: c}}}]}",
    "for that is no duration": b"- {name: a, rules: [{alert: A, expr: up, for: soon}]}",
    "too deep": b"[" * 5000,
    "aliases of aliases": ALIASES,
}


@pytest.mark.parametrize("value", NO_GROUPS.values(), ids=NO_GROUPS)
def test_an_entry_of_somebody_else_among_the_rules_is_named(value: bytes) -> None:
    wired = Wired()
    wired.consul.put("obsctl/obs/rules/theirs", value)
    with pytest.raises(ObsctlError, match="the Consul key obsctl/obs/rules/theirs holds no rule group"):
        wired.wait(timeout=1)


def test_labels_are_compared_as_prometheus_has_them() -> None:
    wired = Wired()
    wired.consul.put(
        "obsctl/obs/rules/mine",
        b"- {name: mine, rules: [{alert: A, expr: up, for: , labels: {page: true, level: 2, team: }}]}",
    )
    rule = {"name": "A", "query": "up", "duration": 0, "labels": {"page": "true", "level": "2"}, "annotations": {}}
    wired.prometheus.groups.append({"name": "mine", "rules": [{**rule, "type": "alerting"}]})
    wired.wait(timeout=1)


@pytest.mark.parametrize(
    ("group", "rule", "loaded"),
    [
        ("labels: {team: shop, page: no}", "labels: {page: on}", {"labels": {"team": "shop", "page": "on"}}),
        ("", "for: 1y", {"duration": 31_536_000}),
        ("", "for: 0", {"duration": 0}),
        ("", "for: ", {"duration": 0}),
        ("", "keep_firing_for: 1w", {"keepFiringFor": 604_800}),
        ("", "labels: {at: 22:30, a: ~, b: '~'}", {"labels": {"at": "22:30", "a": "", "b": "~"}}),
        ("", "annotations: {day: 2024-05-01}", {"annotations": {"day": "2024-05-01"}}),
    ],
)
def test_a_rule_is_compared_as_prometheus_reads_it(group: str, rule: str, loaded: dict[str, Any]) -> None:
    wired = Wired()
    text = f"- {{name: mine, {group + ',' if group else ''} rules: [{{alert: A, expr: up, {rule}}}]}}"
    wired.consul.put("obsctl/obs/rules/mine", text.encode())
    wired.prometheus.groups.append({"name": "mine", "rules": [{"name": "A", "query": "up", **loaded}]})
    wired.wait(timeout=1)
    for key, other in (("duration", 7), ("keepFiringFor", 7), ("labels", {"x": "y"}), ("annotations", {"x": "y"})):
        wired.prometheus.groups[-1] = {"name": "mine", "rules": [{"name": "A", "query": "up", **loaded, key: other}]}
        with pytest.raises(ObsctlError, match="another version of the rule group mine"):
            wired.wait(timeout=1)


def test_prometheus_itself_compares_what_our_parser_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired()
    wired.consul.put("obsctl/obs/rules/mine", b"- {name: mine, rules: [{record: r, expr: 'a  +  b anchored'}]}")
    wired.prometheus.groups.append({"name": "mine", "rules": [{"name": "r", "query": "a + b anchored"}]})
    monkeypatch.setattr(wired.prometheus, "format_query", lambda promql: " ".join(promql.split()))
    wired.wait(timeout=1)
    wired.prometheus.groups[-1]["rules"][0]["query"] = "a + c anchored"
    with pytest.raises(ObsctlError, match="another version of the rule group mine"):
        wired.wait(timeout=1)


def pending(alertname: str, service: str) -> dict[str, Any]:
    labels = {"alertname": alertname, "service": service}
    return {"labels": labels, "state": "pending", "activeAt": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("alertname", ["ServiceDown", "ComponentDown"])
def test_an_alarm_for_a_program_of_the_stack_is_waited_out(alertname: str) -> None:
    wired = Wired()
    wired.prometheus.active_alerts = [pending(alertname, "prometheus")]
    with pytest.raises(ObsctlError, match=f"{alertname} is pending for prometheus"):
        wired.wait()


def test_an_alarm_for_something_else_is_none_of_its_business() -> None:
    wired = Wired()
    wired.prometheus.active_alerts = [pending("ServiceDown", "shop")]
    wired.wait()


def highly_available() -> Wired:
    """Two Prometheus and three Alertmanagers; `Wired.prometheus` and `Wired.alertmanager` stand for each of them."""
    wired = Wired(config(profile="ha-one-node", timing={"profile": "fast", "group_interval": "6s"}))
    wired.prometheus.active_targets *= 3
    wired.prometheus.alertmanager_urls = [f"http://{name}:9093" for name in "abc"]
    wired.alertmanager.cluster = {"status": "ready", "peers": [{}, {}, {}]}
    return wired


def ha_missing(wired: Wired, prometheus: int = 2) -> str:
    with pytest.raises(ObsctlError) as caught:
        wired.wait(prometheus=prometheus, alertmanagers=3)
    return caught.value.message


def test_with_several_each_must_be_wired() -> None:
    highly_available().wait(prometheus=2, alertmanagers=3)


def test_one_prometheus_of_two_is_not_enough() -> None:
    assert "1 of 2 Prometheus run" in ha_missing(highly_available(), prometheus=1)


def test_every_instance_must_be_scraped() -> None:
    wired = highly_available()
    wired.prometheus.active_targets = wired.prometheus.active_targets[:-4]
    assert "does not scrape alertmanager successfully (2 of 3 instances) (http://prometheus" in ha_missing(wired)


def test_alertmanagers_that_do_not_know_each_other_are_no_cluster() -> None:
    wired = highly_available()
    wired.alertmanager.cluster = {"status": "ready", "peers": [{}]}
    assert "Alertmanager at http://alertmanager.fake:9093 is ready and sees 1 of 3" in ha_missing(wired)
