"""Checks rendered configuration without a cluster: by the programs that read it, and by a parser of PromQL."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from obsctl import children, names
from obsctl.config.catalog import ROWS
from obsctl.content import promql
from obsctl.model import Finding, Severity
from obsctl.stack.images import LOCK_FILE
from obsctl.stack.render import Rendered

TIMEOUT = 30.0
RULES_CHECK = ("promtool", "check", "rules")
TOOLS = tuple(dict.fromkeys(command[0] for command in (RULES_CHECK, *(row.check for row in ROWS.values())) if command))
"""The programs that check configuration. VictoriaLogs and Grafana cannot check theirs without starting."""
KEPT_APPROVALS = 200
_VARIABLE = re.compile(r"\$\{env:(\w+)\}")
# What stands for the variables that Nomad gives a task, by how their names begin.
_STAND_INS = {"NOMAD_ADDR": "127.0.0.1:1", "NOMAD_IP": "127.0.0.1", "NOMAD_PORT": "1"}


@dataclass(frozen=True, slots=True)
class Approvals:
    """What a tool has approved before. Each is an empty file whose name is a hash of all that the answer depends on.

    folder: nobody else can write to it; None: nothing is remembered.
    """

    folder: Path | None = None

    @staticmethod
    def key(program: Path, arguments: Sequence[str], environ: Mapping[str, str], text: str) -> str:
        """The name of one approval; another file of the program gives another one. Raises OSError when it is missing.

        environ: what the program gets beside the user's environment.
        """
        file = program.stat()
        identity = [str(program), file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns]
        return hashlib.sha256(json.dumps([*identity, *arguments, sorted(environ.items()), text]).encode()).hexdigest()

    def __contains__(self, key: str) -> bool:
        return self.folder is not None and (self.folder / key).is_file()

    def add(self, key: str) -> None:
        """Remember it if possible: a tool that is asked once more does no harm."""
        if self.folder:
            with suppress(OSError):
                (self.folder / key).touch()

    def forget_oldest(self) -> None:
        if self.folder:
            with suppress(OSError):
                for file in sorted(self.folder.iterdir(), key=os.path.getmtime)[:-KEPT_APPROVALS]:
                    file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Check:
    """A text and the command that checks it. name: the file, for messages."""

    name: str
    text: str
    command: tuple[str, ...]

    @property
    def tool(self) -> str:
        return self.command[0]


Explain = Callable[[Path], list[Finding]]
"""From a program that has refused a file to findings about the keys of obsctl.yaml; none when no key is to blame."""


def check(
    rendered: Rendered,
    tools: Mapping[str, Path | None],
    approvals: Approvals = Approvals(),
    explain: Mapping[str, Explain] = {},
) -> list[Finding]:
    """Every problem of the rendered rules and configuration files.

    explain: by the name of a file, who knows which keys of obsctl.yaml it is made of.
    tools: the paths of TOOLS. A warning names what is not checked because its tool is missing; without promtool at
    least the PromQL of the rules is parsed. A collector's file is checked alone, without the addresses that its job
    adds.
    """
    checks = list(_checks(rendered))
    findings = [*(() if tools.get("promtool") else _check_promql(checks[0].text)), *_check_lock(rendered)]
    with ThreadPoolExecutor() as pool:  # the tools start together
        running = [
            pool.submit(_run_check, each, path, approvals, explain.get(each.name))
            for each in checks
            if (path := tools.get(each.tool))
        ]
        findings += [finding for future in running for finding in future.result()]
    approvals.forget_oldest()
    return [*findings, *_missing_tools(checks, tools)]


def _checks(rendered: Rendered) -> Iterator[_Check]:
    """The alert rules first."""
    folder = f"{names.rules_folder(rendered.stack)}/"
    groups = [content.value for content in rendered.content if content.key.startswith(folder)]
    yield _Check("alert rules", "".join(["groups:\n", *groups]), RULES_CHECK)
    folder = f"{names.config_folder(rendered.stack)}/"
    for content in rendered.content:
        if content.key.startswith(folder) and (command := ROWS[content.component].check):
            yield _Check(content.key.removeprefix(folder), content.value, command)


def _missing_tools(checks: Sequence[_Check], tools: Mapping[str, Path | None]) -> Iterator[Finding]:
    missing = [each for each in checks if tools.get(each.tool) is None]
    for tool in dict.fromkeys(each.tool for each in missing):
        files = ", ".join(each.name for each in missing if each.tool == tool)
        what = f"not checked, because {tool} was not found"
        yield Finding(Severity.WARNING, files, what, f"obsctl dev binaries {tool} gets it")


def _check_promql(rules: str) -> Iterator[Finding]:
    for group in yaml.safe_load(rules)["groups"] or []:
        for rule in group["rules"]:
            name = rule.get("alert") or rule.get("record")
            try:
                promql.parse(str(rule["expr"]))
            except ValueError as error:
                yield Finding(Severity.ERROR, f"rule {name} of group {group['name']}", str(error), "correct its expr")


def _check_lock(rendered: Rendered) -> Iterator[Finding]:
    for image in rendered.unlocked:
        what = f"{image} is not locked: its tag may mean something else on each node"
        yield Finding(Severity.WARNING, LOCK_FILE, what, "run obsctl lock")


def _run_check(check: _Check, path: Path, approvals: Approvals, explain: Explain | None) -> list[Finding]:
    variables = {name: _stand_in(name) for name in _VARIABLE.findall(check.text)}
    try:
        approval = Approvals.key(path, check.command[1:], variables, check.text)
        if approval in approvals:
            return []
        ended = run_tool(check.command, path, {check.name.replace(" ", "-"): check.text}, variables)
        findings = explain(path) if ended.returncode and explain else []
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"{check.tool} could not be run: {error}"
        return [Finding(Severity.ERROR, check.name, what, f"try {path} --version")]
    if findings:
        return findings
    if ended.returncode:
        lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
        what = f"{check.tool} refuses it: {' / '.join(lines[-6:])}"
        return [Finding(Severity.ERROR, check.name, what, "obsctl render shows the text")]
    approvals.add(approval)
    return []


def run_tool(
    command: Sequence[str], path: Path, texts: Mapping[str, str], variables: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Let the program at this path check texts. It gets them as files and says their names: it runs in their folder.

    Raises OSError and subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory(prefix="obsctl-check-") as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        return subprocess.run(
            [path.absolute(), *command[1:], *texts],
            cwd=folder,
            env={**children.environment(), **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


def _stand_in(variable: str) -> str:
    return next((value for begin, value in _STAND_INS.items() if variable.startswith(begin)), "x")
