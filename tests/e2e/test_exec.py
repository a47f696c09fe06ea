"""Metrics, traces and logs with driver exec: programs in a chroot each, as nobody, with data in host volumes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl import assets
from obsctl.config.components import NOBODY
from obsctl.local import members
from obsctl.stack import storage
from tests.agents import program
from tests.chroots import chroots_with
from tests.deployed import Stack, node_disks, owners_below, write_config
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("exec"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Nomad's exec driver takes root"),
]
# Those of the node's programs that consist of one file; obsctl itself would take a whole Python.
PROGRAMS = ("prometheus", "alertmanager", "victoria-logs", "jaeger", "otelcol")
IN_EXEC = ("prometheus", "alertmanager", "victorialogs", "jaeger", "otel-gateway", "otel-agent")
RUN = (*PROGRAMS, "otelcol")  # agent and gateway


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with chroots_with({Path(program(name)): f"/usr/bin/{name}" for name in PROGRAMS}), running_cluster() as running:
        stack = Stack(running, tmp_path_factory.mktemp("stack"))
        write_config(stack.folder, running, components={*ALERT_PATH, *IN_EXEC})
        without_log_links(stack.folder / "jobs")
        for name in IN_EXEC:
            stack.change(name, driver="exec")
        running.up(host_volumes=storage.host_volumes(stack.loaded.config))
        stack.run("deploy", "--yes")
        yield stack


def without_log_links(folder: Path) -> None:
    """The agent's job without its second task, which is obsctl itself."""
    job = (assets.shipped() / "jobs" / "otel-agent.nomad.hcl.j2").read_text()
    job = re.sub(r"<%= parts.service\('log-links'.*?\n", "", job)
    job, count = re.subn(r"    # Names the allocations.*?(?=    task \"otel-agent\")", "", job, flags=re.DOTALL)
    assert count == 1
    folder.mkdir()
    (folder / "otel-agent.nomad.hcl.j2").write_text(job)


def test_the_agent_sees_the_node_s_disk_and_not_its_own_mounts(stack: Stack) -> None:
    disks = node_disks(stack)
    assert list(disks) == ["/"]
    node = os.statvfs("/")
    assert disks["/"] == pytest.approx((node.f_blocks - node.f_bfree) * node.f_frsize, rel=0.1)


def test_programs_run_as_nobody_with_a_root_of_their_own(stack: Stack) -> None:
    found = [process for process in members.members(stack.cluster.folder.path) if process.name() in PROGRAMS]
    assert sorted(process.name() for process in found) == sorted(RUN)
    for process in found:
        assert set(process.uids()) == {NOBODY}, f"{process.name()} runs as {process.uids()}"
        root = Path(f"/proc/{process.pid}/root")
        assert {path.name for path in (root / "usr" / "bin").iterdir()} == set(PROGRAMS), "it sees the node's files"


def test_data_is_in_host_volumes_and_belongs_to_nobody(stack: Stack) -> None:
    stack.clients.nomad.stop_job("obs-alertmanager")  # it writes when it ends
    stack.run("deploy", "--yes")
    for path in stack.cluster.folder.host_volumes():
        assert owners_below(path) == {NOBODY}, f"{path.name}: its files, of which there are some"
