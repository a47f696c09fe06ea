"""Where obsctl keeps what must outlive a command, and what it could do again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Journals, the local cluster, crash logs: $XDG_STATE_HOME/obsctl, by default ~/.local/state/obsctl.

    It need not exist.
    """
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "obsctl"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Programs that were got, and what they approved: $XDG_CACHE_HOME/obsctl, by default ~/.cache/obsctl.

    It need not exist.
    """
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "obsctl"
