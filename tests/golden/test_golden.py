"""What whole configs render to, file by file. OBSCTL_UPDATE_GOLDEN=1 rewrites the files: then read the diff."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.goldens import FOLDER, NAMES, UPDATE_GOLDEN, rendered


def kept(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in files}


def rewrite(folder: Path, files: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_it_renders_to_what_is_kept(name: str) -> None:
    # A dashboard is rendered as it is.
    files = {path: text for path, text in rendered(name).files().items() if "/dashboards/" not in path}
    folder = FOLDER / name / "rendered"
    if os.environ.get(UPDATE_GOLDEN):
        rewrite(folder, files)
    found = kept(folder)
    assert sorted(found) == sorted(files), "a golden file is missing or no longer rendered"
    for path, text in files.items():
        assert text == found[path], f"{path} differs from the golden file"


def test_every_folder_is_a_case() -> None:
    assert sorted(path.parent.name for path in FOLDER.glob("*/obsctl.yaml")) == sorted(NAMES)
