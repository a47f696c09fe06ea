"""Ten drills in a row: each proven, each stage inside its band, the mean delivery as forecast."""

from __future__ import annotations

import pytest

from bench import drill_timing
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timed, pytest.mark.timeout(900), pytest.mark.xdist_group("timed")]

DRILLS = 10
MEAN_WITHIN = 0.10


def test_ten_drills_in_a_row_are_proven_and_on_time(stack: Stack) -> None:
    documents = list(drill_timing.drills(DRILLS, "response-service", stack.environ))

    rows = drill_timing.rows(documents)
    table = drill_timing.table(rows)
    print(table)
    verdicts = [document["verdict"] for document in documents]
    assert [verdict["outcome"] for verdict in verdicts] == ["PROVEN"] * DRILLS, f"{verdicts}\n{table}"
    assert all(row.inside == DRILLS for row in rows), table
    delivered = next(row for row in rows if row.stage == "delivered")
    assert abs(delivered.deviation) <= MEAN_WITHIN, table
