"""The local cluster with real servers: ready means ready, state survives, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from obsctl.errors import ObsctlError
from obsctl.local import processes
from obsctl.local.acls import Acls
from obsctl.local.authority import PEOPLE
from obsctl.local.cluster import LocalCluster
from obsctl.local.machines import AGENTS, CLIENT, CONSUL, SERVER
from obsctl.local.ports import free_block
from obsctl.local.processes import StartedProcess
from obsctl.model import Json, silent
from obsctl.wait import wait_until
from tests.local_cluster import as_manager, configured
from tests.needs import version

pytestmark = pytest.mark.real


@pytest.fixture
def own() -> Iterator[LocalCluster]:
    """A cluster of the test's own, to take down and break; not started."""
    cluster = LocalCluster(Path(tempfile.mkdtemp(prefix="obsctl-", dir="/tmp")))
    yield cluster
    cluster.down(purge=True)
    assert cluster.leftovers() == []
    assert not cluster.folder.path.exists()


def job(name: str, command: str, *args: str, kind: str = "service") -> Json:
    task = {
        "Name": name,
        "Driver": "raw_exec",
        "Config": {"command": command, "args": list(args)},
        "Resources": {"CPU": 20, "MemoryMB": 20},
    }
    group = {"Name": name, "Count": 1, "Tasks": [task]}
    return {"ID": name, "Name": name, "Type": kind, "Datacenters": ["*"], "TaskGroups": [group]}


def end_agent(cluster: LocalCluster, name: str) -> None:
    """The agent ends; tasks outlive the client."""
    [pid] = [agent.pid for agent in cluster.status() if agent.name == name and agent.pid]
    processes.end([psutil.Process(pid)], grace=10)


def wait_for_status(cluster: LocalCluster, name: str, status: str) -> Json:
    """The job's newest allocation, once it has this client status."""

    def probe() -> Json | None:
        newest = next(iter(cluster.nomad.job_allocations(name)), None)
        return newest if newest and newest["ClientStatus"] == status else None

    return wait_until(probe, timeout=30, failure=f"no sign of {name} {status}", hint="")


def task_process(cluster: LocalCluster, word: str) -> psutil.Process | None:
    """The task's process, known by a word of its command line."""
    found = [
        process
        for process in processes.marked("OBSCTL_DEV_CLUSTER", str(cluster.folder.path))
        if word in processes.argv_of(process)
    ]
    return found[0] if found else None


def run_sleeper(cluster: LocalCluster, seconds: str) -> psutil.Process:
    """A running task `sleep SECONDS`; odd seconds make it unmistakable."""
    cluster.nomad.register_job(job("sleeper", "sleep", seconds))
    return wait_for_task(cluster, seconds)


def wait_for_task(cluster: LocalCluster, word: str) -> psutil.Process:
    return wait_until(lambda: task_process(cluster, word), timeout=30, failure="no sign of the task", hint="")


def pids(cluster: LocalCluster) -> dict[str, int | None]:
    return {agent.name: agent.pid for agent in cluster.status()}


# Ready


@pytest.mark.parametrize("command", ["prometheus", "alertmanager", "obsctl"])
def test_a_job_runs_at_once_and_finds_its_program_by_name(cluster: LocalCluster, command: str) -> None:
    name = f"version-of-{command}"
    cluster.nomad.register_job(job(name, command, "--version", kind="batch"))
    allocation = wait_for_status(cluster, name, "complete")
    assert allocation["TaskStates"][name]["Failed"] is False
    cluster.nomad.stop_job(name)


def test_up_again_leaves_everything_as_it_is(cluster: LocalCluster) -> None:
    before = pids(cluster)
    assert all(before.values())
    assert cluster.up() == cluster.addresses
    assert pids(cluster) == before


def test_nothing_listens_beyond_loopback(cluster: LocalCluster) -> None:
    for pid in pids(cluster).values():
        listening = [each for each in psutil.Process(pid).net_connections() if each.status in ("LISTEN", "NONE")]
        assert listening
        assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("agent", [SERVER, CLIENT])
def test_a_web_page_cannot_register_a_job(cluster: LocalCluster, agent: str) -> None:
    """What a browser sends across sites without asking first: no token, and a body that it calls plain text."""
    url = f"{cluster.addresses.of_agent(agent)}/v1/jobs"
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    body = json.dumps({"Job": job("evil", "touch", str(cluster.folder.path / "evil"))})
    answer = requests.post(url, data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.text) == (403, "Permission denied")
    assert "evil" not in {each["ID"] for each in cluster.nomad.jobs()}


def test_without_a_token_consul_shows_and_takes_nothing(cluster: LocalCluster) -> None:
    url = cluster.addresses.consul
    assert requests.put(f"{url}/v1/kv/obsctl/x", data="evil", timeout=10).status_code == 403
    assert requests.put(f"{url}/v1/agent/service/register", json={"Name": "evil"}, timeout=10).status_code == 403
    assert requests.get(f"{url}/v1/catalog/services", timeout=10).json() == {}


def test_secrets_are_for_the_owner_alone(cluster: LocalCluster) -> None:
    folder, access = cluster.folder, cluster.access
    public = [file for file in (folder.path / "access").iterdir() if file.stat().st_mode & 0o077]
    assert public == []
    secrets = {file.read_text() for file in (folder.path / "access").iterdir()}
    assert not [secret for secret in secrets if secret in access.overlay.read_text()]
    for name in AGENTS:
        assert folder.config(name).stat().st_mode & 0o077 == 0
        assert not [secret for secret in secrets if secret in folder.log(name).read_text()]


def test_an_open_cluster_of_an_older_obsctl_is_closed(own: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agents run without ACLs; what runs on it goes on."""

    def opened(_: str, __: str, config: Json) -> None:
        config["acl"] = {"enabled": False}

    with configured(opened), monkeypatch.context() as patched:
        for method in ("close", "admit"):
            patched.setattr(Acls, method, lambda *_: None)
        own.up(auto_ports=True)
    assert requests.get(f"{own.addresses.nomad}/v1/jobs", timeout=10).status_code == 200
    process = run_sleeper(own, "987")
    own.up()
    assert requests.get(f"{own.addresses.nomad}/v1/jobs", timeout=10).status_code == 403
    assert process.is_running()
    assert wait_for_status(own, "sleeper", "running")


def without_certificate(address: str, ca: str) -> int | None:
    """What the server answers to who shows no certificate; None when it refuses the connection."""
    try:
        return requests.get(f"{address}/v1/agent/self", verify=ca, timeout=10).status_code
    except requests.ConnectionError:
        return None


def test_tls_is_mutual_and_stays(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    process = run_sleeper(own, "986")
    own.up(tls=True)
    assert process.is_running()
    own.down()
    own.up()
    assert wait_for_task(own, "986")
    tls = own.access.authority.certificate(PEOPLE)
    pair, ca = (tls["cert_file"], tls["key_file"]), tls["ca_file"]
    for address in (own.addresses.nomad, own.addresses.nomad_client, own.addresses.consul):
        assert address.startswith("https://127.0.0.1:")
        assert requests.get(f"{address}/v1/agent/self", cert=pair, verify=ca, timeout=10).status_code == 403
        # From 1.7 on Consul asks Nomad for its keys and shows none, so there the token alone decides.
        is_open = address != own.addresses.consul and (version("nomad") or ()) >= (1, 7)
        assert without_certificate(address, ca) == (403 if is_open else None)
    keys = list(own.access.authority.folder.glob("*-key.pem"))
    assert len(keys) == 5
    assert not [key for key in keys if key.stat().st_mode & 0o077]


def test_other_secrets_than_those_of_the_servers_are_told(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    own.down()
    shutil.rmtree(own.folder.path / "access")
    with pytest.raises(ObsctlError, match="another first management token") as caught:
        own.up()
    assert "dev down --purge" in caught.value.hint


def test_prometheus_can_find_and_scrape_all_agents(cluster: LocalCluster) -> None:
    wait_until(
        lambda: {"consul", "nomad", "nomad-client"} <= set(cluster.consul.services()),
        timeout=10,  # Nomad tries again some seconds after Consul was not there yet
        failure="Nomad did not register in Consul", hint="",
    )  # fmt: skip
    scraped = {
        cluster.addresses.consul + "/v1/agent/metrics": "consul_raft_apply",
        cluster.addresses.nomad + "/v1/metrics": "nomad_nomad_heartbeat_active",
        cluster.addresses.nomad_client + "/v1/metrics": "nomad_client_host_memory_total",
    }
    query, headers = {"format": "prometheus"}, as_manager(cluster)
    for url, metric in scraped.items():
        wait_until(
            lambda url=url, metric=metric: metric in requests.get(url, query, headers=headers, timeout=5).text,
            timeout=10,
            failure=f"no sign of {metric} at {url}",
            hint="",
        )


def test_tasks_know_where_to_keep_data(cluster: LocalCluster) -> None:
    name = "keeper"
    cluster.nomad.register_job(job(name, "touch", "${meta.obsctl_volumes}/kept", kind="batch"))
    wait_for_status(cluster, name, "complete")
    kept = cluster.folder.path / "volumes" / "kept"
    assert kept.exists()
    kept.unlink()
    cluster.nomad.stop_job(name)


def test_tasks_get_ports_of_the_clusters_own_block(cluster: LocalCluster) -> None:
    greedy = job("greedy", "true", kind="batch")
    greedy["TaskGroups"][0]["Networks"] = [{"DynamicPorts": [{"Label": f"p{number}"} for number in range(50)]}]
    cluster.nomad.register_job(greedy)
    allocation = wait_for_status(cluster, "greedy", "complete")["ID"]
    whole = cluster.nomad.allocation(allocation)
    cluster.nomad.stop_job("greedy")
    block = cluster.folder.ports()
    given = {port["Value"] for port in whole["AllocatedResources"]["Shared"]["Ports"]}
    assert len(given) == 50
    assert given <= set(range(block.tasks_first, block.tasks_last + 1))


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_can_be_restarted_alone(cluster: LocalCluster, name: str) -> None:
    before = pids(cluster)
    end_agent(cluster, name)
    assert pids(cluster) == {**before, name: None}
    cluster.up()
    after = pids(cluster)
    assert after[name] not in (None, before[name])
    assert {**after, name: before[name]} == before


def test_tasks_outlive_their_client(cluster: LocalCluster) -> None:
    task = run_sleeper(cluster, "70001")
    end_agent(cluster, CLIENT)
    cluster.up()
    wait_for_status(cluster, "sleeper", "running")
    assert processes.is_alive(task)
    cluster.nomad.stop_job("sleeper")
    wait_until(lambda: not processes.is_alive(task), timeout=30, failure="no sign of the end of the task", hint="")


def test_a_new_host_volume_is_offered_at_once_and_tasks_do_not_notice(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    task, before = run_sleeper(own, "70006"), pids(own)
    own.up(host_volumes={"obs-jaeger": os.getuid()})
    after = pids(own)
    assert {**after, CLIENT: before[CLIENT]} == before, "the client alone is started anew"
    assert after[CLIENT] != before[CLIENT]
    wait_for_status(own, "sleeper", "running")
    assert processes.is_alive(task)
    api = own.nomad
    assert "obs-jaeger" in api.node(api.nodes()[0]["ID"])["HostVolumes"]


# Down, and up again


def test_state_and_jobs_survive_down_and_up(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    own.consul.put("kept", b"1")
    task = run_sleeper(own, "70002")
    allocation = wait_for_status(own, "sleeper", "running")
    ports = own.folder.ports()
    own.down()
    assert own.leftovers() == []
    assert not processes.is_alive(task)

    own.up()
    assert own.folder.ports() == ports
    again = wait_for_task(own, "70002")
    assert again.pid != task.pid
    assert wait_for_status(own, "sleeper", "running")["ID"] == allocation["ID"]
    pair = own.consul.get("kept")
    assert pair
    assert pair.value == b"1"


def test_state_survives_other_ports(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    own.consul.put("kept", b"1")
    run_sleeper(own, "70003")
    own.down()
    before = own.addresses
    with socket.create_server(("127.0.0.1", own.folder.ports().consul_rpc)) as server:
        with pytest.raises(
            ObsctlError, match=rf"port {server.getsockname()[1]} \(consul rpc\) is taken by .*{os.getpid()}"
        ):
            own.up()
        assert own.leftovers() == []
        assert own.up(auto_ports=True) != before
    wait_for_task(own, "70003")
    assert own.consul.get("kept")


def test_consul_starts_after_a_month_off(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    own.down()
    seen = own.folder.path / "data" / CONSUL / "server_metadata.json"
    seen.write_text(json.dumps({"last_seen_unix": int(time.time()) - 30 * 86400}))
    own.up()


def test_down_finds_tasks_whose_client_was_killed(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    task = run_sleeper(own, "70004")
    psutil.Process(pids(own)[CLIENT]).kill()
    wait_until(lambda: pids(own)[CLIENT] is None, timeout=5, failure="no sign of the client's end", hint="")
    assert processes.is_alive(task)
    own.down()
    assert not processes.is_alive(task)
    assert own.leftovers() == []


def test_up_starts_what_died(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    before = pids(own)
    psutil.Process(before[SERVER]).kill()
    wait_until(lambda: pids(own)[SERVER] is None, timeout=5, failure="no sign of the server's end", hint="")
    own.up()
    after = pids(own)
    assert after[SERVER]
    assert {**after, SERVER: before[SERVER]} == before


def test_agents_without_a_record_are_known_again(own: LocalCluster) -> None:
    own.up(auto_ports=True)
    before = pids(own)
    for name in AGENTS:
        own.folder.forget_process(name)
    assert pids(own) == before
    own.up()
    assert pids(own) == before
    own.down()
    assert own.leftovers() == []


def test_down_leaves_a_process_with_a_recycled_pid_alone(own: LocalCluster, tmp_path: Path) -> None:
    own.up(auto_ports=True)
    record = processes.launch(["/bin/sleep", "70005"], env={}, log=tmp_path / "log")
    foreign = psutil.Process(record.pid)
    try:
        end_agent(own, CLIENT)
        own.folder.keep_process(CLIENT, StartedProcess(record.pid, record.started - 3600))
        own.down()
        assert processes.is_alive(foreign)
    finally:
        processes.end([foreign], grace=1)


# Several at once, and interruptions


def test_two_ups_at_once(own: LocalCluster) -> None:
    failures: list[BaseException] = []

    def up() -> None:
        try:
            LocalCluster(own.folder.path).up(auto_ports=True)
        except ObsctlError as error:
            failures.append(error)

    threads = [threading.Thread(target=up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(pids(own).values())
    assert len(own.leftovers()) == len(AGENTS)


def test_ctrl_c_during_up_names_what_runs(own: LocalCluster) -> None:
    own.folder.claim(silent)
    with free_block() as ports:  # of this worker's share, of which another process does not know
        own.folder.keep_ports(ports)
    command = [sys.executable, "-m", "obsctl", "dev", "up", "--state-dir", str(own.folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        wait_until(lambda: pids(own)[CONSUL], timeout=30, failure="no sign of Consul's start", hint="", interval=0.01)
        up.send_signal(signal.SIGINT)
        _, said = up.communicate(timeout=30)
    assert up.returncode == 130
    assert f"interrupted; still running: consul (pid {pids(own)[CONSUL]})" in said
    assert "obsctl dev down" in said
    own.up()


def test_a_cluster_of_a_test_ends_when_the_test_is_killed() -> None:
    code = """
import sys
from tests.local_cluster import running_cluster
with running_cluster() as cluster:
    print(cluster.folder.path, flush=True)
    sys.stdin.read()
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as test:
        assert test.stdout
        folder = Path(test.stdout.readline().decode().strip())
        assert LocalCluster(folder).leftovers()
        test.kill()
    wait_until(lambda: not folder.exists(), timeout=60, failure="the folder did not go", hint="")
    assert LocalCluster(folder).leftovers() == []
