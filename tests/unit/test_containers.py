"""The containers of a local cluster: told from all others by the allocations of its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from obsctl.local import members

Answer = Callable[[str], Path]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Makes a docker that says this and nothing more; gives the file with the arguments that it got."""

    def make(answer: str, code: int = 0) -> Path:
        program, log = tmp_path / "programs" / "docker", tmp_path / "calls"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nprintf "{answer}"\nexit {code}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return log

    return make


def test_those_of_other_clusters_are_not_ours(docker: Answer, tmp_path: Path) -> None:
    docker("prometheus-1 alloc-1\\njaeger-2 alloc-2\\n")
    (tmp_path / "alloc" / "alloc-2").mkdir(parents=True)
    assert members.containers(tmp_path / "alloc") == ["jaeger-2"]


def test_without_docker_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert members.containers(tmp_path) == []


def test_without_its_daemon_there_are_none(docker: Callable[..., Path], tmp_path: Path) -> None:
    docker("Cannot connect to the daemon\\n", code=1)
    assert members.containers(tmp_path) == []


def test_a_cluster_that_was_never_up_asks_nobody(docker: Answer, tmp_path: Path) -> None:
    log = docker("")
    assert members.containers(tmp_path / "alloc") == []
    assert not log.exists()


def test_they_may_end_by_themselves_before_they_are_removed(docker: Answer) -> None:
    log = docker("")
    members.remove_containers(["a", "b"], grace=20.0)
    assert log.read_text().splitlines() == ["stop --time=20 a b", "rm --force --volumes a b"]


def test_nothing_is_removed_when_there_is_nothing(docker: Answer) -> None:
    log = docker("")
    members.remove_containers([], grace=1.0)
    assert not log.exists()
