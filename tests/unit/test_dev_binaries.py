"""obsctl dev binaries: what it says, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from obsctl.cli.app import App
from obsctl.cli.dev_binaries import binaries
from obsctl.config.catalog import PROGRAMS
from obsctl.config.schema import Config
from obsctl.errors import ObsctlError
from obsctl.ui import Ui
from tests.release_site import VERSION_LINES, VERSIONS, install


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with nomad on PATH, an empty cache, and no release within reach."""
    install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for server in PROGRAMS.values():
        monkeypatch.setenv(server.project.publisher.mirror, "http://127.0.0.1:1")


def run(*arguments: str, servers: dict[str, str] | None = None, as_json: bool = False) -> Result:
    app = App(ui=Ui(as_json=as_json))
    app.__dict__["loaded"] = SimpleNamespace(config=Config(servers=servers or {}))
    return CliRunner().invoke(binaries, arguments, obj=app, standalone_mode=False)


def test_table(tmp_path: Path) -> None:
    result = run("nomad")
    assert result.exception is None
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["NAME", "VERSION", "SOURCE", "PATH"],
        ["nomad", VERSIONS["nomad"], "PATH", str(tmp_path / "bin" / "nomad")],
    ]


def test_the_config_is_heeded(tmp_path: Path) -> None:
    mine = install(tmp_path / "mine", "nomad", "Nomad v2.0.5")
    assert f"2.0.5    configured  {mine}" in run("nomad", servers={"nomad": str(mine)}).stdout


def test_check_lists_all_and_fails_for_what_is_missing(tmp_path: Path) -> None:
    result = run("--check", as_json=True)
    document = json.loads(result.stdout)
    assert document["schema"] == "obsctl/binaries/v1"
    assert document["servers"][:2] == [
        {"name": "nomad", "path": str(tmp_path / "bin" / "nomad"), "version": VERSIONS["nomad"], "source": "PATH"},
        {"name": "consul", "path": None, "version": None, "source": None},
    ]
    assert [server["name"] for server in document["servers"]] == list(PROGRAMS)
    assert result.return_value == 1
    assert (
        f"these programs are not there yet: {', '.join(name for name in PROGRAMS if name != 'nomad')}" in result.stderr
    )
    assert not (tmp_path / "cache").exists()


def test_one_line_for_each_source_that_fails() -> None:
    result = run("consul")
    assert result.stdout.splitlines()[1:] == [
        "! consul: release: 127.0.0.1:1: Connection refused",
        "! consul: Go build: go is not on PATH",
    ]
    assert isinstance(result.exception, ObsctlError)


def test_an_unknown_name_is_a_usage_error() -> None:
    result = CliRunner().invoke(binaries, ["nomadd"], obj=App(ui=Ui()))
    assert result.exit_code == 2
    assert "nomadd: there are nomad, consul" in result.stderr
