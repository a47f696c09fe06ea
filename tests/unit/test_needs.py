"""Tests that need a newer server are counted in one line, and never left out in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import STRICT
from tests.release_site import install

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

pytestmark = pytest.mark.real

def test_here():
    pass

@pytest.mark.needs(nomad="1.10")
@pytest.mark.parametrize("number", [1, 2])
def test_newer(number):
    pass

@pytest.mark.needs(nomad="1.6", consul="1.15.3")
def test_newer_consul():
    pass
"""
LINE = (
    "1 test needs Consul 1.15.3 or newer, 2 tests need Nomad 1.10 or newer: not run with Nomad 1.6.1 and Consul 1.14.11"
    " (make test-with NOMAD=/path CONSUL=/path)"
)


def run(folder: Path, nomad: str, consul: str, *arguments: str) -> tuple[int, list[str]]:
    """The exit code and the output of these tests with servers that tell these versions."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  needs\n  real\n")
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OBSCTL_SERVERS__NOMAD": str(install(folder / "bin", "nomad", f"Nomad v{nomad}")),
        "OBSCTL_SERVERS__CONSUL": str(install(folder / "bin", "consul", f"Consul v{consul}")),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.needs", "-p", "no:cacheprovider", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_is_left_out_is_counted_in_one_line(tmp_path: Path, workers: str) -> None:
    code, lines = run(tmp_path, "1.6.1", "1.14.11", workers)
    assert code == 0, lines
    assert lines.count(LINE) == 1, lines
    assert any(line.startswith("1 passed") for line in lines)


def test_where_all_are_wanted_it_is_a_failure(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "1.6.1", "1.14.11", "-n2", STRICT)
    assert code == 1, lines
    assert lines.count(LINE) == 1, lines


def test_with_new_servers_all_are_run_and_nothing_is_said(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "1.10.0", "1.22.1", STRICT)
    assert code == 0, lines
    assert any(line.startswith("4 passed") for line in lines)
    assert not any("make test-with" in line for line in lines)


def test_what_was_not_chosen_is_not_counted(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "1.6.1", "1.14.11", "-k", "here", STRICT)
    assert code == 0, lines
    assert not any("make test-with" in line for line in lines)
