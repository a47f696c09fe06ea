"""Where downloaded and built servers are kept: whole folders, one run at a time, nothing half-made.

A folder of the cache is put in place by one rename, so it is there whole or not at all. Work in progress
lies in folders named `.<project>-…`; only the holder of the project's lock makes them, so whatever of them
the next holder finds was left by a run that was killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from obsctl.errors import ObsctlError
from obsctl.local.source import Check, go_on
from obsctl.model import Emit, Event
from obsctl.state import cache_folder
from obsctl.wait import wait_until

LOCK_TIMEOUT = 7200.0  # seconds; longer than the slowest build


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder; it need not exist yet."""

    folder: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Cache:
        return cls(cache_folder(environ) / "servers")

    def program(self, entry: str, name: str) -> Path | None:
        """The program of a cache folder, None while it is not there."""
        path = self.folder / entry / name
        return path if os.access(path, os.X_OK) else None

    @contextmanager
    def locked(self, project: str, emit: Emit, check: Check = go_on) -> Iterator[None]:
        """Hold the project's lock. The kernel drops it however the holder ends. check: raises to end the wait."""
        with self._lock_file(project) as lock:
            if not _take(lock.fileno()):
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                emit(Event(project, "note", f"another obsctl (process {holder}) is getting it; waiting for that"))

                def taken() -> bool:
                    check()
                    return _take(lock.fileno())

                wait_until(
                    taken,
                    timeout=LOCK_TIMEOUT,
                    failure=f"another obsctl (process {holder}) did not finish {project}",
                    hint=f"look at what process {holder} does, or end it, and try again",
                )
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def _lock_file(self, project: str) -> TextIO:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / f"{project}.lock").open("a+")
        except OSError as error:
            raise ObsctlError(
                f"The cache folder {self.folder} cannot be used: {error.strerror}",
                hint="set XDG_CACHE_HOME to a folder you may write to",
            ) from error

    @contextmanager
    def scratch(self, project: str) -> Iterator[Path]:
        """An empty folder beside the cache folders, gone afterwards. For the holder of the lock."""
        for leftover in self.folder.glob(f".{project}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{project}-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def place(self, made: Path, entry: str) -> Path:
        """Put a finished folder in place and return where. For the holder of the lock."""
        for program in made.iterdir():
            _flush(program)
        target = self.folder / entry
        shutil.rmtree(target, ignore_errors=True)  # one whose program somebody deleted
        return made.replace(target)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush(path: Path) -> None:
    """To the disk, or a power cut after the rename could leave an empty program under a good name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
