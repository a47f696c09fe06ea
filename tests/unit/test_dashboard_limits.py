"""Whatever a file of a dashboard holds, it ends in findings or in one sentence, and soon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from obsctl import names
from obsctl.content import dashboards
from obsctl.content.dashboard_lint import lint
from obsctl.content.dashboards import Dashboard
from obsctl.errors import ObsctlError
from obsctl.model import Json
from tests.dashboards import GOOD, changed, query

KEYS = [
    "annotations", "apiVersion", "dashboard", "datasource", "defaults", "elements", "excludeByName", "expr", "format",
    "fieldConfig", "gridPos", "h", "hide", "id", "indexByName", "libraryPanel", "links", "list", "matcher", "name",
    "options", "overrides", "panels", "properties", "query", "queryType", "reduceOptions", "refId", "refresh", "rows",
    "schemaVersion", "spec", "tags", "targets", "templating", "title", "transformations", "type", "uid", "w", "x", "y",
    "__inputs",
]  # fmt: skip
WORDS = some.sampled_from(
    ["A", "x" * 1000, "prometheus", "${datasource}", "table", "timeseries", "bargauge", "row", "datasource", "custom",
     "organize", "victorialogs", "__expr__", "sum(up", "$x[$x] offset $x", "byRegexp", "/d/x", "5s", "\ud800"]
)  # fmt: skip
NUMBERS = some.one_of(
    some.integers(-5, 50), some.sampled_from([10**400, -(10**400), 1e308, 0.1]), some.floats(allow_nan=False)
)
VALUES = some.recursive(
    some.one_of(some.none(), some.booleans(), NUMBERS, WORDS, some.text(max_size=5)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=4), some.dictionaries(some.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=40,
)


def board(document: Json) -> Dashboard:
    return Dashboard(uid="shop", folder="", text=json.dumps(document), path=Path("shop.json"))


@given(some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=10))
@settings(max_examples=100, deadline=None)
def test_values_of_every_type_in_every_place_end_in_findings(document: Json) -> None:
    for finding in lint([board(document)]):
        assert 0 < len(finding.what) < 400
        assert len(finding.where) < 400


@given(
    some.sampled_from(["panels", "templating", "annotations", "schemaVersion", "refresh", "uid", "tags", "id"]), VALUES
)
@settings(max_examples=60, deadline=None)
def test_so_does_one_strange_value_in_a_real_one(key: str, value: Any) -> None:
    lint([board({**GOOD, key: value})])


def panels(make: Callable[[int], Json], count: int) -> Json:
    return {**GOOD, "panels": [make(number) for number in range(count)]}


def targets(expr: str, count: int) -> Json:
    return changed(lambda one: one["panels"][0].update(targets=[{"expr": expr, "refId": str(n)} for n in range(count)]))


LARGE: dict[str, Json] = {
    "panels over each other": panels(lambda n: {"gridPos": {"x": 0, "y": 0, "w": 1, "h": 10**9}}, 10_000),
    "panels beside each other": panels(lambda n: {"gridPos": {"x": n % 24, "y": n // 24, "w": 1, "h": 1}}, 9_000),
    "links": query("up" + "/d/" * 100_000, description="/d/" + "x" * 200_000 + "$"),
    "quotes": targets('"\\"' * 1_600, 80),
    "brackets": targets("(" * 9_000, 50),
    "windows": targets("[" * 9_000, 50),
    "variables": targets("$a${a.b" * 700, 80),
    "nested": targets("(" * 240 + "$till" + ")" * 240, 600),
    "a sum": targets("+".join(["up"] * 1_200), 80),
    "offsets": targets("offset   $till " * 600, 50),
    "names": {**GOOD, "templating": {"list": [{"name": "v", "type": "custom", "query": "," * 50}] * 3_000}},
}  # fmt: skip


@pytest.mark.parametrize("document", LARGE.values(), ids=LARGE)
def test_a_large_one_is_looked_at_in_seconds(document: Json) -> None:
    large = board(document)
    assert len(large.text) < 1.5 * names.CONSUL_VALUE_BYTES, "such a file is refused before"
    begun = time.process_time()
    lint([large])
    assert time.process_time() - begun < 10


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "dashboards").mkdir()
    os.mkfifo(tmp_path / "dashboards/shop.json")
    with pytest.raises(ObsctlError, match=r"shop[.]json is not a dashboard"):
        dashboards.load(tmp_path)
