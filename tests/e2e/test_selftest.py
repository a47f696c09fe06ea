"""drill selftest on the demo stack: every case ends in its verdict, and nothing is left."""

from __future__ import annotations

import pytest

from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(900)]


def test_every_case_ends_in_the_verdict_that_names_what_is_broken(stack: Stack) -> None:
    document = stack.json("drill", "selftest", "response-service", "--yes", code=None)
    cases = document["cases"]
    assert [each for each in cases if not each["as_designed"]] == []
    assert {each["exit_code"] for each in cases} == {0, 11, 13, 20, 21, 22, 30}
    assert stack.programs.alertmanager.silences() == []
    assert stack.not_steady() == []
