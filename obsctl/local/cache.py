"""The cache of downloaded and built programs.

A folder of the cache is put in place by one rename, so it is complete or not there. Work in progress lies in folders
named `.<project>-…`. Only the holder of the project's lock makes them, so what the next holder finds of them was left
by a run that was killed.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from obsctl import files
from obsctl.errors import ObsctlError
from obsctl.local.source import StopCheck, go_on
from obsctl.model import Emit, Event
from obsctl.state import cache_folder, try_lock
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
        """The path of a program in a folder of the cache; None when it is not there."""
        path = self.folder / entry / name
        return path if path.is_file() and os.access(path, os.X_OK) else None

    @contextmanager
    def locked(self, project: str, emit: Emit, check: StopCheck = go_on) -> Iterator[None]:
        """Hold the project's lock. check: raises to end the wait."""
        with self._lock_file(project) as lock:
            if not try_lock(lock):
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                emit(Event(project, "note", f"another obsctl (process {holder}) is getting it; waiting for that"))

                def taken() -> bool:
                    check()
                    return try_lock(lock)

                wait_until(
                    taken,
                    timeout=LOCK_TIMEOUT,
                    failure=f"another obsctl (process {holder}) did not finish {project}",
                    hint=f"look at what process {holder} does, or end it and try again",
                )
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def _lock_file(self, project: str) -> TextIO:
        try:
            files.private_folder(self.folder)
            weakness = files.weakness(self.folder)
            if weakness:
                raise PermissionError(errno.EPERM, weakness)
            return files.open_lock(self.folder / f"{project}.lock")
        except OSError as error:
            raise ObsctlError(
                f"the cache folder {self.folder} cannot be used: {error.strerror}",
                hint="set XDG_CACHE_HOME to a folder that only you can write to",
            ) from error

    @contextmanager
    def scratch(self, project: str) -> Iterator[Path]:
        """An empty folder in the cache, removed after the block. For the holder of the lock."""
        for leftover in self.folder.glob(f".{project}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{project}-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def place(self, programs: Path, entry: str) -> Path:
        """Put a finished folder in place and return its path. For the holder of the lock."""
        for program in programs.iterdir():
            program.chmod(0o755)  # whatever the umask is: nobody else writes to what obsctl runs
            _flush(program)
        programs.chmod(0o755)
        target = self.folder / entry
        shutil.rmtree(target, ignore_errors=True)  # there is one when its program was deleted
        return programs.replace(target)


def _flush(path: Path) -> None:
    """Write it to the disk: else a power cut after the rename could leave an empty file under the program's name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
