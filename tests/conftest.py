"""What several kinds of tests share."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cluster import Cluster

# A shell starts its background jobs with Ctrl-C ignored, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster, one a pytest worker. Tests clean up their jobs and keys, and leave all agents running."""
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = Cluster(folder)
    try:
        running.up(auto_ports=True)
        yield running
        assert all(agent.pid for agent in running.status()), f"an agent has ended: {running.status()}"
    finally:
        running.down(purge=True)
    assert running.leftovers() == []
    assert not folder.exists()
