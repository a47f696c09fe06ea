"""What the documents and the help promise is there, and what is there is in the documents."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from obsctl import __version__
from obsctl.cli.root import cli, globals_first
from obsctl.drills import faults
from obsctl.wait import wait_until
from tests.programs import answers

ROOT = Path(__file__).parents[2]


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command below this one, with the words that call it."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


README = (ROOT / "README.md").read_text(encoding="utf-8")
ALL = dict(commands(cli, ("obsctl",)))
EXAMPLE = re.compile(r"^\s*Example: (.+)$", re.MULTILINE)
EXAMPLES = {words: EXAMPLE.findall(command.help or "") for words, command in ALL.items()}


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_with_an_example_that_calls_it(words: str) -> None:
    examples = EXAMPLES[words]
    assert examples, f"{words} has no line Example:"
    assert "obsctl " in examples[0]
    assert set(words.split()) <= set(re.findall(r"[\w-]+", examples[0]))


def calls(example: str) -> list[list[str]]:
    """The arguments of each call of obsctl in it."""
    parts = re.split(r"&&|\||, then |\$\(|\)|> ", example)
    return [shlex.split(part.partition("obsctl ")[2]) for part in parts if "obsctl " in part]


@pytest.mark.parametrize("words", ALL)
def test_an_example_has_options_values_and_files_that_there_are(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It calls its command, or one of its group; a file that must be there is one that the example makes."""
    called: list[str] = []
    invoke = click.Command.invoke

    def call(command: click.Command, context: click.Context) -> object:
        return invoke(command, context) if isinstance(command, click.Group) else called.append(context.command_path)

    monkeypatch.setattr(click.Command, "invoke", call)
    monkeypatch.chdir(tmp_path)
    for example in EXAMPLES[words]:
        for made in re.findall(r"> ([\w.]+)", example):
            (tmp_path / made).touch()
        for arguments in calls(example):
            result = CliRunner().invoke(cli, globals_first(arguments), prog_name="obsctl")
            assert result.exit_code == 0, f"{example}: {result.output}{result.exception or ''}"
    assert [path for path in called if f"{path} ".startswith(f"{words} ")]


@pytest.mark.parametrize(
    "words", ["init", "config schema", "config show", "render", "validate", "dashboards list", "dashboards lint"]
)
def test_an_example_that_needs_no_cluster_can_be_followed(words: str, tmp_path: Path) -> None:
    for name in ("obsctl.yaml", "obsctl.prod.yaml"):
        (tmp_path / name).write_text("stack: obs\n")
    [example] = EXAMPLES[f"obsctl {words}"]
    with followed(example, tmp_path) as process:
        assert process.wait(timeout=60) == 0, (tmp_path / "log").read_text()


def test_the_example_of_alert_sink_starts_it(tmp_path: Path) -> None:
    [example] = EXAMPLES["obsctl serve alert-sink"]
    with followed(example.replace("&& ", "&& exec "), tmp_path) as process:
        log = tmp_path / "log"
        wait_until(
            lambda: process.poll() is not None or is_alive(log.read_text()),
            timeout=60, failure="it does not answer", hint=str(log), interval=0.1,
        )  # fmt: skip
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text()


def is_alive(log: str) -> bool:
    """Whether the program answers at the address that its log has."""
    address = re.search(r"listens on (\S+)", log)
    return address is not None and answers(f"{address[1]}/alive")


@contextmanager
def followed(example: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The shell that runs it in the folder, where it prints into the file log."""
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "OBSCTL_PORT": "0"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["/bin/sh", "-ec", example], cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.mark.parametrize("words", ALL)
def test_every_option_says_what_it_does(words: str) -> None:
    options = [option for option in ALL[words].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("words", [words for words, command in ALL.items() if not isinstance(command, click.Group)])
def test_the_readme_names_every_command(words: str) -> None:
    group, name = words.split()[1], " ".join(words.split()[2:])
    rows = [line for line in README.splitlines() if line.startswith(f"| `obsctl {group}")]
    if group == "drill" and name in faults.NAMES:
        assert re.search(rf" {name}[,.]", next(row for row in rows if "FAULT" in row))
    else:
        assert f"| `{words}" in README or any(f"`{name}`" in row for row in rows)


def test_the_changelog_has_this_version_on_top() -> None:
    versions = re.findall(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[:1] == [__version__]


def test_the_package_and_the_command_have_one_version() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_no_document_points_at_a_file_that_is_not_there() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    missing = [
        (document.name, link)
        for document in documents
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        if not (document.parent / link).exists()
    ]
    assert missing == []


def test_no_document_names_a_module_that_is_not_there() -> None:
    """`stack/render.py`, with or without obsctl/ in front; NAME stands for any."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    missing = [
        (document.name, module)
        for document in documents
        for module in re.findall(r"`((?:[\w-]+/)+[\w-]+\.py)`", document.read_text(encoding="utf-8"))
        if "NAME" not in module and not ((ROOT / module).exists() or (ROOT / "obsctl" / module).exists())
    ]
    assert missing == []


def test_nothing_of_one_machine_is_in_the_project() -> None:
    """The path of this checkout, a private key or a token that slipped in."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = re.compile(rf"{re.escape(str(ROOT))}/|BEGIN [A-Z ]*PRIVATE KEY|hvs\.[A-Za-z0-9]{{20}}")
    found = []
    for name in filter(None, tracked.split("\0")):
        file = ROOT / name
        if file.is_file() and file != Path(__file__):
            text = file.read_text(encoding="utf-8", errors="ignore")
            found += [(name, match[0]) for match in words.finditer(text)]
    assert found == []


THREATS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: f"{threat[0]}-{threat[2][:40]}")
def test_each_threat_has_what_holds_it_and_tests_that_are_there(threat: list[str]) -> None:
    *_, holds, tests = threat
    assert holds
    files = re.findall(r"\]\(\.\./(tests/[\w/]+\.py)\)", tests)
    assert files
    code = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    assert [
        name for name in re.findall(r"`([^`]+)`", tests) if name.removesuffix("…").removeprefix("…") not in code
    ] == []
