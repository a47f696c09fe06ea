"""Patterns for the collector: RE2, which is never slow but has fewer features than Python's patterns."""

from __future__ import annotations

import re
import warnings
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
    r"[*+?}]\+": "has a possessive repetition (+ after another one)",
    r"\{,\d+\}": "has a repetition without a lowest number ({,3} instead of {0,3})",
    r"\{(\d*,)?0*([1-9]\d{4,}|[2-9]\d{3}|1(?!000)\d{3})[,}]": "repeats something more than 1000 times",
}
# What RE2 has and Python has not -> something similar in Python.
_ONLY_IN_RE2 = {
    r"\\Q.*?(\\E|$)": "x",
    r"\\z": r"\\Z",
    r"\\x\{[0-9a-fA-F]+\}": "x",
    r"\\[pP](\{\^?\w+\}|\w)": r"\\w",
    r"\[:\^?\w+:\]": r"\\w",
    r"\(\?[imsU]+\)": "",
}


def _re2(pattern: str) -> str:
    if not pattern.isprintable():
        raise ValueError("must be one line")
    likeness = pattern
    for feature, substitute in _ONLY_IN_RE2.items():
        likeness = re.sub(feature, substitute, likeness)
    if objection := _objection(pattern, likeness):
        raise ValueError(f"{objection}, which RE2, the collector's pattern language, does not support")
    try:
        with warnings.catch_warnings(action="ignore"):  # of future meanings of sets in Python
            compiled = re.compile(likeness)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no pattern: {error}") from None
    if compiled.search(""):
        raise ValueError("matches an empty text, so it matches everywhere: require at least one character")
    return pattern


def _objection(pattern: str, likeness: str) -> str | None:
    """A feature of the pattern that RE2 does not have; None when there is none."""
    escaped = {match.group()[1] for match in _ESCAPED.finditer(pattern)}
    if escaped & set("123456789"):
        return "refers back to a group"
    if escaped & set("ZuUN"):
        return r"has \Z, \u, \U or \N (RE2 has \z and \x{41})"
    plain = _CLASS.sub("x", _ESCAPED.sub("x", likeness))  # here a bracket is neither a letter nor in a class
    return next((words for feature, words in _NOT_IN_RE2.items() if re.search(feature, plain)), None)


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_re2)]
