"""Where obsctl keeps what must outlive a command: journals, the local cluster, crash logs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """$XDG_STATE_HOME/obsctl, by default ~/.local/state/obsctl. It need not exist."""
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "obsctl"
