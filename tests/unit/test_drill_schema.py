"""The published schema of a drill's report holds for what drills write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from obsctl.drills.tell import report
from obsctl.drills.tell.journal import FORMAT
from obsctl.drills.tell.schema import json_schema
from tests.drill_journals import ENDINGS, journal

ROOT = Path(__file__).parents[2]


def document(ending: str = "PROVEN") -> dict[str, Any]:
    made = {"schema": f"obsctl/drill/v{FORMAT}", **report.document(journal(ending))}
    return dict(json.loads(json.dumps(made)))


def faults(document: dict[str, Any]) -> list[str]:
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(json_schema()).iter_errors(document)
    ]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_report_of_each_ending_is_valid(ending: str) -> None:
    assert faults(document(ending)) == []


@pytest.mark.parametrize("kind", ["injected", "stage", "reverted", "steady"])
def test_a_record_without_its_facts_is_not(kind: str) -> None:
    made = document()
    next(record for record in made["journal"] if record["kind"] == kind)["data"].clear()
    assert faults(made)


def test_it_knows_every_kind_of_record_that_is_written() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "obsctl" / "drills").rglob("*.py"))
    written = set(re.findall(r'\b(?:write|note|append)\(\s*"(\w+)"', code))
    assert {"started", "stage", "recovered"} <= written
    assert written <= set(json_schema()["$defs"]["record"]["properties"]["kind"]["enum"])
