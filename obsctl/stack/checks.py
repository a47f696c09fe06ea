"""Checks rendered configuration without a cluster, by the programs that read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from obsctl import names
from obsctl.config.catalog import ROWS
from obsctl.model import Finding, Severity
from obsctl.stack import rule_checks
from obsctl.stack.checkers import UNREMEMBERED, Approvals, Check, Explain, run
from obsctl.stack.images import LOCK_FILE
from obsctl.stack.render import Content, Rendered

TOOLS = tuple(
    dict.fromkeys(command[0] for command in (rule_checks.COMMAND, *(row.check for row in ROWS.values())) if command)
)
"""The programs that check configuration. VictoriaLogs and Grafana cannot check theirs without starting."""


def check(
    rendered: Rendered,
    tools: Mapping[str, Path | None],
    approvals: Approvals = UNREMEMBERED,
    explain: Mapping[str, Explain] = {},
) -> list[Finding]:
    """Every problem of the rendered rules and configuration files.

    explain: by the name of a file, who knows which keys of obsctl.yaml it is made of.
    tools: the paths of TOOLS. A warning names what is not checked because its tool is missing; without promtool at
    least the PromQL of the rules is parsed. A collector's file is checked alone, without the addresses that its job
    adds.
    """
    checks = list(_checks(rendered, explain))
    with ThreadPoolExecutor() as pool:  # the tools start together
        running = [pool.submit(run, each, path, approvals) for each in checks if (path := tools.get(each.tool))]
        findings = [*_check_sizes(rendered), *_check_lock(rendered)]
        findings += rule_checks.check(rendered, tools.get("promtool"), approvals, pool)
        findings += [finding for future in running for finding in future.result()]
    approvals.forget_oldest()
    return [*findings, *_missing_tools(checks, tools)]


def _checks(rendered: Rendered, explain: Mapping[str, Explain]) -> Iterator[Check]:
    """Of the files of components; rules have their own."""
    for name, content in _files(rendered):
        if command := ROWS[content.component].check:
            yield Check(name, content.value, command, explain=explain.get(name))


def _files(rendered: Rendered) -> Iterator[tuple[str, Content]]:
    folder = f"{names.config_folder(rendered.stack)}/"
    for content in rendered.content:
        if content.key.startswith(folder):
            yield content.key.removeprefix(folder), content


def _check_sizes(rendered: Rendered) -> Iterator[Finding]:
    for name, content in _files(rendered):
        size, limit = len(content.value.encode()), names.CONSUL_VALUE_BYTES
        if size > limit:
            what = f"it has {size} bytes, and Consul takes values of at most {limit}"
            yield Finding(Severity.ERROR, name, what, "obsctl render shows the text")


def _missing_tools(checks: Sequence[Check], tools: Mapping[str, Path | None]) -> Iterator[Finding]:
    pairs = [(rule_checks.COMMAND[0], rule_checks.NAME), *((each.tool, each.name) for each in checks)]
    missing = [(tool, name) for tool, name in pairs if tools.get(tool) is None]
    for tool in dict.fromkeys(tool for tool, _ in missing):
        files = ", ".join(name for each, name in missing if each == tool)
        what = f"not checked, because {tool} was not found"
        yield Finding(Severity.WARNING, files, what, f"obsctl dev binaries {tool} gets it")


def _check_lock(rendered: Rendered) -> Iterator[Finding]:
    for image in rendered.unlocked:
        what = f"{image} is not locked: its tag may mean something else on each node"
        yield Finding(Severity.WARNING, LOCK_FILE, what, "run obsctl lock")
