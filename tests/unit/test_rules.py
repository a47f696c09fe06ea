"""Alert rules: scaled to the timing, generated for each service, changed by the config, told apart from rubbish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obsctl.assets import shipped
from obsctl.config.durations import format_duration, parse_duration
from obsctl.config.schema import Config
from obsctl.content import dashboards, rules
from obsctl.errors import ObsctlError
from tests.world import NOWHERE, config

SHIPPED = shipped() / "alert-rules"


def groups(wanted: Config, root: Path = NOWHERE) -> dict[str, dict[str, Any]]:
    """Group name -> the group, parsed again."""
    uids = {board.uid for board in dashboards.load(root)}
    return {name: yaml.safe_load(text)[0] for name, text in rules.groups(wanted, SHIPPED, root, uids).items()}


def alert(wanted: Config, name: str) -> dict[str, Any]:
    found = [rule for group in groups(wanted).values() for rule in group["rules"] if rule.get("alert") == name]
    assert found, f"there is no alert {name}"
    return found[0]


def own_rules(folder: Path, text: str) -> Config:
    (folder / "own.yml").write_text(text, encoding="utf-8")
    return config(alerting={"rule_files": ["*.yml"]})


def test_the_demos_rules_come_with_the_demo() -> None:
    assert list(groups(config(services={"shop": {}}))) == ["stack", "availability"]
    assert list(groups(config(demo={"enabled": True}))) == ["stack", "demo", "availability"]


@pytest.mark.parametrize(("profile", "pending", "window"), [("fast", "10s", "10s"), ("relaxed", "5m", "10m")])
def test_a_profile_scales_what_is_written_for_standard(profile: str, pending: str, window: str) -> None:
    wanted = config(timing=profile, demo={"enabled": True})
    rule = alert(wanted, "HelloServiceErrors")
    assert rule["for"] == alert(wanted, "InstanceDown")["for"] == alert(wanted, "ServiceDown")["for"] == pending
    assert rule["expr"].count(f"[{window}]") == 2


def test_the_standard_profile_changes_nothing() -> None:
    kept = yaml.safe_load((SHIPPED / "hello-service.yml").read_text())["groups"][0]
    assert groups(config(demo={"enabled": True}))["demo"] == kept


def test_each_watched_service_gets_two_independent_rules() -> None:
    wanted = config(services={"shop": {"job": "shop-web", "severity": "info"}})
    down, stopped = groups(wanted)["availability"]["rules"]
    assert (down["alert"], down["expr"]) == ("ServiceDown", 'absent(up{job="shop"} == 1)')
    assert down["labels"] == {"severity": "info", "service": "shop"}
    assert (stopped["alert"], stopped["labels"]) == ("JobNotRunning", {"severity": "warning", "service": "shop"})
    assert stopped["expr"] == (
        'sum(nomad_nomad_job_summary_running{exported_job="shop-web", namespace="default"}'
        ' or nomad_nomad_job_summary_running{parent_id="shop-web", namespace="default"}) == 0'
    )


def test_a_job_is_counted_in_its_own_namespace_alone() -> None:
    wanted = config(nomad={"namespace": "prod"}, services={"a": {}, "b": {"namespace": "team"}})
    stopped = [rule["expr"] for rule in groups(wanted)["availability"]["rules"] if rule["alert"] == "JobNotRunning"]
    assert [(expr.count('namespace="prod"'), expr.count('namespace="team"')) for expr in stopped] == [(2, 0), (0, 2)]


def test_a_demo_service_that_is_off_is_not_missed() -> None:
    without = groups(config(demo={"enabled": True, "hello-service": {"enabled": False}}))["availability"]["rules"]
    assert {rule["labels"]["service"] for rule in without} == {"response-service"}


def test_what_runs_several_times_is_missed_when_one_does_not() -> None:
    wanted = config(profile="ha", components={"prometheus": {"count": 1}, "otel-gateway": {"enabled": True}})
    several = groups(wanted)["availability"]["rules"]
    assert {rule["alert"] for rule in several} == {"ReplicaMissing", "ComponentDown"}
    found = {rule["labels"]["service"]: rule["expr"] for rule in several if rule["alert"] == "ReplicaMissing"}
    assert found == {
        "alertmanager": 'count(up{job="alertmanager"} == 1) < 3',
        "otel-gateway": 'count(up{job="otel-gateway"} == 1) < 2',
    }


def test_telemetry_is_missed_as_a_whole_and_the_alert_path_that_could_tell_nobody_is_not() -> None:
    on = {"enabled": True}
    wanted = config(components={name: on for name in ("victorialogs", "otel-gateway", "otel-agent")})
    found = groups(wanted)
    assert list(found) == ["stack", "telemetry", "availability"]
    assert [(rule["alert"], rule["labels"], rule["expr"]) for rule in found["availability"]["rules"]] == [
        ("ComponentDown", {"severity": "warning", "service": name}, f'absent(up{{job="{name}"}} == 1)')
        for name in ("victorialogs", "otel-gateway", "otel-agent")
    ]


def test_a_group_without_rules_is_left_out() -> None:
    """Prometheus does not tell of empty groups, and a deploy waits until it tells of every group."""
    assert list(groups(config())) == ["stack"]
    off = {rule["alert"]: {"enabled": False} for rule in groups(config())["stack"]["rules"]}
    assert groups(config(alerting={"rules": off})) == {}


def test_the_demo_is_watched_as_critical_under_its_jobs_names() -> None:
    availability = groups(config(stack="lab", demo={"enabled": True}))["availability"]["rules"]
    assert {rule["labels"]["service"] for rule in availability} == {"hello-service", "response-service"}
    assert {rule["labels"]["severity"] for rule in availability if rule["alert"] == "ServiceDown"} == {"critical"}
    assert any('exported_job="lab-hello-service"' in rule["expr"] for rule in availability)


class TestOverrides:
    def test_they_change_an_alert_and_leave_the_rest_of_it(self) -> None:
        change = {"for": "7m", "severity": "info", "labels": {"team": "a"}, "annotations": {"runbook_url": "http://x"}}
        changed = alert(config(alerting={"rules": {"InstanceDown": change}}), "InstanceDown")
        plain = alert(config(), "InstanceDown")
        assert changed["for"] == "7m"
        assert changed["expr"] == plain["expr"]
        assert changed["labels"] == {**plain["labels"], "severity": "info", "team": "a"}
        assert changed["annotations"] == {**plain["annotations"], "runbook_url": "http://x"}

    def test_they_can_take_an_alert_out(self) -> None:
        wanted = config(services={"shop": {}}, alerting={"rules": {"JobNotRunning": {"enabled": False}}})
        assert [rule["alert"] for rule in groups(wanted)["availability"]["rules"]] == ["ServiceDown"]

    def test_they_reach_the_users_own_alerts_even_those_without_labels(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: own, rules: [{alert: Mine, expr: up, labels: }]}]")
        wanted = own.model_copy(update={"alerting": config(
            alerting={"rule_files": ["*.yml"], "rules": {"Mine": {"severity": "info"}}}).alerting})  # fmt: skip
        assert groups(wanted, tmp_path)["own"]["rules"][0]["labels"] == {"severity": "info"}

    def test_one_for_an_alert_that_is_not_there_names_those_that_are(self) -> None:
        with pytest.raises(ObsctlError, match=r"alerting\.rules: there is no alert InstanceDwon") as caught:
            groups(config(alerting={"rules": {"InstanceDwon": {"enabled": False}}}))
        assert "InstanceDown" in caught.value.hint
        assert "Watchdog" in caught.value.hint


class TestOwnFiles:
    def test_they_are_taken_as_they_are(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: own, interval: 1m, rules: [{record: a, expr: 'rate(b[5m])'}]}]")
        found = groups(own.model_copy(update={"timing": config(timing="fast").timing}), tmp_path)["own"]
        assert found == {"name": "own", "interval": "1m", "rules": [{"record": "a", "expr": "rate(b[5m])"}]}

    def test_a_pattern_without_a_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ObsctlError, match=r"alerting\.rule_files: no file matches 'rules/\*\.yml' below"):
            groups(config(alerting={"rule_files": ["rules/*.yml"]}), tmp_path)

    def test_a_group_name_that_is_taken_is_told(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: stack, rules: []}]")
        with pytest.raises(ObsctlError, match="two rule groups have the name 'stack'"):
            groups(own, tmp_path)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "it has no list of groups"),
            ("- a", "it has no list of groups"),
            ("rules: []", "it has no list of groups"),
            ("groups: ", "it has no list of groups"),
            ("groups: [text]", "group 1 needs a name, and rules that each have an expr"),
            ("groups: [{name: a, rules: []}, {name: b}]", "group 2 needs a name"),
            ("groups: [{name: a, rules: }]", "group 1 needs a name"),
            ("groups: [{name: 1, rules: []}]", "group 1 needs a name"),
            ("groups: [{name: a, rules: [up]}]", "group 1 needs"),
            ("groups: [{name: a, rules: [{alert: A}]}]", "group 1 needs"),
            ("groups: [", "while parsing"),
        ],
    )
    def test_what_is_no_rule_file_is_told_with_the_reason(self, tmp_path: Path, text: str, words: str) -> None:
        own = own_rules(tmp_path, text)
        with pytest.raises(ObsctlError, match=rf"own\.yml: not a Prometheus rule file: .*{words}") as caught:
            groups(own, tmp_path)
        assert "promtool check rules" in caught.value.hint

    def test_bytes_that_are_no_text_and_folders_are_told_too(self, tmp_path: Path) -> None:
        (tmp_path / "own.yml").write_bytes(b"\xff")
        (tmp_path / "sub.yml").mkdir()
        for pattern in ("own.yml", "sub.yml"):
            with pytest.raises(ObsctlError, match=rf"{pattern}: not a Prometheus rule file"):
                groups(config(alerting={"rule_files": [pattern]}), tmp_path)


SECONDS = st.integers(min_value=2, max_value=7 * 86400).map(format_duration)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(pending=SECONDS, scrape=st.integers(min_value=1, max_value=3600), factor=st.integers(min_value=4, max_value=99))
def test_any_timing_gives_rules_that_are_still_valid(pending: str, scrape: int, factor: int) -> None:
    timing = {"for": pending, "scrape_interval": f"{scrape}s", "scrape_timeout": "1s", "window": f"{scrape * factor}s"}
    for group in groups(config(timing=timing, demo={"enabled": True})).values():
        for rule in group["rules"]:
            promql_parser.parse(rule["expr"])
            assert parse_duration(rule.get("for", "0s")) in (0, parse_duration(pending))


def test_an_alert_leads_to_the_dashboard_of_its_service_or_to_the_overview() -> None:
    grafana = {"enabled": True, "root_url": "https://grafana.example.org/"}
    own = {"annotations": {"dashboard_url": "https://example.org/mine"}}
    wanted = config(
        demo={"enabled": True},
        services={"shop": {}},
        components={"grafana": grafana},
        alerting={"rules": {"Watchdog": own}},
    )
    found = [rule for group in groups(wanted).values() for rule in group["rules"]]
    links = {(rule["alert"], rule["labels"].get("service")): rule["annotations"]["dashboard_url"] for rule in found}
    assert links["ServiceDown", "hello-service"] == "https://grafana.example.org/d/obsctl-hello-service"
    assert links["ServiceDown", "shop"] == "https://grafana.example.org/d/obsctl-overview"
    assert links["Watchdog", None] == "https://example.org/mine"


def test_where_grafana_is_not_known_an_alert_leads_nowhere() -> None:
    assert "dashboard_url" not in str(groups(config(components={"grafana": {"enabled": True}})))


def test_rules_of_ones_own_are_left_as_they_are(tmp_path: Path) -> None:
    own = own_rules(tmp_path, "groups: [{name: own, rules: [{alert: Mine, expr: vector(1)}]}]")
    parts = own.components.model_copy(
        update={"grafana": own.components.grafana.model_copy(update={"enabled": True, "root_url": "https://g/"})}
    )
    [rule] = groups(own.model_copy(update={"components": parts}), tmp_path)["own"]["rules"]
    assert rule == {"alert": "Mine", "expr": "vector(1)"}
