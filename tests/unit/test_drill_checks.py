"""A drill as JUnit's checks."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from obsctl.drills.tell.checks import checks
from obsctl.junit import Outcome, document
from tests.drill_journals import ENDINGS, hostile, journal, verdict


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_green_exactly_when_the_drill_is_proven(ending: str) -> None:
    root = ElementTree.fromstring(document("obsctl drill", checks(journal(ending))))
    assert (root.get("failures") == "0") == (verdict(ending) == "PROVEN")
    last = root.findall(".//testcase")[-1]
    assert "".join(last.itertext()).strip().startswith(f"{verdict(ending)}: ")


def test_each_stage_of_each_alert_is_one_and_what_was_not_reached_is_skipped() -> None:
    made = {check.name: check for check in checks(journal("MISSED"))}
    assert made["ServiceDown response: delivered"].outcome is Outcome.PASSED
    assert made["ServiceDown response: delivered"].text.startswith("after 12.0 s, forecast 10.0 to 18.2 s")
    assert made["SlowlyDown: pending"].outcome is Outcome.FAILED
    assert made["SlowlyDown: delivered"].outcome is Outcome.SKIPPED
    assert made["put back"].outcome is Outcome.PASSED


def test_what_must_stay_away_is_a_check_too() -> None:
    def away(ending: str) -> Outcome:
        return next(check.outcome for check in checks(journal(ending)) if check.name == "ReplicaMissing: stays away")

    assert (away("PROVEN, and another stays away"), away("COLLATERAL")) == (Outcome.PASSED, Outcome.FAILED)


def test_a_stage_outside_its_band_has_failed() -> None:
    failed = {check.name for check in checks(journal("LATE")) if check.outcome is Outcome.FAILED}
    assert "ServiceDown response: delivered" in failed


def test_hostile_texts_are_xml_too(tmp_path: Path) -> None:
    ElementTree.fromstring(document("obsctl drill", checks(hostile(journal(), tmp_path / "hostile.jsonl"))))
