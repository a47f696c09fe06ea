"""What obsctl refuses on a real machine: one sentence, a hint, exit 1, and nothing changed."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.agents import guarded_nomad
from tests.command import plain_environ
from tests.deployed import OBSCTL

pytestmark = pytest.mark.real
TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"
WRONG = "5ecf7a10-0000-4000-8000-0000000bad00"


def obsctl(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OBSCTL, *arguments],
        cwd=folder,
        env={**plain_environ(), **environ},
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_wrong_token_is_named_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "nomad").mkdir()
    with guarded_nomad(tmp_path / "nomad", TOKEN) as address:
        where = {"OBSCTL_NOMAD__ADDRESS": address, "OBSCTL_NOMAD__TOKEN": "env:MY_TOKEN"}

        refused = obsctl(tmp_path, "deploy", "--yes", **where, MY_TOKEN=WRONG)
        unset = obsctl(tmp_path, "deploy", "--yes", **where)

    assert (refused.returncode, unset.returncode) == (1, 1)
    assert "nomad.token is unknown" in refused.stderr
    assert WRONG not in refused.stdout + refused.stderr
    assert "env:MY_TOKEN: is not set" in unset.stderr


def test_a_taken_port_is_named_with_its_holder_and_nothing_starts(tmp_path: Path) -> None:
    state = tmp_path / "s"
    with socket.socket() as holder:
        with suppress(OSError):  # somebody else may have it already, which is as good
            holder.bind(("127.0.0.1", 8500))
            holder.listen()

        refused = obsctl(tmp_path, "dev", "up", "--state-dir", str(state))

        assert refused.returncode == 1
        assert "port 8500 (consul http) is taken by" in refused.stderr
        assert "--auto-ports" in refused.stderr
        assert obsctl(tmp_path, "dev", "status", "--state-dir", str(state)).stdout.count("stopped") == 3
