"""Alert rules: scaled to the timing, generated for each service, changed by the config, told apart from rubbish."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import promql_parser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from obsctl.assets import shipped
from obsctl.config.durations import format_duration, parse_duration
from obsctl.config.schema import Config
from obsctl.content import dashboards, rule_text, rules
from obsctl.errors import ObsctlError
from tests.world import NOWHERE, config

SHIPPED = shipped() / "alert-rules"


def load(wanted: Config, root: Path = NOWHERE) -> rules.Rules:
    return rules.load(wanted, SHIPPED, root, {board.uid for board in dashboards.load(root)})


def groups(wanted: Config, root: Path = NOWHERE) -> dict[str, dict[str, Any]]:
    """Group name -> the group, parsed again as Prometheus does: all values are texts."""
    return {name: yaml.load(text, yaml.BaseLoader)[0] for name, text in load(wanted, root).texts.items()}


def problems(wanted: Config, root: Path = NOWHERE) -> list[str]:
    """What is wrong with the user's files, and with all rules together, without the folder's name."""
    loaded = load(wanted, root)
    found = [*(problem for file in loaded.files for problem in file.problems), *loaded.findings]
    return [f"{finding.where}: {finding.what}".replace(f"{root}/", "") for finding in found]


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
    assert f"up == 0 and present_over_time(up[{pending}])" in alert(wanted, "InstanceDown")["expr"]


def test_what_a_target_must_have_told_of_late_spans_enough_scrapes() -> None:
    slow = {"profile": "standard", "scrape_interval": "1m"}
    assert "present_over_time(up[4m])" in alert(config(timing=slow), "InstanceDown")["expr"]


def answering(service: str, young: str = "2m") -> str:
    up = f'up{{job="{service}"}}'
    return f"{up} == 1 and present_over_time({up}[{young}])"


def test_a_sample_is_young_for_as_long_as_its_rule_waits_or_for_four_scrapes() -> None:
    short = {"profile": "fast", "for": "2s"}
    for timing, young in (("standard", "2m"), ("fast", "10s"), (short, "8s")):
        down, *_ = groups(config(services={"shop": {}}, timing=timing))["availability"]["rules"]
        assert answering("shop", young) in down["expr"]


def test_the_standard_profile_changes_nothing() -> None:
    kept = yaml.load((SHIPPED / "hello-service.yml").read_text(), yaml.BaseLoader)["groups"][0]
    assert groups(config(demo={"enabled": True}))["demo"] == kept


def test_each_watched_service_gets_two_independent_rules() -> None:
    wanted = config(services={"shop": {"job": "shop-web", "severity": "info"}})
    down, stopped = groups(wanted)["availability"]["rules"]
    lost = 'unless on () job:lost_with_node{job="shop"}'
    assert (down["alert"], down["expr"]) == ("ServiceDown", f"absent({answering('shop')}) {lost}")
    assert down["labels"] == {"severity": "info", "service": "shop"}
    assert (stopped["alert"], stopped["labels"]) == ("JobNotRunning", {"severity": "warning", "service": "shop"})
    assert stopped["expr"] == (
        'sum(nomad_nomad_job_summary_running{exported_job="shop-web", job="nomad", namespace="default"}'
        f' or nomad_nomad_job_summary_running{{parent_id="shop-web", job="nomad", namespace="default"}}) == 0 {lost}'
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
        name: f'count({answering(name)} or up{{job="{name}"}} and on (node) node:lost) < {count}'
        for name, count in (("alertmanager", 3), ("otel-gateway", 3), ("warden", 2))
    }


def test_telemetry_is_missed_as_a_whole_and_the_alert_path_that_could_tell_nobody_is_not() -> None:
    on = {"enabled": True}
    wanted = config(components={name: on for name in ("victorialogs", "otel-gateway", "otel-agent")})
    found = groups(wanted)
    assert list(found) == ["stack", "telemetry", "availability"]
    assert [(rule["alert"], rule["labels"], rule["expr"]) for rule in found["availability"]["rules"]] == [
        (
            "ComponentDown",
            {"severity": "warning", "service": name},
            f'absent({answering(name)}) unless on () job:lost_with_node{{job="{name}"}}',
        )
        for name in ("victorialogs", "otel-gateway", "otel-agent")
    ]


def test_a_group_without_rules_is_left_out() -> None:
    """Prometheus does not tell of empty groups, and a deploy waits until it tells of every group."""
    off = {rule["alert"]: {"enabled": False} for rule in groups(config(demo={"enabled": True}))["demo"]["rules"]}
    assert list(groups(config(demo={"enabled": True}, alerting={"rules": off}))) == ["stack", "availability"]


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
        [finding] = load(config(alerting={"rules": {"InstanceDwon": {"enabled": False}}})).findings
        assert f"{finding.where}: {finding.what}" == "alerting.rules.InstanceDwon: there is no alert of this name"
        assert finding.hint == "the alerts of this stack are ConsulServerLost, InstanceDown, NodeDown, Watchdog"


class TestOwnFiles:
    def test_they_are_taken_as_they_are(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: own, interval: 1m, rules: [{record: a, expr: 'rate(b[5m])'}]}]")
        found = groups(own.model_copy(update={"timing": config(timing="fast").timing}), tmp_path)["own"]
        assert found == {"name": "own", "interval": "1m", "rules": [{"record": "a", "expr": "rate(b[5m])"}]}

    def test_a_pattern_without_a_file_is_told(self, tmp_path: Path) -> None:
        [problem] = problems(config(alerting={"rule_files": ["rules/*.yml"]}), tmp_path)
        assert problem.startswith("alerting.rule_files: no file matches 'rules/*.yml' below")

    @pytest.mark.parametrize("pattern", ["/", "a**b", "x\0y", "x" * 5000, "/nowhere/*.yml"])
    def test_a_pattern_that_is_none_matches_nothing(self, tmp_path: Path, pattern: str) -> None:
        [problem] = problems(config(alerting={"rule_files": [pattern]}), tmp_path)
        assert "no file matches" in problem

    def test_an_absolute_one_counts_where_its_folder_is_trusted(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path_factory.mktemp("rules")
        (elsewhere / "own.yml").write_text("groups: [{name: own, rules: [{record: r, expr: up}]}]")
        absolute = config(alerting={"rule_files": [f"{elsewhere}/*.yml"]})
        with pytest.raises(ObsctlError, match="is outside"):  # of a pull request it would print any file
            problems(absolute, tmp_path)
        monkeypatch.setenv("OBSCTL_TRUST", str(elsewhere))
        assert problems(absolute, tmp_path) == []

    def test_a_file_that_two_patterns_match_is_one_file(self, tmp_path: Path) -> None:
        own_rules(tmp_path, "groups: [{name: own, rules: []}]")
        assert problems(config(alerting={"rule_files": ["*.yml", "own.yml"]}), tmp_path) == []

    def test_a_group_name_that_is_taken_in_its_file_is_told_with_both_places(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups:\n- {name: a, rules: []}\n- {name: a, rules: []}")
        assert problems(own, tmp_path) == ["own.yml:3: the group name 'a' is taken: own.yml:2 has it too"]

    def test_groups_of_two_files_may_have_one_name_as_in_prometheus(self, tmp_path: Path) -> None:
        one = "rules: [{record: up:sum, expr: sum(up)}]"
        own = own_rules(tmp_path, f"groups:\n- {{name: stack, {one}}}\n- {{name: a, {one}}}")
        (tmp_path / "more.yml").write_text(f"groups:\n- {{name: a, {one}}}")
        assert problems(own, tmp_path) == []
        loaded = groups(own, tmp_path)
        assert list(loaded) == ["stack", "a", "stack (own.yml)", "a (own.yml)"]
        assert all(group["name"] == name for name, group in loaded.items())

    def test_unless_that_of_its_file_is_taken_too(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: a, rules: []}]")
        (tmp_path / "more.yml").write_text("groups:\n- {name: a, rules: []}\n- {name: a (own.yml), rules: []}")
        assert problems(own, tmp_path) == ["own.yml:1: the group name 'a (own.yml)' is taken: more.yml:3 has it too"]

    @pytest.mark.parametrize(
        "text", ["", "# a comment", "null", "--- ~", "groups:", "groups: []", "groups: [{name: a}]"]
    )
    def test_what_has_no_rule_is_a_rule_file_too(self, tmp_path: Path, text: str) -> None:
        own = own_rules(tmp_path, text)
        assert (problems(own, tmp_path), list(groups(own, tmp_path))) == ([], ["stack"])

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("- a", "own.yml: not a Prometheus rule file: it has no list of groups"),
            ("groups: a", "own.yml: not a Prometheus rule file: it has no list of groups"),
            ("groups:\n- text", "own.yml:2: group 1 needs a name and a list of rules"),
            ("groups:\n- {name: a, rules: []}\n- {rules: []}", "own.yml:3: group 2 needs a name and a list of rules"),
            ("groups:\n- name: a\n  rules:\n  - up", "own.yml:4: a rule of group a has no expr"),
            ("groups:\n- name: a\n  rules:\n  - alert: A", "own.yml:4: a rule of group a has no expr"),
            (
                "groups:\n- {name: a, rules: [{alert: A, expr: up, labels: {b: [c]}}]}",
                "own.yml:2: a rule of group a has wrong labels: b is not a text",
            ),
            (
                "groups:\n- {name: a, rules: [{alert: A, expr: up, annotations: [c]}]}",
                "own.yml:2: a rule of group a has wrong annotations: it is not a mapping",
            ),
            ("groups: [", "own.yml:1: not a Prometheus rule file: expected the node content"),
            ("[" * 5000, "own.yml: not a Prometheus rule file: it is nested too deeply"),
            (
                "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise(ascii_lowercase)),
                "stands for more than 1,000,000 values",
            ),
            ('groups: ["\\UFFFFFFFF"]', "own.yml: not a Prometheus rule file: it has an escape that is no character"),
            ('groups: ["\\ud83d\\ude00"]', "own.yml:1: not a Prometheus rule file: an escape that is half a character"),
            ("groups: &a [*a]", "own.yml:1: not a Prometheus rule file: contains itself"),
            ("\x00", "own.yml: not a Prometheus rule file: unacceptable character"),
        ],
    )
    def test_what_is_no_rule_file_is_told_with_the_place_and_the_reason(
        self, tmp_path: Path, text: str, words: str
    ) -> None:
        found = problems(own_rules(tmp_path, text), tmp_path)
        assert any(words in problem for problem in found), found

    @pytest.mark.parametrize(
        ("kind", "words"),
        [
            (
                "PrometheusRule",
                "own.yml: is a Kubernetes object, a PrometheusRule of the Prometheus Operator: Prometheus",
            ),
            ("ConfigMap", "own.yml: is a Kubernetes object, a ConfigMap: Prometheus reads"),
        ],
    )
    def test_the_envelope_of_kubernetes_is_known(self, tmp_path: Path, kind: str, words: str) -> None:
        text = f"apiVersion: monitoring.coreos.com/v1\nkind: {kind}\nspec: {{groups: [{{name: a, rules: []}}]}}\n"
        [problem] = problems(own_rules(tmp_path, text), tmp_path)
        assert problem.startswith(words)

    def test_documents_that_prometheus_leaves_out_are_told(self, tmp_path: Path) -> None:
        own = own_rules(tmp_path, "groups: [{name: a, rules: [{record: r, expr: up}]}]\n---\ngroups: []\n")
        assert problems(own, tmp_path) == ["own.yml: has several YAML documents, and Prometheus reads the first alone"]
        assert "a" in groups(own, tmp_path)

    def test_bytes_that_are_no_text_and_folders_are_told_too(self, tmp_path: Path) -> None:
        (tmp_path / "own.yml").write_bytes(b"\xff")
        (tmp_path / "sub.yml").mkdir()
        assert problems(config(alerting={"rule_files": ["*.yml"]}), tmp_path) == [
            "own.yml: not a Prometheus rule file: it is not UTF-8 text",
            "sub.yml: not a Prometheus rule file: it is a folder",
        ]

    def test_a_group_that_consul_does_not_take_is_named(self, tmp_path: Path) -> None:
        rule = f"  - {{alert: A, expr: up, labels: {{service: a}}, annotations: {{text: {'x' * 1000}}}}}\n"
        own = own_rules(tmp_path, "groups:\n- name: big\n  rules:\n" + rule * 500)
        [problem] = problems(own, tmp_path)
        assert problem.startswith("own.yml:2: the rule group big has ")
        assert problem.endswith("and Consul takes values of at most 524288")

    def test_alerts_without_the_label_service_are_named(self, tmp_path: Path) -> None:
        rule = "{{alert: {0}, expr: up{1}}}"
        without, with_label = rule.format("A", ""), rule.format("B", ", labels: {service: b}")
        text = f"groups:\n- {{name: a, rules: [{without}, {with_label}, {{record: r, expr: up}}]}}\n"
        text += f"- {{name: b, labels: {{service: b}}, rules: [{without}]}}\n"
        [problem] = problems(own_rules(tmp_path, text), tmp_path)
        assert problem.startswith("own.yml:2: no label service in A: ")


TYPES_OF_YAML = """
groups:
  - name: own
    labels: {team: off}
    rules:
      - alert: A
        expr: |
          up == 0
            or vector(1)
        for: 1y
        labels:
          severity: warning
          service: checkout
          page: off
          window: 22:30
          rack: 010
          account: 4_000
          build: 0x1f
          date: 2024-05-01
          since: 2024-05-01T10:00:00Z
          empty: ~
          ratio: 1.50
          big: 12345678901234567890
          exp: 1.0e+3
          number: !!int "7"
        annotations: {summary: 'a "b" {{ $value }}', on_call: yes, 1.10: "\u00e9 \U0001f600"}
      - alert: B
        expr: 1
        for:
        labels: {service: b, team: yes}
"""


@pytest.mark.parametrize("overrides", [{}, {"A": {"severity": "info", "labels": {"page": "no"}, "for": "2m"}}])
def test_a_rule_file_keeps_its_texts_and_only_what_is_overridden_changes(
    tmp_path: Path, overrides: dict[str, Any]
) -> None:
    """Prometheus reads every value as text: YAML's 22:30 is not 1350, and off is not false."""
    (tmp_path / "own.yml").write_text(TYPES_OF_YAML)
    wanted = config(alerting={"rule_files": ["own.yml"], "rules": overrides})
    [expected] = yaml.load(TYPES_OF_YAML, yaml.BaseLoader)["groups"]
    if overrides:
        expected["rules"][0]["for"] = "2m"
        expected["rules"][0]["labels"] |= {"severity": "info", "page": "no"}
    assert groups(wanted, tmp_path)["own"] == expected
    text = load(wanted, tmp_path).texts["own"]
    assert "window: 22:30\n" in text
    assert "expr: |\n" in text


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t :#'\"-{}[]&*!|>%@`")
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(annotations=st.dictionaries(st.sampled_from("abc"), WORDS), style=st.sampled_from([None, "'", '"', "|", ">"]))
def test_any_text_is_written_as_it_was_read(annotations: dict[str, str], style: str | None) -> None:
    written = yaml.dump([annotations], Dumper=yaml.SafeDumper, default_style=style, allow_unicode=True)
    assert yaml.safe_load(written) == [annotations]
    node = rule_text.items(rule_text.compose(written)[0])
    assert node
    again = rule_text.write(node[0])
    assert yaml.safe_load(again) == [annotations]
    assert rule_text.texts(node[0]) == {name: text for name, text in annotations.items() if text}


def test_what_is_merged_into_a_rule_is_overridden_too(tmp_path: Path) -> None:
    text = """
groups:
  - name: own
    rules:
      - &base {alert: A, expr: up, labels: {severity: info, service: a}}
      - {<<: *base, alert: B}
"""
    (tmp_path / "own.yml").write_text(text)
    wanted = config(alerting={"rule_files": ["own.yml"], "rules": {"B": {"labels": {"team": "x"}}}})
    first, second = yaml.safe_load(load(wanted, tmp_path).texts["own"])[0]["rules"]
    assert first == {"alert": "A", "expr": "up", "labels": {"severity": "info", "service": "a"}}
    assert second == {"alert": "B", "expr": "up", "labels": {"severity": "info", "service": "a", "team": "x"}}


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
    found = [rule for group in groups(wanted).values() for rule in group["rules"] if "alert" in rule]
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
