"""Which files in the log folder of an allocation may be read: those that Nomad wrote for a task of it.

Whoever runs a task may put anything into that folder, and swap it at any moment. So nothing there is opened: O_PATH
holds what lies there without touching it (to open a FIFO would take for ever, to open a device may do anything), and no
symbolic link is followed, not in place of a folder either.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MOST = 10_000
"""Names in one folder that are looked at; Nomad itself writes about twenty for a task."""
_NAME = re.compile(r"(?P<task>.+)\.(?P<stream>stdout|stderr)\.(?P<number>0|[1-9][0-9]{0,8})", re.DOTALL)

REASONS = {
    "symlink": "it is a symbolic link",
    "fifo": "it is a FIFO",
    "socket": "it is a socket",
    "device": "it is a device",
    "folder": "it is a folder, or lies in none",
    "hard_link": "it is a hard link to a file that has another name, too",
    "owner": "it does not belong to the user of the Nomad client, who writes all logs",
    "task": "its allocation has no such task",
    "number": "Nomad keeps fewer files of a log",
    "many": f"the folder has more than {MOST:,} names",
    "error": "it cannot be linked",
}
_KINDS = {
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
    stat.S_IFDIR: "folder",
}


@dataclass(frozen=True)
class Logs:
    """The log files that an allocation can have.

    place: in its lane of the tree of links. streams: those that are wanted. limits: task -> how many files of a stream
    Nomad keeps.
    """

    alloc_id: str
    place: Path
    streams: frozenset[str]
    limits: Mapping[str, int]


@dataclass
class Look:
    """What one look at a log folder found. links: to its files. refusals: name -> one of REASONS. error: the last."""

    links: set[Path] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)
    error: OSError | None = None

    def fail(self, name: str, error: OSError) -> None:
        self.refusals[name], self.error = "error", error


class Refused(Exception):
    """reason: one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def folder(allocations: Path, alloc_id: str) -> Iterator[int]:
    """The log folder of an allocation, open. Raises OSError: NotADirectoryError when something else is in its place."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    opened = os.open(allocations / alloc_id, flags)  # what lies above the tasks' own folders is root's alone
    try:
        for name in ("alloc", "logs"):
            below = os.open(name, flags, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)


@contextmanager
def hold(folder: int, name: str, *, owner: int) -> Iterator[tuple[int, os.stat_result]]:
    """What lies there, whatever becomes of the name meanwhile: a descriptor that can only be linked, and its status.

    Raises Refused when it is no file that Nomad wrote; OSError.
    """
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(_KINDS.get(stat.S_IFMT(status.st_mode), "error"))
        if status.st_uid != owner:
            raise Refused("owner")
        yield opened, status
    finally:
        os.close(opened)


def settle(folder: int) -> None:
    """Wait until a name that somebody takes away is gone: its file has one link less a moment earlier."""
    with os.scandir(folder) as entries:  # Linux reads no folder meanwhile
        next(entries, None)


def candidates(folder: int, logs: Logs) -> tuple[list[str], dict[str, str]]:
    """The names that log files of this allocation can have, and those that look alike, with one of REASONS each."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, MOST + 1)]
    refusals = {"": "many"} if len(names) > MOST else {}
    numbers: dict[tuple[str, str], list[int]] = {}
    for match in filter(None, map(_NAME.fullmatch, names)):
        if match["task"] not in logs.limits:
            refusals[match[0]] = "task"
        elif match["stream"] in logs.streams:
            numbers.setdefault((match["task"], match["stream"]), []).append(int(match["number"]))
    files = []
    for (task, stream), present in numbers.items():
        most = logs.limits[task] + 1  # one more while Nomad begins a new one
        in_order = [f"{task}.{stream}.{number}" for number in sorted(present, reverse=True)]
        files += in_order[:most]
        refusals.update(dict.fromkeys(in_order[most:], "number"))
    return files, refusals
