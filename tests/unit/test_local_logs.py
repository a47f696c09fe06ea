"""The end of a log, and what is added to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from obsctl.errors import ObsctlError
from obsctl.local.logs import follow_all, last_lines
from tests.fakes import FakeClock


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n\xff three\n")
    assert last_lines(log, 2) == ["two", "\ufffd three"]
    assert last_lines(log, 10) == ["one", "two", "\ufffd three"]


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 5000 + "\nend\n")
    assert [len(line) for line in last_lines(log, 2)] == [1995, 3]


def test_no_log(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "log", 5) == []


def test_something_else_in_its_place(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(ObsctlError, match=r"log cannot be read: it is no regular file"):
        last_lines(tmp_path / "log", 5)


def test_follow_gives_whole_lines_of_all_logs(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("before\n")
    clock = FakeClock()

    def append(path: Path, text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    clock.after(1, lambda: append(old, "a\nhal"))
    clock.after(2, lambda: append(old, "f\n"))
    clock.after(3, lambda: append(new, "b\n"))
    lines = follow_all({"old": old, "new": new}, clock=clock)
    assert [next(lines) for _ in range(3)] == [("old", "a"), ("old", "half"), ("new", "b")]
