"""docs/tutorial-find-the-bug.md to the letter: every command of it, and what it says one will see.

What differs from run to run: a number stands for any number, but 0 and 200 for themselves; an id that the tutorial
shows stands, from then on, for the one that was seen in its place; of a trace's tree the words count, not the lines and
bars, and not where time was spent in no span.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import plain_environ
from tests.own_network import LOOPBACK_UP, UNSHARE

pytestmark = [pytest.mark.real, pytest.mark.timed, pytest.mark.timeout(600), pytest.mark.xdist_group("timed")]

REPOSITORY = Path(__file__).parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial-find-the-bug.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DRAWN = re.compile(r"[│├└─█▐▌░·\s]+")
ID, NUMBER = r"[0-9a-f]{32}", r"\d[\d.]*(?: [nµm]?s)?"
DIFFERS = re.compile(f"({ID}|{NUMBER})")
THEMSELVES = {"0", "0.0", "200"}
END = "-- the command has ended with"


@dataclass(frozen=True)
class Step:
    """A command of the tutorial, and the lines that it is to print; ... for any number of others."""

    command: str
    lines: list[str]


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            else:
                found[-1].lines.append(line)
    return found


def words(lines: list[str]) -> list[str]:
    """Of each line that has any."""
    each = [DRAWN.sub(" ", line).strip() for line in lines]
    return [line for line in each if line and not line.startswith("(no span)")]


def expected(lines: list[str], ids: dict[str, str]) -> str:
    """What the whole output must match. ids: of the tutorial -> as seen; one that is new is a group, as _<id>."""
    new: set[str] = set()

    def differing(text: str) -> str:
        if not re.fullmatch(ID, text):
            return re.escape(text) if text in THEMSELVES else NUMBER
        if text in ids:
            return ids[text]
        again = text in new
        new.add(text)
        return f"(?P=_{text})" if again else f"(?P<_{text}>{ID})"

    def pattern(line: str) -> str:
        if line == "...":
            return r"(?:.*\n)*?"
        pieces = DIFFERS.split(line)
        return "".join(differing(text) if at % 2 else re.escape(text) for at, text in enumerate(pieces)) + r"\n"

    return "".join(map(pattern, words(lines)))


class Shell:
    """A shell on a network of its own, which runs commands one after the other."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environ = {**plain_environ(), "PATH": path, "XDG_STATE_HOME": str(folder)}
        self.process = subprocess.Popen(
            [*UNSHARE, "bash"], cwd=folder / "checkout", env=environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, command: str) -> tuple[str, int]:
        """What it printed, and its exit code."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin
        assert stdout
        stdin.write(f"{{ {command}\n}} < /dev/null\necho '{END}' $?\n")
        stdin.flush()
        printed: list[str] = []
        for line in stdout:
            before, ended, code = line.partition(END)
            printed.append(before)
            if ended:
                return "".join(printed), int(code)
        raise AssertionError(f"the shell ended in {command}\n{''.join(printed)}")

    def close(self) -> None:
        with self.process:  # closes what it is given, and waits
            pass


@pytest.fixture
def shell() -> Iterator[Shell]:
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))  # short, as Nomad's sockets want it
    try:
        (folder / "checkout").mkdir()
        shutil.copy(REPOSITORY / "obsctl.yaml", folder / "checkout")
        shell = Shell(folder)
        assert shell.run(f"{sys.executable} -c '{LOOPBACK_UP}'") == ("", 0)
        try:
            yield shell
        finally:
            shell.run("obsctl dev down --purge --yes")
            shell.close()
    finally:
        shutil.rmtree(folder)


def test_the_tutorial_shows_what_one_sees(shell: Shell) -> None:
    ids: dict[str, str] = {}
    for step in steps(TUTORIAL.read_text(encoding="utf-8")):
        command = "".join(ids.get(part, part) for part in DIFFERS.split(step.command))
        output, code = shell.run(command)
        seen = "".join(f"{line}\n" for line in words(output.splitlines()))
        found = re.fullmatch(expected(step.lines, ids), seen)
        assert found, f"$ {command}\n{output}\nis not, as the tutorial has it,\n" + "\n".join(step.lines)
        assert code == 0 or not command.startswith("obsctl"), f"$ {command}\n{output}\nexit {code}"
        ids |= {name[1:]: value for name, value in found.groupdict().items()}
