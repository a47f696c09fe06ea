"""Patterns that the collector understands: RE2, which is never slow, and has less than Python for that."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
# What Python's patterns have and RE2 has not.
_NOT_IN_RE2 = {
    r"\(\?<?[=!]": "looks ahead or behind",
    r"\(\?P=": "refers back to a group",
    r"\(\?[>(#]": "has a group that begins with (?>, (?( or (?#",
    r"\(\?[a-zA-Z]*[aLux]": "has a flag other than i, m, s and U",
    r"[*+?}]\+": "has a repetition that never gives back (+ after another one)",
}
# What RE2 has and Python has not, as something alike that Python has.
_ONLY_IN_RE2 = {
    r"\\Q.*?(\\E|$)": "x",
    r"\\z": r"\\Z",
    r"\\[pP](\{\^?\w+\}|\w)": r"\\w",
    r"\[:\^?\w+:\]": r"\\w",
    r"\(\?[imsU]+\)": "",
}


def _re2(pattern: str) -> str:
    if not pattern.isprintable():
        raise ValueError("must be one line")
    likeness = pattern
    for found, alike in _ONLY_IN_RE2.items():
        likeness = re.sub(found, alike, likeness)
    if objection := _objection(likeness):
        raise ValueError(f"{objection}, which the collector's patterns (RE2) cannot")
    try:
        compiled = re.compile(likeness)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no pattern: {error}") from None
    if compiled.search(""):
        raise ValueError("is found in an empty text, so everywhere: say what there must be at least")
    return pattern


def _objection(pattern: str) -> str | None:
    """What it asks for that RE2 has not; None when there is nothing."""
    if re.search(r"(?<!\\)(\\\\)*\\[1-9]", pattern):
        return "refers back to a group"
    plain = _CLASS.sub("x", _ESCAPED.sub("x", pattern))  # where a bracket is no letter and no member of a class
    return next((words for found, words in _NOT_IN_RE2.items() if re.search(found, plain)), None)


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_re2)]
