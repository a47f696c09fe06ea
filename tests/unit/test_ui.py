"""What goes to stdout and stderr, and what is left out."""

from __future__ import annotations

import io
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from obsctl.errors import ObsctlError
from obsctl.model import Event, Finding, Severity
from obsctl.ui import Ui
from obsctl.wait import SYSTEM_CLOCK
from tests.command import Terminal


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stdout and stderr are the same terminal from here on; a fixture would be too early for pytest's capture."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_result_for_people_is_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    Ui().result("plan", {"changes": []}, "Nothing to change.")
    assert shown(capsys) == ("Nothing to change.\n", "")


def test_a_result_with_json_is_one_document_and_everything_else_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ui = Ui(as_json=True)
    ui.say("hello")
    ui.event(Event("web", "ok", "created"))
    ui.finding(Finding(Severity.WARNING, "a", "b", "c"))
    ui.result("plan", {"changes": [1]}, "never shown")
    out, err = shown(capsys)
    assert json.loads(out) == {"schema": "obsctl/plan/v1", "changes": [1]}
    assert err == "hello\n✓ web: created\n! a: b\n  → c\n"


def test_a_finding_forges_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    Ui().finding(Finding(Severity.WARNING, "a\n✓ x", "b\r\n✓ y", "c\n✓ z"))
    assert shown(capsys) == ("", "! a ✓ x: b ✓ y\n  → c ✓ z\n")


def test_an_error_and_its_hint_are_on_stderr_however_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Ui(verbosity=-1).error(ObsctlError("the disk is full", hint="free some space"))
    assert shown(capsys) == ("", "Error: the disk is full\nHint: free some space\n")


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (-1, ["✗ c: failed"]),
        (0, ["said", "→ a: start", "✓ b: ok", "✗ c: failed"]),
        (1, ["said", "→ a: start", "✓ b: ok", "✗ c: failed", "· d: progress ██████████░░░░░░░░░░  50%"]),
    ],
)
def test_verbosity_decides_how_much_is_said(
    capsys: pytest.CaptureFixture[str], verbosity: int, expected: list[str]
) -> None:
    ui = Ui(verbosity=verbosity)
    ui.say("said")
    for subject, state in (("a", "start"), ("b", "ok"), ("c", "failed")):
        ui.event(Event(subject, state, state))
    ui.event(Event("d", "progress", "progress", fraction=0.5))
    assert shown(capsys)[0].splitlines() == expected


def test_half_a_letter_from_somebodys_json_is_no_end_of_an_answer(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    ui = Ui()
    ui.line([("a \ud800 line", None)])
    ui.result("logs", {}, "a \udfff text")
    assert capsysbinary.readouterr().out == b"a ? line\na ? text\n"


def test_without_a_terminal_there_is_not_one_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    ui = Ui(verbosity=1)
    ui.event(Event("a", "ok", "done"))
    ui.error(ObsctlError("wrong", hint="mend it"))
    assert "\x1b" not in "".join(shown(capsys))


def test_on_a_terminal_progress_stays_on_one_line_and_is_wiped_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    ui = Ui(color=False)
    ui.event(Event("nomad", "progress", "downloading", fraction=0.25))
    ui.event(Event("nomad", "progress", "downloading", fraction=1.0))
    ui.say("done")
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "· nomad: downloading █████░░░░░░░░░░░░░░░  25%",
        "· nomad: downloading ████████████████████ 100%",
        "done\n",
    ]


def test_on_a_terminal_there_are_colours_unless_they_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "xterm-256color")

    def colored(color: bool | None) -> bool:
        terminal.seek(0)
        terminal.truncate()
        Ui(color=color).event(Event("a", "ok", "[done]"))
        assert "[done]" in terminal.getvalue(), "square brackets are text, not markup"
        return "\x1b[32m" in terminal.getvalue()

    assert (colored(None), colored(False)) == (True, False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert colored(None) is False


def test_long_lines_are_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    Ui(color=True).say("word " * 100, style="green")
    assert terminal.getvalue().count("\n") == 1


def test_a_table_has_columns_as_wide_as_their_widest_cell() -> None:
    table = Ui().table(["NAME", "STATE"], [["alertmanager", "ok"], ["x", "failed"]])
    assert table.splitlines() == ["NAME          STATE", "alertmanager  ok", "x             failed"]


def test_a_table_without_rows_is_its_header() -> None:
    assert Ui().table(["A", "B"], []) == "A  B"


@pytest.mark.parametrize(("as_json", "interactive"), [(False, True), (True, False)])
def test_nobody_is_asked_when_json_is_wanted(monkeypatch: pytest.MonkeyPatch, as_json: bool, interactive: bool) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert Ui(as_json=as_json).is_interactive() is interactive


STEERING = "\x1b[2Jwiped\x1b]0;title\x07 \x9b1mbold\rback\ttab\x00"
STEERED = "wiped 1mboldback\ttab"
TAKEN_TOGETHER = "\N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u06cc\u200c\u0627"
"""Letters and pictures that need joiners."""
HIDING = (
    ("\x1b]8;;http://evil.test/\x1b\\the docs\x1b]8;;\x1b\\", "the docs"),  # a link that shows another address
    ("\x1b]0;no end, and\nthe next line", "0;no end, and\nthe next line"),
    ("\x1bPq payload \x1b\\after", "after"),
    ("rm \u202egnp.exe\u202c \u2066x\u2069", "rm gnp.exe x"),
    ("a\u200bd\ufeffmin\u2028line\U000e0041", "adminline"),
    ("\x1b\n[2J", "\n[2J"),
    ("[bold]not markup[/bold] :warning:", "[bold]not markup[/bold] :warning:"),
    (TAKEN_TOGETHER, TAKEN_TOGETHER),
    ("half a letter: \ud800", "half a letter: ?"),
)


def everything(ui: Ui, text: str) -> None:
    """Each way out, with a text of somebody else."""
    ui.result("x", {}, text)
    ui.result("x", {}, ui.table(["A"], [[text]]))
    ui.result("x", {}, [[(text, "red")]])
    ui.line([(text, None)])
    ui.aside(text)
    ui.say(text)
    ui.say(text, style="red")
    ui.event(Event(text, "progress", text))
    ui.event(Event(text, "ok", text))
    ui.finding(Finding(Severity.ERROR, text, text, text))
    ui.error(ObsctlError(text, hint=text))


@pytest.mark.parametrize(("text", "shown"), [(STEERING, STEERED), *HIDING])
@pytest.mark.parametrize("color", [True, False])
def test_nothing_that_comes_from_a_server_steers_the_terminal(
    monkeypatch: pytest.MonkeyPatch, text: str, shown: str, color: bool
) -> None:
    """Whatever says it; our own are colours, and the removal of a line of progress."""
    screen = on_a_terminal(monkeypatch)
    everything(Ui(color=color), text)
    on_screen = re.sub(r"\x1b\[[0-9;]*m|\r\x1b\[K", "", screen.getvalue())
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\u2028\ufeff]", on_screen)
    assert on_screen.startswith(f"{shown}\nA\n")
    assert f"\n{shown}\n{shown}\n{shown}\n{shown}\n{shown}\n· " in on_screen
    assert f"Error: {shown}\nHint: {shown}\n" in on_screen


def test_where_there_is_no_terminal_a_text_is_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    ui = Ui()
    ui.result("logs", {}, [[("a", "red"), (STEERING, None)]])
    ui.line([(STEERING, None)])
    ui.say(STEERING, style="red")
    assert shown(capsys)[0] == f"a{STEERING}\n{STEERING}\n{STEERING}\n"


@pytest.mark.parametrize(("color", "first"), [(True, "\x1b[31ma\x1b[0m"), (False, "a")])
def test_the_pieces_of_a_row_have_their_styles(monkeypatch: pytest.MonkeyPatch, color: bool, first: str) -> None:
    screen = on_a_terminal(monkeypatch)
    Ui(color=color).line([("a", "red"), ("b", None)])
    assert screen.getvalue() == f"{first}b\n"


def test_a_row_of_a_table_and_an_event_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A service's name must not look like a second row."""
    ui = Ui()
    ui.result("open", {}, ui.table(["NAME", "STATE"], [["web\nvault  passing", "failing"]]))
    ui.event(Event("web", "failed", "dead\n✓ web: healthy"))
    lines = ["NAME                STATE", "web vault  passing  failing", "✗ web: dead ✓ web: healthy"]
    assert shown(capsys)[0].splitlines() == lines


def test_a_letter_that_the_terminal_cannot_hold_is_no_end_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr(sys, "stdout", stream)
    Ui().event(Event("web", "ok", "créé"))
    stream.seek(0)
    assert stream.read() == "? web: cr??\n"


def test_a_remark_is_on_stderr_and_a_line_on_stdout_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for verbosity in (0, -1):
        ui = Ui(verbosity=verbosity)
        ui.aside("from VictoriaLogs")
        ui.line([("hi", None)])
    assert shown(capsys) == ("hi\nhi\n", "from VictoriaLogs\n")


class Slow(io.StringIO):
    """A stream on which another thread always gets its turn in the middle of a line."""

    def write(self, text: str) -> int:
        written = super().write(text)
        SYSTEM_CLOCK.sleep(0.001)
        return written


def test_lines_of_many_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Slow()
    monkeypatch.setattr(sys, "stdout", stream)
    ui = Ui()
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(ui.event, [Event("web", "ok", "created")] * 24))
    assert stream.getvalue().splitlines() == ["✓ web: created"] * 24
