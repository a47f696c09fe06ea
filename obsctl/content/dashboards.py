"""Dashboards: classic Grafana JSON, one file each. The file's name is the uid, its folder is Grafana's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from obsctl import assets, files
from obsctl.errors import ObsctlError
from obsctl.model import Json

MAX_BYTES = 512 * 1024
"""Consul's limit for one KV value (its kv_max_value_size)."""
LARGEST_FILE = 16_000_000
"""Bytes that are read to say how much too large it is."""
_VARIABLE = re.compile(r"\$(?:(?P<plain>[a-zA-Z_]\w*)|\{(?P<braced>[a-zA-Z_]\w*)(?:[.:][^}]*)?\})")


@dataclass(frozen=True)
class Dashboard:
    """One dashboard as it lies on disk.

    folder: Grafana's folder; "" is the top level. text: the JSON. path: the file, for messages.
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
    def place(self) -> str:
        """Folder and uid in one: "Stack/obsctl-overview"; the uid alone at the top level."""
        return f"{self.folder}/{self.uid}".lstrip("/")

    @property
    def title(self) -> str:
        return str(self.document.get("title", ""))

    @property
    def variables(self) -> list[Json]:
        return objects(self.document, "templating", "list")

    @property
    def panels(self) -> list[Json]:
        """All panels, those inside collapsed rows too; not the rows themselves."""
        top = objects(self.document, "panels")
        inside = [panel for row in top if row.get("type") == "row" for panel in objects(row, "panels")]
        return [panel for panel in top if panel.get("type") != "row"] + inside

    def datasource_type(self, reference: object) -> str | None:
        """The type of the datasource variable that `{"uid": "${name}"}` names; None when it names none."""
        uid = reference.get("uid") if isinstance(reference, dict) else None
        datasources = [variable for variable in self.variables if variable.get("type") == "datasource"]
        types = {f"${{{variable.get('name')}}}": variable.get("query") for variable in datasources}
        return types.get(uid) if isinstance(uid, str) else None


def objects(document: Json, *keys: str) -> list[Json]:
    """The objects of the list below these keys; none where there is no such list."""
    value: object = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def variables_in(text: str) -> Iterator[str]:
    """The names of the variables that `$name`, `${name}` and `${name:format}` in the text stand for."""
    for match in _VARIABLE.finditer(text):
        yield match["plain"] or match["braced"]


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables replaced, as Grafana does before a query; one without a value stays."""
    return _VARIABLE.sub(lambda match: values.get(match["plain"] or match["braced"], match[0]), text)


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
    files.refuse_foreign(path)
    folders = path.relative_to(base).parent.parts
    if len(folders) > 1:
        raise ObsctlError(
            f"{path} is too deep: a folder of dashboards has no folders in it",
            hint=f"move it to {base / folders[0] / path.name}",
        )
    try:
        text = files.read(path, most=LARGEST_FILE).decode()
        document: object = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise _no_dashboard(path, str(error)) from error
    if not isinstance(document, dict):
        raise _no_dashboard(path, "it holds no JSON object")
    if len(text.encode()) > MAX_BYTES:
        raise ObsctlError(f"{path} is larger than {MAX_BYTES} bytes, Consul's limit for a value", hint="split it")
    return Dashboard(uid=path.stem, folder="".join(folders), text=text, path=path)


def _no_dashboard(path: Path, reason: str) -> ObsctlError:
    return ObsctlError(f"{path} is not a dashboard: {reason}", hint="export it from Grafana as classic JSON")
