"""The log files of the agents: their last lines, and lines that are added."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from obsctl import files
from obsctl.errors import ObsctlError
from obsctl.wait import SYSTEM_CLOCK, Clock

FOLLOW_INTERVAL = 0.25
LINE_LENGTH = 1000  # bytes to read for each line


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines of a log; fewer if they are very long, none when there is no file."""
    try:
        with _opened(log) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LINE_LENGTH * count))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:]


def follow_all(logs: Mapping[str, Path], *, clock: Clock = SYSTEM_CLOCK) -> Iterator[tuple[str, str]]:
    """(name, line) of every line that is added from now on, without end."""
    offsets = {name: _size(path) for name, path in logs.items()}
    while True:
        for name, path in logs.items():
            added = _whole_lines_after(path, offsets[name])
            offsets[name] += len(added)
            yield from ((name, line) for line in added.decode(errors="replace").splitlines())
        clock.sleep(FOLLOW_INTERVAL)


@contextmanager
def _opened(log: Path) -> Iterator[BinaryIO]:
    try:
        with files.opened(log) as file:
            yield file
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ObsctlError(
            f"the log {log} cannot be read: {error.strerror}", hint=f"ls -l {shlex.quote(str(log))} shows it"
        ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _whole_lines_after(path: Path, offset: int) -> bytes:
    """The bytes after `offset`, without a last line that is still being written."""
    if _size(path) <= offset:
        return b""
    with _opened(path) as file:
        file.seek(offset)
        text = file.read()
    return text[: text.rfind(b"\n") + 1]
