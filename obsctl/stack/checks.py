"""What can be said about rendered configuration without a cluster: by promtool, amtool and a PromQL parser."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import promql_parser
import yaml

from obsctl.model import Finding, Severity
from obsctl.stack.approved import Approvals
from obsctl.stack.images import LOCK_FILE
from obsctl.stack.render import Rendered, kv_prefix

TIMEOUT = 30.0
NONE_KEPT = Approvals()
_BY_TOOL = (
    ("alert rules", "promtool", ["check", "rules"]),
    ("prometheus.yml", "promtool", ["check", "config", "--syntax-only"]),
    ("alertmanager.yml", "amtool", ["check-config"]),
)


def check(rendered: Rendered, tools: Mapping[str, Path | None], approvals: Approvals = NONE_KEPT) -> list[Finding]:
    """Every fault of the rendered rules and configuration files.

    tools: paths of promtool and amtool. Without them the rules' PromQL is parsed here, and a warning says
    what was not checked. approvals: what they have approved before, and need not look at again.
    """
    content = {item.key.removeprefix(kv_prefix(rendered.stack) + "/"): item.value for item in rendered.content}
    rules = "groups:\n" + "".join(value for key, value in content.items() if key.startswith("rules/"))
    findings = [*_check_promql(rules), *_check_lock(rendered)]
    texts = {"alert rules": rules, **{key.removeprefix("config/"): value for key, value in content.items()}}
    with ThreadPoolExecutor() as pool:  # the tools start together
        found = [
            pool.submit(_by_tool, tool, tools.get(tool), arguments, where, texts[where], approvals)
            for where, tool, arguments in _BY_TOOL
            if where in texts  # a component that is not enabled has no file
        ]
        return [*findings, *(finding for each in found for finding in each.result())]


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
    tool: str, path: Path | None, arguments: Sequence[str], where: str, text: str, approvals: Approvals
) -> list[Finding]:
    if path is None:
        hint = f"obsctl dev binaries {tool} gets it"
        return [Finding(Severity.WARNING, where, f"{tool} was not found, so this was not checked by it", hint)]
    try:
        approval = Approvals.key(path, arguments, text)
        if approval in approvals:
            return []
        ended = _run([path, *arguments], where, text)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Finding(Severity.ERROR, where, f"{tool} could not be run: {error}", f"try {path} --version")]
    if ended.returncode:
        return [Finding(Severity.ERROR, where, f"{tool} refuses it: {_words(ended)}", "obsctl render shows the text")]
    approvals.add(approval)
    return []


def _run(command: Sequence[str | Path], where: str, text: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="obsctl-check-") as folder:
        file = Path(folder, where.replace(" ", "-"))
        file.write_text(text, encoding="utf-8")
        return subprocess.run([*command, file], capture_output=True, text=True, timeout=TIMEOUT, check=False)


def _words(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return " / ".join(lines[-6:])
