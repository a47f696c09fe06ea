"""A Go build that is interrupted at each of its lines, one after the other: python -m tests.interrupts FOLDER THEN

FOLDER: has `bin/go`, which never ends, and `toolchain`. THEN: so many lines on comes a second interrupt; 0: none.
Prints how many lines there are. Each build has its line in its environment: so what it leaves behind is recognised.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import obsctl
from obsctl.config.catalog import PROGRAMS
from obsctl.local.build import GoBuild
from obsctl.local.source import Platform
from obsctl.model import Event

MARK = "OBSCTL_TEST_LINE"


def main(folder: Path, then: int) -> None:
    lines = interrupted(folder, "whole", ())
    for line in range(1, lines + 1):
        interrupted(folder, str(line), {line, line + then})
    print(lines)


def interrupted(folder: Path, name: str, lines: Iterable[int]) -> int:
    """How many lines were run until the KeyboardInterrupt that was raised at these, or after two waits."""
    environ = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", MARK: f"{folder} {name}"}
    made = GoBuild(PROGRAMS["nomad"].project, Platform.current(), folder / "toolchain", environ)
    (folder / name).mkdir()
    count = waits = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(str(Path(obsctl.__file__).parent)):
            return None
        count += event == "line"
        if event == "line" and count in lines:
            raise KeyboardInterrupt
        return trace

    def wait(event: Event) -> None:
        nonlocal waits
        waits += event.state == "progress"
        if waits == 2:
            raise KeyboardInterrupt

    sys.settrace(trace)
    try:
        made.make(folder / name, wait)
    except KeyboardInterrupt:
        return count
    finally:
        sys.settrace(None)
    raise AssertionError("go never ends, and yet the build did")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
