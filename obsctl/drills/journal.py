"""The journal of a drill: append-only JSON lines, each on disk before the next thing happens.

A record holds a sequence number, wall and monotonic time, and the hash of the record before it, so a gap or an
edit shows. The report and the verdict are made from it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from obsctl.errors import ObsctlError
from obsctl.wait import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class Record:
    """One line. at: Unix seconds. kind: what happened ("intent", "injected", "stage", ...), data: its facts."""

    seq: int
    at: float
    monotonic: float
    kind: str
    data: dict[str, Any]
    previous: str

    def line(self) -> str:
        return json.dumps({name: getattr(self, name) for name in Record.__slots__}, sort_keys=True)


class Journal:
    """An open journal. `records` is all that was written; a write that failed is in it as well."""

    def __init__(self, folder: Path, drill: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Creates <folder>/<drill>.jsonl, readable by its owner alone: a recipe holds the whole job."""
        self.path = folder / f"{drill}.jsonl"
        self.records: list[Record] = []
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            _sync_folder(folder)
        except OSError as error:
            raise self._failed(error) from error

    def append(self, kind: str, **data: Any) -> Record:
        """Write one record and wait until it is on disk. Raises ObsctlError when the disk will not have it."""
        previous = _hash(self.records[-1].line()) if self.records else ""
        record = Record(len(self.records), self._clock.now(), self._clock.monotonic(), kind, data, previous)
        self.records.append(record)
        line = (record.line() + "\n").encode()
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            raise self._failed(error) from error
        if written != len(line):
            raise self._failed(OSError("the disk took only a part of the record"))
        return record

    def close(self) -> None:
        os.close(self._file)

    def discard(self) -> None:
        """Remove a journal in which nothing happened."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> ObsctlError:
        reason = error.strerror or str(error)
        return ObsctlError(
            f"the journal {self.path} cannot be written: {reason}",
            hint="free some space, or set drills.journal_dir in obsctl.yaml to another disk",
        )


def read(path: Path) -> list[Record]:
    """All whole records. A torn last line (the writer was killed) is left out.

    Raises ObsctlError when a record in the middle is broken or was changed.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ObsctlError(
            f"the journal {path} cannot be read: {error.strerror}", hint="see that the file is there and yours"
        ) from error
    records: list[Record] = []
    for number, line in enumerate(lines[:-1], start=1):
        expected = _hash(records[-1].line()) if records else ""
        record = _parse(line)
        if record is None or record.previous != expected:
            raise ObsctlError(
                f"the journal {path} is broken at line {number}", hint="it was changed after it was written"
            )
        records.append(record)
    return records


def new_id(experiment: str, service: str) -> str:
    """Sorts by time, says what it is about, and is unique."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{experiment}-{service}-{secrets.token_hex(2)}"


def find(folder: Path, drill: str) -> Path:
    """The journal of a drill by its id, a unique part of it, or "last"."""
    paths = sorted(folder.glob("*.jsonl"))
    if drill == "last" and paths:
        return paths[-1]
    found = [path for path in paths if path.stem == drill] or [path for path in paths if drill in path.stem]
    if len(found) == 1:
        return found[0]
    which = "more than one journal matches" if found else "there is no journal of"
    hint = f"the newest are {', '.join(path.stem for path in paths[-3:])}" if paths else "no drill was run here yet"
    raise ObsctlError(f"{which} {drill!r} in {folder}", hint=hint)


def _parse(line: str) -> Record | None:
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
