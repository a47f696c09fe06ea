"""Gets the programs of many servers, two projects at a time: while one downloads or links, the other compiles.

The work is done in threads of their own, where no KeyboardInterrupt arises, and is told to end when the block of
`gathering` does. They are daemons: where an interrupt came in between, they do not hold obsctl's end up, and builds end
with obsctl.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from obsctl.errors import Interrupted
from obsctl.local.binaries import PROGRAMS, Found, provide, search
from obsctl.model import Emit, Event

AT_ONCE = 2
_POLL = 0.2  # seconds; a signal that another thread was given does not wake the main one
_PATIENCE = 5.0  # seconds that a download may take to notice that it is to end


@contextmanager
def gathering(
    names: Sequence[str],
    configured: Mapping[str, str],
    *,
    emit: Emit,
    environ: Mapping[str, str] = os.environ,
    toolchain: Path | None = None,
) -> Iterator[Gathering]:
    """Begin to get these programs, those named first before others. What is not there at the end of the block is given
    up. See `binaries.provide` for the arguments."""
    coming = Gathering(names, configured, emit, environ, toolchain)
    try:
        coming.start()
        yield coming
    finally:
        coming.stop()


class Gathering:
    """Programs on their way; those of one project come together."""

    def __init__(
        self,
        names: Sequence[str],
        configured: Mapping[str, str],
        emit: Emit,
        environ: Mapping[str, str],
        toolchain: Path | None,
    ) -> None:
        self._configured = configured
        self._emit = emit
        self._environ = environ
        self._toolchain = toolchain
        self._unreachable: dict[str, str] = {}
        self._stopped = threading.Event()
        self._progress: dict[str, Event] = {}
        self._found: dict[str, Future[Found]] = {name: Future() for name in names}
        self._waiting: SimpleQueue[list[str]] = SimpleQueue()
        projects = dict.fromkeys(PROGRAMS[name].project.name for name in names)
        for project in projects:
            self._waiting.put([name for name in self._found if PROGRAMS[name].project.name == project])
        self._threads = [
            threading.Thread(target=self._work, name=f"obsctl-gather-{number}", daemon=True)
            for number in range(min(AT_ONCE, len(projects)))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give up what is not there yet."""
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_PATIENCE)

    def found(self, name: str) -> Found:
        """Wait until the program is there. Raises ObsctlError that says why it cannot be had."""
        while not wait([self._found[name]], timeout=_POLL).done:
            pass
        return self._found[name].result()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                names = self._waiting.get_nowait()
            except Empty:
                return
            self._get(names)

    def _get(self, names: Sequence[str]) -> None:
        """The programs of one project. What failed for the first is not tried again for the next."""
        failure: Exception | None = None
        for name in names:
            try:
                self._found[name].set_result(self._one(name, failure))
            except Exception as error:  # for whoever waits for the program
                failure = error
                self._found[name].set_exception(error)

    def _one(self, name: str, failure: Exception | None) -> Found:
        if failure is None:
            return provide(
                name,
                self._configured,
                emit=self._tell,
                environ=self._environ,
                toolchain=self._toolchain,
                check=self._check,
                unreachable=self._unreachable,
            )
        found = search(name, self._configured, self._environ, self._toolchain).found
        if found is None:
            raise failure
        return found

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Interrupted("interrupted", hint="run the command again; it goes on from there")

    def _tell(self, event: Event) -> None:
        """Those that are at work share the one line of progress."""
        if event.state != "progress":
            self._progress.pop(event.subject, None)
            self._emit(event)
            return
        self._progress[event.subject] = event
        first, *others = list(self._progress.values())
        beside = "".join(f"; {other.subject}: {other.text}" for other in others)
        self._emit(replace(first, text=first.text + beside, fraction=None if others else first.fraction))
