"""The folders of jobs, templates, dashboards and rules."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped() -> Path:
    """The folder with what obsctl ships: inside the wheel, or the checkout of an editable install."""
    bundle = _PACKAGE / "_bundle"
    return bundle if bundle.is_dir() else _PACKAGE.parent


def search_path(kind: str, root: Path) -> list[Path]:
    """The folders of this name: first the one beside the user's obsctl.yaml, then the shipped one."""
    folders = [root / kind, shipped() / kind]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
