"""The configs whose rendered text is kept: three as a whole, the variants of them as what differs.

A variant is an overlay, `tests/golden/CASE/obsctl.VARIANT.yaml`, over the config of its case.
"""

from __future__ import annotations

from pathlib import Path

from obsctl.config.load import load
from obsctl.stack.render import Rendered, render

UPDATE_GOLDEN = "OBSCTL_UPDATE_GOLDEN"
FOLDER = Path(__file__).parent / "golden"
WHOLE = ("cluster", "ha", "laptop")
VARIANTS = {
    "drivers": "laptop",
    "external-logs": "laptop",
    "one-node": "ha",
    "relaxed": "laptop",
    "sampling": "cluster",
}
"""Variant -> the case that it varies."""
NAMES = (*WHOLE, *VARIANTS)


def rendered(name: str) -> Rendered:
    case, env = (VARIANTS[name], name) if name in VARIANTS else (name, None)
    loaded = load(FOLDER / case / "obsctl.yaml", env=env, environ={})
    return render(loaded.config, loaded.root)


def texts(name: str) -> dict[str, str]:
    """Path -> text of what goldens hold. Dashboards are rendered as they are, and rules have tests of their own."""
    files = rendered(name).files()
    return {path: text for path, text in files.items() if "/dashboards/" not in path and "/rules/" not in path}
