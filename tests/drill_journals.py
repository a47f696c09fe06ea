"""Journals of drills that ended in different ways, as a drill on fakes writes them; and one full of hostile texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from obsctl.drills.tell.journal import Journal, Record
from obsctl.errors import Forbidden
from tests.drill_world import DrillWorld

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{ 7*7 }}</style></pre>\u202e\ud800\x00"


def _late(world: DrillWorld) -> None:
    world.alerts.delay = 20


def _missed(world: DrillWorld) -> None:
    world.expect("SlowlyDown").rule = lambda is_up: False


def _quiet(world: DrillWorld) -> None:
    """One that must not page, whose alerts stay away."""
    world.expect("ReplicaMissing").rule = lambda is_up: False
    forbid = {"ReplicaMissing": world.experiment.expect["ReplicaMissing"]}
    expect = {name: labels for name, labels in world.experiment.expect.items() if name not in forbid}
    world.experiment = replace(world.experiment, expect=expect, forbid=forbid)


def _paged(world: DrillWorld) -> None:
    _quiet(world)
    world.paths[-1].rule = lambda is_up: not is_up


def _unsteady(world: DrillWorld) -> None:
    world.prometheus.alertmanager_urls = []


def _interrupted(world: DrillWorld) -> None:
    def press(number: int, name: str) -> None:
        if name == "journal.stage":
            world.interrupted = True

    world.on_step = press


def _stuck(world: DrillWorld) -> None:
    def refuse(number: int, name: str) -> None:
        if name == "journal.reverting":
            world.nomad.failures["register_job"] = Forbidden("403", hint="")

    world.on_step = refuse


ENDINGS: dict[str, Callable[[DrillWorld], None]] = {
    "PROVEN": lambda world: None,
    "LATE": _late,
    "MISSED": _missed,
    "PROVEN, and another stays away": _quiet,
    "COLLATERAL": _paged,
    "NOT_STEADY": _unsteady,
    "ABORTED": _interrupted,
    "REVERT_FAILED": _stuck,
}
"""Verdict, and what is special -> what makes a drill end in it."""


def verdict(ending: str) -> str:
    return ending.partition(",")[0]


@cache
def journal(ending: str = "PROVEN") -> tuple[Record, ...]:
    """The records of a drill that ended so."""
    with TemporaryDirectory() as folder:
        world = DrillWorld(Path(folder))
        ENDINGS[ending](world)
        assert world.run().outcome == verdict(ending)
        return tuple(world.on_disk())


def hostile(records: Sequence[Record], path: Path) -> list[Record]:
    """The same drill, with a hostile text in the place of each that others can write, in a journal of its own."""
    made = Journal.create(path.parent, path.stem)
    for record in records:
        made.append(record.kind, **_poisoned(record.data))
    made.close()
    return made.records


_OURS = {"format", "drill", "version", "stage", "since", "fault", "expect", "forecasts"}


def _poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: inner if name in _OURS and not isinstance(inner, dict) else _poisoned(inner, name)
                for name, inner in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [_poisoned(inner) for inner in value]
    return json.loads(json.dumps(HOSTILE)) if isinstance(value, str) and key not in ("alert", *_OURS) else value
