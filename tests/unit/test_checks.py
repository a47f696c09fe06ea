"""What the offline checks say with promtool and amtool, without them, and with programs that fail."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from obsctl.model import Severity
from obsctl.stack import checks
from obsctl.stack.checks import Approvals
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


def test_a_rule_that_is_no_promql_is_found_without_them() -> None:
    error = next(
        finding for finding in checks.check(with_rule("sum(up"), NO_TOOLS) if finding.severity == Severity.ERROR
    )
    assert error.where == "rule Mine of group own"


def test_a_stack_without_any_rule_is_checked_too() -> None:
    without = replace(RENDERED, content=tuple(item for item in RENDERED.content if "/rules/" not in item.key))
    assert {finding.severity for finding in checks.check(without, NO_TOOLS)} == {Severity.WARNING}


def test_a_component_that_is_not_enabled_has_no_file_to_check() -> None:
    off = {name: {"enabled": False} for name in ("prometheus", "alertmanager", "alert-sink")}
    findings = checks.check(render(config(components=off), NOWHERE), NO_TOOLS)
    assert [finding.where for finding in findings] == ["alert rules"]


def test_a_number_is_an_expression_too() -> None:
    numbered = replace(
        RENDERED,
        content=(
            *RENDERED.content,
            Content("obsctl/obs/rules/n", "- {name: n, rules: [{record: a, expr: 1}]}\n", "prometheus"),
        ),
    )
    assert all(finding.severity is not Severity.ERROR for finding in checks.check(numbered, NO_TOOLS))


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
    refusing = script(tmp_path / "promtool", "echo 'FAILED: line 3'; echo 'why' >&2; exit 1")
    finding = checks.check(RENDERED, {"promtool": refusing, "amtool": None})[0]
    assert (finding.severity, finding.what) == (Severity.ERROR, "promtool refuses it: FAILED: line 3 / why")


def test_a_tool_that_does_not_run_is_an_error_not_a_pass(tmp_path: Path) -> None:
    finding = checks.check(RENDERED, {"promtool": tmp_path / "gone", "amtool": None})[0]
    assert finding.severity is Severity.ERROR
    assert "promtool could not be run" in finding.what


def test_a_tool_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "TIMEOUT", 0.2)
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
        monkeypatch.setattr(checks, "KEPT_APPROVALS", 3)
        for expr in ("up", "up == 0"):
            checks.check(with_rule(expr), {"promtool": tool, "amtool": tool}, approvals)
        assert (calls(tool), len(list(tool.parent.rglob("approved/*")))) == (4, 3)
