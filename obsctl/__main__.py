"""Where every obsctl command starts.

`obsctl --help` is answered from a file: importing click alone takes five times as long as starting Python. The
file is what click prints (`make generated` writes it, a test compares them).
"""

from __future__ import annotations

import gc
import os
import sys

HELP_FILE = os.path.join(os.path.dirname(__file__), "cli", "help.txt")
HELP_WIDTH = 80


def main() -> None:
    """The console script."""
    if sys.argv[1:] in (["--help"], ["-h"]) and _has_full_width():
        with open(HELP_FILE, encoding="utf-8") as file:
            sys.stdout.write(file.read())
        return
    # Looking for garbage takes a third of a short command, which makes hardly any: while it imports, and as it ends.
    gc.set_threshold(50_000)
    from obsctl.cli.root import run

    try:
        run()
    finally:
        gc.freeze()


def _has_full_width() -> bool:
    """Whether click would wrap at its full width; a narrower terminal gets its own text."""
    if "COLUMNS" in os.environ:
        return False
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns >= HELP_WIDTH
    except (OSError, ValueError):  # no terminal
        return True


if __name__ == "__main__":
    main()
