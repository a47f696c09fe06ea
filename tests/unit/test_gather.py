"""Programs that come two projects at a time, with stand-ins for go; and what is left when that is interrupted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries
from obsctl.local.gather import Gathering
from obsctl.local.processes import is_alive
from obsctl.model import Event
from obsctl.wait import wait_until
from tests.release_site import VERSION_LINES, install

NAMES = tuple(PROGRAMS)
MARK = "OBSCTL_TEST_GATHER"
# Builds a project when it is told to go on, and writes down in which order it was asked.
GO = """#!/bin/sh
[ "$1" = build ] || exit 1
project=$(sed -n 's/^module //p' go.mod)
echo $project >> {folder}/order
until [ -e {folder}/go-on-$project ]; do sleep 0.02; done
while [ "$1" != "-o" ]; do shift; done
cp {folder}/programs/$project/* "$2" 2>/dev/null || {{ echo "no $project today" >&2; exit 1; }}
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """One that reaches no release, has no server, and whose go builds a project when told to."""
    install(tmp_path / "bin", "go", "").write_text(GO.format(folder=tmp_path))
    (tmp_path / "order").touch()
    for server in PROGRAMS.values():
        project = server.project
        install(tmp_path / "programs" / project.name, server.name, VERSION_LINES[server.name])
        (tmp_path / "toolchain" / project.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "toolchain" / project.name / "go.mod").write_text(f"module {project.name}\n")
    return {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        MARK: str(tmp_path),
        **{server.project.publisher.mirror: "http://127.0.0.1:1" for server in PROGRAMS.values()},
    }


def begun(tmp_path: Path) -> list[str]:
    return (tmp_path / "order").read_text().split()


def let(tmp_path: Path, *projects: str) -> None:
    for project in projects:
        (tmp_path / f"go-on-{project}").touch()


def alive(tmp_path: Path) -> list[psutil.Process]:
    everything = psutil.process_iter(["environ"])
    return [process for process in everything if (process.info["environ"] or {}).get(MARK) == str(tmp_path)]


def wait_for(probe: object, what: str) -> None:
    wait_until(probe, timeout=30, failure=f"no sign of {what}", hint="", interval=0.02)  # type: ignore[arg-type]


def test_two_projects_come_at_a_time_and_the_first_named_first(tmp_path: Path, machine: dict[str, str]) -> None:
    events: list[Event] = []
    with Gathering(NAMES, Binaries(emit=events.append, environ=machine, toolchain=tmp_path / "toolchain")) as coming:
        wait_for(lambda: len(begun(tmp_path)) == 2, "two builds")
        wait_for(lambda: any("; " in event.text for event in events), "their common progress")
        assert sorted(begun(tmp_path)) == ["consul", "nomad"]
        let(tmp_path, "consul", "nomad")
        assert coming.program("nomad").path.name == "nomad"
        assert coming.program("consul").source == "Go build"
        wait_for(lambda: len(begun(tmp_path)) == 4, "the next two")
        let(tmp_path, *(server.project.name for server in PROGRAMS.values()))
        assert {coming.program(name).path.name for name in NAMES} == set(NAMES)
    assert len(begun(tmp_path)) == len({server.project.name for server in PROGRAMS.values()})


def test_what_is_not_there_at_the_end_of_the_block_is_given_up(tmp_path: Path, machine: dict[str, str]) -> None:
    let(tmp_path, "nomad")
    with Gathering(NAMES, Binaries(emit=print, environ=machine, toolchain=tmp_path / "toolchain")) as coming:
        coming.program("nomad")
        wait_for(lambda: len(begun(tmp_path)) == 3, "the next build")
    assert [process for process in alive(tmp_path) if is_alive(process)] == []
    assert [path.name for path in (tmp_path / "cache/obsctl/servers").glob(".*")] == []


def test_a_failure_of_a_project_is_one(tmp_path: Path, machine: dict[str, str]) -> None:
    let(tmp_path, "prometheus")
    (tmp_path / "programs" / "prometheus" / "prometheus").unlink()
    (tmp_path / "programs" / "prometheus" / "promtool").unlink()
    names = ("prometheus", "promtool")
    with Gathering(names, Binaries(emit=print, environ=machine, toolchain=tmp_path / "toolchain")) as coming:
        for name in names:
            with pytest.raises(ObsctlError, match="no prometheus today"):
                coming.program(name)
    assert begun(tmp_path) == ["prometheus"]


def test_a_configured_program_is_there_when_the_rest_of_its_project_is_not(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    let(tmp_path, "prometheus")
    promtool = tmp_path / "mine"
    (tmp_path / "programs" / "prometheus" / "prometheus").unlink()
    (tmp_path / "programs" / "prometheus" / "promtool").rename(promtool)
    names, configured = ("prometheus", "promtool"), {"promtool": str(promtool)}
    with Gathering(
        names, Binaries(configured=configured, emit=print, environ=machine, toolchain=tmp_path / "toolchain")
    ) as coming:
        with pytest.raises(ObsctlError):
            coming.program("prometheus")
        assert coming.program("promtool").path == promtool


def test_a_host_that_cannot_be_reached_is_not_tried_for_each_project(
    tmp_path: Path, machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = requests.get

    def counted(url: str, **options: object) -> requests.Response:
        asked.append(url)
        return get(url, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(requests, "get", counted)
    let(tmp_path, *(server.project.name for server in PROGRAMS.values()))
    with Gathering(NAMES, Binaries(emit=print, environ=machine, toolchain=tmp_path / "toolchain")) as coming:
        for name in NAMES:
            coming.program(name)
    assert len(asked) <= 2, "at most the two at a time, before the first knew"


def test_an_interrupt_before_the_block_begins_ends_the_work(
    tmp_path: Path, machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    let(tmp_path, *(server.project.name for server in PROGRAMS.values()))
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("obsctl-gather"):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    binaries = Binaries(emit=print, environ=machine, toolchain=tmp_path / "toolchain")
    with pytest.raises(KeyboardInterrupt), Gathering(NAMES, binaries):
        pytest.fail("the block began")
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("obsctl-gather")] == []


@pytest.fixture
def moments() -> Iterator[float]:
    return (random.Random(9).uniform(0, 1.2) for _ in range(12))


def test_an_interrupt_at_any_moment_leaves_nothing(
    tmp_path: Path, machine: dict[str, str], moments: Iterator[float]
) -> None:
    for moment in moments:
        code = "from obsctl.cli.root import run; print('it runs', flush=True); run(['dev', 'binaries'])"
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, env=machine, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout
        assert process.stdout.readline() == b"it runs\n"
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0].decode()
        assert process.returncode in (130, -signal.SIGINT), output
        wait_until(
            lambda: not any(is_alive(process) for process in alive(tmp_path)),
            timeout=5,
            failure=f"no sign of the end of all after an interrupt at {moment:.2f} s",
            hint="",
        )
