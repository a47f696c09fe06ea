"""Broken files of every kind that obsctl reads, and the commands that read them.

Each input is a folder: the file under test is made from a sound one, changed in its structure or in its bytes, or is
made up from the keys of the schema. The command runs in this process, through the entry that the console script has.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel

from obsctl import assets
from obsctl.cli.root import run
from obsctl.config import environment, keys
from obsctl.drills.tell.journal import Journal, Record
from obsctl.local.ports import Ports
from tests.drill_world import DrillWorld
from tests.fakes import FakeClock
from tests.mutations import VALUES, as_json, changed, torn, written

BUG = 3
FOLDER = "stack"
"""Where obsctl.yaml is, below the folder of an input; beside it lie the state and the cache."""
Files = dict[str, bytes]


@dataclass(frozen=True)
class Input:
    """Files by their path below the input's folder, variables of the environment, and a command line."""

    files: Files
    command: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def is_a_bug(self) -> bool:
        return self.code == BUG or "Traceback (most recent call last)" in self.err


def outcome(given: Input) -> Outcome:
    """How the command ends in a folder with these files."""
    out, err = io.StringIO(), io.StringIO()
    before = (Path.cwd(), signal.getsignal(signal.SIGTERM), dict(os.environ))
    with tempfile.TemporaryDirectory() as folder:
        for name, content in given.files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        try:
            os.chdir(Path(folder) / FOLDER)
            os.environ |= {"XDG_STATE_HOME": f"{folder}/state", "PATH": "", **given.environ}
            code = _run(given.command, out, err)
        finally:
            os.chdir(before[0])
            signal.signal(signal.SIGTERM, before[1])
            os.environ.clear()
            os.environ.update(before[2])
    return Outcome(code, out.getvalue(), err.getvalue())


def _run(command: tuple[str, ...], out: io.StringIO, err: io.StringIO) -> int:
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(list(command))
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


# The six kinds

SOUND: dict[str, Any] = {"driver": "raw_exec", "timing": "fast"}
_GOLDEN = Path(__file__).parent / "golden"
_EXAMPLES: list[Any] = [SOUND, {"profile": "ha"}, yaml.safe_load((_GOLDEN / "cluster" / "obsctl.yaml").read_text())]
_RULES: list[Any] = [
    yaml.safe_load(file.read_text()) for file in sorted((assets.shipped() / "alert-rules").glob("*.yml"))
]
_RULES.append(
    {
        "groups": [
            {"name": "mine", "interval": "1m", "labels": {"a": "b"}, "rules": [{"alert": "Mine", "expr": "up == 0"}]}
        ]
    }
)
_BOARDS: list[Any] = [
    json.loads(file.read_text()) for file in sorted((assets.shipped() / "dashboards").rglob("*.json"))
]
_PORTS = [field.name for field in fields(Ports)]
# Where a component may run is told like where the stack may: that one is enough, or every third path were such a one.
_PATHS = [path for path in keys.paths() if path and ("placement" not in path or path[0] == "nomad")]


@st.composite
def configuration(draw: st.DrawFn) -> Any:
    """A sound configuration, with values at some of the schema's keys."""
    document = deepcopy(draw(st.sampled_from(_EXAMPLES)))
    for path in draw(st.lists(st.sampled_from(_PATHS), max_size=2)):
        _put(document, tuple(draw(_STEP) if step == keys.ANY else step for step in path), draw(_at(path)))
    return draw(changed(document, 1))


_STEP = st.sampled_from(["web", "InstanceDown", "team", "0", "nomad", "a b", "X-Scope"])


def _at(path: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """What the schema gives as an example of this key, or anything."""
    return st.one_of(VALUES, VALUES.map(lambda value: [value]), *[st.sampled_from(_examples(path)).map(deepcopy)] * 3)


def _examples(path: tuple[str, ...]) -> list[Any]:
    section = keys.bare(keys.kind_at(path[:-1]))
    models = section.model_fields.values() if isinstance(section, type) and issubclass(section, BaseModel) else ()
    mine = [field for name, field in zip(keys.known(section), models, strict=False) if name == path[-1]]
    return [example for field in mine for example in field.examples or []] + [None, {}]


def _put(document: Any, path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        below = document.get(step)
        document[step] = document = below if isinstance(below, dict) else {}
    document[path[-1]] = value


def _inputs_of_configuration(draw: st.DrawFn) -> Input:
    files = {f"{FOLDER}/obsctl.yaml": draw(written(draw(configuration())))}
    command = draw(st.sampled_from([("validate",), ("config", "show"), ("render",), ("--json", "validate")]))
    environ = {}
    if draw(st.integers(0, 3)) == 0:
        files[f"{FOLDER}/obsctl.over.yaml"] = draw(written(draw(configuration())))
        command = ("--env", "over", *command)
    if draw(st.integers(0, 3)) == 0:
        path = draw(st.sampled_from([path for path in _PATHS if keys.ANY not in path]))
        environ[environment.variable_of(path)] = str(draw(VALUES)).encode(errors="replace").decode().replace("\0", "0")
    return Input(files, command, environ)


def _inputs_of_rules(draw: st.DrawFn) -> Input:
    alerting = {"rule_files": ["rules.yml"], "rules": {"Mine": {"severity": "warning", "for": "5m"}}}
    files = {
        f"{FOLDER}/obsctl.yaml": as_json(
            {**SOUND, "alerting": alerting if draw(st.booleans()) else {"rule_files": ["*.yml"]}}
        ),
        f"{FOLDER}/rules.yml": draw(written(draw(changed(draw(st.sampled_from(_RULES)), 4)))),
    }
    return Input(files, draw(st.sampled_from([("validate",), ("render",)])), {})


def _inputs_of_dashboards(draw: st.DrawFn) -> Input:
    board = draw(changed(draw(st.sampled_from(_BOARDS)), 4))
    content = draw(torn(as_json(board))) if draw(st.integers(0, 4)) == 0 else as_json(board)
    files = {f"{FOLDER}/obsctl.yaml": as_json(SOUND), f"{FOLDER}/dashboards/mine/board.json": content}
    return Input(files, draw(st.sampled_from([("dashboards", "lint"), ("dashboards", "list"), ("validate",)])), {})


@cache
def _journal() -> tuple[Record, ...]:
    """That of a drill that was proven."""
    with tempfile.TemporaryDirectory() as folder:
        world = DrillWorld(Path(folder))
        world.run()
        return tuple(world.on_disk())


def _chained(facts: list[tuple[str, Any]]) -> bytes:
    """A journal with these records, each with the hash of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder), "drill", clock=FakeClock())
        for kind, data in facts:
            with contextlib.suppress(TypeError):
                journal.append(kind, **data)
        journal.close()
        return journal.path.read_bytes()


def _inputs_of_journals(draw: st.DrawFn) -> Input:
    records = [record.data for record in _journal()]
    kinds = [record.kind for record in _journal()]
    facts = draw(changed(records, 4))
    if isinstance(facts, list) and draw(st.integers(0, 3)):
        content = _chained([(kind, data) for kind, data in zip(kinds, facts, strict=False) if isinstance(data, dict)])
    else:
        content = draw(torn(b"".join(record.line().encode() + b"\n" for record in _journal())))
    files = {f"{FOLDER}/obsctl.yaml": as_json(SOUND), "state/obsctl/drills/obs/20260101-stop-web.jsonl": content}
    return Input(files, draw(st.sampled_from([("drill", "report", "last"), ("--json", "drill", "report", "last")])), {})


def _inputs_of_lock(draw: st.DrawFn) -> Input:
    lock = {"images": {"prom/prometheus:v3.14.0": "sha256:" + "1" * 64, "a": "sha256:" + "2" * 64}}
    files = {
        f"{FOLDER}/obsctl.yaml": as_json({"driver": "docker"}),
        f"{FOLDER}/obsctl.lock.yaml": draw(written(draw(changed(lock, 4)))),
    }
    return Input(files, draw(st.sampled_from([("render",), ("validate",), ("--json", "validate")])), {})


def _inputs_of_state(draw: st.DrawFn) -> Input:
    ports = {name: 20000 + number for number, name in enumerate(_PORTS)}
    cluster = {"schema": "obsctl/dev-cluster/v1", "ports": ports}
    machines = {"clients": 2, "network": "10.9.8.0/24"}
    files = {
        f"{FOLDER}/obsctl.yaml": as_json(SOUND),
        "state/obsctl/dev/cluster.json": draw(written(draw(changed(cluster, 3)))),
        **draw(st.sampled_from([{}, {"state/obsctl/dev/machines.json": draw(written(draw(changed(machines, 2))))}])),
    }
    for agent in ("consul", "nomad-server", "nomad-client"):
        process = draw(changed({"pid": os.getpid(), "started": 1.0e9}, 2))
        files[f"state/obsctl/dev/run/{agent}.json"] = draw(written(process))
    files["state/obsctl/dev/logs/consul.log"] = draw(st.binary(max_size=50))
    return Input(
        files,
        draw(st.sampled_from([("dev", "status"), ("dev", "env"), ("dev", "logs"), ("--json", "dev", "status")])),
        {},
    )


INPUTS: dict[str, Callable[[st.DrawFn], Input]] = {
    "configuration": _inputs_of_configuration,
    "rules": _inputs_of_rules,
    "dashboards": _inputs_of_dashboards,
    "journals": _inputs_of_journals,
    "lock": _inputs_of_lock,
    "state": _inputs_of_state,
}


def inputs(kind: str) -> st.SearchStrategy[Input]:
    return st.composite(INPUTS[kind])()
