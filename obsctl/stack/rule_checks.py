"""Checks alert rules: by promtool, whose word counts where it is at hand, else by a parser of PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

import yaml

from obsctl import names
from obsctl.content import promql, rule_text
from obsctl.content.rule_files import RuleFile, alert_of
from obsctl.model import Finding, Severity
from obsctl.stack.checkers import Approvals, Check, run
from obsctl.stack.render import Rendered, rule_key

COMMAND = ("promtool", "check", "rules")
NAME = "alert rules"
_NOISE = re.compile(r"Checking |FAILED:$|SUCCESS: |time=\S+ level=|yaml: unmarshal errors:$")
_DURATION = re.compile("0|(?=[0-9])" + "".join(rf"(?:[0-9]+{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")))
"""Unlike in obsctl.yaml, without fractions."""
_FAULT = re.compile(r"(?:yaml: )?(?:line (?P<line>\d+): |(?P<places>(?:\d+:\d+: )+))?(?P<what>.*)")


def check(rendered: Rendered, promtool: Path | None, approvals: Approvals, pool: Executor) -> Iterator[Finding]:
    """Every problem of the rules. The user's own files are checked as they are, then all that goes to the cluster
    without those that are wrong already."""
    answers: dict[Path, Future[list[Finding]]] = {}
    if promtool:
        own = [file for file in rendered.rule_files if not file.sure]
        answers = {file.path: pool.submit(run, _own(file), promtool, approvals) for file in own}
    wrong: set[str] = set()
    for file in rendered.rule_files:
        answer = answers[file.path].result() if file.path in answers else []
        findings = answer or [*file.problems, *(() if promtool else _by_us(file))]
        if any(finding.severity is Severity.ERROR for finding in findings):
            wrong |= {rule_key(rendered.stack, group.name) for group in file.groups}
        yield from findings
    yield from rendered.findings
    if promtool:
        yield from run(_whole(rendered, wrong), promtool, approvals)


def _own(file: RuleFile) -> Check:
    return Check(str(file.path), file.text, COMMAND, file.path, partial(_faults, str(file.path)))


def _whole(rendered: Rendered, without: set[str]) -> Check:
    folder = f"{names.rules_folder(rendered.stack)}/"
    groups = [item.value for item in rendered.content if item.key.startswith(folder) and item.key not in without]
    return Check(NAME, "".join(["groups:\n", *groups]), COMMAND, explain=partial(_faults, ""))


def _faults(file: str, _program: Path, lines: Sequence[str]) -> list[Finding]:
    """One finding each. promtool reads a file twice, and says some things twice.

    file: the user's, with these lines; "" for what goes to the cluster.
    """
    name = file or NAME.replace(" ", "-")
    faults = [
        _FAULT.fullmatch(line.removeprefix(f"{name}: ")) for line in dict.fromkeys(lines) if not _NOISE.match(line)
    ]
    return [_fault(file, fault) for fault in faults if fault and not _NOISE.match(fault[0])]


def _fault(file: str, fault: re.Match[str]) -> Finding:
    number = fault["line"] or _first(fault["places"] or "")
    where = f"{file}:{number}" if file and number else file or NAME
    return Finding(Severity.ERROR, where, f"promtool refuses it: {fault['what']}")


def _first(places: str) -> str:
    """The first line of "16:18: 0:0: " that is none of nothing."""
    return next((line for line in re.findall(r"(\d+):\d+: ", places) if line != "0"), "")


def _by_us(file: RuleFile) -> Iterator[Finding]:
    """What stands in for promtool."""
    for group in file.groups:
        for rule in group.rules:
            values = rule_text.entries(rule)
            name = alert_of(rule) or rule_text.text(values.get("record")) or "a rule"
            for severity, what in (*_promql(values.get("expr")), *_durations(values)):
                hint = "" if severity is Severity.ERROR else "obsctl dev binaries promtool gets who can"
                yield Finding(severity, file.place(rule), f"{name}: {what}", hint)


def _promql(node: yaml.Node | None) -> Iterator[tuple[Severity, str]]:
    expression = rule_text.text(node)
    if not expression:  # that is told already
        return
    try:
        promql.parse(expression)
    except promql.Unclear as error:
        yield Severity.WARNING, f"cannot tell whether Prometheus takes it: {error}"
    except ValueError as error:
        yield Severity.ERROR, str(error)


def _durations(rule: Mapping[str, yaml.Node]) -> Iterator[tuple[Severity, str]]:
    for key in ("for", "keep_firing_for"):
        text = rule_text.text(rule.get(key))
        if text is None or (text and not _DURATION.fullmatch(text)):
            yield Severity.ERROR, f"its {key} is no duration of Prometheus, like 5m or 1h30m"
