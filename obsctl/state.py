"""Where obsctl keeps what must outlive a command, and what it could do again."""

from __future__ import annotations

import os
import stat
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


def private_cache(name: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A folder of the cache in which what lies there can be trusted: it is the user's, and nobody else can write to it.

    Made if need be; None where that cannot be had.
    """
    folder = cache_folder(environ) / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    trusted = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return folder if trusted else None
