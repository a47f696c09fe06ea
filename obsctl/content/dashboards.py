"""Dashboards: classic Grafana JSON, one file each. The file's name is the uid, its folder is Grafana's folder."""

from __future__ import annotations

import json
import re
import reprlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from obsctl import assets, files, names
from obsctl.errors import ObsctlError
from obsctl.model import Json, is_deeper

LARGEST_FILE = 4_000_000
"""Bytes, with the spaces between its values."""
COLUMNS = 24
"""Of the grid in which panels lie."""
MAX_DEPTH = 100
"""Of objects and lists in each other. Real ones have some ten."""
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\"\\]|[$%{]\{")
"""What a name cannot have, because the job of Grafana says it in HCL and in a template of Nomad."""
_STRING_OR_SPACE = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")|\s+')
_TOO_DEEP = f"it is deeper than {MAX_DEPTH} objects and lists in each other"
_LONGEST = 80
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST


@dataclass(frozen=True)
class Dashboard:
    """One dashboard as it lies on disk.

    uid: the file's name. folder: Grafana's folder; "" is the top level. text: the JSON. path: the file, for messages.
    """

    uid: str
    folder: str
    text: str
    path: Path

    @cached_property
    def document(self) -> Json:
        """The parsed JSON. It was an object when the file was read."""
        return dict(json.loads(self.text))

    @property
    def link(self) -> str:
        """The uid that Grafana gives it; "" when it has to make one up."""
        uid = self.document.get("uid")
        return uid if isinstance(uid, str) else ""

    @property
    def place(self) -> str:
        """Folder and uid in one: "Stack/obsctl-overview"; the uid alone at the top level."""
        return f"{self.folder}/{self.uid}".lstrip("/")

    @property
    def title(self) -> str:
        """Grafana takes what is no text for no title."""
        title = self.document.get("title")
        return title if isinstance(title, str) else ""

    @property
    def variables(self) -> list[Json]:
        return objects(self.document, "templating", "list")

    @cached_property
    def variable_names(self) -> set[str]:
        return {str(variable.get("name")) for variable in self.variables}

    @cached_property
    def input_names(self) -> set[str]:
        """Of what a form asks for when an export for sharing is imported by hand."""
        return {str(each.get("name")) for each in objects(self.document, "__inputs")}

    @cached_property
    def panels(self) -> list[Json]:
        """All panels, those inside rows too; not the rows themselves. Before Grafana 5 rows were no panels."""
        rows = objects(self.document, "rows")
        top = [*objects(self.document, "panels"), *(panel for row in rows for panel in objects(row, "panels"))]
        inside = [panel for row in top if row.get("type") == "row" for panel in objects(row, "panels")]
        return [panel for panel in top if panel.get("type") != "row"] + inside


def objects(document: Json, *keys: str) -> list[Json]:
    """The objects of the list below these keys; none where there is no such list."""
    value: object = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def place_of(panel: Json) -> str:
    """The panel, for messages."""
    name = panel.get("title") or panel.get("id")
    return f'panel "{name[:_LONGEST] if isinstance(name, str) else shown(name)}"'


def shown(value: object) -> str:
    """A value of the file, for messages: cut when it is long."""
    return _SHORT.repr(value)


def load(root: Path) -> tuple[Dashboard, ...]:
    """The shipped dashboards, and the user's own in the folder `dashboards` beside obsctl.yaml, by uid.

    A user's file replaces the shipped one of the same name. Raises ObsctlError for a file that is no JSON object, is
    too deep, is too large for Consul, or has the name of another one.
    """
    dashboards: dict[str, Dashboard] = {}
    for folder in reversed(assets.search_path("dashboards", root)):
        dashboards |= _in(folder)
    return tuple(dashboards[uid] for uid in sorted(dashboards))


def _in(base: Path) -> dict[str, Dashboard]:
    dashboards: dict[str, Dashboard] = {}
    for path in sorted(base.rglob("*.json")):
        dashboard = _read(path, base)
        if dashboard.uid in dashboards:
            raise ObsctlError(
                f"{path} and {dashboards[dashboard.uid].path} have the same name",
                hint="rename one of them: the name is the dashboard's uid, whatever folder it is in",
            )
        dashboards[dashboard.uid] = dashboard
    return dashboards


def _read(path: Path, base: Path) -> Dashboard:
    files.refuse_foreign(path, within=base.parent)
    folder = _folder(path, base)
    try:
        text = files.read(path, most=LARGEST_FILE).decode()
        document: object = json.loads(text, parse_constant=_refuse)
        json.dumps(document, ensure_ascii=False).encode()  # raises for half of a character
    except (OSError, ValueError) as error:
        raise _no_dashboard(path, str(error)) from error
    except RecursionError as error:
        raise _no_dashboard(path, _TOO_DEEP) from error
    if not isinstance(document, dict):
        raise _no_dashboard(path, "it holds no JSON object")
    if is_deeper(document, MAX_DEPTH):
        raise _no_dashboard(path, _TOO_DEEP)
    return Dashboard(uid=path.stem, folder=folder, text=_fitting(text, path), path=path)


def _folder(path: Path, base: Path) -> str:
    """Grafana's folder. Raises ObsctlError for a place or a name that a dashboard cannot have."""
    folders = path.relative_to(base).parent.parts
    if len(folders) > 1:
        raise ObsctlError(
            f"{path} is too deep: a folder of dashboards has no folders in it",
            hint=f"move it to {base / folders[0] / path.name}",
        )
    if _NO_NAME.search(str(path.relative_to(base))):
        hint = "rename it: no quotes, no backslashes, no control characters, and no ${, %{ or {{"
        raise ObsctlError(f"the name of {path} cannot be that of a file of Grafana's job", hint=hint)
    return "".join(folders)


def _fitting(text: str, path: Path) -> str:
    """The JSON as it stands; without the spaces between its values where it would be too large for Consul."""
    if len(text.encode()) <= names.CONSUL_VALUE_BYTES:
        return text
    dense = _STRING_OR_SPACE.sub(lambda part: part["string"] or "", text)
    if len(dense.encode()) > names.CONSUL_VALUE_BYTES:
        limit = f"{names.CONSUL_VALUE_BYTES} bytes, Consul's limit for a value"
        what = f"{path} is larger than {limit}, even without its spaces"
        raise ObsctlError(what, hint="split it")
    return dense


def _refuse(constant: str) -> None:
    """What Python reads, and Grafana does not."""
    raise ValueError(f"{constant} is no JSON")


def _no_dashboard(path: Path, reason: str) -> ObsctlError:
    return ObsctlError(f"{path} is not a dashboard: {reason}", hint="export it from Grafana as classic JSON")
