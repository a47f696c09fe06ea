"""The demo stack, deployed once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cluster import Cluster
from tests.e2e.stack import Stack, write_config


@pytest.fixture(scope="session")
def deployed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Stack:
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
    assert deployed.clients.consul.entries("obsctl/obs/drills/") == []
