"""obsctl dev: what it says, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner, Result

from obsctl.cli import dev as cli
from obsctl.cli.app import App
from obsctl.errors import ObsctlError
from obsctl.local import folder as folder_module
from obsctl.local import processes
from obsctl.local.access import Access
from obsctl.local.agents import Addresses
from obsctl.local.cluster import LocalCluster
from obsctl.local.folder import Folder
from obsctl.local.machines import AGENTS, Layout
from obsctl.local.ports import Ports
from obsctl.local.processes import StartedProcess
from obsctl.model import silent
from obsctl.ui import Ui


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The state folder that the commands use."""
    monkeypatch.setattr(folder_module, "LONGEST_PATH", 300)
    monkeypatch.setenv("OBSCTL_DEV_STATE_DIR", str(tmp_path / "state"))
    return Folder(tmp_path / "state")


@pytest.fixture
def running(folder: Folder) -> Iterator[psutil.Process]:
    """A process that the records take for all three agents."""
    folder.claim(silent)
    record = processes.launch(["/bin/sleep", "60"], env={}, log=folder.path / "log")
    for name in AGENTS:
        folder.keep_process(name, record)
    access = Access(folder.path)
    access.keys()
    (folder.path / "access" / "nomad-token").write_text("of nomad")
    access.publish(Addresses.of(Ports()), Addresses.of(Ports()), identities=True)
    process = psutil.Process(record.pid)
    yield process
    processes.end([process], grace=0)


def run(*arguments: str, as_json: bool = False) -> Result:
    return CliRunner().invoke(cli.dev, arguments, obj=App(ui=Ui(as_json=as_json)), standalone_mode=False)


def test_status_of_a_stopped_cluster(folder: Folder) -> None:
    result = run("status")
    assert result.return_value == 1
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["AGENT", "STATE", "PID", "ADDRESS", "UPTIME"],
        ["consul", "stopped", "-", "http://127.0.0.1:8500", "-"],
        ["nomad-server", "stopped", "-", "http://127.0.0.1:4646", "-"],
        ["nomad-client", "stopped", "-", "http://127.0.0.1:5656", "-"],
    ]
    assert not folder.path.exists()


def test_status_of_a_running_cluster(running: psutil.Process) -> None:
    result = run("status")
    assert result.return_value == 0
    assert f"consul        running  {running.pid}" in result.stdout


def test_status_as_json(folder: Folder) -> None:
    document = json.loads(run("status", as_json=True).stdout)
    assert document["schema"] == "obsctl/dev-status/v1"
    assert document["agents"][0] == {
        "name": "consul",
        "address": "http://127.0.0.1:8500",
        "pid": None,
        "uptime": None,
        "link": "",
    }


@pytest.mark.parametrize(
    ("configured", "is_told"), [("http://127.0.0.1:4646", True), ("http://10.87.0.12:4646", False), (None, False)]
)
def test_up_tells_when_obsctl_yaml_leads_to_another_cluster(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: str | None, is_told: bool
) -> None:
    """As after `dev up --nodes`, whose machines have addresses of their own."""
    where = Addresses("http://10.87.0.11:8500", "http://10.87.0.11:4646", "http://10.87.0.21:5656")

    def up(cluster: LocalCluster, **_: object) -> Addresses:
        cluster.folder.claim(silent)
        cluster.folder.keep_layout(Layout(1, "10.87.0.0/24"))
        cluster.folder.prepare("server-2")
        own = StartedProcess(os.getpid(), psutil.Process().create_time())
        cluster.folder.keep_process("server-2/nomad-server", own)
        cluster.access.keys()
        (folder.path / "access" / "nomad-token").write_text("of nomad")
        cluster.access.publish(where, where, identities=True)
        return where

    monkeypatch.setattr(LocalCluster, "up", up)
    file = tmp_path / "obsctl.yaml"
    file.write_text(json.dumps({"stack": "obs", **({"nomad": {"address": configured}} if configured else {})}))
    app = App(ui=Ui(), config_path=file)
    result = CliRunner().invoke(cli.dev, ("up", "--nodes", "1"), obj=app, standalone_mode=False)
    words = f"nomad.address: is {configured} for obsctl, and this cluster's is {where.nomad}"
    assert (words in result.stderr) == is_told
    assert ("leads your shell to this cluster" in result.stderr) == is_told


def test_env_is_for_the_shell(running: psutil.Process) -> None:
    result = run("env")
    script = f'{result.stdout}\necho "$NOMAD_ADDR $CONSUL_HTTP_ADDR $OBSCTL_NOMAD__ADDRESS $OBSCTL_CONSUL__ADDRESS"'
    said = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["http://127.0.0.1:4646", "http://127.0.0.1:8500"] * 2


def test_env_has_the_tokens_and_obsctl_finds_them_in_the_same_folder(running: psutil.Process, folder: Folder) -> None:
    env = json.loads(run("env", as_json=True).stdout)["env"]
    assert env["NOMAD_TOKEN"] == "of nomad"
    loaded = App(ui=Ui(as_json=True)).loaded
    assert loaded.config.nomad.token == f"file:{folder.path}/access/nomad-token"
    assert Path(loaded.config.consul.token.target).read_text() == env["CONSUL_HTTP_TOKEN"]
    assert {file.stat().st_mode & 0o077 for file in folder.path.rglob("access*/**")} == {0}


def test_a_cluster_that_was_killed_leaves_no_token_for_who_listens_there_now(
    running: psutil.Process, folder: Folder
) -> None:
    running.kill()
    running.wait()
    config = App(ui=Ui(as_json=True)).loaded.config
    assert (config.nomad.token, config.consul.token) == (None, None)
    assert config.nomad.address == "http://127.0.0.1:4646"


def test_env_of_a_cluster_whose_start_was_interrupted(running: psutil.Process, folder: Folder) -> None:
    Access(folder.path).withdraw()
    assert "is not up" in run("env").exception.message


def test_env_as_json(running: psutil.Process) -> None:
    document = json.loads(run("env", as_json=True).stdout)
    assert document["env"]["NOMAD_ADDR"] == "http://127.0.0.1:4646"


def test_env_of_a_stopped_cluster(folder: Folder) -> None:
    result = run("env")
    assert isinstance(result.exception, ObsctlError)
    assert result.exception.hint == "obsctl dev up starts it"
    assert not result.stdout


def test_down_says_where_the_state_is(folder: Folder) -> None:
    folder.claim(silent)
    assert f"its state stays in {folder.path}" in run("down").stdout


def test_purge_needs_a_yes(folder: Folder) -> None:
    folder.claim(silent)
    result = run("down", "--purge")
    assert isinstance(result.exception, ObsctlError)
    assert "--yes" in result.exception.hint
    assert folder.is_ours()
    assert "its state is removed" in run("down", "--purge", "--yes").stdout
    assert not folder.path.exists()


def test_logs(folder: Folder) -> None:
    folder.claim(silent)
    folder.log("consul").write_text("one\ntwo\nthree\n")
    assert run("logs", "consul", "-n", "2").stdout == "==> consul <==\ntwo\nthree\n"
    assert "==> nomad-client <==" in run("logs").stdout
    assert json.loads(run("logs", as_json=True).stdout)["logs"]["consul"] == ["one", "two", "three"]


def test_logs_of_an_agent_that_there_is_not(folder: Folder) -> None:
    result = run("logs", "nomad")
    assert isinstance(result.exception, ObsctlError)
    assert result.exception.hint == "it has consul, nomad-server, nomad-client"


@pytest.mark.parametrize("command", [cli.dev, *cli.dev.commands.values()], ids=lambda command: str(command.name))
def test_help_has_an_example(command: click.Command) -> None:
    assert "Example: " in (command.help or "")


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, obsctl.cli.dev; print({'psutil', 'requests', 'nomad', 'consul', 'pydantic'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


def test_recorded_start_time_matters(running: psutil.Process, folder: Folder) -> None:
    folder.keep_process("consul", StartedProcess(running.pid, running.create_time() - 60))
    assert run("status").return_value == 1
