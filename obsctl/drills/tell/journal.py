"""The journal of a drill: append-only JSON lines, each on disk before the next step.

A record holds the hash of the one before it, so a gap or an edit shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from obsctl import files
from obsctl.errors import ObsctlError
from obsctl.model import Emit, Event
from obsctl.state import sync_folder
from obsctl.wait import SYSTEM_CLOCK, Clock

FORMAT = 6
"""Which facts the records hold; the first of them tells it."""


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
        return json.dumps({name: getattr(self, name) for name in Record.__slots__})

    @property
    def sha256(self) -> str:
        """Of the line; the next record holds it."""
        return hashlib.sha256(self.line().encode()).hexdigest()


LARGEST = 64_000_000
"""Bytes of a journal: more than a drill of a day writes."""


class Journal:
    """An open journal. `records` is all of it. What the disk did not accept is written again with every further record,
    so a disk that has room again ends with the whole journal."""

    def __init__(self, path: Path, flags: int, records: list[Record], clock: Clock) -> None:
        self.path = path
        self.records = records
        self._clock = clock
        self._on_disk = len(records)
        self._size = sum(len(_encoded(record)) for record in records)
        try:
            self._file = files.open_own(path, os.O_WRONLY | os.O_APPEND | flags)
        except OSError as error:
            raise _unwritable(path, error) from error

    @classmethod
    def create(cls, folder: Path, drill: str, *, clock: Clock = SYSTEM_CLOCK) -> Self:
        """A new <folder>/<drill>.jsonl, readable by its owner alone."""
        path = folder / f"{drill}.jsonl"
        try:
            files.private_folder(folder)
        except OSError as error:
            raise _unwritable(path, error) from error
        journal = cls(path, os.O_CREAT | os.O_EXCL, [], clock)
        sync_folder(folder)
        return journal

    @staticmethod
    def resume(path: Path, *, clock: Clock = SYSTEM_CLOCK) -> Journal:
        """The journal of a drill that died, to be ended; the first new record replaces a torn last line."""
        return Journal(path, 0, read(path), clock)

    def append(self, kind: str, **data: Any) -> Record:
        """Write one record and wait until it is on disk. Raises ObsctlError when the disk does not accept it."""
        previous = self.records[-1].sha256 if self.records else ""
        record = Record(len(self.records), self._clock.now(), self._clock.monotonic(), kind, data, previous)
        self.records.append(record)
        lines = b"".join(_encoded(missing) for missing in self.records[self._on_disk :])
        try:
            os.ftruncate(self._file, self._size)  # removes a record that was written in part
            written = os.write(self._file, lines)
            os.fsync(self._file)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if written != len(lines):
            raise _unwritable(self.path, OSError("only a part of the record was written"))
        self._on_disk, self._size = len(self.records), self._size + written
        return record

    @property
    def drill(self) -> str:
        """The drill's id."""
        return self.path.stem

    def close(self) -> None:
        os.close(self._file)


class Recorder:
    """The journal and the terminal of one drill.

    Evidence must be on disk (`write`). What is written during the revert (`note`) and what is said may fail: neither a
    full disk nor a closed terminal may keep a service from being put back.
    """

    def __init__(self, journal: Journal, emit: Emit) -> None:
        self._journal = journal
        self._emit = emit

    def write(self, kind: str, **data: Any) -> None:
        """Raises ObsctlError when the disk does not accept it."""
        self._journal.append(kind, **data)

    def note(self, kind: str, **data: Any) -> None:
        try:
            self._journal.append(kind, **data)
        except ObsctlError as error:
            self.say("journal", "failed", error.message)

    def say(self, subject: str, state: str, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone or closed, or cannot show a character
            self._emit(Event(subject, state, text))

    def has(self, kind: str) -> bool:
        return any(record.kind == kind for record in self._journal.records)


def read(path: Path) -> list[Record]:
    """All whole records, at least one, without a torn last line (the writer was killed).

    Raises ObsctlError when there is none, or when a record is broken or was changed.
    """
    files.refuse_foreign(path)
    try:
        lines = files.read(path, most=LARGEST).split(b"\n")
    except OSError as error:
        raise ObsctlError(
            f"the journal {path} cannot be read: {error.strerror}",
            hint="check that the file exists and that you may read it",
        ) from error
    records: list[Record] = []
    for number, line in enumerate(lines[:-1], start=1):
        expected = records[-1].sha256 if records else ""
        record = _parse(line)
        if record is None or record.previous != expected:
            refuse_other_version(records)  # its lines have another form
            message = f"the journal {path} is broken at line {number}"
            raise ObsctlError(message, hint="it was changed after it was written")
        records.append(record)
    if not records:
        raise ObsctlError(f"the journal {path} is empty", hint="the drill died before it began; nothing was touched")
    return records


def new_id(experiment: str, service: str) -> str:
    """Sorts by time, says what it is about, is unique, and is the name of a file and the last part of a key."""
    moment, plain = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), re.sub(r"[^\w.-]", "-", service, flags=re.ASCII)
    return f"{moment}-{experiment}-{plain}-{secrets.token_hex(4)}"


def find(folder: Path, drill: str) -> Path:
    """The journal of a drill by its id, a unique part of it, or "last"."""
    paths = sorted(folder.glob("*.jsonl"))
    if drill == "last" and paths:
        return paths[-1]
    matching = [path for path in paths if path.stem == drill] or [path for path in paths if drill in path.stem]
    if len(matching) == 1:
        return matching[0]
    which = "more than one journal matches" if matching else "there is no journal of"
    hint = f"the newest are {', '.join(path.stem for path in paths[-3:])}" if paths else "no drill was run here yet"
    raise ObsctlError(f"{which} {drill!r} in {folder}", hint=hint)


def refuse_other_version(records: Sequence[Record]) -> None:
    """Raises ObsctlError when another version of obsctl wrote them, and noted other facts."""
    for started in records[:1]:
        if started.kind != "started" or started.data.get("format") != FORMAT:
            raise ObsctlError(
                "another version of obsctl wrote this journal, and noted other facts",
                hint="make its report with the obsctl that ran the drill; its lines are JSON that anybody can read",
            )


def _parse(line: bytes) -> Record | None:
    try:
        record = Record(**json.loads(line))
    except (RecursionError, TypeError, ValueError):
        return None
    return record if isinstance(record.data, dict) else None


def _encoded(record: Record) -> bytes:
    return (record.line() + "\n").encode()


def _unwritable(path: Path, error: OSError) -> ObsctlError:
    return ObsctlError(
        f"the journal {path} cannot be written: {error.strerror or error}",
        hint="free some space, or set drills.journal_dir in obsctl.yaml to another disk",
    )
