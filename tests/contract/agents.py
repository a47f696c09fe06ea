"""Real programs, for tests that need one of their own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from obsctl.errors import ApiError
from obsctl.local import binaries
from obsctl.wait import wait_until


def program(name: str) -> str:
    """The path of a server's program."""
    return str(binaries.obtain(name, {}, emit=lambda _: None))


@contextmanager
def running(argv: list[str], folder: Path, log: str = "log") -> Iterator[subprocess.Popen[bytes]]:
    """The program runs in this folder, and has ended afterwards."""
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, cwd=folder)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)  # a stopped process would not see the next one
            process.terminate()
            process.wait(timeout=30)


def until_it_answers(probe: Callable[[], object], folder: Path) -> None:
    """Wait until the probe gives something true; its ApiErrors mean "not yet"."""

    def answers() -> bool:
        try:
            return bool(probe())
        except ApiError:
            return False

    wait_until(answers, timeout=30, interval=0.1, what="the program's first answer", hint=f"read the log in {folder}")
