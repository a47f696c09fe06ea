"""Gets the programs of many servers, two projects at a time: while one downloads or links, the other compiles.

The work is done in threads, where Python raises no KeyboardInterrupt, and ends with the block of `Gathering`. They are
daemons: after an interrupt obsctl does not wait for them, and builds end with obsctl.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Self

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import Interrupted
from obsctl.local.binaries import Binaries, ProgramFile
from obsctl.model import Event

AT_ONCE = 2
_POLL = 0.2  # seconds; a signal that another thread was given does not wake the main one
_PATIENCE = 5.0  # seconds that a download may take to notice that it is to end


class Gathering:
    """Gets these programs, in this order, while its block runs. What is not there at its end is given up."""

    def __init__(self, names: Sequence[str], binaries: Binaries) -> None:
        self._emit = binaries.emit
        self._binaries = replace(binaries, emit=self._tell, check=self._check)
        self._stopped = threading.Event()
        self._progress: dict[str, Event] = {}
        self._programs: dict[str, Future[ProgramFile]] = {name: Future() for name in names}
        self._waiting: SimpleQueue[list[str]] = SimpleQueue()
        projects = dict.fromkeys(PROGRAMS[name].project.name for name in names)
        for project in projects:
            self._waiting.put([name for name in self._programs if PROGRAMS[name].project.name == project])
        self._threads = [
            threading.Thread(target=self._work, name=f"obsctl-gather-{number}", daemon=True)
            for number in range(min(AT_ONCE, len(projects)))
        ]

    def __enter__(self) -> Self:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # an interrupt: the block is not entered, and does not end
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_PATIENCE)

    def program(self, name: str) -> ProgramFile:
        """Wait until the program is there. Raises ObsctlError that says why it cannot be got."""
        while not wait([self._programs[name]], timeout=_POLL).done:
            pass
        return self._programs[name].result()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                names = self._waiting.get_nowait()
            except Empty:
                return
            self._get(names)

    def _get(self, names: Sequence[str]) -> None:
        """The programs of one project. What failed for one is not tried again for the next."""
        failure: Exception | None = None
        for name in names:
            try:
                self._programs[name].set_result(self._provide(name, failure))
            except Exception as error:  # raised again by `program`
                failure = error
                self._programs[name].set_exception(error)

    def _provide(self, name: str, failure: Exception | None) -> ProgramFile:
        if failure is None:
            return self._binaries.provide(name)
        program = self._binaries.search(name).program
        if program is None:
            raise failure
        return program

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Interrupted("interrupted", hint="run the command again; it goes on from there")

    def _tell(self, event: Event) -> None:
        """All that is at work shares one line of progress. After the end of the block nothing is said: a thread that
        prints while Python ends makes it abort."""
        if self._stopped.is_set():
            return
        if event.state != "progress":
            self._progress.pop(event.subject, None)
            self._emit(event)
            return
        self._progress[event.subject] = event
        first, *others = list(self._progress.values())
        beside = "".join(f"; {other.subject}: {other.text}" for other in others)
        self._emit(replace(first, text=first.text + beside, fraction=None if others else first.fraction))
