"""How values are written in the languages of templates, so that each is read back as it is."""

from __future__ import annotations

import json
import re

_UNUSUAL = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


# What a Nomad client puts into a running task. Nomad's parser leaves it alone; all else in `${` it would evaluate.
_OPENING = re.compile(r"\$\{(?!(?:NOMAD_\w+|(?:meta|node|attr)(?:\.[A-Za-z_][\w-]*)+)\})|%\{")
_NOT_IN_HCL = re.compile(r"\\(?:\\|b|f)")  # in pairs: a backslash of the text is no escape


def hcl(value: object) -> str:
    """As HCL, and no part of it is evaluated: `${` and `%{` are doubled but for the variables of a running task."""
    text = _NOT_IN_HCL.sub(lambda pair: {"\\b": "\\u0008", "\\f": "\\u000c"}.get(pair[0], pair[0]), _json(value))
    return _OPENING.sub(lambda opening: opening[0][0] + opening[0], text)


def yaml(value: object) -> str:
    """As JSON on one line, which YAML reads as the same."""
    return _json(value)


def _json(value: object) -> str:
    """What YAML does not take as it stands, or what ends a line, is escaped. A character beyond the basic plane is not:
    JSON would escape it as two, which the others take for two halves."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNUSUAL.sub(lambda character: f"\\u{ord(character[0]):04x}", text)


def ottl(text: str) -> str:
    """A string of the collector's statements, in whose configuration `$$` is a dollar."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'
