"""Drills in a row, ten in the campaign: each proven, each stage inside its band, the mean delivery as forecast."""

from __future__ import annotations

import pytest

from bench import drill_timing
from obsctl.config.demo import Demo
from obsctl.local.cluster import LocalCluster
from tests.deployed import Stack, write_config

pytestmark = [pytest.mark.real, pytest.mark.timed, pytest.mark.timeout(900), pytest.mark.xdist_group("timed")]

MEAN_WITHIN = 0.10
"""Of ten: the mean of three differs by more than that from run to run."""


@pytest.fixture(scope="module")
def deployed(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """With as many requests as a user's demo has."""
    stack = Stack(cluster, tmp_path_factory.mktemp("stack"))
    write_config(stack.folder, cluster, requests_per_second=Demo().requests_per_second)
    stack.run("deploy", "--yes")
    return stack


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
