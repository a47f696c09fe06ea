"""obsctl dev: what it says, and how it exits."""

from __future__ import annotations

import json
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
from obsctl.local import agents, processes
from obsctl.local import folder as folder_module
from obsctl.local.folder import Folder
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
    for name in agents.AGENTS:
        folder.keep_process(name, record)
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
    assert document["agents"][0] == {"name": "consul", "address": "http://127.0.0.1:8500", "pid": None, "uptime": None}


def test_env_is_for_the_shell(running: psutil.Process) -> None:
    result = run("env")
    script = f'{result.stdout}\necho "$NOMAD_ADDR $CONSUL_HTTP_ADDR $OBSCTL_NOMAD__ADDRESS $OBSCTL_CONSUL__ADDRESS"'
    said = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["http://127.0.0.1:4646", "http://127.0.0.1:8500"] * 2


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


def test_agents_have_the_same_names_everywhere() -> None:
    assert cli.AGENTS == agents.AGENTS


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
