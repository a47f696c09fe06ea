"""A local cluster for the tests that need a whole one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obsctl.local.cluster import LocalCluster

_END_WITH_US = """
import sys
from pathlib import Path
from obsctl.local.cluster import LocalCluster
sys.stdin.read()
if Path(sys.argv[1]).exists():
    LocalCluster(Path(sys.argv[1])).down(purge=True)
"""


@contextmanager
def running_cluster() -> Iterator[LocalCluster]:
    """A cluster of its own, of which nothing is left afterwards. Tests leave all agents running."""
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = LocalCluster(folder)
    with _ends_with_us(folder):
        try:
            running.up(auto_ports=True)
            yield running
            assert all(agent.pid for agent in running.status()), f"an agent has ended: {running.status()}"
        finally:
            running.down(purge=True)
    assert running.leftovers() == []
    assert not folder.exists()


@contextmanager
def _ends_with_us(folder: Path) -> Iterator[None]:
    """Whoever is killed runs no `finally`, as a worker of a test run that is interrupted. So another process, which no
    signal to us reaches, ends the cluster when its connection to us breaks."""
    command = [sys.executable, "-c", _END_WITH_US, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # it closes the connection and waits
        yield
