"""What is written from code is what stands in the files: `make generated` writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from generate import documents, messages, policies

ROOT = Path(__file__).parents[2]
TEXTS = documents.texts()


@pytest.mark.parametrize("path", TEXTS)
def test_it_is_what_the_code_says(path: str) -> None:
    file = ROOT / path
    assert (file.read_text(encoding="utf-8") if file.exists() else "") == TEXTS[path], "run `make generated`"


def test_every_file_of_messages_has_its_package() -> None:
    assert kept(messages.FOLDER) == {path for path in TEXTS if path.startswith(f"{messages.FOLDER}/")}


def test_every_policy_of_the_module_is_a_role_s() -> None:
    assert kept(policies.FOLDER) == {path for path in TEXTS if path.startswith(f"{policies.FOLDER}/")}


def kept(folder: str) -> set[str]:
    return {file.relative_to(ROOT).as_posix() for file in (ROOT / folder).iterdir()}


def test_a_part_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for nothing"):
        documents.with_part("# A document\n", "nothing", "text")
