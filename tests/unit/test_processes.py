"""Processes that outlive their parent: started, recognised, ended, and never mistaken for others."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from obsctl.errors import ObsctlError
from obsctl.local import processes
from obsctl.local.processes import StartedProcess
from obsctl.wait import wait_until

Launch = Callable[..., psutil.Process]
MARK = "OBSCTL_TEST_MARK"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a program and wait until it is that program; all are killed at the end."""
    started: list[psutil.Process] = []

    def start(*argv: str, env: dict[str, str] | None = None) -> psutil.Process:
        record = processes.launch(argv, env=env or {}, log=tmp_path / "log")
        process = processes.find(record)
        assert process
        started.append(process)
        return process

    yield start
    processes.end(
        [child for process in started if processes.is_alive(process) for child in process.children()], grace=0
    )
    processes.end(started, grace=0)


def python(launch: Launch, tmp_path: Path, code: str, **options: dict[str, str]) -> psutil.Process:
    """A Python program that has got as far as `ready()`."""
    ready = tmp_path / "ready"
    program = f"def ready(): open({str(ready)!r}, 'w').close()\n{code}"
    process = launch(sys.executable, "-c", program, **options)
    wait_until(ready.exists, timeout=20, failure="no sign of the program's start", hint="")
    return process


def test_launched_process_stands_alone(launch: Launch, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "print(sorted(os.environ), os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT), file=sys.stderr)\n"
        "ready()\nsignal.pause()"
    )
    (tmp_path / "log").write_text("kept\n")
    python(launch, tmp_path, code, env={"A": "1", "LC_CTYPE": "C.UTF-8"})
    kept, said = (tmp_path / "log").read_text().splitlines()
    assert kept == "kept"
    assert said == "['A', 'LC_CTYPE'] True <built-in function default_int_handler>"


def test_ignored_signals_are_not_passed_on(launch: Launch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = launch("/bin/sleep", "60")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: not processes.is_alive(process), timeout=5, failure="no sign of the end", hint="")


def test_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ObsctlError, match="/no/such/program cannot be started: No such file"):
        processes.launch(["/no/such/program"], env={}, log=tmp_path / "log")


def test_ended_process_is_not_found(launch: Launch) -> None:
    process = launch("/bin/sleep", "60")
    record = StartedProcess(process.pid, process.create_time())
    assert processes.find(record) == process
    process.kill()
    wait_until(lambda: processes.find(record) is None, timeout=5, failure="no sign of the end", hint="")


def test_process_with_a_recycled_pid_is_not_found(launch: Launch) -> None:
    process = launch("/bin/sleep", "60")
    assert processes.find(StartedProcess(process.pid, process.create_time() - 60)) is None
    assert processes.find(StartedProcess(process.pid, process.create_time() + 60)) is None


def test_marked_finds_descendants_that_dropped_the_mark(launch: Launch, tmp_path: Path) -> None:
    code = "import subprocess\nchild = subprocess.Popen(['/bin/sleep', '60'], env={})\nready()\nchild.wait()"
    parent = python(launch, tmp_path, code, env={MARK: str(tmp_path)})
    launch("/bin/sleep", "60", env={MARK: str(tmp_path) + "x"})
    launch("/bin/sleep", "60")
    found = processes.marked(MARK, str(tmp_path))
    assert {process.pid for process in found} == {parent.pid, *(child.pid for child in parent.children())}
    assert len(found) == 2


def test_the_one_who_looks_is_never_found(monkeypatch: pytest.MonkeyPatch) -> None:
    value = psutil.Process().environ()["PATH"]
    assert os.getpid() not in {process.pid for process in processes.marked("PATH", value)}


def test_end_lets_a_process_finish(launch: Launch, tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('orderly', flush=True), sys.exit()))\n"
        "ready()\nsignal.pause()"
    )
    process = python(launch, tmp_path, code)
    processes.end([process], grace=20)
    assert not processes.is_alive(process)
    assert (tmp_path / "log").read_text() == "orderly\n"


def test_end_kills_what_does_not_listen(launch: Launch, tmp_path: Path) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nready()\nwhile True: time.sleep(9)"
    process = python(launch, tmp_path, code)
    processes.end([process], grace=0.2)
    assert not processes.is_alive(process)


class Untouchable(psutil.Process):
    """A process of another user: it may be seen, not signalled."""

    def send_signal(self, sig: int) -> None:
        raise psutil.AccessDenied(self.pid)


def test_end_names_what_it_cannot_end(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "KILL_GRACE", 0.1)
    process = launch("/bin/sleep", "60")
    with pytest.raises(ObsctlError, match=rf"cannot end sleep \(pid {process.pid}\)"):
        processes.end([Untouchable(process.pid)], grace=0.1)
    assert processes.is_alive(process)


def test_words_about_a_process_that_is_gone(launch: Launch) -> None:
    process = launch("/bin/sleep", "60")
    # The kernel lets go of the parent before the child's command line can be read.
    wait_until(
        lambda: bool(processes.argv_of(process)),
        timeout=30,
        failure="no sign of the command line",
        hint="",
        interval=0.01,
    )
    assert processes.argv_of(process) == ["/bin/sleep", "60"]
    assert processes.describe(process) == f"sleep (pid {process.pid})"
    processes.end([process], grace=5)
    assert processes.argv_of(process) == []
