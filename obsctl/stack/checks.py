"""What can be said about rendered configuration without a cluster: by the programs that read it, and a parser."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import promql_parser
import yaml

from obsctl import names
from obsctl.model import Finding, Severity
from obsctl.stack.approved import Approvals
from obsctl.stack.images import LOCK_FILE
from obsctl.stack.render import Rendered

TIMEOUT = 30.0
NONE_KEPT = Approvals()
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""All that the tools get of the user's environment: what they say of a file may repeat what it names there."""
TOOLS = ("promtool", "amtool", "otelcol", "jaeger")
"""What checks it. VictoriaLogs has no configuration file, and no way to look at its flags without starting."""
_BY_TOOL = (
    ("alert rules", "promtool", ["check", "rules"]),
    ("prometheus.yml", "promtool", ["check", "config", "--syntax-only"]),
    ("alertmanager.yml", "amtool", ["check-config"]),
    ("otel-agent.yml", "otelcol", ["validate", "--config"]),
    ("otel-gateway.yml", "otelcol", ["validate", "--config"]),
    ("jaeger.yml", "jaeger", ["validate", "--config"]),
)
_VARIABLE = re.compile(r"\$\{env:(\w+)\}")
# What stands for the variables that Nomad gives a task, by how their names begin.
_STAND_INS = {"NOMAD_ADDR": "127.0.0.1:1", "NOMAD_IP": "127.0.0.1", "NOMAD_PORT": "1"}


def check(rendered: Rendered, tools: Mapping[str, Path | None], approvals: Approvals = NONE_KEPT) -> list[Finding]:
    """Every fault of the rendered rules and configuration files.

    tools: the paths of TOOLS. A warning says what was not checked for want of one; without promtool the rules' PromQL
    is parsed here at least. A collector's file is looked at by itself, without the addresses that its job adds.
    approvals: what they have approved before, and need not look at again.
    """
    content = {item.key.removeprefix(names.kv_prefix(rendered.stack) + "/"): item.value for item in rendered.content}
    rules = "groups:\n" + "".join(value for key, value in content.items() if key.startswith("rules/"))
    texts = {"alert rules": rules, **{key.removeprefix("config/"): value for key, value in content.items()}}
    by_tool = [each for each in _BY_TOOL if each[0] in texts]  # a component that is not enabled has no file
    findings = [*(() if tools.get("promtool") else _check_promql(rules)), *_check_lock(rendered)]
    with ThreadPoolExecutor() as pool:  # the tools start together
        found = [
            pool.submit(_by_tool, tool, path, arguments, where, texts[where], approvals)
            for where, tool, arguments in by_tool
            if (path := tools.get(tool)) is not None
        ]
        findings += [finding for each in found for finding in each.result()]
    return [*findings, *_check_tools(by_tool, tools)]


def _check_tools(wanted: Sequence[tuple[str, str, list[str]]], tools: Mapping[str, Path | None]) -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for where, tool, _ in wanted:
        if tools.get(tool) is None:
            missing.setdefault(tool, []).append(where)
    for tool, files in missing.items():
        hint = f"obsctl dev binaries {tool} gets it"
        yield Finding(Severity.WARNING, ", ".join(files), f"not checked, for {tool} was not found", hint)


def _check_promql(rules: str) -> Iterator[Finding]:
    for group in yaml.safe_load(rules)["groups"] or []:
        for rule in group["rules"]:
            name = rule.get("alert") or rule.get("record")
            try:
                promql_parser.parse(str(rule["expr"]))
            except ValueError as error:
                yield Finding(Severity.ERROR, f"rule {name} of group {group['name']}", str(error), "correct its expr")


def _check_lock(rendered: Rendered) -> Iterator[Finding]:
    for image in rendered.unlocked:
        what = f"{image} is not locked: its tag may mean something else on each node"
        yield Finding(Severity.WARNING, LOCK_FILE, what, "run obsctl lock")


def _by_tool(
    tool: str, path: Path, arguments: Sequence[str], where: str, text: str, approvals: Approvals
) -> list[Finding]:
    try:
        given = {name: _stand_in(name) for name in _VARIABLE.findall(text)}
        approval = Approvals.key(path, arguments, given, text)
        if approval in approvals:
            return []
        ended = _run([path, *arguments], given, where, text)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Finding(Severity.ERROR, where, f"{tool} could not be run: {error}", f"try {path} --version")]
    if ended.returncode:
        return [Finding(Severity.ERROR, where, f"{tool} refuses it: {_words(ended)}", "obsctl render shows the text")]
    approvals.add(approval)
    return []


def _run(
    command: Sequence[str | Path], given: Mapping[str, str], where: str, text: str
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="obsctl-check-") as folder:
        file = Path(folder, where.replace(" ", "-"))
        file.write_text(text, encoding="utf-8")
        return subprocess.run(
            [*command, file], env={**_environ(), **given}, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )


def _environ() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def _stand_in(variable: str) -> str:
    return next((value for begin, value in _STAND_INS.items() if variable.startswith(begin)), "x")


def _words(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return " / ".join(lines[-6:])
