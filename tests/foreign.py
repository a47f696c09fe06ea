"""Files of another user, as root and as anybody else makes them for a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

STRANGER = 54321
"""A user that no machine has."""


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on it belongs to another user than this process. Only root can give a file away, so others become
    another user themselves: then everything that they have made is a stranger's."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
