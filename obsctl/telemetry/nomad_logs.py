"""Log lines of Nomad, which keeps the end of each task's output: the last ones, and those that are added."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from obsctl.clients.jobs import is_running
from obsctl.clients.protocols import NomadApi
from obsctl.telemetry.lines import Line, Query, as_fields, in_order, time_and_level

_LINE_LENGTH = 400  # bytes that are read for each line of the limit
_LEAST_READ = 64 * 1024
_SEARCHED = 4 * 1024 * 1024  # bytes of each stream in which a text is looked for


class NomadTail:
    """Tail of Nomad: all tasks of the job's running allocations, or of its newest allocation when none runs."""

    def __init__(self, nomad: NomadApi, query: Query) -> None:
        self._nomad, self._query = nomad, query
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._begun = False
        self.left_out: int | None = None
        """Time of the newest line that is older than the query's `since`, in Unix nanoseconds."""

    def lines(self) -> list[Line]:
        lines = [line for alloc_id in self._allocations() for line in self._read(alloc_id)]
        fitting = [line for line in in_order(lines) if self._fits(line)]
        if self._begun:
            return fitting
        self._begun = True
        old = [line.at for line in fitting if line.at is not None and line.at < self._query.since]
        self.left_out = max(old, default=None)
        return fitting[len(old) :][-self._query.limit :]

    def _allocations(self) -> list[str]:
        """Also those that were read before: one that has ended wrote something about it."""
        allocations = self._nomad.job_allocations(self._query.job_id)
        running = [alloc["ID"] for alloc in allocations if is_running(alloc)]
        known = [alloc_id for alloc_id, _ in self._streams]
        return list(dict.fromkeys([*known, *(running or [alloc["ID"] for alloc in allocations[:1]])]))

    def _read(self, alloc_id: str) -> Iterator[Line]:
        for name, files in _by_stream(self._nomad.log_files(alloc_id)).items():
            stream = self._streams.setdefault((alloc_id, name), _Stream.before_the_end(files, self._room()))
            task, _, kind = name.rpartition(".")
            for text in stream.read(partial(self._nomad.read_log, alloc_id), name, files, whole=self._begun):
                at, level = time_and_level(text)
                stream.at = at or stream.at  # the lines of a traceback belong to the one above them
                fields = as_fields(text)
                ids = str(fields.get("trace_id", "")), str(fields.get("span_id", ""))
                yield Line(text, stream.at, level, self._query.job_id, task, alloc_id, kind, *ids)

    def _room(self) -> int:
        """How many bytes of a stream to read first; a new allocation is read from its beginning."""
        if self._begun:
            return sys.maxsize
        filtered = self._query.grep or self._query.trace_id
        return _SEARCHED if filtered else max(_LEAST_READ, self._query.limit * _LINE_LENGTH)

    def _fits(self, line: Line) -> bool:
        return self._query.grep.casefold() in line.text.casefold() and self._query.trace_id in line.text


@dataclass
class _Stream:
    """How far a stream of a task has been read. at: the time of its last line, in Unix nanoseconds."""

    number: int
    offset: int
    rest: bytes = b""
    at: int | None = None

    @classmethod
    def before_the_end(cls, files: Mapping[int, int], room: int) -> _Stream:
        """So many bytes before the end, or at the beginning of a shorter stream. files: number -> size."""
        for number in sorted(files, reverse=True):
            if room <= files[number]:
                return cls(number, files[number] - room)
            room -= files[number]
        return cls(min(files), 0)

    def read(self, read: Callable[..., bytes], name: str, files: Mapping[int, int], *, whole: bool) -> list[str]:
        """The lines that follow. whole: without the last one while it has no line break."""
        cut = bool(self.offset) and not whole  # begins in the middle of a line
        for number in sorted(number for number in files if number >= self.number):
            self.offset = self.offset if number == self.number else 0
            self.number = number
            if files[number] > self.offset:
                added = read(f"{name}.{number}", offset=self.offset)
                self.offset += len(added)
                self.rest += added
        end = self.rest.rfind(b"\n") + 1 if whole else len(self.rest)
        text, self.rest = self.rest[:end], self.rest[end:]
        lines = text.decode(errors="replace").removesuffix("\n").split("\n") if text else []
        return [line.rstrip("\r") for line in lines[cut:]]


def _by_stream(files: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """The files of an allocation: "web.stderr" -> number -> size."""
    streams: dict[str, dict[int, int]] = {}
    for file, size in files.items():
        name, _, number = file.rpartition(".")
        if number.isdecimal():
            streams.setdefault(name, {})[int(number)] = size
    return streams
