"""What a program has approved already: it need not say the same of the same text twice.

An approval is an empty file, so it is there or not. Its name is a hash of all that the answer depends on. Only
approvals are kept: a fault is told anew each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KEPT = 200
"""So many approvals are kept; beyond them the oldest go."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """Those in a folder that nobody else can write to; None: none are kept."""

    folder: Path | None = None

    @staticmethod
    def key(program: Path, arguments: Sequence[str], environ: Mapping[str, str], text: str) -> str:
        """Names one approval. The program counts as another when its file is. Raises OSError when there is none.

        environ: what the program is given beside the user's own.
        """
        file = program.stat()
        identity = [str(program), file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns]
        return hashlib.sha256(json.dumps([*identity, *arguments, sorted(environ.items()), text]).encode()).hexdigest()

    def __contains__(self, key: str) -> bool:
        return self.folder is not None and (self.folder / key).is_file()

    def add(self, key: str) -> None:
        """Keep it, if that can be: otherwise the program is simply asked again."""
        if self.folder:
            with suppress(OSError):
                (self.folder / key).touch()
                for file in sorted(self.folder.iterdir(), key=os.path.getmtime)[:-KEPT]:
                    file.unlink(missing_ok=True)
