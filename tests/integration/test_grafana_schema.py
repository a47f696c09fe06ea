"""What Grafana reads fits Grafana's own types: the compiler of TypeScript checks it against @grafana/schema."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from obsctl.content import dashboards
from obsctl.model import Json
from tests.world import NOWHERE, grafana_datasources

# One worker compiles it all, once.
pytestmark = [pytest.mark.xdist_group("grafana-schema"), pytest.mark.timeout(300)]

TYPES = Path(__file__).parents[1] / "grafana_schema"
SHIPPED = {board.uid: board.document for board in dashboards.load(NOWHERE)}


def panel(document: Json, kind: str) -> Json:
    return next(one for one in document["panels"] if one["type"] == kind)


def broken(change: Callable[[Json], Any], uid: str = "obsctl-overview") -> Json:
    document = copy.deepcopy(SHIPPED[uid])
    change(document)
    return document


# Each is a shipped dashboard with one fault, and what of it the compiler must name.
WRONG: dict[str, tuple[Json, str]] = {
    "no-uid": (broken(lambda one: one.pop("uid")), "uid"),
    "a-text-for-a-number": (broken(lambda one: one.update(schemaVersion="41")), "not assignable to type 'number'"),
    "no-such-key": (broken(lambda one: one.update(refreshh="30s")), "refreshh"),
    "no-such-enum-value": (broken(lambda one: one.update(graphTooltip=7)), "'7' is not assignable to type '0 | 1 | 2"),
    "no-such-panel-type": (broken(lambda one: panel(one, "stat").update(type="singlestat")), "singlestat"),
    "no-such-option": (broken(lambda one: panel(one, "table")["options"].update(showHeadr=True)), "showHeadr"),
    "no-such-value-of-an-option": (
        broken(lambda one: panel(one, "stat")["options"].update(colorMode="backgruond")),
        "backgruond",
    ),
    "no-such-field-option": (
        broken(lambda one: panel(one, "timeseries")["fieldConfig"]["defaults"]["custom"].update(drawStyle="lines")),
        "lines",
    ),
    "no-such-field-config": (
        broken(lambda one: panel(one, "timeseries")["fieldConfig"]["defaults"].update(unitt="s")),
        "unitt",
    ),
    "no-refid": (broken(lambda one: panel(one, "stat")["targets"][0].pop("refId")), "refId"),
    "no-description": (broken(lambda one: panel(one, "stat").pop("description")), "description"),
    "a-log-query-without-expr": (
        broken(lambda one: panel(one, "logs")["targets"][0].pop("expr"), "obsctl-logs"),
        "expr",
    ),
    "a-log-query-of-no-kind": (
        broken(lambda one: panel(one, "bargauge")["targets"][0].update(queryType="range"), "obsctl-logs"),
        "victoriametrics-logs-datasource",
    ),
    "the-query-of-another-source": (
        broken(lambda one: panel(one, "logs")["targets"][0].update(exemplar=True), "obsctl-logs"),
        "exemplar",
    ),
}  # fmt: skip


WRONG_DATASOURCES: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no-such-way-of-access": (lambda one: one.update(access="direct"), "direct"),
    "no-url": (lambda one: one.pop("url"), "url"),
    "a-text-for-a-switch": (lambda one: one["jsonData"].update(manageAlerts="yes"), "boolean"),
    "no-such-key": (lambda one: one.update(isdefault=True), "isdefault"),
}


def broken_datasource(change: Callable[[Json], Any]) -> Json:
    document = grafana_datasources()
    change(document["datasources"][0])
    return document


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File checked -> what the compiler says of it; nothing for one that fits."""
    folder = tmp_path_factory.mktemp("grafana-schema")
    shutil.copytree(TYPES, folder, dirs_exist_ok=True)
    if shutil.which("npm") is None:
        pytest.fail("this test needs Node.js with npm. On Debian: apt-get install nodejs npm")
    run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    boards = {**SHIPPED, **{f"wrong-{name}": document for name, (document, _) in WRONG.items()}}
    for name, document in boards.items():
        write(folder / "checked" / f"{name}.ts", "Dashboard", "dashboard", document)
    wrong = {f"datasources-{name}": broken_datasource(change) for name, (change, _) in WRONG_DATASOURCES.items()}
    sources = {"datasources": grafana_datasources(), **wrong}
    for name, document in sources.items():
        write(folder / "checked" / f"{name}.ts", "Datasources", "provisioning", document)
    checked = [*boards, *sources]
    ended = subprocess.run(
        ["node_modules/.bin/tsc", "--pretty", "false"], cwd=folder, capture_output=True, text=True, check=False
    )
    said = dict(by_file(ended.stdout))
    assert set(said) <= set(checked), "the types themselves do not compile"
    assert bool(said) == bool(ended.returncode), ended.stderr
    return {name: said.get(name, "") for name in checked}


def write(path: Path, type_: str, module: str, document: Json) -> None:
    """A TypeScript file that says: this document is of that type. JSON is a literal there, so no key goes unseen."""
    path.parent.mkdir(exist_ok=True)
    literal = json.dumps(document, indent=1)
    imported = f"import type {{ {type_} }} from '../{module}';"
    path.write_text(f"{imported}\nexport const file: {type_} = {literal};\n", encoding="utf-8")


def run(folder: Path, *command: str) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def by_file(said: str) -> Iterator[tuple[str, str]]:
    """Each error begins with its file; what is indented below belongs to it."""
    parts = re.split(r"^(?:checked/)?([\w-]+)\.ts\(\d+,\d+\): ", said, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, words in zip(parts[1::2], parts[2::2], strict=True):
        found[name] = found.get(name, "") + words
    yield from found.items()


@pytest.mark.parametrize("uid", SHIPPED)
def test_a_dashboard_fits_grafanas_types(uid: str, faults: dict[str, str]) -> None:
    assert faults[uid] == ""


def test_the_datasources_fit_grafanas_types(faults: dict[str, str]) -> None:
    assert faults["datasources"] == ""


@pytest.mark.parametrize("name", WRONG_DATASOURCES)
def test_the_compiler_refuses_datasources_that_do_not_fit(name: str, faults: dict[str, str]) -> None:
    assert WRONG_DATASOURCES[name][1] in faults[f"datasources-{name}"]


@pytest.mark.parametrize("name", WRONG)
def test_the_compiler_refuses_what_does_not_fit(name: str, faults: dict[str, str]) -> None:
    assert WRONG[name][1] in faults[f"wrong-{name}"]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((TYPES / "package-lock.json").read_text())
    wanted = json.loads((TYPES / "package.json").read_text())["devDependencies"]
    locked = {name.removeprefix("node_modules/"): one for name, one in lock["packages"].items() if name}
    assert {name: one["version"] for name, one in locked.items()} == wanted
    assert all(one["integrity"] and "resolved" not in one for one in locked.values())
