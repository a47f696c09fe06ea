"""What is typed wrong: said in a sentence, with the command that was probably meant, and as a document with --json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_core import SchemaValidator, core_schema

from obsctl.cli.root import cli
from tests.command import Obsctl

WRONG = [
    ("depoly", "No such command 'depoly'. Did you mean 'deploy'?", "obsctl --help"),
    ("drill stpo web", "No such command 'stpo'. Did you mean 'stop'?", "obsctl drill --help"),
    ("dev bianries", "No such command 'bianries'. Did you mean 'binaries'?", "obsctl dev --help"),
    ("config shwo", "No such command 'shwo'. Did you mean 'show'?", "obsctl config --help"),
    ("serve nothing-of-ours", "No such command 'nothing-of-ours'.", "obsctl serve --help"),
    ("plan --foo", "No such option '--foo'.", "obsctl plan --help"),
    ("--foo", "No such option '--foo'.", "obsctl --help"),
    ("drill stop", "Missing argument 'SERVICE'.", "obsctl drill stop --help"),
    ("logs --lines many", "'many' is not a valid integer", "obsctl logs --help"),
    ("--config", "Option '--config' requires an argument.", "obsctl --help"),
]


@pytest.mark.parametrize(("typed", "words", "hint"), WRONG)
def test_it_is_said_and_is_a_document_with_json(
    obsctl: Obsctl, folder: Path, typed: str, words: str, hint: str
) -> None:
    plain = obsctl(*typed.split())
    assert (plain.code, plain.out) == (2, "")
    assert words in plain.err
    as_json = obsctl("--json", *typed.split())
    assert as_json.code == 2
    document = as_json.document()
    assert document["schema"] == "obsctl/error/v1"
    assert words in document["error"]["message"]
    assert (document["error"]["hint"], document["error"]["exit_code"]) == (hint, 2)


def test_a_group_without_a_command_gives_its_help(obsctl: Obsctl, folder: Path) -> None:
    ran = obsctl("drill", "--json")
    assert ran.code == 2
    assert "Usage: obsctl drill" in ran.document()["error"]["message"]


class Interrupting:
    """Is interrupted when it is asked for anything."""

    def __repr__(self) -> str:
        raise KeyboardInterrupt

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def in_a_model() -> None:
    SchemaValidator(core_schema.literal_schema([Interrupting()]))


def in_a_class() -> None:
    type("Interrupted", (), {"member": Interrupting()})


@pytest.mark.parametrize("moment", [in_a_model, in_a_class])
def test_an_interrupt_while_a_class_is_made_is_no_bug(
    obsctl: Obsctl, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: Callable[[], None]
) -> None:
    monkeypatch.setattr(cli, "main", lambda **_: moment())
    ran = obsctl("status")
    assert (ran.code, "interrupted" in ran.err) == (130, True), ran.err
