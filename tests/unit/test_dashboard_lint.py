"""Each fault of a dashboard is found and named; the shipped ones have none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from obsctl.cli.root import cli
from obsctl.content import dashboards
from obsctl.content.dashboard_lint import lint
from obsctl.content.dashboards import Dashboard
from obsctl.errors import ObsctlError
from obsctl.model import Json, Severity
from tests.dashboards import GOOD, OVER, SOURCE, changed, findings, logs, panel, query
from tests.world import NOWHERE


def test_what_is_good_has_no_findings() -> None:
    assert findings(GOOD) == {}


def test_the_shipped_ones_have_none() -> None:
    assert lint(dashboards.load(NOWHERE)) == []


ERRORS: dict[str, tuple[Json, str]] = {
    "uid with a space": ({**GOOD, "uid": "my shop"}, "uid: is 'my shop'"),
    "long uid": ({**GOOD, "uid": "x" * 41}, f"uid: is '{'x' * 41}'"),
    "title": ({**GOOD, "title": ""}, "title: is missing"),
    "no text as title": ({**GOOD, "title": {"a": 1}}, "title: is missing"),
    "no list of panels": ({**GOOD, "panels": {"a": 1}}, "panels: is {'a': 1}, not a list"),
    "v2": ({**GOOD, "elements": {}}, "is in the v2 format, which Grafana 13 does not load from files"),
    "v2 of the API": (
        {"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "spec": {"elements": {}, "layout": {}}},
        "is in the v2 format, which Grafana 13 does not load from files",
    ),
    "resource": (
        {"apiVersion": "dashboard.grafana.app/v1beta1", "metadata": {"name": "shop"}, "spec": GOOD},
        "is a resource of Kubernetes (dashboard.grafana.app/v1beta1), with the dashboard below spec",
    ),
    "answer of the API": (
        {"dashboard": GOOD, "meta": {"slug": "shop"}},
        "is what Grafana's API sends and takes, with the dashboard below the key dashboard",
    ),
    "for sharing": (
        {**panel(datasource={"uid": "${DS_PROM}"}), "__inputs": [{"name": "DS_PROM", "type": "datasource"}]},
        "__inputs: DS_PROM has a value only after an import by hand",
    ),
    "datasource of no variable": (
        panel(datasource={"uid": "$source"}),
        'panel "Sales", query A: its datasource is $source, and there is no such variable',
    ),
    "unknown variable": (query('topk($limit, up{job="shop"})'), 'panel "Sales", query A: there is no variable limit'),
    "other words than PromQL's": (query('up{job="shop"} of till'), 'panel "Sales", query A: invalid promql query'),
    "no PromQL": (query("sum(up"), 'panel "Sales", query A: unclosed left parenthesis'),
    "no number": (logs("* | sort by (x)", "stats"), 'panel "Lines", query A: counts nothing'),
    "no number over time": (logs('"| stats"', "statsRange"), 'panel "Lines", query A: counts nothing'),
}  # fmt: skip


@pytest.mark.parametrize(("document", "said"), ERRORS.values(), ids=ERRORS)
def test_what_would_not_work_is_an_error(document: Json, said: str) -> None:
    assert findings(document).get(said) == Severity.ERROR, findings(document)


WARNINGS: dict[str, tuple[Json, str]] = {
    "uid": ({**GOOD, "uid": "till"}, "uid: is 'till'"),
    "no uid": ({**GOOD, "uid": None}, "uid: is None"),
    "old schema version": ({**GOOD, "schemaVersion": 16}, "schemaVersion: is 16, not 39 to 42"),
    "new schema version": ({**GOOD, "schemaVersion": 43}, "schemaVersion: is 43, not 39 to 42"),
    "id": ({**GOOD, "id": 7}, "id: belongs to the Grafana that it was exported from"),
    "editable": ({**GOOD, "editable": True}, "editable: is not false"),
    "tags": ({**GOOD, "tags": []}, "tags: are missing"),
    "refresh": ({**GOOD, "refresh": "5s"}, "refresh: is '5s'"),
    "an id twice": (
        changed(lambda one: one["panels"][1].update(id=1)),
        "panels: the id '1' is not the id of one panel",
    ),
    "no id": (changed(lambda one: one["panels"][0].pop("id")), "panels: the id 'None' is not the id of one panel"),
    "too wide": (panel(gridPos={"x": 13, "y": 0, "w": 12, "h": 8}), 'panel "Sales": its gridPos leaves the 24 columns'),
    "no place": (panel(gridPos=None), 'panel "Sales": its gridPos leaves the 24 columns'),
    "overlap": (
        changed(lambda one: one["panels"].append({**one["panels"][0], "id": 4, "title": "Till", "gridPos": OVER})),
        'panel "Till": lies over panel "Sales"',
    ),
    "title twice": (
        changed(lambda one: one["panels"][1]["panels"][0].update(title="Sales")),
        'panel "Sales": 2 panels have this title',
    ),
    "no panel title": (panel(title=""), 'panel "1": has no title'),
    "description": (panel(description=""), 'panel "Sales": has no description'),
    "unit": (panel(fieldConfig={"defaults": {}}), 'panel "Sales": has no unit'),
    "old type": (panel(type="graph"), 'panel "Sales": is of the type graph, of which Grafana makes timeseries'),
    "type of a plugin": (
        panel(type="grafana-clock-panel", targets=[]),
        'panel "Sales": is of the type \'grafana-clock-panel\', which a plugin brings',
    ),
    "library panel": (panel(libraryPanel={"uid": "x"}), 'panel "Sales": is a library panel'),
    "no query": (panel(targets=[]), 'panel "Sales": has no query, and shows no data'),
    "query switched off": (query("sum(up", hide=True), 'panel "Sales": has no query, and shows no data'),
    "empty query": (query(" "), 'panel "Sales", query A: has an empty query, and shows no data'),
    "refId twice": (
        changed(lambda one: one["panels"][0]["targets"].append(one["panels"][0]["targets"][0])),
        'panel "Sales": two queries are A, of which one is shown',
    ),
    "datasource by uid": (
        panel(datasource={"type": "prometheus", "uid": "prometheus"}),
        'panel "Sales", query A: its datasource is prometheus, not a variable',
    ),
    "datasource by name": (
        panel(datasource="Prometheus"),
        'panel "Sales", query A: its datasource is Prometheus, not a variable',
    ),
    "another's datasource": (
        panel(datasource={"type": "prometheus", "uid": "P18"}),
        'panel "Sales", query A: its datasource is P18, which is none of this stack',
    ),
    "the default datasource": (
        changed(lambda one: one["annotations"]["list"].append({"name": "Alerts"})),
        "annotation Alerts: its datasource is the default one, not a variable",
    ),
    "a datasource in many places": (
        changed(lambda one: [each.pop("datasource") for each in (one["panels"][0], one["templating"]["list"][2])]),
        "variable till and 1 more: its datasource is the default one, not a variable",
    ),
    "datasources of others": (
        changed(lambda one: one["templating"]["list"].append({"name": "l", "type": "datasource", "query": "loki"})),
        "variable l: offers datasources of the type loki, of which this stack has none",
    ),
    "a dollar in a text": (
        query('up{class="Shop$Till"}'),
        'panel "Sales", query A: $Till is no variable of this dashboard, and is taken as it stands',
    ),
    "newer PromQL": (
        query('tomorrow(up{job="shop"})'),
        "panel \"Sales\", query A: cannot be read here: unknown function with name 'tomorrow'",
    ),
    "PromQL of a variable": (
        query('up{job="shop"} $till $till $till'),
        "panel \"Sales\", query A: cannot be read here: invalid promql query",
    ),
    "legend": (query('up{job="shop"}', legendFormat=""), 'panel "Sales", query A: its series have no names'),
    "window": (query('rate(x_total{job="shop"}[5m])'), 'panel "Sales", query A: has a fixed window, [5m]'),
    "no LogsQL": (logs(""), 'panel "Lines", query A: has an empty query, and shows no data'),
    "no kind of log query": (
        logs("*", "range"),
        "panel \"Lines\", query A: its queryType is 'range', which the plugin takes for instant",
    ),
    "perhaps no number": (logs("* ${till}", "stats"), 'panel "Lines", query A: counts nothing'),
    "time range": (logs("_time:5m error"), 'panel "Lines", query A: has a time range of its own'),
    "every job": (query("max(sales)"), 'panel "Sales", query A: sales is read from every job'),
    "counter": (query('x_total{job="shop"}'), 'panel "Sales", query A: x_total is a counter and is shown as it grows'),
    "counter in max": (
        query('max_over_time(x_total{job="shop"}[$__range])'),
        'panel "Sales", query A: x_total is a counter and is shown as it grows',
    ),
    "dead link": (panel(links=[{"url": "/d/nowhere?x=1"}]), "links to a dashboard nowhere, which is none of these"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "said"), WARNINGS.values(), ids=WARNINGS)
def test_what_works_but_is_a_trap_or_cannot_be_seen_from_here_is_a_warning(document: Json, said: str) -> None:
    assert findings(document) == {said: Severity.WARNING}


@pytest.mark.parametrize("key", ["uid", "title"])
def test_of_two_dashboards_of_one_name_grafana_takes_neither(key: str) -> None:
    """And from then on no change of any other, because its provider may no longer write."""
    boards = [
        Dashboard(
            uid=name, folder="Shop", text=json.dumps({**GOOD, "uid": name, "title": name, key: "twin"}), path=Path(name)
        )
        for name in ("a", "b")
    ]
    [twin] = [finding for finding in lint(boards) if finding.severity is Severity.ERROR]
    assert (twin.where, twin.what) == (
        f"b: {key}",
        "is 'twin', as in a: Grafana then takes no change of any dashboard",
    )


def test_in_folders_of_their_own_two_dashboards_may_have_one_title() -> None:
    boards = [
        Dashboard(uid=name, folder=name, text=json.dumps({**GOOD, "uid": name}), path=Path(name)) for name in ("a", "b")
    ]
    assert [finding for finding in lint(boards) if finding.severity is Severity.ERROR] == []


TABLE: Json = {
    "type": "table",
    "gridPos": {"x": 0, "y": 0, "w": 10, "h": 8},
    "targets": [{"refId": "A", "expr": 'max by (a, b, c) (up{job="shop"})', "format": "table", "instant": True}],
    "transformations": [
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {"Time": 0, "a": 1, "b": 2, "c": 3, "d": 4, "Value": 5},
                "renameByName": {"a": "Name", "Value": "Up"},
            },
        }
    ],
}  # fmt: skip


def narrow(*matchers: Json) -> Json:
    width = {"id": "custom.width", "value": 60}
    overrides = [{"matcher": matcher, "properties": [width]} for matcher in matchers]
    return {"fieldConfig": {"defaults": {"unit": "short"}, "overrides": overrides}}


def test_columns_that_do_not_fit_are_counted() -> None:
    said = "its columns take 750 pixels of the 642 that a screen of 1600 has for it"
    assert findings(panel(**TABLE)) == {f'panel "Sales": {said}': Severity.WARNING}
    fixed = {"unit": "short", "custom": {"width": 70}}
    for fitting in (
        narrow({"id": "byRegexp", "options": "Up|d"}),
        narrow({"id": "byName", "options": "Name"}, {"id": "byName", "options": "Up"}),
        {"fieldConfig": {"defaults": fixed}},
        {"gridPos": {"x": 0, "y": 0, "w": 12, "h": 8}},
        {"transformations": []},
    ):
        assert findings(panel(**{**TABLE, **fitting})) == {}


def test_the_words_for_nothing_never_show_beside_columns_of_two_queries() -> None:
    config = {"fieldConfig": {"defaults": {"unit": "short", "noValue": "All is well"}}, "transformations": []}
    assert findings(panel(**{**TABLE, **config})) == {}
    twice = [*TABLE["targets"], {**TABLE["targets"][0], "refId": "B"}]
    said = "never shows its noValue: two table queries give columns even without rows"
    assert findings(panel(**{**TABLE, **config, "targets": twice})) == {f'panel "Sales": {said}': Severity.WARNING}


def test_bars_are_of_series_or_of_rows() -> None:
    bars = {**TABLE, "type": "bargauge", "transformations": []}
    assert findings(panel(**bars)) == {'panel "Sales": shows one number of a whole table': Severity.WARNING}
    assert findings(panel(**bars, options={"reduceOptions": {"values": True}})) == {}
    series = [{**TABLE["targets"][0], "format": "time_series"}]
    nameless = 'panel "Sales", query A: its series have no names'
    assert findings(panel(**{**bars, "targets": series})) == {nameless: Severity.WARNING}


@pytest.mark.parametrize(
    "expr",
    [
        'count(up == 0) or vector(0)',
        'ALERTS{alertstate="firing"}',
        'rate(calls_total{service_name="$till"}[$__rate_interval])',
        'rate({__name__=~"x_total|y_total", job="shop"}[$__range])',
        'nomad_client_host_memory_total{job="nomad"}',
        '-(sum(rate(x_bucket{job="[5m]"}[$__rate_interval])))',
        "count(count by (cpu) (node_cpu_seconds_total{job='(', mode=\"idle\"}))",
        'absent(x_total{job="shop"}) or resets(x_total{job="shop"}[$__range])',
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


def test_several_datasources_in_one_panel() -> None:
    document = panel(datasource={"type": "datasource", "uid": "-- Mixed --"})
    document["panels"][0]["targets"][0]["datasource"] = SOURCE
    document["panels"][0]["targets"].append(
        {"refId": "B", "datasource": {"uid": "__expr__"}, "type": "math", "expression": "$A * 100"}
    )
    assert findings(document) == {}


def test_events_of_grafana_itself() -> None:
    event = {"name": "deploys", "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "type": "tags"}
    assert findings(changed(lambda one: one["annotations"]["list"].append(event))) == {}


@pytest.mark.parametrize("kind", ["text", "canvas", "news", "dashlist", "alertlist", "geomap"])
def test_a_panel_that_needs_no_query(kind: str) -> None:
    assert findings(panel(type=kind, targets=[], fieldConfig={}, title="")) == {}


@pytest.mark.parametrize(
    "link",
    [
        "https://docs.example.org/document/d/1AbC-example/edit",
        "https://grafana.example.org/d/elsewhere/x",
        "https://example.org:3000/d/elsewhere",
        "/grafana/d/elsewhere",
        "/d/${till}",
        "/d/shop-${till}/x",
        "/d/[[till]]",
        "/d/other/shop?var-till=$till",
        "[more](/d/other)",
    ],
)
def test_a_link_that_leads_out_or_to_one_that_is_there(link: str) -> None:
    assert findings(panel(type="text", options={"content": f"see {link}"})) == {}


def test_an_export_for_sharing_that_declares_what_it_asks_for() -> None:
    wanted = {"name": "datasource", "type": "datasource", "pluginId": "prometheus"}
    assert findings({**GOOD, "__inputs": [wanted], "__requires": []}) == {}


def test_rows_as_they_were_before_grafana_5() -> None:
    old = {"title": "Till", "type": "graph", "span": 6, "datasource": "$datasource", "targets": [{"expr": "sum(up"}]}
    found = findings({**GOOD, "panels": [], "rows": [{"panels": [old]}], "schemaVersion": 14})
    assert found['panel "Till", query None: unclosed left parenthesis'] == Severity.ERROR


def test_a_query_without_refid_gets_one_from_grafana() -> None:
    document = changed(
        lambda one: one["panels"][0].update(targets=[{**one["panels"][0]["targets"][0], "refId": ""}] * 2)
    )
    assert findings(document) == {}


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
    path = write(tmp_path, {**GOOD, "title": ""})
    ended = obsctl(tmp_path, "dashboards", "lint")
    assert ended.return_value == 1
    assert f"✗ {path}: title: is missing" in ended.stderr
    assert "give it one" in ended.stderr
    assert "1 errors, 0 warnings" in ended.stdout


def test_a_warning_fails_it_only_when_it_is_strict(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "tags": []})
    assert obsctl(tmp_path, "dashboards", "lint").return_value == 0
    assert obsctl(tmp_path, "dashboards", "lint", "--strict").return_value == 1


SAMPLES = sorted((Path(__file__).parents[1] / "dashboard_samples").glob("*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_what_people_have_of_every_age_has_no_error(path: Path) -> None:
    """Written for this test after what public ones look like. Each works in Grafana, or lacks only what it may have."""
    text = path.read_text(encoding="utf-8")
    found = lint([Dashboard(uid=path.stem, folder="", text=text, path=path)])
    assert [finding for finding in found if finding.severity is Severity.ERROR] == []
    assert found, "one that has nothing at all to say would prove little"


def test_validate_takes_them_all_at_once(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES[0].parent, tmp_path / "dashboards/Shop")
    assert obsctl(tmp_path, "validate").exception is None


def test_validate_stops_at_an_error_of_a_dashboard_and_not_at_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "tags": []})
    assert obsctl(tmp_path, "validate").exception is None

    path.write_text(json.dumps({**GOOD, "title": ""}))
    error = obsctl(tmp_path, "validate").exception

    assert isinstance(error, ObsctlError)
    assert f"{path}: title: is missing" in error.message


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
