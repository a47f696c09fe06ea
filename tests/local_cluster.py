"""A local cluster for the tests that need a whole one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obsctl.local.cluster import LocalCluster


@contextmanager
def running_cluster() -> Iterator[LocalCluster]:
    """A cluster of its own, of which nothing is left afterwards. Tests leave all agents running."""
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = LocalCluster(folder)
    try:
        running.up(auto_ports=True)
        yield running
        assert all(agent.pid for agent in running.status()), f"an agent has ended: {running.status()}"
    finally:
        running.down(purge=True)
    assert running.leftovers() == []
    assert not folder.exists()
