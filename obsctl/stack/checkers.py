"""The programs that check configuration: run on one text, and not asked again about what they have approved."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from obsctl import children
from obsctl.model import Finding, Severity

TIMEOUT = 30.0
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


UNREMEMBERED = Approvals()


Explain = Callable[[Path, Sequence[str]], list[Finding]]
"""From a program that has refused a file, and its lines, to findings; none when it cannot tell more than the lines."""


@dataclass(frozen=True, slots=True)
class Check:
    """A text and the command that checks it.

    name: what messages call it. file: where the text stands already. explain: who understands the program.
    """

    name: str
    text: str
    command: tuple[str, ...]
    file: Path | None = None
    explain: Explain | None = None

    @property
    def tool(self) -> str:
        return self.command[0]


def run(check: Check, path: Path, approvals: Approvals) -> list[Finding]:
    """What the program at this path has against the text."""
    variables = {name: _stand_in(name) for name in _VARIABLE.findall(check.text)}
    try:
        approval = Approvals.key(path, check.command[1:], variables, check.text)
        if approval in approvals:
            return []
        code, lines = _run(check, path, variables)
        findings = check.explain(path, lines) if code and check.explain else []
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"{check.tool} could not be run: {error}"
        return [Finding(Severity.ERROR, check.name, what, f"try {path} --version")]
    if code == 0:
        approvals.add(approval)
        return []
    what = f"{check.tool} refuses it: {' / '.join(lines)}"
    return findings or [Finding(Severity.ERROR, check.name, what, "obsctl render shows the text")]


def _run(check: Check, path: Path, variables: Mapping[str, str]) -> tuple[int, list[str]]:
    """The exit code and what is said."""
    if check.file:
        ended = run_tool((*check.command, str(check.file.absolute())), path, {}, variables)
    else:
        ended = run_tool(check.command, path, {check.name.replace(" ", "-"): check.text}, variables)
    output = ended.stdout + ended.stderr
    return ended.returncode, [line.strip() for line in output.splitlines() if line.strip()]


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
