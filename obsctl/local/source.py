"""What a source of programs is: it makes all programs of a project in a folder."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from obsctl.model import Emit

StopCheck = Callable[[], None]
"""Called again and again by long work; raises to end it."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What a program is built for, in Go's words: linux/amd64."""

    os: str
    arch: str

    @classmethod
    def current(cls) -> Platform:
        machine = platform.machine().lower()
        return cls(os=sys.platform, arch={"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


def go_on() -> None:
    """The check that never ends the work."""


class SourceFailed(Exception):
    """A source could not make the programs. reason: one line. detail: the lines before it, for the last error."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Source(Protocol):
    """One way to get a project's programs."""

    @property
    def title(self) -> str:
        """Its name in a table and in errors: "release", "Go build"."""

    @property
    def version(self) -> str: ...

    @property
    def entry(self) -> str:
        """The name of its folder in the cache; another whenever the programs would differ."""

    def file(self, program: str) -> str:
        """The program's name in that folder."""

    def make(self, scratch: Path, emit: Emit) -> Path:
        """Make the programs below `scratch` and return their folder. Raises SourceFailed or OSError."""
