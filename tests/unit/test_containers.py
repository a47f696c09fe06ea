"""The containers of a local cluster: told from all others by the allocations of its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from obsctl.errors import ObsctlError
from obsctl.local import members, processes

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


@pytest.mark.parametrize("word", ["ps", "stop", "rm"])
def test_a_docker_that_hangs_is_not_waited_for(
    docker: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    docker(f'"; [ $1 = {word} ] && exec sleep 60; printf "')
    (tmp_path / "alloc").mkdir()
    monkeypatch.setattr(members, "DOCKER_TIMEOUT", 0.5)
    with pytest.raises(ObsctlError, match=rf"docker {word} .*did not end within") as failure:
        members.remove_containers([*members.containers(tmp_path / "alloc"), "a"], grace=0.0)
    assert "Docker" in failure.value.hint


def test_what_starts_anew_as_often_as_it_is_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SWEEP_TIMEOUT", 0.5)

    def find() -> list[psutil.Process]:
        found = processes.find(processes.launch(["/bin/sleep", "60"], env={}, log=tmp_path / "log"))
        return [found] if found else []

    with pytest.raises(ObsctlError, match="as often as they are ended"):
        members.sweep(find, grace=None)
