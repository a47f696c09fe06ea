"""The only writer to the terminal.

stdout carries the result; with --json it is exactly one JSON document. Everything else goes to stderr. Most words come
from servers: whatever goes to a terminal loses what would steer it, here and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from obsctl.errors import ObsctlError
from obsctl.model import Event, Finding, Json, Piece, Severity

_STYLES = {"ok": "green", "failed": "bold red", "note": "yellow", "start": "cyan", "progress": "dim"}
BAR_WIDTH = 20
WIDTH = 120
"""Characters of a line where there is no terminal."""
# Whole escape sequences of one line, a link's address included, and what is left of others; all other control
# characters but tabs and line feeds; then what turns the direction of a text, breaks its line, or cannot be seen.
_STEERING = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    "|[\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_BREAKS = re.compile(r"\s*[\n\r\v\f\x85\u2028\u2029]\s*")
Row = Sequence[Piece]
"""A line in pieces, each with its style."""
_MARKS = {"ok": "✓", "failed": "✗", "note": "!", "start": "→", "progress": "·"}


class Ui:
    """What a command says. verbosity: -1 quiet, 0 normal, 1 verbose."""

    def __init__(self, *, as_json: bool = False, verbosity: int = 0, color: bool | None = None) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self._color = color
        self._one_at_a_time = threading.RLock()  # events come from many threads

    def result(self, kind: str, data: Json, text: str | Sequence[Row], *, version: int = 1) -> None:
        """The command's answer: `text`, or with --json one document {"schema": "obsctl/<kind>/v<version>", ...}."""
        if self.as_json:
            document = {"schema": f"obsctl/{kind}/v{version}", **data}
            print(json.dumps(document, indent=2, sort_keys=False, default=str))
        elif text:
            print(_shown(text, sys.stdout) if isinstance(text, str) else "\n".join(map(self._painted, text)))
        sys.stdout.flush()

    def line(self, row: Row) -> None:
        """The next line of an answer that has no end."""
        print(self._painted(row), flush=True)

    @contextmanager
    def redrawn(self) -> Iterator[Callable[[str], None]]:
        """Gives a function that draws a text in the place of the one before; the last one stays. For a terminal."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(file=sys.stdout), auto_refresh=False) as live:
            yield lambda text: live.update(Text(_shown(text, sys.stdout)), refresh=True)

    def aside(self, text: str) -> None:
        """A remark beside the answer, always on stderr."""
        if self.verbosity >= 0:
            self._write(sys.stderr, text, "dim")

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line for people, on stderr when stdout belongs to a JSON document."""
        if self.verbosity >= 0:
            self._line(text, style)

    def event(self, event: Event) -> None:
        """A line for the event. Progress is shown on a terminal; elsewhere only when verbose."""
        if event.state == "progress" and self.verbosity < 1 and not sys.stderr.isatty():
            return
        if self.verbosity < 0 and event.state != "failed":
            return
        line = _on_one_line(f"{_MARKS.get(event.state, ' ')} {event.subject}: {event.text}{_bar(event.fraction)}")
        if event.state == "progress" and sys.stderr.isatty():
            self._transient(line)
        else:
            self._line(line, _STYLES.get(event.state))

    def finding(self, finding: Finding) -> None:
        state = {Severity.ERROR: "failed", Severity.INFO: "ok"}.get(finding.severity, "note")
        self._write(sys.stderr, _on_one_line(f"{_MARKS[state]} {finding.where}: {finding.what}"), _STYLES[state])
        if finding.hint:
            self._write(sys.stderr, f"  → {_on_one_line(finding.hint)}", "dim")

    def error(self, error: ObsctlError) -> None:
        """On stderr, at any verbosity."""
        self._write(sys.stderr, f"Error: {error.message}", "bold red")
        if error.hint:
            self._write(sys.stderr, f"Hint: {error.hint}", None)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """Plain columns without borders, which are easy to cut: a row is one line, whatever a server put into it."""
        lines = [[_on_one_line(_shown(str(cell), sys.stdout)) for cell in row] for row in (headers, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def width(self) -> int:
        """How many characters fit into a line of stdout."""
        return shutil.get_terminal_size((WIDTH, 0)).columns

    def is_live(self) -> bool:
        """Whether what is on stdout can be drawn again."""
        return sys.stdout.isatty() and not self.as_json

    def is_interactive(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.as_json

    def _painted(self, row: Row) -> str:
        """One line, on a terminal with colours."""
        is_colored = sys.stdout.isatty() and self._colored(sys.stdout)
        texts = ((_shown(text, sys.stdout), style if is_colored else None) for text, style in row)
        return "".join(_styled(text, style) for text, style in texts)

    def _line(self, text: str, style: str | None) -> None:
        self._write(sys.stderr if self.as_json else sys.stdout, text, style)

    def _transient(self, text: str) -> None:
        with self._one_at_a_time:
            sys.stderr.write(f"\r\x1b[K{_shown(text, sys.stderr)}")
            sys.stderr.flush()

    def _write(self, stream: TextIO, text: str, style: str | None) -> None:
        with self._one_at_a_time:
            if stream.isatty():
                sys.stderr.write("\r\x1b[K")  # removes a line of progress
                sys.stderr.flush()
            text = _shown(text, stream)
            print(_styled(text, style if self._colored(stream) else None), file=stream, flush=True)

    def _colored(self, stream: TextIO) -> bool:
        if self._color is not None:
            return self._color
        return stream.isatty() and "NO_COLOR" not in os.environ


def printable(text: str) -> str:
    """Without what would steer a terminal, turn the direction of the text, or hide a part of it."""
    return _STEERING.sub("", text)


def _shown(text: str, stream: TextIO) -> str:
    """As it came, but clean for a terminal, and without what the stream cannot hold, such as half a letter of JSON."""
    encoding = stream.encoding or "utf-8"
    text = text.encode(encoding, errors="replace").decode(encoding)
    return printable(text) if stream.isatty() else text


def _on_one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)


def _styled(text: str, style: str | None) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD) if style else text


def _bar(fraction: float | None) -> str:
    """A bar that shows the progress."""
    if fraction is None:
        return ""
    done = round(fraction * BAR_WIDTH)
    return f" {'█' * done}{'░' * (BAR_WIDTH - done)} {fraction:4.0%}"
