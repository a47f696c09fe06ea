"""obsctl verify: what it looks at, what it says, and whom it notifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from obsctl.clients.replicas import AlertmanagerReplicas
from obsctl.clients.tally import Tally
from obsctl.config.schema import Config
from obsctl.errors import Rejected, Unreachable
from obsctl.junit import Check, Outcome, document
from obsctl.stack.render import render
from obsctl.verify.run import verify
from obsctl.verify.site import Site
from tests.command import Obsctl
from tests.fakes import FakeAlertmanager, FakeJaeger, FakeLogs, FakeOtlp
from tests.world import OTHERS_OFF, World, config

SMALL = config()
WITH_PEOPLE = config(
    alerting={
        "receivers": [
            {"name": "on-call", "webhook": {"url": "env:HOOK"}, "severities": ["critical"]},
            {"name": "chat", "slack": {"api_url": "env:SLACK", "channel": "#a"}},
        ]
    }
)
ALERTMANAGER_YML = "obsctl/obs/config/alertmanager.yml"


def deployed(wanted: Config = SMALL) -> World:
    world = World()
    world.deploy(wanted)
    world.sink.clock = world.clock
    world.sink.received.clear()
    world.sink.deliver("Watchdog")
    entry = world.consul.get(ALERTMANAGER_YML)
    assert entry
    world.alertmanager.config = entry.value.decode()
    for receiver in wanted.alerting.receivers:
        world.alertmanager.sent |= {(receiver.name, channel.kind): Tally() for channel in receiver.entries()}
    return world


def look(world: World, wanted: Config = SMALL, *, wait: float = 0, receivers: bool = False) -> list[Check]:
    from obsctl.clients.programs import Clients

    clients = Clients(world.nomad, world.consul, world.programs)
    rendered = render(wanted, Path("/nonexistent"))
    return verify(Site(wanted, rendered, clients, world.events.append, receivers, world.clock), wait)


def failed(checks: list[Check]) -> dict[str, str]:
    return {f"{check.suite}: {check.name}": check.text for check in checks if check.outcome is Outcome.FAILED}


def of(checks: list[Check], suite: str) -> dict[str, tuple[str, str]]:
    return {check.name: (check.outcome.value, check.text) for check in checks if check.suite == suite}


def test_a_stack_that_works_passes_every_check() -> None:
    checks = look(deployed())
    assert failed(checks) == {}
    assert {check.suite for check in checks} == {"components", "targets", "rules", "alert path", "receivers"}
    assert of(checks, "alert path") == {"Prometheus to Alertmanager": ("passed", ""), "heartbeat": ("passed", "")}


def test_no_two_checks_have_one_name() -> None:
    checks = look(deployed(config(services={"shop": {}, "till": {}})))
    names = [(check.suite, check.name) for check in checks]
    assert len(set(names)) == len(names)
    assert ("rules", "availability: ServiceDown of shop") in names


class TestTargets:
    def test_one_that_is_down_is_named_with_the_reason(self) -> None:
        world = deployed()
        labels = {"job": "shop", "instance": "10.0.0.1:80"}
        world.prometheus.active_targets = [{"labels": labels, "health": "down", "lastError": "connection refused"}]
        assert failed(look(world)) == {"targets: shop at 10.0.0.1:80": "connection refused"}

    def test_those_of_a_lost_node_are_one_fault(self) -> None:
        world = deployed()
        on_nodes = [("shop", "n1", "down"), ("nomad", "n1", "down"), ("nomad", "n2", "up"), ("shop", "n2", "down")]
        world.prometheus.active_targets = [
            {"labels": {"job": job, "node": node, "instance": f"{node}:80"}, "health": health}
            for job, node, health in on_nodes
        ]
        assert failed(look(world)) == {
            "targets: node n1": "nothing on it answers, with 2 targets: it is lost",
            "targets: shop at n2:80": "its health is down",
        }

    def test_those_of_a_node_that_was_drained_and_switched_off_are_none(self) -> None:
        world = deployed()
        stub = {**world.nomad.node_stubs[0], "ID": "n1", "Name": "n1", "Status": "down"}
        world.nomad.node_stubs.append({**stub, "SchedulingEligibility": "ineligible"})
        world.prometheus.active_targets = [
            {"labels": {"job": job, "node": "n1", "instance": "n1:80"}, "health": "down"} for job in ("nomad", "shop")
        ]
        checks = look(world)
        assert failed(checks) == {}
        assert of(checks, "targets")["node n1"] == (
            "passed",
            "nothing on it answers, with 2 targets; it was drained or made ineligible before",
        )

    def test_what_has_the_tag_and_is_none_is_named(self) -> None:
        world = deployed()
        world.consul.register("shop", instance="shop-1", tags=("obsctl.scrape",))
        world.consul.register("theirs", instance="theirs-1", tags=("obsctl.scrape",), meta={"obsctl_stack": "other"})
        [(name, text)] = failed(look(world)).items()
        assert name == "targets: shop (shop-1)"
        assert text == "has the tag obsctl.scrape in Consul, and is no target of Prometheus"
        target = {"labels": {"job": "shop"}, "health": "up", "discoveredLabels": {"__meta_consul_service_id": "shop-1"}}
        world.prometheus.active_targets = [target]
        assert failed(look(world)) == {}

    def test_one_that_comes_up_in_time_passes(self) -> None:
        world = deployed()
        target = {"labels": {"job": "shop", "instance": "a"}, "health": "unknown"}
        world.prometheus.active_targets = [target]
        assert failed(look(world)) == {"targets: shop at a": "its health is unknown"}
        world.clock.after(5, lambda: target.update(health="up"))
        assert failed(look(world, wait=10)) == {}


class TestRules:
    def test_each_is_loaded_as_it_was_written(self) -> None:
        world = deployed()
        world.consul.put("obsctl/obs/rules/mine", b"- {name: mine, rules: [{alert: A, expr: up}]}")
        assert failed(look(world)) == {}
        usual = world.prometheus.rule_groups()
        changed = [{**group, "rules": [{**rule, "query": "down"} for rule in group["rules"]]} for group in usual]
        world.prometheus.rule_groups = lambda: changed  # type: ignore[method-assign]
        assert failed(look(world))["rules: mine: A"] == "Prometheus has another version of it"
        world.prometheus.rule_groups = lambda: []  # type: ignore[method-assign]
        assert failed(look(world))["rules: mine: A"] == "Prometheus has not loaded it"

    def test_one_that_cannot_be_evaluated_is_named_with_the_reason(self) -> None:
        world = deployed()
        broken = [
            {**group, "rules": [{**rule, "health": "err", "lastError": "many-to-many"} for rule in group["rules"]]}
            for group in world.prometheus.rule_groups()
        ]
        world.prometheus.rule_groups = lambda: broken  # type: ignore[method-assign]
        assert failed(look(world))["rules: stack: Watchdog"] == "Prometheus cannot evaluate it: many-to-many"


class TestTelemetry:
    WANTED = Config.model_validate({"components": {"grafana": {"enabled": False}}})

    def test_what_is_sent_is_looked_for(self) -> None:
        world = deployed(self.WANTED)
        jaeger, logs = FakeJaeger(), FakeLogs()
        agent = FakeOtlp(jaeger, logs)
        world.programs.put(jaeger=jaeger, logs=logs, otel_agent=agent)
        world.prometheus.query = lambda promql: [{}] if agent.gauges else []  # type: ignore[method-assign]
        assert of(look(world, self.WANTED), "telemetry") == dict.fromkeys(
            ("metric", "trace", "log line"), ("passed", "")
        )
        assert agent.gauges == [("obsctl_verify_sent_seconds", world.clock.now())]

    def test_what_does_not_arrive_is_named_after_its_own_time(self) -> None:
        world = deployed(self.WANTED)
        world.programs.put(jaeger=FakeJaeger(), logs=FakeLogs(), otel_agent=FakeOtlp())
        before = world.clock.monotonic()
        checks = of(look(world, self.WANTED), "telemetry")
        assert {outcome for outcome, _ in checks.values()} == {"failed"}
        assert checks["metric"][1].startswith("Prometheus does not have the metric obsctl_verify_sent_seconds of ")
        assert checks["trace"][1].startswith("Jaeger does not have the trace ")
        assert world.clock.monotonic() - before >= 15


class TestReceivers:
    def test_people_are_not_notified_unless_that_was_asked_for(self) -> None:
        world = deployed(WITH_PEOPLE)
        found = of(look(world, WITH_PEOPLE), "receivers")
        assert found["alert-sink"] == ("passed", "webhook: 1 sent, 0 failed")
        assert (found["on-call"][0], found["chat"][0]) == ("skipped", "skipped")
        assert {alert["labels"]["obsctl_test"] for alert in world.alertmanager.posted} == {"alert-sink"}

    def test_each_gets_a_test_of_its_own(self) -> None:
        world = deployed(WITH_PEOPLE)
        checks = look(world, WITH_PEOPLE, receivers=True)
        assert failed(checks) == {}
        assert of(checks, "receivers")["chat"] == ("passed", "slack: 1 sent, 0 failed")
        tests = [alert for alert in world.alertmanager.posted if "startsAt" in alert]
        assert [alert["labels"]["obsctl_test"] for alert in tests] == ["alert-sink", "on-call", "chat"]
        assert all("Nothing is wrong" in alert["annotations"]["description"] for alert in tests)
        assert all(alert["endsAt"] > alert["startsAt"] for alert in tests), "it ends by itself"
        ends = [alert["labels"] for alert in world.alertmanager.posted if "startsAt" not in alert]
        assert ends == [alert["labels"] for alert in tests], "and is ended at once"

    def test_one_that_takes_nothing_is_named(self) -> None:
        world = deployed(WITH_PEOPLE)
        world.alertmanager.refusing = {"chat"}
        [(name, text)] = failed(look(world, WITH_PEOPLE, receivers=True)).items()
        assert name == "receivers: chat"
        assert text.startswith("slack: 1 of 1 requests failed in 30 s")

    def test_of_several_alertmanagers_each_is_compared_with_itself(self) -> None:
        """One that did not answer before, and has come back, has sent much in its life."""
        world = deployed()
        other = FakeAlertmanager()
        other.address, other.config = "http://other.fake:9093", world.alertmanager.config
        other.sent = {("alert-sink", "webhook"): Tally(9, 0, 9, 0)}
        other.failures["tallies"] = Unreachable("away", hint="")
        world.clock.after(5, other.failures.clear)
        both = AlertmanagerReplicas(lambda: [world.alertmanager, other])
        world.programs.put(alertmanager=both)
        world.alertmanager.refusing = other.refusing = {"alert-sink"}
        assert "receivers: alert-sink" in failed(look(world))
        world.alertmanager.refusing = other.refusing = set()
        assert of(look(world), "receivers")["alert-sink"] == ("passed", "webhook: 2 sent, 0 failed")

    def test_nothing_is_sent_that_would_reach_somebody_else(self) -> None:
        """A configuration of before: the test would take the usual route."""
        world = deployed(WITH_PEOPLE)
        world.alertmanager.config = "route: {receiver: alert-sink, routes: [{receiver: chat, continue: true}]}"
        text = failed(look(world, WITH_PEOPLE, receivers=True))["receivers: on-call"]
        assert text.startswith("no alert reaches it alone, so nothing was sent: a test would go to chat;")
        assert {alert["labels"]["obsctl_test"] for alert in world.alertmanager.posted} == {"chat"}

    def test_ctrl_c_leaves_no_alert(self) -> None:
        world = deployed()

        def interrupt() -> Any:
            if world.alertmanager.posted:
                raise KeyboardInterrupt
            return world.alertmanager.sent

        world.alertmanager.tallies = interrupt  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            look(world)
        begin, end = world.alertmanager.posted
        assert (begin["labels"], "startsAt" in begin, "startsAt" in end) == (end["labels"], True, False)


class TestDashboards:
    WANTED = Config.model_validate(
        {"components": {**OTHERS_OFF, "grafana": {"enabled": True}, "victorialogs": {"enabled": True}}}
    )

    def test_every_query_is_asked(self) -> None:
        world = deployed(self.WANTED)
        world.programs.put(logs=FakeLogs())
        found = of(look(world, self.WANTED), "dashboards")
        assert len(found) > 50
        assert {outcome for outcome, _ in found.values()} == {"passed", "skipped"}
        assert any(text == "no data" for _, text in found.values())
        assert {text for outcome, text in found.values() if outcome == "skipped"} == {
            "its datasource (jaeger) is none of this stack"
        }

    def test_what_a_backend_refuses_is_named(self) -> None:
        world = deployed(self.WANTED)
        world.programs.put(logs=FakeLogs())
        world.prometheus.failures["count"] = Rejected("Prometheus: parse error", hint="")
        world.prometheus.failures["query"] = Unreachable("not asked", hint="")
        found = of(look(world, self.WANTED), "dashboards")
        assert ("failed", "Prometheus: parse error") in found.values()


def test_a_server_that_is_away_fails_its_suites_alone() -> None:
    world = deployed()
    world.prometheus.failures["*"] = Unreachable("Prometheus: no connection", hint="")
    assert {name.split(":")[0] for name in failed(look(world))} >= {"targets", "rules", "alert path"}


class TestCommand:
    def test_it_says_what_is_to_be_said_and_counts_the_rest(
        self, folder: Path, obsctl: Obsctl, world: World, tmp_path: Path
    ) -> None:
        assert obsctl("deploy", "--yes").code == 0
        entry = world.consul.get(ALERTMANAGER_YML)
        assert entry
        world.alertmanager.config = entry.value.decode()
        ran = obsctl("verify", "--junit", "out.xml")
        assert ran.code == 0
        assert ran.out.splitlines()[-1].endswith(" passed, 0 failed, 0 skipped.")
        assert ElementTree.parse(folder / "out.xml").getroot().get("failures") == "0"
        labels = {"job": "shop", "instance": "a"}
        world.prometheus.active_targets = [{"labels": labels, "health": "down", "lastError": "refused"}]
        ran = obsctl("verify", "--json")
        found = json.loads(ran.out)
        assert (ran.code, found["schema"], found["passed"], found["counts"]["failed"]) == (
            1, "obsctl/verify/v1", False, 1
        )  # fmt: skip
        assert {"suite": "targets", "name": "shop at a", "outcome": "failed", "text": "refused"} in found["checks"]

    @pytest.mark.parametrize("arguments", [["--wait", "soon"], ["--junit", "."]])
    def test_what_makes_no_sense_is_a_usage_error(self, folder: Path, obsctl: Obsctl, arguments: list[str]) -> None:
        assert obsctl("verify", *arguments).code == 2

    def test_a_device_is_not_replaced(self, folder: Path, obsctl: Obsctl) -> None:
        ran = obsctl("verify", "--junit", "/dev/null")
        assert (ran.code, "/dev/null is no regular file" in ran.err) == (1, True)


def test_junit_holds_whatever_a_server_says() -> None:
    text = "\x00\x1b[31m<![CDATA[ ]]> & \ud800 \uffff \U0001f600\n"
    checks = [
        Check("a", text, Outcome.FAILED, text),
        Check("a", "b", Outcome.SKIPPED, text),
        Check("c", "d", Outcome.PASSED),
    ]
    root = ElementTree.fromstring(document("obsctl verify", checks).encode())
    assert [suite.get("name") for suite in root] == ["a", "c"]
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("3", "1", "1")
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert "\U0001f600" in (failure.text or "")
