"""A cluster of several machines, made by a user who is not root."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from obsctl.local import members, processes, programs
from obsctl.local.binaries import Binaries
from obsctl.local.cluster import LocalCluster
from tests.deployed import OBSCTL
from tests.local_cluster import ON_MACHINES, as_manager

pytestmark = [pytest.mark.real, pytest.mark.timeout(240), pytest.mark.xdist_group("nodes"), ON_MACHINES]
USER = 54321


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The user's folder: the state is below it, and links to the programs."""
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    (folder / "bin").mkdir()
    for name, path in programs.at_hand(Binaries()).items():
        (folder / "bin" / name).symlink_to(path.resolve() if name != "obsctl" else path)
    if os.geteuid() == 0:
        os.chown(folder, USER, USER)
    yield folder
    as_user(folder, OBSCTL, "dev", "down", "--purge", "--yes")  # what a test that failed has left
    shutil.rmtree(folder)


def in_sight(paths: list[Path]) -> str:
    """Shell: for this command alone, root's home, which is closed for others, has these paths and nothing else."""
    binds = [f"mkdir -p {path}; mount --bind $keep/{path.relative_to('/root')} {path}" for path in paths]
    return "; ".join([
        "set -eu", "keep=$(mktemp -d)", "mount --bind /root $keep", "mount -t tmpfs -o mode=755 none /root",
        *binds, "umount $keep", "rmdir $keep",
    ])  # fmt: skip


def as_user(home: Path, *command: str) -> str:
    """Run the command as a user without rights. Its standard output."""
    environment = [
        "env",
        "-i",
        f"HOME={home}",
        f"OBSCTL_DEV_STATE_DIR={home}/dev",
        f"PATH={home}/bin:{os.environ['PATH']}",
    ]
    argv = [*environment, *command]
    if os.geteuid() == 0:
        used = [Path(sys.base_prefix), Path(sys.prefix), *(link.resolve().parent for link in (home / "bin").iterdir())]
        below = sorted({path for path in used if path.is_relative_to("/root")})
        drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all"]
        script = f"{in_sight(below)}; cd /; exec {shlex.join([*drop, *argv])}"
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/", timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def nobody_else_gets_its_ports(cluster: LocalCluster) -> None:
    """Those to which its tokens are sent, on machines that run and on one that is off."""
    for machine, port in itertools.product(cluster.control.machines, (8500, 4646, 5656)):
        with pytest.raises(OSError, match="in use"):
            socket.create_server((machine.address, port))


def a_foreign_port_stops_a_start(home: Path, cluster: LocalCluster) -> None:
    """It is sent nothing, when the mirror has been killed."""
    network = members.of_network(cluster.folder.path)
    processes.end([part.process for part in network if part.mark == members.RELAY], grace=None)
    address = cluster.control.machines[0].address
    with socket.create_server((address, 8500)) as foreign:
        foreign.setblocking(False)
        with pytest.raises(AssertionError, match=rf"{address}: port 8500 \(consul http\) is taken by "):
            as_user(home, OBSCTL, "dev", "node", "start", "client-1")
        with pytest.raises(BlockingIOError):
            foreign.accept()


def a_port_of_a_task_that_is_foreign_is_told(home: Path, cluster: LocalCluster) -> None:
    machine, port = cluster.control.machines[0], 21_999
    listen = f"import socket, time; s = socket.create_server(('', {port})); print(1, flush=True); time.sleep(60)"
    with socket.create_server((machine.address, port)):
        argv = [*cluster.control.network.enter(machine.name), sys.executable, "-c", listen]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as task:
            assert task.stdout
            task.stdout.readline()
            shown = json.loads(as_user(home, OBSCTL, "dev", "status", "--json"))
            task.kill()
    assert shown["foreign_ports"] == [f"{machine.address}:{port}"]


def test_a_user_makes_uses_and_removes_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(USER))  # whose files we may read
    as_user(home, OBSCTL, "dev", "up", "--nodes", "1")
    cluster = LocalCluster(home / "dev")
    assert {p.uids().real for p in members.members(home / "dev")} == {os.geteuid() or USER}
    # This process is outside of all namespaces, as a browser is.
    assert [node["Name"] for node in cluster.nomad.nodes() if node["Status"] == "ready"] == ["client-1"]
    shown = as_user(home, "sh", "-c", f'eval "$({OBSCTL} dev env)"; nomad node status; consul members')
    assert "client-1" in shown
    assert "server-3" in shown
    as_user(home, OBSCTL, "dev", "node", "kill", "client-1")
    nobody_else_gets_its_ports(cluster)
    # Closed, or silent: what listens here for the machine sees only after a moment that it is gone.
    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        requests.get(cluster.addresses.nomad_client, headers=as_manager(cluster), timeout=5)
    a_foreign_port_stops_a_start(home, cluster)
    as_user(home, OBSCTL, "dev", "node", "start", "client-1")
    nobody_else_gets_its_ports(cluster)
    as_user(home, OBSCTL, "dev", "node", "delay", "client-1", "100")
    assert "delayed" in as_user(home, OBSCTL, "dev", "status")
    a_port_of_a_task_that_is_foreign_is_told(home, cluster)
    as_user(home, OBSCTL, "dev", "down", "--purge", "--yes")
    assert members.members(home / "dev") == []
    assert not (home / "dev").exists()
