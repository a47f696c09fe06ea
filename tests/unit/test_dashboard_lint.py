"""Each fault of a dashboard is found and named; the shipped ones have none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from obsctl.cli.root import cli
from obsctl.content import dashboards
from obsctl.content.dashboard_lint import lint
from obsctl.content.dashboards import Dashboard
from obsctl.errors import ObsctlError
from obsctl.model import Json, Severity
from tests.world import NOWHERE

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GOOD: Json = {
    "uid": "shop",
    "title": "Shop",
    "tags": ["shop"],
    "schemaVersion": 41,
    "editable": False,
    "refresh": "30s",
    "templating": {
        "list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus"},
            {"name": "logs", "type": "datasource", "query": "victoriametrics-logs-datasource"},
            {"name": "till", "type": "query", "datasource": SOURCE},
        ]
    },
    "annotations": {"list": [{"name": "Built in", "builtIn": 1, "datasource": {"uid": "-- Grafana --"}}]},
    "panels": [
        {
            "id": 1,
            "type": "timeseries",
            "title": "Sales",
            "description": "What is sold.",
            "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
            "datasource": SOURCE,
            "fieldConfig": {"defaults": {"unit": "short"}},
            "links": [{"url": "/d/other?var-till=$till"}],
            "targets": [
                {
                    "refId": "A",
                    "expr": 'sum(rate(sales_total{job="shop", till=~"$till"}[$__rate_interval]))',
                    "legendFormat": "x",
                }
            ],
        },
        {
            "id": 2,
            "type": "row",
            "title": "More",
            "gridPos": {"x": 0, "y": 8, "w": 24, "h": 1},
            "panels": [
                {
                    "id": 3,
                    "type": "logs",
                    "title": "Lines",
                    "description": "What is said.",
                    "gridPos": {"x": 0, "y": 9, "w": 24, "h": 8},
                    "datasource": {"type": "victoriametrics-logs-datasource", "uid": "${logs}"},
                    "targets": [{"refId": "A", "expr": 'service.name:="shop" "[x _time:"', "queryType": "instant"}],
                }
            ],
        },
    ],
}


def findings(document: Json, uid: str = "shop") -> dict[str, Severity]:
    """What the linter says of it, each with how much it matters."""
    others = Dashboard(uid="other", folder="", text=json.dumps({**GOOD, "uid": "other"}), path=Path("other.json"))
    found = lint([Dashboard(uid=uid, folder="", text=json.dumps(document), path=Path(f"{uid}.json")), others])
    assert all(finding.where.startswith(f"{uid}.json") and finding.hint for finding in found)
    assert not any(finding.where.endswith(": ") for finding in found)
    return {
        f"{finding.where.removeprefix(f'{uid}.json').removeprefix(': ')}: {finding.what}": finding.severity
        for finding in found
    }


def changed(change: Callable[[Json], Any]) -> Json:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def panel(**keys: Any) -> Json:
    return changed(lambda document: document["panels"][0].update(keys))


def query(expr: str, **keys: Any) -> Json:
    return changed(lambda document: document["panels"][0]["targets"][0].update({"expr": expr, **keys}))


def logs(expr: str, kind: str | None = "instant") -> Json:
    asked = {"refId": "A", "expr": expr, "queryType": kind}
    return changed(lambda document: document["panels"][1]["panels"][0].update(targets=[asked]))


def test_what_is_good_has_no_findings() -> None:
    assert findings(GOOD) == {}


def test_the_shipped_ones_have_none() -> None:
    assert lint(dashboards.load(NOWHERE)) == []


ERRORS: dict[str, tuple[Json, str]] = {
    "uid": ({**GOOD, "uid": "till"}, "uid: is 'till'"),
    "title": ({**GOOD, "title": ""}, "title: is missing"),
    "schema version": ({**GOOD, "schemaVersion": 42}, "schemaVersion: is 42"),
    "v2": ({**GOOD, "elements": {}}, ": is in the v2 format, which Grafana 13 does not load from files"),
    "for sharing": ({**GOOD, "__inputs": []}, "__inputs: are filled in by an import by hand only"),
    "an id twice": (changed(lambda one: one["panels"][1].update(id=1)), "panels: the id 1 is not the id of one panel"),
    "no id": (changed(lambda one: one["panels"][0].pop("id")), "panels: the id None is not the id of one panel"),
    "too wide": (panel(gridPos={"x": 13, "y": 0, "w": 12, "h": 8}), 'panel "Sales": its gridPos leaves the 24 columns'),
    "no place": (panel(gridPos=None), 'panel "Sales": its gridPos leaves the 24 columns'),
    "overlap": (panel(gridPos={"x": 0, "y": 1, "w": 12, "h": 8}), 'panel "Sales": lies over panel "More"'),
    "no panel title": (panel(title=""), 'panel "1": has no title'),
    "removed type": (panel(type="graph"), 'panel "Sales": is of the type graph, which Grafana no longer has'),
    "no query": (panel(targets=[]), 'panel "Sales": has no query'),
    "refId twice": (
        changed(lambda one: one["panels"][0]["targets"].append(one["panels"][0]["targets"][0])),
        'panel "Sales": two queries are A',
    ),
    "fixed datasource": (panel(datasource={"uid": "abc"}), 'panel "Sales", query A: its datasource is not a variable'),
    "datasource by name": (panel(datasource="Prometheus"), 'panel "Sales", query A: its datasource is not a variable'),
    "annotation": (
        changed(lambda one: one["annotations"]["list"].append({"name": "Alerts"})),
        "annotation Alerts: its datasource is not a variable",
    ),
    "variable": (
        changed(lambda one: one["templating"]["list"][2].pop("datasource")),
        "variable till: its datasource is not a variable",
    ),
    "unknown variable": (query('up{job="$shop"}'), 'panel "Sales", query A: there is no variable shop'),
    "no PromQL": (query("sum(up"), 'panel "Sales", query A: unclosed left parenthesis'),
    "no LogsQL": (logs(""), 'panel "Lines", query A: has an empty query'),
    "no kind of log query": (logs("*", "range"), 'panel "Lines", query A: its queryType is \'range\''),
    "no number": (logs("* | sort by (x)", "stats"), 'panel "Lines", query A: counts nothing'),
    "no number over time": (logs('"| stats"', "statsRange"), 'panel "Lines", query A: counts nothing'),
    "dead link": (panel(links=[{"url": "/d/nowhere"}]), ": links to a dashboard nowhere, which does not exist"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "said"), ERRORS.values(), ids=ERRORS)
def test_what_would_not_work_is_an_error(document: Json, said: str) -> None:
    found = findings(document)
    assert found.get(said.removeprefix(": ") if said not in found else said) == Severity.ERROR, found


WARNINGS: dict[str, tuple[Json, str]] = {
    "id": ({**GOOD, "id": 7}, "id: belongs to the Grafana that it was exported from"),
    "editable": ({**GOOD, "editable": True}, "editable: is not false"),
    "tags": ({**GOOD, "tags": []}, "tags: are missing"),
    "refresh": ({**GOOD, "refresh": "5s"}, "refresh: is '5s'"),
    "title twice": (
        changed(lambda one: one["panels"][1]["panels"][0].update(title="Sales")),
        'panel "Sales": 2 panels have this title',
    ),
    "description": (panel(description=""), 'panel "Sales": has no description'),
    "unit": (panel(fieldConfig={"defaults": {}}), 'panel "Sales": has no unit'),
    "legend": (query('up{job="shop"}', legendFormat=""), 'panel "Sales", query A: its series have no names'),
    "window": (query('rate(x_total{job="shop"}[5m])'), 'panel "Sales", query A: has a fixed window, [5m]'),
    "time range": (logs("_time:5m error"), 'panel "Lines", query A: has a time range of its own'),
    "every job": (query("max(sales)"), 'panel "Sales", query A: sales is read from every job'),
    "counter": (query('x_total{job="shop"}'), 'panel "Sales", query A: x_total is a counter and is shown as it grows'),
    "counter in max": (
        query('max_over_time(x_total{job="shop"}[$__range])'),
        'panel "Sales", query A: x_total is a counter and is shown as it grows',
    ),
}


@pytest.mark.parametrize(("document", "said"), WARNINGS.values(), ids=WARNINGS)
def test_what_works_but_is_a_trap_is_a_warning(document: Json, said: str) -> None:
    assert findings(document) == {said: Severity.WARNING}


@pytest.mark.parametrize(
    "expr",
    [
        'count(up == 0) or vector(0)',
        'ALERTS{alertstate="firing"}',
        'rate(calls_total{service_name="$till"}[$__rate_interval])',
        'rate({__name__=~"x_total|y_total", job="shop"}[$__range])',
        'nomad_client_host_memory_total{job="nomad"}',
        '-(sum(rate(x_bucket{job="[5m]"}[$__rate_interval])))',
    ],
)  # fmt: skip
def test_what_only_looks_wrong_is_let_through(expr: str) -> None:
    assert findings(query(expr)) == {}


@pytest.mark.parametrize("expr", ["* | stats count() n", "*|count() n | sort by (n)", "* | by (x) sum(y) | limit 3"])
def test_a_query_that_counts_is_let_through(expr: str) -> None:
    assert findings(logs(expr, "statsRange")) == {}


@pytest.mark.parametrize("refresh", ["", "10s", "1m", "2h"])
def test_a_calm_refresh_is_let_through(refresh: str) -> None:
    assert findings({**GOOD, "refresh": refresh}) == {}


@pytest.mark.parametrize(
    "document",
    [{}, {"panels": 1}, {"panels": [1, {"gridPos": [], "targets": {}, "fieldConfig": 3, "datasource": []}]},
     {"templating": [], "annotations": {"list": [3]}, "panels": [{"type": "row", "panels": "x"}]},
     {"panels": [{"id": {}, "targets": [{"refId": [], "expr": 5}]}]}],
)  # fmt: skip
def test_a_file_of_any_shape_gets_findings_and_no_traceback(document: Json) -> None:
    assert Severity.ERROR in findings(document).values()


def obsctl(folder: Path, *arguments: str) -> Result:
    (folder / "obsctl.yaml").write_text("stack: obs\n")
    return CliRunner().invoke(cli, ["-c", str(folder / "obsctl.yaml"), *arguments], standalone_mode=False)


def write(folder: Path, document: Json) -> Path:
    path = folder / "dashboards/Shop/shop.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**document, "panels": []}))
    return path


def test_list_shows_own_ones_beside_the_shipped(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    shown = obsctl(tmp_path, "dashboards", "list").stdout
    assert f"shop                     Shop              Shop      {path}" in shown
    assert "obsctl-overview          Stack overview    Stack" in shown


def test_list_as_json(tmp_path: Path) -> None:
    listed = json.loads(obsctl(tmp_path, "--json", "dashboards", "list").stdout)
    assert listed["schema"] == "obsctl/dashboards/v1"
    assert {one["folder"] for one in listed["dashboards"]} == {"Stack", "Cluster", "Services"}


def test_lint_says_what_is_wrong_where_and_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "uid": "till"})
    ended = obsctl(tmp_path, "dashboards", "lint")
    assert ended.return_value == 1
    assert f"✗ {path}: uid: is 'till'" in ended.stderr
    assert "make it 'shop', as the file is named" in ended.stderr
    assert "1 errors, 0 warnings" in ended.stdout


def test_a_warning_fails_it_only_when_it_is_strict(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "tags": []})
    assert obsctl(tmp_path, "dashboards", "lint").return_value == 0
    assert obsctl(tmp_path, "dashboards", "lint", "--strict").return_value == 1


def test_validate_stops_at_an_error_of_a_dashboard_and_not_at_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "tags": []})
    assert obsctl(tmp_path, "validate").exception is None

    path.write_text(json.dumps({**GOOD, "uid": "till"}))
    error = obsctl(tmp_path, "validate").exception

    assert isinstance(error, ObsctlError)
    assert f"{path}: uid: is 'till'" in error.message


def test_the_two_services_are_shown_alike() -> None:
    """One is a copy of the other with two constants changed; hello-service has its calls in addition."""
    one, other = (
        {one["title"]: one for one in board.panels} for board in dashboards.load(NOWHERE) if board.folder == "Services"
    )
    shared = [title for title in other if title in one]
    assert len(shared) == len(other)
    for title in shared:
        drop = {"id", "gridPos"}
        assert {k: v for k, v in one[title].items() if k not in drop} == {
            k: v for k, v in other[title].items() if k not in drop
        }
