"""The folders that obsctl keeps between commands, and what their files need: locks, and to be on disk."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from obsctl import files
from obsctl.errors import ObsctlError

ACCESS_FILE = "access.yaml"
"""In the local cluster's folder while it is up: its addresses and tokens, in the form of obsctl.yaml."""

STACKS_FILE = "stacks.json"
"""Beside the local cluster's tokens: the stacks for which they have rights."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """For journals, the local cluster and crash logs: $XDG_STATE_HOME/obsctl, by default ~/.local/state/obsctl.

    It need not exist.
    """
    return Path(environ.get("XDG_STATE_HOME") or files.expanded("~/.local/state")) / "obsctl"


def local_cluster_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the local cluster keeps its state: $OBSCTL_DEV_STATE_DIR, by default `dev` in the state folder."""
    return Path(environ.get("OBSCTL_DEV_STATE_DIR") or state_folder(environ) / "dev")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """For programs, and what they approved: $XDG_CACHE_HOME/obsctl, by default ~/.cache/obsctl. It need not exist."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or files.expanded("~")) / ".cache"
    return Path(base) / "obsctl"


def private_cache(name: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A folder of the cache that belongs to the user and that nobody else can write to or replace, nor a folder above
    it, so its files can be trusted.

    It is made if need be; None where that is not possible.
    """
    try:
        folder = cache_folder(environ) / name
        files.private_folder(folder)
        status = folder.lstat()
    except (OSError, ObsctlError):
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return folder if is_own and not files.weakness(folder, environ) else None


def try_lock(file: IO[str]) -> bool:
    """Lock the file for this process alone, unless it is locked. The kernel drops the lock however the process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """A new or renamed file survives a crash only when its folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
