"""Checks and their outcomes, and as JUnit's XML, which CI systems read: a suite of cases each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from xml.etree import ElementTree

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have, however they are written."""


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """name: what was looked at, the same each time. text: what is wrong, why it was left out, or what is to be said."""

    suite: str
    name: str
    outcome: Outcome
    text: str = ""


def document(title: str, checks: Sequence[Check]) -> str:
    """title: of the command that made the checks."""
    root = ElementTree.Element("testsuites", {"name": title, **_counts(checks)})
    for name, suite in groupby(checks, key=lambda check: check.suite):
        members = list(suite)
        element = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **_counts(members)})
        for check in members:
            _case(element, check)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, check: Check) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=f"obsctl.{_clean(check.suite)}", name=_clean(check.name))
    text = _clean(check.text)
    if check.outcome is Outcome.FAILED:
        ElementTree.SubElement(case, "failure", message=text).text = text
    elif check.outcome is Outcome.SKIPPED:
        ElementTree.SubElement(case, "skipped", message=text)
    elif text:
        ElementTree.SubElement(case, "system-out").text = text


def _counts(checks: Sequence[Check]) -> dict[str, str]:
    outcomes = [check.outcome for check in checks]
    failures, skipped = (outcomes.count(outcome) for outcome in (Outcome.FAILED, Outcome.SKIPPED))
    return {"tests": str(len(checks)), "failures": str(failures), "skipped": str(skipped), "errors": "0"}


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
