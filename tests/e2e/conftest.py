"""The demo stack, deployed once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cluster import LocalCluster
from tests.deployed import DEMO, TELEMETRY, Stack, write_config
from tests.deployed_telemetry import Telemetry
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH


@pytest.fixture(scope="session")
def deployed(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack of the demo, as `obsctl deploy` left it."""
    folder: Path = tmp_path_factory.mktemp("stack")
    write_config(folder, cluster)
    stack = Stack(cluster, folder)
    stack.run("deploy", "--yes")
    return stack


@pytest.fixture
def stack(deployed: Stack) -> Iterator[Stack]:
    """The stack, steady when the test starts; a test leaves no drill behind."""
    deployed.run("deploy", "--yes")
    deployed.wait_steady()
    yield deployed
    if left_behind := deployed.clients.consul.entries("obsctl/obs/drills/"):
        deployed.run("drill", "recover")  # what one test leaves is not the next one's fault
    assert left_behind == []


@pytest.fixture(scope="session")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    """Everything that a local cluster can have, on a cluster of its own, with no traffic but the tests' own.

    For tests in the xdist group "telemetry": it is much, and one worker is enough.
    """
    folder: Path = tmp_path_factory.mktemp("telemetry")
    with running_cluster() as own:
        write_config(folder, own, components=(*ALERT_PATH, *TELEMETRY), demo=DEMO[:2])
        stack = Stack(own, folder)
        stack.run("deploy", "--yes")
        yield Telemetry(stack)
