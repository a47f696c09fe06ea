"""What is wrong with a dashboard, as far as that can be seen without Grafana.

An error: Grafana surely does not show the dashboard, or not as meant. A warning: it works, but its readers may be
misled; or it works only with something that cannot be seen from here, which the warning names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from obsctl.content.dashboard_look import check_look
from obsctl.content.dashboard_queries import check_queries
from obsctl.content.dashboard_sources import check_sources
from obsctl.content.dashboards import COLUMNS, Dashboard, objects, place_of, shown
from obsctl.model import Finding, Json

SCHEMA_VERSIONS = range(39, 43)
"""Grafana migrates older ones at each load, and an older Grafana does not know newer ones."""
MAX_ROWS = 1_000_000
LONGEST = 300
MIN_REFRESH = 10
"""Seconds. An open dashboard sends all its queries each time."""
REPLACED = {
    "graph": "timeseries",
    "singlestat": "stat",
    "grafana-singlestat-panel": "stat",
    "table-old": "table",
    "grafana-piechart-panel": "piechart",
    "grafana-worldmap-panel": "geomap",
}
"""Types that Grafana turns into others when it loads them (its getPanelPluginToMigrateTo)."""
WITHOUT_QUERY = {
    "alertlist", "annolist", "canvas", "dashlist", "datagrid", "debug", "geomap", "gettingstarted", "live", "news",
    "text", "welcome",
}  # fmt: skip
"""They may have one, and work without."""
WITH_QUERY = {
    "barchart", "bargauge", "candlestick", "flamegraph", "gauge", "heatmap", "histogram", "logs", "nodeGraph",
    "piechart", "stat", "state-timeline", "status-history", "table", "timeseries", "traces", "trend", "xychart",
}  # fmt: skip
_LINK = re.compile(r"(?<![\w.:/}\])-])/d/([\w-]+)([$\[{]?)")
"""Not those of other servers; the end tells that a variable goes on."""
_UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def lint(dashboards: Sequence[Dashboard]) -> list[Finding]:
    """All problems of these dashboards, which are all that Grafana gets."""
    uids = {dashboard.link for dashboard in dashboards}
    all_ = [*_twins(dashboards), *((each, problem) for each in dashboards for problem in problems(each, uids))]
    return [
        replace(problem, where=f"{dashboard.path}: {_cut(problem.where)}".removesuffix(": "), what=_cut(problem.what))
        for dashboard, problem in all_
    ]


def _cut(text: str) -> str:
    """For a line: what a file calls a thing may be as long as the file."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _twins(dashboards: Sequence[Dashboard]) -> Iterator[tuple[Dashboard, Finding]]:
    """Of such Grafana writes none, and of all the others no change (its duplicateValidator)."""
    first: dict[tuple[str, ...], Dashboard] = {}
    for dashboard in dashboards:
        uid, title = dashboard.link, dashboard.title
        for key, name in ((("uid", uid), uid), (("title", dashboard.folder, title), title)):
            other = first.setdefault(key, dashboard) if name else dashboard
            if other is not dashboard:
                what = f"is {shown(name)}, as in {other.path}: Grafana then takes no change of any dashboard"
                yield dashboard, Finding.error(key[0], what, "give each its own")


def problems(dashboard: Dashboard, uids: Collection[str]) -> Iterator[Finding]:
    """Each with its place in the dashboard. uids: of all dashboards."""
    wrapped = list(_check_wrapping(dashboard.document))
    if wrapped:
        yield from wrapped
        return
    yield from _check_document(dashboard)
    yield from _check_inputs(dashboard)
    yield from _check_layout(dashboard)
    yield from check_sources(dashboard)
    for panel in dashboard.panels:
        yield from _check_panel(dashboard, panel)
    for place, count in Counter(place_of(panel) for panel in dashboard.panels if panel.get("title")).items():
        if count > 1:
            yield Finding.warning(place, f"{count} panels have this title", "say what tells them apart")
    links = {uid for uid, variable in _LINK.findall(dashboard.text) if not variable}
    for link in sorted(links - set(uids)):
        hint = "obsctl dashboards list shows all of them; one that somebody made in Grafana is not seen here"
        yield Finding.warning("", f"links to a dashboard {link}, which is none of these", hint)


def _check_wrapping(document: Json) -> Iterator[Finding]:
    """What is no dashboard, but has one in it."""
    version, inner = document.get("apiVersion"), document.get("spec")
    resource = isinstance(version, str) and isinstance(inner, dict)
    if "elements" in document or (isinstance(inner, dict) and "elements" in inner):
        what = "is in the v2 format, which Grafana 13 does not load from files"
        yield Finding.error("", what, "export it as classic JSON")
    elif resource:
        what = f"is a resource of Kubernetes ({version}), with the dashboard below spec"
        yield Finding.error("", what, "keep what is below spec alone: jq '.spec + {uid: .metadata.name}' FILE")
    elif isinstance(document.get("dashboard"), dict) and "panels" not in document:
        what = "is what Grafana's API sends and takes, with the dashboard below the key dashboard"
        yield Finding.error("", what, "keep what is below that key alone: jq .dashboard FILE")


def _check_document(dashboard: Dashboard) -> Iterator[Finding]:
    document = dashboard.document
    yield from _check_uid(dashboard)
    if not dashboard.title:
        yield Finding.error("title", "is missing", "give it one")
    for key in ("panels", "rows"):
        if not isinstance(document.get(key) or [], list):
            yield Finding.error(key, f"is {shown(document[key])}, not a list", "export it from Grafana as classic JSON")
    if document.get("schemaVersion") not in SCHEMA_VERSIONS:
        what = f"is {shown(document.get('schemaVersion'))}, not {SCHEMA_VERSIONS[0]} to {SCHEMA_VERSIONS[-1]}"
        hint = "Grafana makes its own of an older one at each load, and may not know what is newer: look at it"
        yield Finding.warning("schemaVersion", what, hint)
    yield from _check_habits(document)


def _check_habits(document: Json) -> Iterator[Finding]:
    if document.get("id") is not None:
        yield Finding.warning("id", "belongs to the Grafana that it was exported from", "remove it")
    if document.get("editable") is not False:
        hint = "set it to false: the next deploy overwrites what is changed in the browser"
        yield Finding.warning("editable", "is not false", hint)
    if not document.get("tags"):
        yield Finding.warning("tags", "are missing", "name at least one, so that links by tag find it")
    if not _is_calm(document.get("refresh", "")):
        yield Finding.warning("refresh", f"is {shown(document.get('refresh'))}", f"{MIN_REFRESH}s or more, or empty")


def _check_uid(dashboard: Dashboard) -> Iterator[Finding]:
    uid = dashboard.document.get("uid")
    if dashboard.link and not _UID.fullmatch(dashboard.link):
        yield Finding.error("uid", f"is {shown(uid)}", "Grafana takes up to 40 letters, digits, - and _")
    elif uid != dashboard.uid:
        hint = f"make it {dashboard.uid!r}, as the file is named, so that obsctl and Grafana mean the same by it"
        yield Finding.warning("uid", f"is {shown(uid)}", hint)


def _is_calm(refresh: object) -> bool:
    match = re.fullmatch(r"(\d{1,9})([smhd])", str(refresh))
    return refresh in ("", False, None) or (match is not None and int(match[1]) * _SECONDS[match[2]] >= MIN_REFRESH)


def _check_inputs(dashboard: Dashboard) -> Iterator[Finding]:
    """Of an export for sharing: Grafana asks for them in its form for imports, and not when it loads a file."""
    for name in sorted(dashboard.input_names):
        if f"${{{name}}}" in dashboard.text and name not in dashboard.variable_names:
            what = f"{name} has a value only after an import by hand"
            hint = "export it without the switch for sharing, or declare a variable of that name (type datasource)"
            yield Finding.error("__inputs", what, hint)


def _check_layout(dashboard: Dashboard) -> Iterator[Finding]:
    """Grafana puts right what it can, so it looks other than meant."""
    top = objects(dashboard.document, "panels")
    below = [panel for row in top for panel in objects(row, "panels")]
    for panel_id, count in Counter(str(panel.get("id")) for panel in [*top, *below]).items():
        if count > 1 or not panel_id.isdecimal():
            what = f"the id {shown(panel_id)} is not the id of one panel"
            yield Finding.warning("panels", what, "number them; Grafana gives other ids, and links to a panel miss it")
    for group in [top, *(objects(row, "panels") for row in top)]:
        yield from _check_group([panel for panel in group if panel.get("type") != "row"])


def _check_group(panels: Sequence[Json]) -> Iterator[Finding]:
    """Panels that share the columns; from top to bottom each is held against those that reach down to it."""
    beside: list[Json] = []
    for panel in panels:
        if not _is_inside(panel):
            yield Finding.warning(place_of(panel), f"its gridPos leaves the {COLUMNS} columns", "give it x, y, w and h")
    for panel in sorted(filter(_is_inside, panels), key=lambda panel: float(panel["gridPos"]["y"])):
        top = panel["gridPos"]["y"]
        beside = [other for other in beside if other["gridPos"]["y"] + other["gridPos"]["h"] > top]
        under = next((other for other in beside if _share_columns(other["gridPos"], panel["gridPos"])), None)
        if under:
            yield Finding.warning(place_of(panel), f"lies over {place_of(under)}", "change the gridPos of one of them")
        else:
            beside.append(panel)


def _is_inside(panel: Json) -> bool:
    match panel.get("gridPos"):
        case {"x": int(x) | float(x), "y": int(y) | float(y), "w": int(w) | float(w), "h": int(h) | float(h)}:
            return x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= COLUMNS and max(y, h) < MAX_ROWS
    return False


def _share_columns(first: Json, second: Json) -> bool:
    return bool(first["x"] < second["x"] + second["w"] and second["x"] < first["x"] + first["w"])


def _check_panel(dashboard: Dashboard, panel: Json) -> Iterator[Finding]:
    place, kind = place_of(panel), str(panel.get("type"))
    if "libraryPanel" in panel:
        yield Finding.warning(place, "is a library panel", "what it shows lies in the Grafana in which it was made")
        return
    yield from check_look(panel, needs_query=kind not in WITHOUT_QUERY)
    if kind in REPLACED:
        what = f"is of the type {kind}, of which Grafana makes {REPLACED[kind]}"
        yield Finding.warning(place, what, "look how it looks then, and export it from there")
    elif kind not in WITH_QUERY | WITHOUT_QUERY:
        yield Finding.warning(
            place, f"is of the type {shown(kind)}, which a plugin brings", "without it the panel is empty"
        )
    if kind in WITH_QUERY or kind in REPLACED or objects(panel, "targets"):
        yield from check_queries(dashboard, panel)
