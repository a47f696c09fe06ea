"""What a running drill writes and says: its journal and its lines on the terminal."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from obsctl.drills.journal import Journal
from obsctl.errors import ObsctlError
from obsctl.model import Emit, Event


class Books:
    """The journal and the terminal of one drill.

    Evidence has to be on disk (`write`). What is written on the way back (`note`), and what is said, is done as
    well as it can be: neither a full disk nor a closed terminal may keep anything from being put back.
    """

    def __init__(self, journal: Journal, emit: Emit) -> None:
        self._journal = journal
        self._emit = emit

    def write(self, kind: str, **data: Any) -> None:
        """Raises ObsctlError when the disk will not have it."""
        self._journal.append(kind, **data)

    def note(self, kind: str, **data: Any) -> None:
        try:
            self._journal.append(kind, **data)
        except ObsctlError as error:
            self.say("journal", "failed", error.message)

    def say(self, subject: str, state: str, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone, closed, or does not know a character
            self._emit(Event(subject, state, text))

    def has(self, kind: str) -> bool:
        return any(record.kind == kind for record in self._journal.records)

    def has_stage(self, stage: str) -> bool:
        return any(record.kind == "stage" and record.data["stage"] == stage for record in self._journal.records)
