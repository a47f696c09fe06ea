"""OBSCTL_NOMAD__ADDRESS=... sets nomad.address and overrides the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import reduce

from obsctl.config import keys
from obsctl.config.located import Located, Place, merge, nested, parse
from obsctl.config.schema import Config
from obsctl.config.shapes import KeyPath
from obsctl.model import Finding, Severity

PREFIX = "OBSCTL_"


def lay_over(document: Located, environ: Mapping[str, str]) -> tuple[Located, list[Finding]]:
    """The document with the changes from the environment, and what is wrong with variables.

    `__` goes one level down; one `_` may stand for `-`; case does not matter. An empty variable is ignored, and so is
    one that matches no key, because not all belong to the configuration. But one with `__`, or one that would match
    with `__`, is reported.
    """
    layers: list[Located] = []
    findings: list[Finding] = []
    for variable in sorted(name for name, value in environ.items() if name.startswith(PREFIX) and value):
        path = _path(variable.removeprefix(PREFIX).split("__"), document)
        if path:
            layer, problems = _layer(variable, path, environ[variable])
            layers += [layer] if layer else []
            findings += problems
        elif words := _mistyped(variable):
            findings.append(Finding(Severity.ERROR, variable, words))
    return reduce(merge, layers, document), findings


def variable_of(path: KeyPath) -> str:
    """("nomad", "address") -> "OBSCTL_NOMAD__ADDRESS"."""
    return PREFIX + "__".join(_folded(str(step)) for step in path)


def _path(segments: list[str], document: Located) -> KeyPath | None:
    """The key path that a variable's name means, or None."""
    kind: object = Config
    below, path = document.value, []
    for segment in segments:
        mapping = below if isinstance(below, dict) else {}
        free = keys.entry(kind) is not None
        key = _match(segment, mapping if free else keys.known(kind)) or (segment.lower() if free else None)
        if not key:
            return None
        path.append(key.replace("_", "-") if free and key not in mapping else key)
        kind = keys.entry(kind) or keys.known(kind)[key]
        below = mapping[key].value if key in mapping else None
    return tuple(path)


def _match(segment: str, choices: Iterable[str]) -> str | None:
    return next((choice for choice in choices if _folded(choice) == _folded(segment)), None)


def _folded(key: str) -> str:
    return key.upper().replace("-", "_")


def _layer(variable: str, path: KeyPath, value: str) -> tuple[Located | None, list[Finding]]:
    """A text stays as it is; other values are read as YAML: numbers, lists, true."""
    place = Place(variable)
    if keys.is_text(keys.kind_at(path)):
        return nested(path, Located(value, place)), []
    located, problems = parse(value, place)
    return (nested(path, located) if located else None), problems


def _mistyped(variable: str) -> str | None:
    known = {variable_of(path): path for path in keys.paths() if keys.ANY not in path}
    for name in known:
        if "__" in name and name.replace("__", "_") == variable:
            return f"sets nothing, did you mean {name}?"
    if "__" not in variable:
        return None
    close = get_close_matches(variable, known, n=1)
    return f"matches no key, did you mean {close[0]}?" if close else "matches no key"
