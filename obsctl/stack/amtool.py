"""What amtool finds in Alertmanager's configuration, told of the key of obsctl.yaml that it is about.

amtool stops at its first find and names no key. So each part that a user wrote is checked in a configuration of its
own, and a part that is refused once more without each of its settings: without which the find is gone, that is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from obsctl.config import receiver_secrets
from obsctl.config.alerting import Alerting
from obsctl.config.located import Place
from obsctl.config.receivers import Entry
from obsctl.config.secrets import looks_like_a_token
from obsctl.config.shapes import KeyPath
from obsctl.model import Finding, Json, Severity
from obsctl.stack import quoting
from obsctl.stack.checkers import run_tool

FILE = "alertmanager.yml"
"""What is checked."""
MOST = 30
"""Of so many parts the key is looked for; the others are told as a whole, because each takes amtool a moment."""
CHECK = ("amtool", "check-config")
_ANSWER = re.compile(
    r"^Checking '(?P<file>[^']*)'  (?:SUCCESS|FAILED: (?P<words>.*?))\n(?=\n|Found:|Checking |\Z)",
    re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"\S+")
_LINE = re.compile(r"^line \d+: ")

Amtool = Callable[[Sequence[str]], list[frozenset[str]]]
"""The finds in each of these configurations."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of Alertmanager's configuration.

    settings: what the user wrote. text: a whole configuration with these settings.
    key: where a setting of the part stands in obsctl.yaml.
    """

    settings: Json
    text: Callable[[Json], str]
    key: Callable[[KeyPath], KeyPath]


def findings(
    alerting: Alerting, program: Path, _lines: Sequence[str] = (), *, place: Callable[[KeyPath], Place]
) -> list[Finding]:
    """A finding for each part that amtool refuses, in the order of lines. place: where a key of obsctl.yaml stands.
    It says more of each part than of the whole."""

    def amtool(texts: Sequence[str]) -> list[frozenset[str]]:
        return _ask(program, texts)

    parts = list(_parts(alerting))
    finds = zip(parts, amtool([part.text(part.settings) for part in parts]), strict=True)
    refused = [(part, of_part) for part, of_part in finds if of_part]
    keyed = [located for part, of_part in refused[:MOST] for located in _located(part, of_part, amtool)]
    keyed += [(part.key(()), words) for part, of_part in refused[MOST:] for words in sorted(of_part)]
    placed = sorted(
        ((place(key), key, _WORD.sub(_shown, words)) for key, words in keyed), key=lambda each: each[0].order
    )
    return [Finding(Severity.ERROR, where.of(key), f"amtool refuses it: {words}") for where, key, words in placed]


def _shown(word: re.Match[str]) -> str:
    """amtool repeats what it was given."""
    return "…" if looks_like_a_token(word[0]) else word[0]


def _ask(program: Path, texts: Sequence[str]) -> list[frozenset[str]]:
    if not texts:
        return []
    ended = run_tool(CHECK, program, {f"{number}.yml": text for number, text in enumerate(texts)})
    finds = {answer["file"]: _finds(answer["words"]) for answer in _ANSWER.finditer(ended.stdout)}
    return [finds.get(f"{number}.yml", frozenset()) for number in range(len(texts))]


def _finds(words: str | None) -> frozenset[str]:
    """One for each line of the YAML that is wrong; amtool says which line of a file that the user never sees."""
    lines = [line.strip() for line in (words or "").splitlines()]
    return frozenset(_LINE.sub("", line) for line in lines if line and line != "yaml: unmarshal errors:")


def _located(part: Part, finds: frozenset[str], amtool: Amtool) -> Iterator[tuple[KeyPath, str]]:
    """Each find with the key that it is about: the deepest one without which it is gone."""
    left = _left(part, amtool)
    for words in sorted(finds):
        gone = _deepest([path for path in left if words not in left[path]])
        clean = [path for path in gone if left[path] < finds]
        path = _common(clean or gone)
        yield part.key(path), words
        if path in left and not clean:
            yield from _behind(part, path, left[path] - finds, amtool)


def _behind(part: Part, path: KeyPath, finds: frozenset[str], amtool: Amtool) -> Iterator[tuple[KeyPath, str]]:
    """Of what amtool finds only without this setting: what is gone without another one. The rest is about the setting
    itself, which is needed."""
    *above, last = path
    rest = replace(part, settings=_without(part.settings, path if isinstance(last, str) else tuple(above)))
    left = _left(rest, amtool)
    for words in sorted(finds):
        clean = _deepest([other for other in left if words not in left[other] and left[other] < finds])
        if clean:
            yield part.key(_common(clean)), words


def _left(part: Part, amtool: Amtool) -> dict[KeyPath, frozenset[str]]:
    """What amtool finds without each setting."""
    paths = list(_paths(part.settings))
    return dict(zip(paths, amtool([part.text(_without(part.settings, path)) for path in paths]), strict=True))


def _deepest(paths: Sequence[KeyPath]) -> list[KeyPath]:
    return [path for path in paths if not any(path == other[: len(path)] != other for other in paths)]


def _common(paths: Sequence[KeyPath]) -> KeyPath:
    """What all of them begin with: of several settings that may be meant, what holds them."""
    return tuple(steps[0] for steps in takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False)))


def _paths(value: object, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every setting, also those within others."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in steps:
        yield (*above, step)
        yield from _paths(below, (*above, step))


def _without(settings: Json, path: KeyPath) -> Json:
    """A copy without the setting at this path."""
    copy = deepcopy(settings)
    above: Any = copy
    for step in path[:-1]:
        above = above[step]
    del above[path[-1]]
    return copy


# The parts of a configuration


def _parts(alerting: Alerting) -> Iterator[Part]:
    for name, intervals in alerting.intervals().items():
        for number, interval in enumerate(intervals):
            yield _part_of_interval(("alerting", "time_intervals", name, number), interval)
    for number, receiver in enumerate(alerting.receivers):
        above = ("alerting", "receivers", number)
        for place, matcher in enumerate(receiver.matchers):
            yield _part_of_matcher((*above, "matchers", place), matcher)
        for entry in receiver.entries():
            yield _part_of_entry(above, entry)


def _part_of_interval(above: KeyPath, interval: Json) -> Part:
    def text(settings: Json) -> str:
        return _configuration(time_intervals=[{"name": "x", "time_intervals": [settings]}])

    return Part(interval, text, lambda path: (*above, *path))


def _part_of_matcher(above: KeyPath, matcher: str) -> Part:
    def text(settings: Json) -> str:
        return _configuration(route={"receiver": "x", "routes": [{"matchers": list(settings.values())}]})

    return Part({"matcher": matcher}, text, lambda _: above)


def _part_of_entry(above: KeyPath, entry: Entry) -> Part:
    def text(settings: Json) -> str:
        written = receiver_secrets.with_files(entry.kind, settings, lambda *_: "x")
        return _configuration(receivers=[{"name": "x", f"{entry.kind}_configs": [written]}])

    return Part(dict(entry.settings), text, lambda path: (*above, *entry.our_path(path)))


def _configuration(**sections: object) -> str:
    return quoting.yaml({"route": {"receiver": "x"}, "receivers": [{"name": "x"}], **sections})
