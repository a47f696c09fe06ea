"""The demo stack, deployed once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cluster import LocalCluster
from tests.deployed import Stack, write_config
from tests.deployed_telemetry import Everything, Telemetry


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


EVERYTHING = Everything()


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Telemetry:
    """Everything that a local cluster can have, on a cluster of its own, with no traffic but the tests' own.

    For tests in the xdist group "telemetry": it is much, so one worker has it, and only until the group's last test.
    """
    return EVERYTHING.running(tmp_path_factory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Thirty programs that no test asks any more would slow down the tests of the next group."""
    yield
    if _is_telemetry(item) and not _is_telemetry(nextitem):
        EVERYTHING.end()


def _is_telemetry(item: pytest.Item | None) -> bool:
    group = item.get_closest_marker("xdist_group") if item else None
    return bool(group and group.args == ("telemetry",))
