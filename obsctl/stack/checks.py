"""What can be said about rendered configuration without a cluster: by promtool, amtool and a PromQL parser."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import promql_parser
import yaml

from obsctl.model import Finding, Severity
from obsctl.stack.render import Rendered, kv_prefix

TIMEOUT = 30.0


def check(rendered: Rendered, tools: Mapping[str, Path | None]) -> list[Finding]:
    """Every fault of the rendered rules and configuration files.

    tools: paths of promtool and amtool. Without them the rules' PromQL is parsed here, and a warning says
    what was not checked.
    """
    content = {item.key.removeprefix(kv_prefix(rendered.stack) + "/"): item.value for item in rendered.content}
    rules = "groups:\n" + "".join(value for key, value in content.items() if key.startswith("rules/"))
    findings = list(_check_promql(rules))
    with tempfile.TemporaryDirectory(prefix="obsctl-check-") as folder:
        files = _write(Path(folder), rules, content)
        findings += _run("promtool", tools.get("promtool"), ["check", "rules", str(files["rules"])], "alert rules")
        prometheus = ["check", "config", "--syntax-only", str(files["prometheus"])]
        findings += _run("promtool", tools.get("promtool"), prometheus, "prometheus.yml")
        alertmanager = ["check-config", str(files["alertmanager"])]
        findings += _run("amtool", tools.get("amtool"), alertmanager, "alertmanager.yml")
    return findings


def _write(folder: Path, rules: str, content: Mapping[str, str]) -> dict[str, Path]:
    files = {name: folder / f"{name}.yml" for name in ("rules", "prometheus", "alertmanager")}
    files["rules"].write_text(rules, encoding="utf-8")
    files["prometheus"].write_text(content["config/prometheus.yml"], encoding="utf-8")
    files["alertmanager"].write_text(content["config/alertmanager.yml"], encoding="utf-8")
    return files


def _check_promql(rules: str) -> Iterator[Finding]:
    for group in yaml.safe_load(rules)["groups"] or []:
        for rule in group["rules"]:
            name = rule.get("alert") or rule.get("record")
            try:
                promql_parser.parse(str(rule["expr"]))
            except ValueError as error:
                yield Finding(Severity.ERROR, f"rule {name} of group {group['name']}", str(error), "correct its expr")


def _run(tool: str, path: Path | None, arguments: list[str], where: str) -> Iterator[Finding]:
    if path is None:
        hint = f"obsctl dev binaries {tool} gets it"
        yield Finding(Severity.WARNING, where, f"{tool} was not found, so this was not checked by it", hint)
        return
    try:
        ended = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding(Severity.ERROR, where, f"{tool} could not be run: {error}", f"try {path} --version")
        return
    if ended.returncode:
        yield Finding(Severity.ERROR, where, f"{tool} refuses it: {_words(ended)}", "obsctl render shows the text")


def _words(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return " / ".join(lines[-6:])
