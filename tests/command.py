"""obsctl as a user types it, run in the process of the test."""

from __future__ import annotations

import json
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
