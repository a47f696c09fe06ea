"""Whether a panel says what it shows, and shows all of it.

How Grafana draws: packages/grafana-ui (Table), and transformDFToTable in packages/grafana-prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from obsctl.content.dashboards import COLUMNS, objects, place_of
from obsctl.model import Finding, Json

SCREEN = 1600
"""Pixels across: a laptop's."""
_MARGINS = 48
_GAP = 8
COLUMN_WIDTH = 150
"""Pixels that a column of a table takes at least, if nothing is said."""
OF_SERIES = {"bargauge", "piechart"}
"""They show one number of each series, or with `values` one of each row."""
WITHOUT_UNIT = {"flamegraph", "logs", "nodeGraph", "traces"}
_WORDS = re.compile(r"[\w |#.-]+")


def check_look(panel: Json, *, needs_query: bool) -> Iterator[Finding]:
    place, kind = place_of(panel), str(panel.get("type"))
    if not panel.get("description"):
        yield Finding.warning(place, "has no description", "say what it means, and what to do when it looks bad")
    if not needs_query:
        return
    if not panel.get("title"):
        yield Finding.warning(place, "has no title", "say what it shows")
    if kind not in WITHOUT_UNIT and not _defaults(panel).get("unit"):
        yield Finding.warning(place, "has no unit", "set fieldConfig.defaults.unit; a bare number is short or none")
    tables = [target for target in objects(panel, "targets") if target.get("format") == "table"]
    if kind in OF_SERIES and tables and not _object(panel, "options", "reduceOptions").get("values"):
        yield Finding.warning(
            place, "shows one number of a whole table", "set reduceOptions.values, or ask for time series"
        )
    if kind == "table":
        yield from _check_table(panel, place, len(tables))


def _check_table(panel: Json, place: str, queries: int) -> Iterator[Finding]:
    if queries > 1 and _defaults(panel).get("noValue"):
        what = "never shows its noValue: two table queries give columns even without rows"
        yield Finding.warning(place, what, "ask one query alone, joined in PromQL")
    widths = [_width(panel, name) for name in _names(panel)]
    room = _room(panel)
    if sum(widths) > room > 0:
        what = f"its columns take {sum(widths):.0f} pixels of the {room:.0f} that a screen of {SCREEN} has for it"
        yield Finding.warning(place, what, "give narrow ones a custom.width, or the panel more columns")


def _names(panel: Json) -> list[str]:
    """Of the columns, as far as the panel says them."""
    names: list[str] = []
    for transformation in objects(panel, "transformations"):
        if transformation.get("id") == "organize":
            order, hidden, titles = (
                _object(transformation, "options", key) for key in ("indexByName", "excludeByName", "renameByName")
            )
            names = [str(titles.get(name) or name) for name in order if not hidden.get(name)]
    return names


def _room(panel: Json) -> float:
    """Pixels; 0 when the panel has no width."""
    width = _object(panel, "gridPos").get("w")
    if not isinstance(width, int | float):
        return 0
    column = (SCREEN - _MARGINS + _GAP) / COLUMNS
    return width * column - _GAP


def _width(panel: Json, name: str) -> float:
    """Of a column, at least."""
    widths = [_defaults(panel).get("custom")]
    for override in objects(panel, "fieldConfig", "overrides"):
        if _matches(_object(override, "matcher"), name):
            properties = objects(override, "properties")
            widths.append({str(each.get("id")).removeprefix("custom."): each.get("value") for each in properties})
    values = [
        table[key] for table in widths if isinstance(table, dict) for key in ("minWidth", "width") if key in table
    ]
    return next((float(width) for width in reversed(values) if isinstance(width, int | float)), COLUMN_WIDTH)


def _matches(matcher: Json, name: str) -> bool:
    """Of regular expressions those alone that are words; another may take for ever."""
    options = matcher.get("options")
    if not isinstance(options, str):
        return False
    if matcher.get("id") == "byRegexp" and _WORDS.fullmatch(options):
        return any(word in name for word in options.split("|"))
    return matcher.get("id") == "byName" and options == name


def _defaults(panel: Json) -> Json:
    return _object(panel, "fieldConfig", "defaults")


def _object(document: Json, *keys: str) -> Json:
    """The object below these keys; an empty one where there is none."""
    value: object = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
