"""Where jobs, templates, dashboards and rules come from."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
KINDS = ("jobs", "templates", "dashboards", "alert-rules", "toolchain")


def shipped() -> Path:
    """The folder that holds what obsctl ships: inside the wheel, or the checkout of an editable install."""
    bundle = _PACKAGE / "_bundle"
    return bundle if bundle.is_dir() else _PACKAGE.parent


def search_path(kind: str, root: Path) -> list[Path]:
    """Folders of a kind, first match wins: beside the user's obsctl.yaml, then what is shipped."""
    folders = [root / kind, shipped() / kind]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
