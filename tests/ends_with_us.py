"""What a test run leaves behind when it is killed: nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAIT = """
import sys
from pathlib import Path
sys.stdin.read()
folder = Path(sys.argv[1])
if not folder.exists():
    sys.exit()
"""


@contextmanager
def ends_with_us(folder: Path, code: str) -> Iterator[None]:
    """Whoever is killed runs no `finally`, as a worker of a test run that is interrupted. So another process, which no
    signal to us reaches, runs this code when its connection to us breaks and the folder is still there.

    code: Python, which finds the path in `folder`.
    """
    command = [sys.executable, "-c", _WAIT + code, str(folder)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=root):  # it closes and waits
        yield
