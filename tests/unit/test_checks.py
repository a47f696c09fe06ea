"""What the offline checks say with promtool and amtool, without them, and with programs that fail."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from obsctl.model import Severity
from obsctl.stack import checkers, checks
from obsctl.stack.checkers import Approvals
from obsctl.stack.render import Content, Rendered, render
from obsctl.state import private_cache
from tests.world import NOWHERE, config

RENDERED = render(config(), NOWHERE)
NO_TOOLS: dict[str, Path | None] = dict.fromkeys(checks.TOOLS)


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A program that writes arguments and folder to a file beside it, a line a call, and finds nothing wrong."""
    return script(tmp_path / "tool", f'echo "$* $PWD" >> {tmp_path}/calls')


def script(path: Path, line: str) -> Path:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def with_rule(expr: str) -> Rendered:
    rule = Content("obsctl/obs/rules/own", f"- name: own\n  rules: [{{alert: Mine, expr: '{expr}'}}]\n", "prometheus")
    return replace(RENDERED, content=(*RENDERED.content, rule))


def test_without_the_tools_it_says_what_was_not_checked() -> None:
    findings = checks.check(RENDERED, NO_TOOLS)
    assert [finding.severity for finding in findings] == [Severity.WARNING] * 2
    assert [finding.where for finding in findings] == ["alert rules, prometheus.yml", "alertmanager.yml"]
    assert findings[0].hint == "obsctl dev binaries promtool gets it"


def told(text: str, folder: Path, promtool: Path | None = None) -> list[str]:
    """What is said of the user's own rule file, own.yml."""
    (folder / "own.yml").write_text(text, encoding="utf-8")
    rendered = render(config(alerting={"rule_files": ["own.yml"]}), folder)
    found = checks.check(rendered, {**NO_TOOLS, "promtool": promtool})
    return [
        f"{finding.severity} {finding.where}: {finding.what}".replace(f"{folder}/", "")
        for finding in found
        if "was not found" not in finding.what
    ]


def rules(*expressions: str) -> str:
    listed = [f"  - {{record: r, expr: {json.dumps(expression)}}}\n" for expression in expressions]
    return "groups:\n- name: own\n  rules:\n" + "".join(listed)


class TestWithoutPromtool:
    def test_what_is_no_promql_is_told_with_file_and_line_all_of_it_at_once(self, tmp_path: Path) -> None:
        assert told(rules("sum(up", "up", "up{"), tmp_path) == [
            "error own.yml:4: r: unclosed left parenthesis",
            "error own.yml:6: r: unexpected end of input inside braces",
        ]

    @pytest.mark.parametrize(
        "expression", ["1", r"a{b=~`^/api/\d+$`}", "a > 1_000_000", "a_1_000{b='1_000'} == 1_0", "{a='\"'} or b"]
    )
    def test_what_prometheus_takes_is_taken(self, expression: str, tmp_path: Path) -> None:
        assert told(rules(expression), tmp_path) == []

    def test_a_duration_is_one_of_prometheus(self, tmp_path: Path) -> None:
        good = ("", "0", "1y2w3d4h5m6s7ms", "90m")
        bad = ("5x", "30", "1.5h", "5 m", "[5m]", "1m1h", "-5m")
        listed = [f"  - {{alert: A, expr: up, labels: {{service: a}}, for: {text} }}\n" for text in (*good, *bad)]
        assert told("groups:\n- name: own\n  rules:\n" + "".join(listed), tmp_path) == [
            f"error own.yml:{line}: A: its for is no duration of Prometheus, like 5m or 1h30m" for line in range(8, 15)
        ]

    @pytest.mark.parametrize(
        "expression", ["rate(a[5m * 2])", "not_yet_known(a)", "rate(a[5m] anchored)", " + ".join(["a"] * 1200)]
    )
    def test_what_a_newer_prometheus_may_take_is_no_error(self, expression: str, tmp_path: Path) -> None:
        [said] = told(rules(expression), tmp_path)
        assert said.startswith("warning own.yml:4: r: cannot tell whether Prometheus takes it: ")


class TestPromtoolsWordCounts:
    """promtool reads the user's own file, and what it says of it is all that is said."""

    def test_it_may_take_what_our_parser_refuses(self, tool: Path, tmp_path: Path) -> None:
        assert told(rules("sum(up", "up{"), tmp_path, tool) == []
        assert f"check rules {tmp_path}/own.yml " in (tmp_path / "calls").read_text()

    def test_all_its_faults_are_told_with_their_lines(self, tmp_path: Path) -> None:
        said = (
            "Checking $3",
            "time=2026-01-01T00:00:00Z level=WARN source=rulefmt.go:369 msg=x",
            "  FAILED:",
            '$3: 6:15: group "a", rule 1, "A": could not parse: 1:7: parse error',
            "$3: 16:18: 16:28: group \"a\", rule 5, \"C\": only one of 'record' and 'alert'",
            '$3: 0:0: groupname: "a" is repeated in the same file',
            "$3: yaml: unmarshal errors:",
            "  line 7: field x not found in type rulefmt.Rule",
            "  line 7: field x not found in type rulefmt.Rule",
            "$3: yaml: line 9: did not find expected key",
        )
        words = "\n".join(said)
        promtool = script(tmp_path / "promtool", f"case $3 in *own.yml) cat <<END\n{words}\nEND\nexit 1;; esac")
        assert told("groups: [{name: a, rules: [{record: A}]}]", tmp_path, promtool) == [
            'error own.yml:6: promtool refuses it: group "a", rule 1, "A": could not parse: 1:7: parse error',
            "error own.yml:16: promtool refuses it: group \"a\", rule 5, \"C\": only one of 'record' and 'alert'",
            'error own.yml: promtool refuses it: groupname: "a" is repeated in the same file',
            "error own.yml:7: promtool refuses it: field x not found in type rulefmt.Rule",
            "error own.yml:9: promtool refuses it: did not find expected key",
        ]

    def test_what_it_does_not_look_at_is_told_all_the_same(self, tool: Path, tmp_path: Path) -> None:
        [said] = told("apiVersion: v1\nkind: PrometheusRule\n", tmp_path, tool)
        assert "of the Prometheus Operator" in said
        assert "own.yml" not in (tmp_path / "calls").read_text()

    def test_the_rest_is_checked_without_a_file_that_is_wrong_already(self, tmp_path: Path) -> None:
        promtool = script(
            tmp_path / "promtool", "cp $3 $(dirname $0)/$(basename $3).seen; case $3 in *own.yml) exit 1;; esac"
        )
        told(rules("up"), tmp_path, promtool)
        whole = (tmp_path / "alert-rules.seen").read_text()
        assert "name: stack" in whole
        assert "name: own" not in whole

    def test_no_temporary_file_is_named(self, tmp_path: Path) -> None:
        promtool = script(
            tmp_path / "promtool", 'case $3 in *alert-rules) echo "$3: 4:5: group x: $3 is wrong"; exit 1;; esac'
        )
        assert told("", tmp_path, promtool) == [
            "error alert rules: promtool refuses it: group x: alert-rules is wrong",
        ]


def test_a_file_that_consul_does_not_take_is_named() -> None:
    long = [replace(item, value="#" * 524_289) if "prometheus.yml" in item.key else item for item in RENDERED.content]
    [finding] = [
        each for each in checks.check(replace(RENDERED, content=tuple(long)), NO_TOOLS) if each.severity == "error"
    ]
    assert (finding.where, finding.what[:29]) == ("prometheus.yml", "it has 524289 bytes, and Cons")


def test_a_stack_without_any_rule_is_checked_too() -> None:
    without = replace(RENDERED, content=tuple(item for item in RENDERED.content if "/rules/" not in item.key))
    assert {finding.severity for finding in checks.check(without, NO_TOOLS)} == {Severity.WARNING}


def test_a_component_that_is_not_enabled_has_no_file_to_check() -> None:
    off = {name: {"enabled": False} for name in ("prometheus", "alertmanager", "alert-sink")}
    findings = checks.check(render(config(components=off), NOWHERE), NO_TOOLS)
    assert [finding.where for finding in findings] == ["alert rules"]


def test_each_tool_gets_the_files_it_knows_and_nothing_is_left_behind(tool: Path) -> None:
    assert checks.check(RENDERED, {"promtool": tool, "amtool": tool}) == []
    called = sorted(line.split() for line in (tool.parent / "calls").read_text().splitlines())
    assert [call[:-1] for call in called] == [
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "alert-rules"],
        ["check-config", "alertmanager.yml"],
    ]
    assert not any(Path(call[-1]).exists() for call in called)


def test_a_tool_gets_nothing_of_the_users_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector takes ${NAME} for a variable, and repeats what it finds there when that does not fit."""
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "hunter2")
    telling = script(tmp_path / "promtool", 'echo "home: $HOME token: $CONSUL_HTTP_TOKEN"; exit 1')
    findings = checks.check(RENDERED, {"promtool": telling, "amtool": None})
    assert findings[0].what == f"promtool refuses it: home: {os.environ['HOME']} token:"


def test_the_words_of_a_tool_that_refuses_are_passed_on(tmp_path: Path) -> None:
    refusing = script(tmp_path / "amtool", "echo 'FAILED: line 3'; echo 'why' >&2; exit 1")
    finding = checks.check(RENDERED, {"promtool": None, "amtool": refusing})[0]
    assert (finding.severity, finding.what) == (Severity.ERROR, "amtool refuses it: FAILED: line 3 / why")


def test_a_tool_that_does_not_run_is_an_error_not_a_pass(tmp_path: Path) -> None:
    finding = checks.check(RENDERED, {"promtool": tmp_path / "gone", "amtool": None})[0]
    assert finding.severity is Severity.ERROR
    assert "promtool could not be run" in finding.what


def test_a_tool_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkers, "TIMEOUT", 0.2)
    hanging = script(tmp_path / "promtool", f"exec {sys.executable} -c 'import signal; signal.pause()'")
    finding = checks.check(RENDERED, {"promtool": hanging, "amtool": None})[0]
    assert "promtool could not be run" in finding.what


def calls(tool: Path) -> int:
    """How often it has run."""
    return len((tool.parent / "calls").read_text().splitlines())


class TestApprovals:
    """What a tool has approved it is not asked again."""

    @pytest.fixture
    def approvals(self, tmp_path: Path) -> Approvals:
        return Approvals(private_cache("approved", {"XDG_CACHE_HOME": str(tmp_path)}))

    def test_the_same_text_is_not_looked_at_twice(self, tool: Path, approvals: Approvals) -> None:
        for _ in range(2):
            assert checks.check(RENDERED, {"promtool": tool, "amtool": tool}, approvals) == []
        assert calls(tool) == 3

    def test_another_text_is_looked_at(self, tool: Path, approvals: Approvals) -> None:
        for rendered in (RENDERED, with_rule("up")):
            checks.check(rendered, {"promtool": tool, "amtool": tool}, approvals)
        assert calls(tool) == 4, "the rules alone have changed"

    def test_another_program_under_the_same_name_is_asked_anew(self, tool: Path, approvals: Approvals) -> None:
        checks.check(RENDERED, {"promtool": tool, "amtool": tool}, approvals)
        before = calls(tool)
        script(tool, "exit 1")
        findings = checks.check(RENDERED, {"promtool": tool, "amtool": tool}, approvals)
        assert (before, [finding.severity for finding in findings]) == (3, [Severity.ERROR] * 3)

    def test_a_fault_is_told_each_time(self, tmp_path: Path, approvals: Approvals) -> None:
        refusing = script(tmp_path / "promtool", "exit 1")
        for _ in range(2):
            assert (
                checks.check(RENDERED, {"promtool": refusing, "amtool": None}, approvals)[0].severity is Severity.ERROR
            )
        assert list(tmp_path.rglob("approved/*")) == []

    def test_without_a_place_for_it_the_tool_is_asked_each_time(self, tool: Path) -> None:
        for nowhere in (Approvals(), Approvals(tool / "below a file")):
            assert checks.check(RENDERED, {"promtool": tool, "amtool": tool}, nowhere) == []
        assert calls(tool) == 6

    def test_the_oldest_go_when_there_are_many(
        self, tool: Path, approvals: Approvals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkers, "KEPT_APPROVALS", 3)
        for expr in ("up", "up == 0"):
            checks.check(with_rule(expr), {"promtool": tool, "amtool": tool}, approvals)
        assert (calls(tool), len(list(tool.parent.rglob("approved/*")))) == (4, 3)
