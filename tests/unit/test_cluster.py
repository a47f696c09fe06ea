"""The local cluster without its servers: what is started, what is ended, and what is left alone."""

from __future__ import annotations

import functools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from obsctl.config.environment import variable_of
from obsctl.errors import Interrupted, ObsctlError
from obsctl.local import folder as folder_module
from obsctl.local import members, processes, readiness
from obsctl.local.acls import Acls
from obsctl.local.cluster import LocalCluster
from obsctl.local.control import AgentStatus
from obsctl.local.machines import AGENTS, CLIENT, CONSUL
from obsctl.local.ports import Ports
from obsctl.local.processes import StartedProcess
from obsctl.local.programs import FOR_JOBS, NEEDED
from obsctl.model import Event, silent
from obsctl.wait import wait_until
from tests.release_site import VERSION_LINES, install

Start = Callable[..., psutil.Process]


def sleep_as_agent(program: Path) -> None:
    program.write_text(program.read_text().replace("\n", '\n[ "$1" = agent ] && exec sleep 60\n', 1))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """One whose Consul tells its version and ends, whatever it is asked, and whose Nomad sleeps."""
    monkeypatch.setattr(folder_module, "LONGEST_PATH", 300)
    for name in (*NEEDED, *FOR_JOBS):
        program = install(tmp_path / "programs", name, VERSION_LINES[name])
        monkeypatch.setenv(variable_of(("servers", name)), str(program))
    sleep_as_agent(tmp_path / "programs" / "nomad")
    cluster = LocalCluster(tmp_path / "state")
    yield cluster
    cluster.down()


@pytest.fixture
def agents(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that sleep, and that count as ready at once."""
    sleep_as_agent(tmp_path / "programs" / "consul")
    monkeypatch.setattr(readiness, "registrations", lambda _: {})
    monkeypatch.setattr(readiness, "wait_ready", lambda *_: None)
    monkeypatch.setattr(readiness, "ask", lambda _, call, __: call())
    for method in ("close", "admit"):
        monkeypatch.setattr(Acls, method, lambda *_: None)


@pytest.fixture
def start(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a process that is called as `PYTHON word`, of this cluster unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    started: list[psutil.Process] = []

    def start_one(word: str = "task", *, state: str = str(cluster.folder.path)) -> psutil.Process:
        (tmp_path / word).write_text("import time\ntime.sleep(60)\n")
        environment = {members.MARKER: state}
        record = processes.launch([sys.executable, word], env=environment, log=tmp_path / "log")
        process = processes.find(record)
        assert process
        started.append(process)
        return process

    yield start_one
    processes.end(started, grace=0)


def started_process(process: psutil.Process) -> StartedProcess:
    return StartedProcess(process.pid, process.create_time())


def test_up_links_what_jobs_may_name(cluster: LocalCluster) -> None:
    with pytest.raises(ObsctlError):
        cluster.up(auto_ports=True)
    linked = {entry.name: entry.resolve() for entry in cluster.folder.bin.iterdir()}
    assert set(linked) == {*NEEDED, *FOR_JOBS, "obsctl"}
    assert linked["obsctl"] == Path(sys.executable).parent.resolve() / "obsctl"


def test_up_in_a_shell_with_the_clusters_own_path_links_the_programs_themselves(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NEEDED, *FOR_JOBS):
        monkeypatch.delenv(variable_of(("servers", name)))
    monkeypatch.setenv("PATH", f"{cluster.folder.bin}:{tmp_path / 'programs'}:/usr/bin:/bin")
    for _ in range(2):
        with pytest.raises(ObsctlError, match="consul ended"):
            cluster.up(auto_ports=True)
    linked = {entry.name: entry.readlink() for entry in cluster.folder.bin.iterdir() if entry.name != "obsctl"}
    assert linked == {name: tmp_path / "programs" / name for name in (*NEEDED, *FOR_JOBS)}


def test_an_agent_that_ends_at_once_is_quoted(cluster: LocalCluster) -> None:
    with pytest.raises(ObsctlError, match=r"consul ended as soon as it was started[^$]*\n  Consul v1") as failure:
        cluster.up(auto_ports=True)
    assert failure.value.hint == "obsctl dev logs consul shows more"
    assert cluster.status()[0].pid is None


@pytest.mark.usefixtures("agents")
def test_up_does_without_what_only_jobs_need(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSCTL_SERVERS__PROMETHEUS", "/no/such/program")
    events: list[Event] = []
    cluster.up(auto_ports=True, emit=events.append)
    notes = [event for event in events if event.state == "note"]
    assert [event.subject for event in notes] == ["prometheus"]
    assert "/no/such/program" in notes[0].text


@pytest.mark.usefixtures("agents")
def test_the_cluster_runs_while_what_only_jobs_need_is_still_built(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started agents let go print Jaeger, and a deploy that comes before waits for that."""
    monkeypatch.delenv("OBSCTL_SERVERS__JAEGER")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OBSCTL_RELEASES_JAEGERTRACING", "http://127.0.0.1:1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'go'}:/usr/bin:/bin")
    jaeger, running = tmp_path / "programs" / "jaeger", tmp_path / "agents-run"
    go = f'until [ -e {running} ]; do sleep 0.02; done; while [ "$1" != -o ]; do shift; done; cp {jaeger} "$2"'
    install(tmp_path / "go", "go", "").write_text(f"#!/bin/sh\n{go}\n")
    seen: list[str] = []
    deploys: list[threading.Thread] = []

    def deploy_and_be_ready(name: str, *_: object) -> None:
        if name == CLIENT:
            seen.extend(entry.name for entry in cluster.folder.bin.iterdir())
            wait_for_jaeger = functools.partial(cluster.await_programs, ["jaeger"], waited.append)
            deploys.append(threading.Thread(target=wait_for_jaeger))
            deploys[0].start()
            wait_until(lambda: waited, timeout=10, failure="no sign of the deploy's wait", hint="", interval=0.02)
            running.touch()

    waited: list[Event] = []
    told: list[Event] = []
    monkeypatch.setattr(readiness, "wait_ready", deploy_and_be_ready)
    with pytest.raises(ObsctlError, match="has no jaeger, prometheus on its PATH") as caught:
        cluster.await_programs(["jaeger", "prometheus"])
    assert "obsctl dev up" in caught.value.hint
    cluster.up(auto_ports=True, emit=told.append)
    deploys[0].join(timeout=10)
    assert not deploys[0].is_alive()
    assert waited[0].text == "obsctl dev up is still getting jaeger; waiting for that"
    assert "runs; obsctl still gets programs for jobs: jaeger" in [event.text for event in told]
    assert set(seen) == {*NEEDED, *FOR_JOBS, "obsctl"} - {"jaeger"}
    assert (cluster.folder.bin / "jaeger").resolve().is_relative_to(tmp_path / "cache")
    assert not cluster.folder.is_being_filled()


def test_up_does_not_do_without_nomad(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSCTL_SERVERS__NOMAD", "/no/such/program")
    with pytest.raises(ObsctlError, match="/no/such/program"):
        cluster.up()


def test_a_taken_port_stops_up_before_anything_starts(cluster: LocalCluster) -> None:
    cluster.folder.claim(silent)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cluster.folder.keep_ports(Ports(consul_http=port))
        with pytest.raises(ObsctlError, match=rf"port {port} \(consul http\) is taken by .* \(pid \d+\)") as failure:
            cluster.up()
        assert "--auto-ports" in failure.value.hint
        assert not cluster.folder.log(CONSUL).exists()
        with pytest.raises(ObsctlError, match="consul ended"):
            cluster.up(auto_ports=True)
        assert port not in cluster.folder.ports().by_use().values()


def test_kept_ports_are_used_again(cluster: LocalCluster) -> None:
    kept = []
    for _ in range(2):
        with pytest.raises(ObsctlError, match="consul ended"):
            cluster.up(auto_ports=True)
        kept.append(cluster.folder.ports())
    assert kept[0] == kept[1]


def test_down_ends_all_kinds_and_nothing_else(cluster: LocalCluster, start: Start) -> None:
    ours = [start(word) for word in ("task", "executor", "logmon", "agent")]
    others = start(state="/another/cluster")
    events: list[Event] = []
    cluster.down(events.append)
    assert not any(processes.is_alive(process) for process in ours)
    assert processes.is_alive(others)
    assert [(event.subject, event.text) for event in events] == [("tasks", "2 ended"), ("executors", "2 ended")]


def test_down_stops_recorded_agents_by_name(cluster: LocalCluster, start: Start) -> None:
    cluster.folder.claim(silent)
    client = start()
    cluster.folder.keep_process(CLIENT, started_process(client))
    events: list[Event] = []
    cluster.down(events.append)
    assert [(event.subject, event.text) for event in events] == [(CLIENT, f"stopped (pid {client.pid})")]
    assert cluster.folder.process(CLIENT) is None


def test_down_leaves_a_process_with_a_recycled_pid_alone(cluster: LocalCluster, start: Start) -> None:
    cluster.folder.claim(silent)
    foreign = start(state="/another/cluster")
    for agent in AGENTS:
        cluster.folder.keep_process(agent, StartedProcess(foreign.pid, foreign.create_time() - 3600))
    assert cluster.status()[0].pid is None
    cluster.down()
    assert processes.is_alive(foreign)


def test_down_without_a_cluster(cluster: LocalCluster) -> None:
    cluster.down()
    assert not cluster.folder.path.exists()


def test_purge_asks_first_whose_folder_it_is(cluster: LocalCluster, start: Start) -> None:
    task = start()
    cluster.folder.path.mkdir()
    (cluster.folder.path / "thesis.txt").write_text("")
    with pytest.raises(ObsctlError, match="is not removed"):
        cluster.down(purge=True)
    assert processes.is_alive(task)


def test_purge(cluster: LocalCluster) -> None:
    cluster.folder.claim(silent)
    cluster.down(purge=True)
    assert not cluster.folder.path.exists()
    cluster.down(purge=True)


def test_status(cluster: LocalCluster, start: Start) -> None:
    cluster.folder.claim(silent)
    consul = start()
    cluster.folder.keep_process(CONSUL, started_process(consul))
    running, *stopped = cluster.status()
    assert (running.name, running.pid, running.address) == (CONSUL, consul.pid, "http://127.0.0.1:8500")
    assert running.uptime is not None
    assert -2 < running.uptime < 60
    assert stopped[1] == AgentStatus(CLIENT, "http://127.0.0.1:5656")


def test_interrupted_up_names_what_runs(cluster: LocalCluster, start: Start) -> None:
    def press_ctrl_c(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="interrupted; nothing of the cluster runs"):
        cluster.up(auto_ports=True, emit=press_ctrl_c)
    task = start()
    with pytest.raises(Interrupted, match=rf"still running: python\S* \(pid {task.pid}\)"):
        cluster.up(auto_ports=True, emit=press_ctrl_c)


def test_a_state_folder_that_cannot_be_made(cluster: LocalCluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ObsctlError, match=r"cannot be used: Not a directory \(.*/file/state\)"):
        LocalCluster(tmp_path / "file" / "state").up()


def test_agents_get_little_of_the_users_environment(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMAD_TOKEN", "secret")
    monkeypatch.setenv("PATH", "/usr/bin")
    environment = cluster.control.environment()
    assert "NOMAD_TOKEN" not in environment
    assert environment["PATH"] == f"{cluster.folder.bin}:/usr/bin"
    assert environment[members.MARKER] == str(cluster.folder.path)
