"""A real cluster for the tests that need one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster, one a pytest worker. Tests remove their jobs and keys, and leave all three agents running."""
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = Cluster(folder)
    try:
        running.up(auto_ports=True)
        yield running
    finally:
        running.down(purge=True)
    assert running.leftovers() == []
    assert not folder.exists()
