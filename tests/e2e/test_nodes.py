"""A cluster of three server and three client machines: what happens to a machine, and a stack on them."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from obsctl.local import members, namespaces, processes
from obsctl.local.cluster import LocalCluster
from obsctl.local.network import CUT, DELAYED, Network
from obsctl.local.nodes import Nodes
from obsctl.model import Json, silent
from obsctl.wait import wait_until
from tests.deployed import OBSCTL
from tests.local_cluster import ON_MACHINES, as_manager, running_nodes

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.xdist_group("nodes"), ON_MACHINES]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with running_nodes() as running:
        yield running


@pytest.fixture
def nodes(cluster: LocalCluster) -> Nodes:
    return Nodes(cluster, silent)


def address(cluster: LocalCluster, name: str) -> str:
    return next(machine.address for machine in cluster.control.machines if machine.name == name)


def answers(cluster: LocalCluster, name: str, port: int = 8500, *, within: float = 1) -> bool:
    """within: seconds for the connection, and for the answer."""
    try:
        requests.get(f"http://{address(cluster, name)}:{port}/v1/status/leader", timeout=within)
    except requests.RequestException:
        return False
    return True


def consul_nodes(cluster: LocalCluster) -> dict[str, str]:
    """Name -> the status of its serfHealth."""
    url = f"{cluster.addresses.consul}/v1/health/state/any"
    checks = requests.get(url, headers=as_manager(cluster), timeout=10).json()
    return {check["Node"]: check["Status"] for check in checks if check["CheckID"] == "serfHealth"}


def nomad_status(cluster: LocalCluster, name: str) -> str:
    return next((str(node["Status"]) for node in cluster.nomad.nodes() if node["Name"] == name), "")


def wait_for_nomad(cluster: LocalCluster, name: str, status: str) -> None:
    wait_until(
        lambda: nomad_status(cluster, name) == status, timeout=60, failure=f"{name} did not get {status}", hint=""
    )


def wait_for_heartbeat(cluster: LocalCluster, name: str) -> None:
    """A new leader gives each client five minutes until its next heartbeat: one lost before is not down earlier."""
    machine = next(machine for machine in cluster.control.machines if machine.name == name)
    url, began = f"{cluster.control.addresses_of(machine).nomad_client}/v1/agent/self", time.monotonic()

    def has_sent_one() -> bool:
        stats = requests.get(url, headers=as_manager(cluster), timeout=10).json()["stats"]["client"]
        age = re.fullmatch(r"([\d.]+)(m?s)", stats["last_heartbeat"])  # of minutes: not since
        return age is not None and float(age[1]) / {"s": 1, "ms": 1000}[age[2]] < time.monotonic() - began

    wait_until(has_sent_one, timeout=60, failure=f"no heartbeat of {name}", hint="")


def wait_for_voters(cluster: LocalCluster) -> None:
    """A server that was lost votes again ten seconds after its return: until then no other may be lost."""
    path, addresses = "/v1/operator/raft/configuration", (cluster.addresses.nomad, cluster.addresses.consul)

    def all_vote() -> bool:
        answers = [requests.get(f"{each}{path}", headers=as_manager(cluster), timeout=10).json() for each in addresses]
        return all([server["Voter"] for server in each["Servers"]] == [True] * 3 for each in answers)

    wait_until(all_vote, timeout=60, failure="not all servers vote", hint="")


def run_on(cluster: LocalCluster, name: str) -> psutil.Process:
    """A raw_exec task with a static port on this machine."""
    task = {"Name": "main", "Driver": "raw_exec", "Config": {"command": "sleep", "args": ["987"]}}
    group: Json = {
        "Name": "main", "Tasks": [task], "Networks": [{"ReservedPorts": [{"Label": "http", "Value": 9123}]}],
    }  # fmt: skip
    pinned = {"LTarget": "${node.unique.name}", "Operand": "=", "RTarget": name}
    job = {"ID": f"on-{name}", "Name": f"on-{name}", "Type": "service", "Datacenters": ["*"], "TaskGroups": [group],
           "Constraints": [pinned]}  # fmt: skip
    cluster.nomad.register_job(job)

    def task_process() -> psutil.Process | None:
        there = members.of_machine(cluster.folder.path, name)
        return next((process for process in there if processes.argv_of(process)[1:] == ["987"]), None)

    # After the loss of the leader the servers elect another one first.
    return wait_until(task_process, timeout=90, failure=f"no task on {name}", hint="")


def namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def test_all_servers_and_clients_are_members(cluster: LocalCluster) -> None:
    assert {node["Name"] for node in cluster.nomad.nodes() if node["Status"] == "ready"} == {
        "client-1", "client-2", "client-3",
    }  # fmt: skip
    everybody = {f"{kind}-{number}" for kind in ("server", "client") for number in (1, 2, 3)}
    assert consul_nodes(cluster) == dict.fromkeys(everybody, "passing")
    assert all(agent.pid for agent in cluster.status())


def test_nothing_of_it_listens_on_this_machine(cluster: LocalCluster) -> None:
    """Without root, what lets this machine reach the others does so at their addresses, which are loopback ones."""
    own = namespace(psutil.Process().pid)
    alive = members.members(cluster.folder.path)
    assert alive
    outside = [process for process in alive if namespace(process.pid) == own]
    listening = {each.laddr.ip for process in outside for each in process.net_connections() if each.status == "LISTEN"}
    addresses = {machine.address for machine in cluster.control.machines}
    assert listening == (addresses if namespaces.is_rootless() else set())


def test_two_machines_use_the_same_port_and_tasks_run_on_their_machine(cluster: LocalCluster) -> None:
    one, two = run_on(cluster, "client-1"), run_on(cluster, "client-2")
    assert len({namespace(one.pid), namespace(two.pid), namespace(psutil.Process().pid)}) == 3
    for name in ("client-1", "client-2"):
        cluster.nomad.stop_job(f"on-{name}")


def test_a_killed_machine_is_silent_and_is_back_after_its_start(cluster: LocalCluster, nodes: Nodes) -> None:
    task = run_on(cluster, "client-3")
    nodes.kill("client-3")
    assert not processes.is_alive(task)
    assert members.of_machine(cluster.folder.path, "client-3") == []
    assert not answers(cluster, "client-3")
    wait_for_nomad(cluster, "client-3", "down")
    assert consul_nodes(cluster)["client-3"] == "critical"
    nodes.start("client-3")
    assert nomad_status(cluster, "client-3") == "ready"
    cluster.nomad.stop_job("on-client-3")


def test_a_stopped_machine_leaves_consul(cluster: LocalCluster, nodes: Nodes) -> None:
    nodes.stop("client-2")
    assert "client-2" not in consul_nodes(cluster)
    cluster.up()  # the others run meanwhile, and do not register anew
    assert consul_nodes(cluster)["client-2"] == "passing"


def test_without_one_server_the_others_go_on(cluster: LocalCluster, nodes: Nodes) -> None:
    nodes.kill("server-3")
    wait_until(cluster.nomad.leader, timeout=30, failure="no leader", hint="")
    run_on(cluster, "client-1")
    cluster.nomad.stop_job("on-client-1")
    nodes.start("server-3")


@pytest.mark.campaign
def test_the_first_server_can_be_cut_off_and_lost_like_any_other(cluster: LocalCluster, nodes: Nodes) -> None:
    """And another machine can be started meanwhile."""
    wait_for_voters(cluster)
    nodes.cut("server-1")
    nodes.kill("client-1")
    nodes.start("client-1")
    assert nomad_status(cluster, "client-1") == "ready"
    nodes.join("server-1")
    nodes.kill("server-1")
    nodes.start("server-1")
    wait_until(
        lambda: consul_nodes(cluster)["server-1"] == "passing", timeout=30, failure="server-1 is not back", hint=""
    )


def test_a_machine_that_is_cut_off_runs_on(cluster: LocalCluster, nodes: Nodes) -> None:
    wait_for_heartbeat(cluster, "client-2")
    pids = {agent.name: agent.pid for agent in cluster.status()}
    nodes.cut("client-2")
    assert not answers(cluster, "client-2")
    assert {agent.link for agent in cluster.status() if agent.name.startswith("client-2/")} == {CUT}
    wait_for_nomad(cluster, "client-2", "down")
    nodes.join("client-2")
    wait_for_nomad(cluster, "client-2", "ready")
    assert {agent.name: agent.pid for agent in cluster.status()} == pids


def test_a_delay_is_a_delay_each_way_and_ends(cluster: LocalCluster, nodes: Nodes) -> None:
    def seconds() -> float:
        began = time.monotonic()
        assert answers(cluster, "client-1", within=10)
        return time.monotonic() - began

    nodes.delay("client-1", 200)
    assert seconds() >= 0.8  # there and back, for the connection and for the request
    assert {agent.link for agent in cluster.status() if agent.name.startswith("client-1/")} == {DELAYED}
    nodes.delay("client-1", 0)
    assert seconds() < 0.8
    assert nomad_status(cluster, "client-1") == "ready"


@pytest.mark.timed
@pytest.mark.xdist_group("timed")
def test_three_servers_and_three_clients_are_ready_in_20_seconds() -> None:
    began = time.monotonic()
    with running_nodes():
        took = time.monotonic() - began
    print(f"ready after {took:.1f} s")
    assert took < 20


@pytest.mark.campaign
def test_ctrl_c_and_kill_leave_nothing_that_down_does_not_find() -> None:
    """After each line of progress of an `up`, in turn by Ctrl-C and by SIGKILL."""
    folder = Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp"))
    command = [OBSCTL, "dev", "up", "--nodes", "1", "--state-dir", str(folder)]
    for number, lines in enumerate((0, 0, 1, 3, 6, 9)):
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as up:
            assert up.stderr
            for _ in range(lines):
                up.stderr.readline()
            time.sleep(0.3 * (number == 1))
            up.send_signal(2 if number % 2 else 9)
            up.stderr.read()
    cluster = LocalCluster(folder)
    cluster.down(purge=True)
    assert (cluster.leftovers(), folder.exists()) == ([], False)
    shown = subprocess.run(
        ["ip", "link", "show", "dev", Network(folder).host_link], capture_output=True, text=True, check=False
    )
    assert "does not exist" in shown.stderr
