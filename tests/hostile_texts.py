"""obsctl.yaml with texts that mean something in HCL, templates or YAML, at every key that takes them.

Each key has a text of its own: a marker, with something hostile before it. A stack is rendered with the markers alone
and with the hostile texts; the second, read by a parser, must be the first with each marker replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from obsctl.config import keys
from obsctl.config.problems import validate
from obsctl.config.schema import Config
from obsctl.config.secrets import SecretRef
from obsctl.stack.render import Rendered, render
from tests.world import NOWHERE

HOSTILE = [
    "${x}", '${file("/etc/passwd")}', "${uuidv4()}", "${NOMAD_TASK_DIR}", "$${x}", "%{if true}", "%%{x}", "%{x", "${",
    "{{key}}", '{{ key "a" }}', "{{`", "<%=x%>", "EOT\n}\n", "*", "&a", "!t", "#", " #", "- ", ": ", "|", ">", "[", "}",
    "@", "`", "'", '"', "\\", "\\b", "\b\f", "\n", "\t", "\x7f", "\u2028", "\ufeff", "😀", "é", "24x7", "0x1", "~",
    "$1", "%2F",
]  # fmt: skip
ROUNDS = range(12)
"""In each round a key has another of these texts, and images or programs are what Nomad runs."""
_MARKER = re.compile(r"plain\d+word")
_ADDED = re.compile(r"^(http://|/|\$\{meta\.)|(?<=word)\}$")
"""What `_around` puts around a text."""
_STORE = {"endpoint": "https://logs.example.org/otlp"}
# What a key needs beside it.
_COMPANIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("components", "grafana", "plugins_volume"): {"components": {"grafana": {"plugins_dir": "/plugins"}}},
    ("logs", "grafana_datasource"): {"logs": _STORE, "components": {"victorialogs": {"enabled": False}}},
    ("logs", "endpoint"): {"components": {"victorialogs": {"enabled": False}}},
}
_NAMES = {"services": "web", "rules": "InstanceDown", "labels": "team", "annotations": "note"}
_LEFT_OUT = {
    "receivers", "time_intervals", "rule_files", "images", "servers", "tls", "journal_dir", "version", "stack",
    "driver", "profile", "redact",
}  # fmt: skip
"""Receivers have a test of their own, patterns are written in a language of their own; the others are read by obsctl
alone, or have few forms."""


def texts() -> list[tuple[str, ...]]:
    """The path of every key that takes a text and is rendered, with a name for each free key."""
    found = []
    for path in keys.paths():
        kind = keys.bare(keys.kind_at(path))
        if not keys.is_text(kind) or kind is SecretRef or set(path) & _LEFT_OUT:
            continue
        named = [
            _NAMES.get(above, "0") if step == keys.ANY else step for above, step in zip(("", *path), path, strict=False)
        ]
        found.append(tuple(named))
    return found


def pair(number: int) -> tuple[Rendered, Rendered, dict[str, str]]:
    """The stack with markers, that with hostile texts, and marker -> text. What a key refuses is left out."""
    driver = "raw_exec" if number % 2 else "docker"
    plain = {path: _around(path, f"plain{place}word") for place, path in enumerate(texts())}
    taken = dict(plain)
    for place, (path, value) in enumerate(plain.items()):
        marker, hostile = _MARKER.findall(value)[0], HOSTILE[(place + number * 5) % len(HOSTILE)]
        odd = _around(path, hostile + marker)
        if _is_taken(path, odd, driver):
            taken[path] = odd
    expected = {_MARKER.findall(value)[0]: _ADDED.sub("", value) for value in taken.values()}
    return _rendered(plain, driver), _rendered(taken, driver), expected


def replaced(document: Any, expected: Mapping[str, str]) -> Any:
    """The document with each marker replaced by its text."""
    if isinstance(document, dict):
        return {replaced(key, expected): replaced(value, expected) for key, value in document.items()}
    if isinstance(document, list):
        return [replaced(item, expected) for item in document]
    return _MARKER.sub(lambda marker: expected[marker[0]], document) if isinstance(document, str) else document


def _around(path: tuple[str, ...], text: str) -> str:
    """An address has its scheme, and a folder its slash, before it."""
    if path[-1] in ("address", "node_address", "endpoint", "root_url"):
        return f"http://{text}"
    if path[-1] == "attribute":
        return f"${{meta.{text}}}"
    return f"/{text}" if path[-1] == "plugins_dir" else text


def _is_taken(path: tuple[str, ...], value: str, driver: str) -> bool:
    if path[-2:] == ("web", "job") and "{{" in value:
        return False  # escaped in an annotation, which has a test of its own
    return isinstance(validate(_document({path: value}, driver), NOWHERE), Config)


def _rendered(values: Mapping[tuple[str, ...], str], driver: str) -> Rendered:
    config = validate(_document(values, driver), NOWHERE)
    assert isinstance(config, Config), config
    return render(config, NOWHERE)


def _document(values: Mapping[tuple[str, ...], str], driver: str) -> Any:
    """A configuration with these values, and what they need beside them."""
    whole: dict[str, Any] = {"driver": driver, "demo": {"enabled": True}}
    for path, value in values.items():
        _merge(whole, _companions(path))
        below: Any = whole
        for step in path[:-1]:
            below = below.setdefault(step, {})
        below[path[-1]] = value
    return _with_lists(whole)


def _companions(path: tuple[str, ...]) -> dict[str, Any]:
    """What a key needs beside it. What a node must have is told by an attribute and its value."""
    if "placement" not in path or path[-1] == "node_pool":
        return _COMPANIONS.get(path, {})
    pair: dict[str, Any] = {"attribute": "${meta.x}", "value": "x"}
    for step in reversed(path[:-1]):
        pair = {step: pair}
    return pair


def _merge(whole: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _merge(whole.setdefault(key, {}), value)
        else:
            whole.setdefault(key, value)


def _with_lists(document: Any) -> Any:
    """The item "0" of a list makes the list."""
    if not isinstance(document, dict):
        return document
    return [document["0"]] if list(document) == ["0"] else {key: _with_lists(value) for key, value in document.items()}
