"""obsctl as a user types it: how a command line ended, a terminal, and the environment of one who has set nothing."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Obsctl = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """How a command line ended."""

    code: int
    out: str
    err: str

    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plain_environ() -> dict[str, str]:
    """This environment without what is set for obsctl, but for the servers that the tests are to run with."""
    ours = ("OBSCTL_", "COLUMNS")
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("OBSCTL_SERVERS__") or not name.startswith(ours)
    }
