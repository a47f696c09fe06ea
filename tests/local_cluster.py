"""A local cluster for the tests that need a whole one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from obsctl.local import control
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
from tests.ends_with_us import ends_with_us

ON_MACHINES = pytest.mark.allow_hosts(["127.0.0.0/8", "::1", "localhost", "10.0.0.0/8"])
"""For tests that talk to the machines of `running_nodes`."""
MOST_PROCESSES, PROCESSES = Path("/proc/sys/kernel/pid_max"), 4_194_304
_DOWN = """
from obsctl.local import control
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
LocalCluster(folder).down(purge=True)
"""


@contextmanager
def running_cluster(**options: Any) -> Iterator[LocalCluster]:
    """A cluster of its own, of which nothing is left afterwards. Tests leave all agents running.

    options: those of LocalCluster.up.
    """
    # Not pytest's tmp_path: its name is longer than the sockets of Nomad's executors allow.
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    running = LocalCluster(folder)
    with ends_with_us(folder, _DOWN):
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


@contextmanager
def configured(change: Callable[[str, str, Json], None]) -> Iterator[None]:
    """Agents that are started inside have another configuration. change: gets the kind of an agent, the name of its
    machine ("" is this one) and its configuration."""
    write = control.config_text

    def config_text(agent: str, *arguments: Any) -> str:
        config = json.loads(write(agent, *arguments))
        change(agent, arguments[-1].name, config)
        return json.dumps(config)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(control, "config_text", config_text)
        yield


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
