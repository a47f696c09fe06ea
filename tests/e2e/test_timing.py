"""Drills in a row, ten in the campaign: each proven, each stage inside its band, the mean delivery as forecast."""

from __future__ import annotations

import pytest

from bench import drill_timing
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timed, pytest.mark.timeout(900), pytest.mark.xdist_group("timed")]

MEAN_WITHIN = 0.10
"""Of ten: the mean of three differs by more than that from run to run."""


@pytest.mark.parametrize("count", [3, pytest.param(10, marks=pytest.mark.campaign)])
def test_drills_in_a_row_are_proven_and_on_time(stack: Stack, count: int) -> None:
    documents = list(drill_timing.drills(count, "response-service", stack.environ))

    rows = drill_timing.rows(documents)
    table = drill_timing.table(rows)
    print(table)
    verdicts = [document["verdict"] for document in documents]
    assert [verdict["outcome"] for verdict in verdicts] == ["PROVEN"] * count, f"{verdicts}\n{table}"
    assert all(row.inside == count for row in rows), table
    delivered = next(row for row in rows if row.stage == "delivered")
    assert count < 10 or abs(delivered.deviation) <= MEAN_WITHIN, table
