"""A local cluster for the tests that need a whole one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from obsctl.local.cluster import LocalCluster

ON_MACHINES = pytest.mark.allow_hosts(["127.0.0.0/8", "::1", "localhost", "10.0.0.0/8"])
"""For tests that talk to the machines of `running_nodes`."""
MOST_PROCESSES, PROCESSES = Path("/proc/sys/kernel/pid_max"), 4_194_304
_END_WITH_US = """
import sys
from pathlib import Path
from obsctl.local.cluster import LocalCluster
sys.stdin.read()
if Path(sys.argv[1]).exists():
    LocalCluster(Path(sys.argv[1])).down(purge=True)
"""


@contextmanager
def running_cluster(**options: Any) -> Iterator[LocalCluster]:
    """A cluster of its own, of which nothing is left afterwards. Tests leave all agents running.

    options: those of LocalCluster.up.
    """
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = LocalCluster(folder)
    with _ends_with_us(folder):
        try:
            running.up(auto_ports=True, **options)
            yield running
            assert all(agent.pid for agent in running.status()), f"an agent has ended: {running.status()}"
        finally:
            running.down(purge=True)
    assert running.leftovers() == []
    assert not folder.exists()


@contextmanager
def running_nodes(clients: int = 3, **options: Any) -> Iterator[LocalCluster]:
    """The same with three server machines and so many client machines, which are network namespaces."""
    with _process_ids_that_do_not_come_round(), running_cluster(nodes=clients, **options) as cluster:
        yield cluster


def as_manager(cluster: LocalCluster) -> dict[str, str]:
    """The headers of a call that may do everything, for what no client of obsctl does."""
    access = cluster.access
    return {"X-Nomad-Token": access.nomad_management(), "X-Consul-Token": access.consul_management()}


@contextmanager
def _process_ids_that_do_not_come_round() -> Iterator[None]:
    """A client that is back after a kill looks for its executors by their process ids, and go-plugin kills whoever has
    one of them now. Of 32768 ids one comes round in minutes. Only root may raise the number, and only root's client
    would kill another user's process."""
    before = MOST_PROCESSES.read_text()
    is_raised = os.geteuid() == 0 and int(before) < PROCESSES
    if is_raised:
        MOST_PROCESSES.write_text(str(PROCESSES))
    try:
        yield
    finally:
        if is_raised:
            MOST_PROCESSES.write_text(before)


@contextmanager
def _ends_with_us(folder: Path) -> Iterator[None]:
    """Whoever is killed runs no `finally`, as a worker of a test run that is interrupted. So another process, which no
    signal to us reaches, ends the cluster when its connection to us breaks."""
    command = [sys.executable, "-c", _END_WITH_US, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # it closes the connection and waits
        yield
