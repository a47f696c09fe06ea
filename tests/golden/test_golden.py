"""What whole configs render to, file by file. OBSCTL_UPDATE_GOLDEN=1 rewrites the files: then read the diff."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.goldens import FOLDER, UPDATE_GOLDEN, VARIANTS, WHOLE, texts

UPDATES = bool(os.environ.get(UPDATE_GOLDEN))


def kept(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in files}


def rewrite(folder: Path, files: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", WHOLE)
def test_it_renders_to_what_is_kept(name: str) -> None:
    files, folder = texts(name), FOLDER / name / "rendered"
    if UPDATES:
        rewrite(folder, files)
    found = kept(folder)
    assert sorted(found) == sorted(files), "a golden file is missing or no longer rendered"
    for path, text in files.items():
        assert text == found[path], f"{path} differs from the golden file"


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_by_what_is_kept(name: str) -> None:
    case = VARIANTS[name]
    file = FOLDER / case / f"{name}.diff"
    difference = "".join(differences(texts(case), texts(name)))
    if UPDATES:
        file.write_text(difference, encoding="utf-8")
    assert difference == file.read_text(encoding="utf-8")


def differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    """Only the lines that differ, without numbers and neighbours: what both have may change without a word here."""
    for path in sorted({*before, *after}):
        if path not in after:
            yield f"{path} is not rendered\n"
        elif before.get(path) != after[path]:
            old, new = before.get(path, "").splitlines(), after[path].splitlines()
            lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
            yield "\n".join([path, *(line for line in lines if not line.startswith("@@"))]) + "\n"


def test_every_config_is_a_case() -> None:
    assert sorted(path.parent.name for path in FOLDER.glob("*/obsctl.yaml")) == sorted(WHOLE)
    variants = {path.name.split(".")[1]: path.parent.name for path in FOLDER.glob("*/obsctl.*.yaml")}
    assert variants == VARIANTS
