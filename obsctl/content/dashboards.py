"""Dashboards: classic Grafana JSON, one file each. Its name is the uid, the folder it lies in the Grafana folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from obsctl import assets
from obsctl.errors import ObsctlError
from obsctl.model import Json

MAX_BYTES = 512 * 1024
"""What Consul takes as one KV value (its kv_max_value_size)."""


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

    def datasource_type(self, reference: Any) -> str | None:
        """The type of the datasource variable that `{"uid": "${name}"}` names; None when it names none."""
        uid = reference.get("uid") if isinstance(reference, dict) else None
        types = {
            f"${{{one.get('name')}}}": one.get("query") for one in self.variables if one.get("type") == "datasource"
        }
        return types.get(uid) if isinstance(uid, str) else None


def objects(document: Json, *keys: str) -> list[Json]:
    """The objects of the list below these keys; a shape that is not so has none."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def variables_in(text: str) -> Iterator[str]:
    """The names of the variables that `$name`, `${name}` and `${name:format}` in the text stand for."""
    for match in _VARIABLE.finditer(text):
        yield match["plain"] or match["braced"]


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables replaced, as Grafana does it before it asks; one without a value is left."""
    return _VARIABLE.sub(lambda match: values.get(match["plain"] or match["braced"], match[0]), text)


def load(root: Path) -> tuple[Dashboard, ...]:
    """The dashboards that ship, and the user's own in the folder `dashboards` beside obsctl.yaml, by uid.

    A file of the user's replaces the shipped one of the same name. Raises ObsctlError for a file that is no JSON
    object, lies too deep, is too large for Consul, or has the name of another one.
    """
    found: dict[str, Dashboard] = {}
    for folder in reversed(assets.search_path("dashboards", root)):
        found |= _in(folder)
    return tuple(found[uid] for uid in sorted(found))


def _in(base: Path) -> dict[str, Dashboard]:
    found: dict[str, Dashboard] = {}
    for path in sorted(base.rglob("*.json")):
        dashboard = _read(path, base)
        if dashboard.uid in found:
            raise ObsctlError(
                f"{path} and {found[dashboard.uid].path} have one name",
                hint="rename one of them: the name is the dashboard's uid, in whatever folder it lies",
            )
        found[dashboard.uid] = dashboard
    return found


def _read(path: Path, base: Path) -> Dashboard:
    folders = path.relative_to(base).parent.parts
    if len(folders) > 1:
        raise ObsctlError(
            f"{path} lies too deep: Grafana's folders hold no folders here",
            hint=f"move it to {base / folders[0] / path.name}",
        )
    try:
        text = path.read_text(encoding="utf-8")
        document: Any = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ObsctlError(f"{path}: not a dashboard: {error}", hint="export it from Grafana as classic JSON") from error
    if not isinstance(document, dict):
        raise ObsctlError(f"{path}: not a dashboard: no JSON object", hint="export it from Grafana as classic JSON")
    if len(text.encode()) > MAX_BYTES:
        raise ObsctlError(f"{path} is larger than {MAX_BYTES} bytes, which is all that Consul takes", hint="split it")
    return Dashboard(uid=path.stem, folder="".join(folders), text=text, path=path)
