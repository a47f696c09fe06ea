"""The whole configs whose rendered text is kept beside them."""

from __future__ import annotations

from pathlib import Path

from obsctl.config.load import load
from obsctl.stack.render import Rendered, render

UPDATE_GOLDEN = "OBSCTL_UPDATE_GOLDEN"
FOLDER = Path(__file__).parent / "golden"
NAMES = ("cluster", "drivers", "external-logs", "ha", "ha-one-node", "laptop", "relaxed", "sampling")


def rendered(name: str) -> Rendered:
    loaded = load(FOLDER / name / "obsctl.yaml", environ={})
    return render(loaded.config, loaded.root)
