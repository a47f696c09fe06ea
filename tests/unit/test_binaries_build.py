"""Go builds, with a stand-in for go: what it is told, and what is left when it fails or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from obsctl.config.catalog import PROGRAMS
from obsctl.local.build import GoBuild
from obsctl.local.processes import is_alive
from obsctl.local.source import SourceFailed
from obsctl.local.supervised import supervised
from obsctl.model import Event
from obsctl.wait import wait_until
from tests import interrupts
from tests.release_site import PLATFORM, install, start_provide

SLOW_GO = """#!/bin/sh
sleep 600 &
echo $$ $! > {pids}.new
mv {pids}.new {pids}
wait
"""


def build(tmp_path: Path, name: str, go: str) -> GoBuild:
    """A build by the shell script `go`."""
    install(tmp_path / "bin", "go", "").write_text(go)
    modules = tmp_path / "toolchain" / name
    modules.mkdir(parents=True)
    (modules / "go.mod").write_text("module x\n")
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    return GoBuild(PROGRAMS[name].project, PLATFORM, tmp_path / "toolchain", environ)


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_what_go_is_told(tmp_path: Path) -> None:
    go = f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\npwd > {tmp_path}/where\n'
    programs = build(tmp_path, "prometheus", go).make(scratch(tmp_path), lambda event: None)
    assert (tmp_path / "told").read_text().splitlines() == [
        "build",
        "-mod=mod",
        "-buildvcs=false",
        "-trimpath",
        "-ldflags",
        f"-s -w -X github.com/prometheus/common/version.Version={PROGRAMS['prometheus'].project.built_version}",
        "-o",
        f"{programs}/",
        "github.com/prometheus/prometheus/cmd/prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
    ]
    assert (tmp_path / "where").read_text().strip() == f"{tmp_path}/scratch/modules"


def test_the_toolchain_folder_is_left_alone(tmp_path: Path) -> None:
    made = build(tmp_path, "nomad", "#!/bin/sh\necho rewritten > go.mod\necho new > go.sum\n")
    made.make(scratch(tmp_path), lambda event: None)
    modules = tmp_path / "toolchain" / "nomad"
    assert [path.name for path in modules.iterdir()] == ["go.mod"]
    assert (modules / "go.mod").read_text() == "module x\n"


def test_the_cache_folder_tells_the_modules_apart(tmp_path: Path) -> None:
    made = build(tmp_path, "nomad", "")
    before = made.entry
    assert before.startswith(f"nomad-{made.version}-{PLATFORM.os}-{PLATFORM.arch}-go-")
    (tmp_path / "toolchain" / "nomad" / "go.sum").write_text("x v1.0.0 h1:=\n")
    assert made.entry != before


def test_a_failure_shows_what_go_said_last(tmp_path: Path) -> None:
    go = "#!/bin/sh\necho 'go: downloading x v1' >&2\necho 'x.go:1: first' >&2\necho 'x.go:2: undefined: y' >&2\nexit 1"
    with pytest.raises(SourceFailed) as caught:
        build(tmp_path, "nomad", go).make(scratch(tmp_path), lambda event: None)
    assert caught.value.reason == "go build failed: x.go:2: undefined: y"
    assert caught.value.detail == "x.go:1: first"


def test_a_failure_without_a_word_tells_the_free_space(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match=r"go build failed: no output; \d+ MB are free"):
        build(tmp_path, "nomad", "#!/bin/sh\nexit 1\n").make(scratch(tmp_path), lambda event: None)


def test_an_old_go_is_named(tmp_path: Path) -> None:
    go = '#!/bin/sh\n[ "$1" = env ] && echo go1.19.8 && exit\necho "invalid go version" >&2\nexit 1\n'
    with pytest.raises(SourceFailed) as caught:
        build(tmp_path, "prometheus", go).make(scratch(tmp_path), lambda event: None)
    assert f"{tmp_path}/bin/go is go1.19.8; the build needs 1.21 or newer" in caught.value.reason
    assert caught.value.detail == "invalid go version"


def test_a_missing_c_compiler_is_named(tmp_path: Path) -> None:
    made = build(tmp_path, "nomad", "#!/bin/sh\nexit 1\n")
    made = replace(made, environ={**made.environ, "CC": "no-such-compiler"})
    with pytest.raises(SourceFailed, match="there is no C compiler"):
        made.make(scratch(tmp_path), lambda event: None)


def test_without_go(tmp_path: Path) -> None:
    made = build(tmp_path, "nomad", "")
    (tmp_path / "bin" / "go").unlink()
    made = GoBuild(made.project, made.platform, made.toolchain, {"PATH": str(tmp_path / "bin")})
    with pytest.raises(SourceFailed, match="go is not on PATH"):
        made.make(scratch(tmp_path), lambda event: None)


def test_without_modules(tmp_path: Path) -> None:
    made = GoBuild(PROGRAMS["nomad"].project, PLATFORM, tmp_path, {"PATH": "/usr/bin"})
    with pytest.raises(SourceFailed, match="this installation has no "):
        made.make(scratch(tmp_path), lambda event: None)


def test_it_says_how_long_it_has_been_at_it(tmp_path: Path) -> None:
    events: list[Event] = []
    build(tmp_path, "nomad", "#!/bin/sh\n").make(scratch(tmp_path), events.append)
    assert [event.state for event in events][:2] == ["start", "progress"]
    assert f"a first build takes about {PROGRAMS['nomad'].project.build_time}" in events[0].text
    assert events[1].text == "building, 0 s"


def start_slow_build(tmp_path: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """obsctl that builds with a go which never ends, and go's two processes."""
    pids = tmp_path / "pids"
    made = build(tmp_path, "nomad", SLOW_GO.format(pids=pids))
    environ = {
        **made.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OBSCTL_RELEASES_HASHICORP": "http://127.0.0.1:1",
    }
    obsctl = start_provide("nomad", environ, made.toolchain)
    wait_until(pids.exists, timeout=30, failure="no sign of the start of go", hint="", interval=0.02)
    return obsctl, [psutil.Process(int(pid)) for pid in pids.read_text().split()]


def test_an_interrupt_ends_go_and_all_it_started(tmp_path: Path) -> None:
    obsctl, processes = start_slow_build(tmp_path)
    obsctl.send_signal(signal.SIGINT)
    obsctl.communicate(timeout=30)
    for process in processes:
        wait_for_end(process)
    assert [path.name for path in (tmp_path / "cache" / "obsctl" / "servers").iterdir()] == ["nomad.lock"]


@pytest.fixture
def other_thread() -> Iterator[threading.Thread]:
    """A thread that takes signals, as those of a test runner or of a progress display do."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield thread
    ended.set()
    thread.join()


def test_an_interrupt_while_go_is_being_started_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_thread: threading.Thread
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        wait_until((tmp_path / "pids").exists, timeout=30, failure="no sign of the start of go", hint="", interval=0.02)
        signal.pthread_kill(other_thread.ident or 0, signal.SIGINT)
        wait_until(lambda: False, timeout=30, failure="no sign of KeyboardInterrupt", hint="", interval=0.02)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    made = build(tmp_path, "nomad", SLOW_GO.format(pids=tmp_path / "pids"))
    with pytest.raises(KeyboardInterrupt):
        made.make(scratch(tmp_path), lambda event: None)
    [process] = started
    process.wait(timeout=10)
    for pid in (tmp_path / "pids").read_text().split():
        with suppress(psutil.NoSuchProcess):
            wait_for_end(psutil.Process(int(pid)))


@pytest.mark.parametrize("then", ["0", "2"])
def test_an_interrupt_at_any_line_leaves_nothing_running(tmp_path: Path, then: str) -> None:
    """At each line of obsctl's that is run until go has been waited for twice; then: a second one so many lines on.

    In a process of its own: Python itself may lose count of the exceptions that it handles.
    """
    build(tmp_path, "nomad", "#!/bin/sh\nsleep 600 &\nwait\n")
    command = [sys.executable, "-m", "tests.interrupts", str(tmp_path), then]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (ended.returncode, int(ended.stdout or 0) > 20) == (0, True), ended.stderr
    wait_until(
        lambda: not lines_alive(str(tmp_path)),
        timeout=10,
        failure="no sign of the end of all",
        hint="",
        interval=0.05,
    )


def lines_alive(mark: str) -> list[str]:
    """At which lines an interrupt left what still runs."""
    everything = psutil.process_iter(["environ"])
    marks = [(process, (process.info["environ"] or {}).get(interrupts.MARK, "")) for process in everything]
    return [text for process, text in marks if text.startswith(mark) and is_alive(process)]


def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 600 & echo $! > pid"]
    with (
        (tmp_path / "log").open("wb") as output,
        supervised(command, cwd=tmp_path, env={"PATH": os.defpath}, output=output) as process,
    ):
        assert process.wait(timeout=10) == 0
    with suppress(psutil.NoSuchProcess):
        wait_for_end(psutil.Process(int((tmp_path / "pid").read_text())))


def test_neither_go_nor_what_it_started_outlives_a_killed_obsctl(tmp_path: Path) -> None:
    obsctl, (go, helper) = start_slow_build(tmp_path)
    obsctl.kill()
    obsctl.communicate(timeout=30)
    wait_for_end(go)
    wait_for_end(helper)


def wait_for_end(process: psutil.Process) -> None:
    """A zombie has ended: in some containers nobody collects orphans."""
    wait_until(
        lambda: not is_alive(process),
        timeout=10,
        failure=f"no sign of the end of {process}",
        hint="",
        interval=0.02,
    )
