"""The user's web browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def show(url: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Open the page; False where there is no screen to show it on, as over ssh.

    A browser of the terminal, such as lynx, is never started: it would take the terminal over.
    """
    has_screen = sys.platform == "darwin" or any(environ.get(name) for name in _DISPLAYS)
    return has_screen and webbrowser.open(url)
