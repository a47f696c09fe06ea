"""The log of an unexpected error, so that the user sees a sentence instead of a traceback."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback
from pathlib import Path

from obsctl import __version__
from obsctl.errors import ObsctlError
from obsctl.state import state_folder


class Bug(ObsctlError):
    """Something in obsctl itself is wrong."""

    exit_code = 3


def write_log(error: Exception) -> Path:
    """Write versions and traceback to a new file in the user's state folder, and return its path."""
    state = state_folder() / "crashes"
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError:
        state = Path(tempfile.gettempdir())
    descriptor, name = tempfile.mkstemp(prefix="crash-", suffix=".log", dir=state)
    head = f"obsctl {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(head + "".join(traceback.format_exception(error)))
    return Path(name)
