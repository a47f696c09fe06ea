"""A real browser: Chromium without a window, spoken to by its DevTools protocol through a pair of pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "chromium-headless-shell"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe")
# The protocol wants the file descriptors 3 and 4; those of a pipe may be any.
_TRAMPOLINE = (
    "import fcntl, os, sys; high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]];"
    " [os.dup2(fd, place) for fd, place in zip(high, (3, 4))]; os.execvp(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One page that is open, and what it did since: `requests` that it sent, `complaints` of its console."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.do(method, self._session, **params)

    def open(self, file: Path, *, width: int, scheme: str) -> None:
        """scheme: "light" or "dark", which the reader prefers. Narrow pages are those of a phone."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.do("Emulation.setDeviceMetricsOverride", **screen)
        self.media("screen", scheme)
        self.do("Page.navigate", url=file.as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)

    def media(self, media: str, scheme: str = "light") -> None:
        self.do("Emulation.setEmulatedMedia", media=media,
                features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip

    def value(self, script: str) -> Any:
        """What the script is worth, as JSON."""
        answer = self.do("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @property
    def requests(self) -> list[str]:
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        logged = [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]
        return logged + [str(event["params"]) for kind in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
                         for event in self._events(kind)]  # fmt: skip

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self._browser.events
                if event["method"] == method and event.get("sessionId") == self._session]  # fmt: skip


class Browser:
    def __init__(self, to_it: int, from_it: int) -> None:
        self._to_it, self._from_it = os.fdopen(to_it, "wb", buffering=0), os.fdopen(from_it, "rb")
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def page(self) -> Page:
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        return Page(self, self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def do(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {
            "id": self._number,
            "method": method,
            "params": params,
            **({"sessionId": session} if session else {}),
        }
        self._to_it.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str, session: str) -> None:
        seen = len(self.events)
        while not any(event["method"] == method and event.get("sessionId") == session for event in self.events[seen:]):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._from_it.read1()
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def close(self) -> None:
        self._to_it.close()
        self._from_it.close()


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """folder: for its profile. It ends with us, because its pipe does."""
    its_reads, our_writes = os.pipe()
    our_reads, its_writes = os.pipe()
    command = [sys.executable, "-c", _TRAMPOLINE, str(its_reads), str(its_writes), PROGRAM, *FLAGS,
               f"--user-data-dir={folder}"]  # fmt: skip
    with subprocess.Popen(command, pass_fds=(its_reads, its_writes), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as program:  # fmt: skip
        os.close(its_reads)
        os.close(its_writes)
        connection = Browser(our_writes, our_reads)
        try:
            yield connection
        finally:
            connection.close()
            program.terminate()
