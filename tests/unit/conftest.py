"""The command line on a cluster of fakes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.cli import wire
from obsctl.cli.root import run
from obsctl.stack.checks import TOOLS
from tests.command import Obsctl, Ran
from tests.without_acls import without_acls
from tests.world import OTHERS_OFF, World


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an obsctl.yaml; no OBSCTL_ variable is set."""
    for name in [name for name in os.environ if name.startswith("OBSCTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "obsctl.yaml").write_text(json.dumps({"stack": "obs", "components": OTHERS_OFF}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Fakes in the place of all servers; programs that check configuration are not there."""
    world = World()
    monkeypatch.setattr(wire, "clients", lambda config: wire.Clients(world.nomad, world.consul, world.programs))
    monkeypatch.setattr(wire, "logins", lambda config: without_acls(world))
    monkeypatch.setattr(wire, "check_tools", lambda *_: dict.fromkeys(TOOLS))
    return world


@pytest.fixture
def obsctl(capsys: pytest.CaptureFixture[str]) -> Iterator[Obsctl]:
    """Runs a command line in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as caught:
            run(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(caught.value.code or 0), captured.out, captured.err)

    yield call
    signal.signal(signal.SIGTERM, before)
