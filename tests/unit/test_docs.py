"""What the documents promise is there, and what is there is in the documents."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from obsctl import __version__
from obsctl.cli.root import cli

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


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_with_an_example_that_calls_it(words: str) -> None:
    examples = re.findall(r"^\s*Example: (.+)$", ALL[words].help or "", re.MULTILINE)
    assert examples, f"{words} has no line Example:"
    assert "obsctl " in examples[0]
    assert set(words.split()) <= set(re.findall(r"[\w-]+", examples[0]))


@pytest.mark.parametrize("words", ALL)
def test_every_option_says_what_it_does(words: str) -> None:
    options = [option for option in ALL[words].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("words", [words for words, command in ALL.items() if not isinstance(command, click.Group)])
def test_the_readme_names_every_command(words: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `obsctl {words.split()[1]}"))
    assert f"| `{words}" in README or f"`{' '.join(words.split()[2:])}`" in row


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
