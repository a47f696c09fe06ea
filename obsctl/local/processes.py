"""Starts, finds and ends processes that outlive the command that started them, and runs those that do not."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from obsctl import children
from obsctl.errors import DeadlineExceeded, ObsctlError
from obsctl.wait import wait_until

# Start times follow the boot time of the kernel, which is in whole seconds and may be corrected by one.
START_TOLERANCE = 2.0
KILL_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class StartedProcess:
    """A process by its pid and start time (Unix seconds): pids are reused, the two together are not."""

    pid: int
    started: float


def launch(argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> StartedProcess:
    """Start a program in its own session, with its output appended to `log`. It outlives this process.

    argv: the first item is the program's path. Raises ObsctlError when it cannot be executed.
    """
    # Not subprocess, because a Popen expects to be waited for. Signals get their defaults back: one that is ignored
    # here (Python ignores SIGPIPE) would be ignored by every task too.
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        reset = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE]
        pid = os.posix_spawn(argv[0], list(argv), env, file_actions=files, setsid=True, setsigmask=[], setsigdef=reset)
    except OSError as error:
        raise ObsctlError(
            f"{argv[0]} cannot be started: {error.strerror}",
            hint="check that the file exists, is executable and is made for this machine",
        ) from error
    return StartedProcess(pid, _start_time(pid))


def run(
    argv: Sequence[str], *, timeout: float, hint: str, needs: Iterable[str] = (), commands: str = ""
) -> subprocess.CompletedProcess[str]:
    """What it answers. needs: as in children.environment. commands: its standard input.

    Raises ObsctlError when it has not ended after so many seconds.
    """
    environ = children.environment(needs)
    try:
        return subprocess.run(
            argv, input=commands, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise ObsctlError(f"{shlex.join(argv)} did not end within {timeout:g} s", hint=hint) from None


def find(started: StartedProcess) -> psutil.Process | None:
    """The live process; None when it ended, even if another process has its pid now."""
    try:
        process = psutil.Process(started.pid)
        if abs(process.create_time() - started.started) > START_TOLERANCE:
            return None
    except psutil.Error:
        return None
    return process if is_alive(process) else None


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not; one that is our child is reaped."""
    with contextlib.suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.is_running()
        process.wait(timeout=0)
    return False


def marked(name: str, value: str) -> list[psutil.Process]:
    """Every live process that was started with the environment variable name=value, and their descendants."""
    everything = list(psutil.process_iter(["environ", "ppid"]))
    members = {p.pid for p in everything if (p.info["environ"] or {}).get(name) == value}
    grown = -1
    while grown != len(members):
        grown = len(members)
        members |= {p.pid for p in everything if p.info["ppid"] in members}
    members.discard(os.getpid())
    return [p for p in everything if p.pid in members and is_alive(p)]


def argv_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended or may not be seen."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Its environment at its start; empty when it has ended or may not be seen."""
    with contextlib.suppress(psutil.Error):
        return process.environ()
    return {}


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """The addresses and ports where it listens; none when it has ended or may not be seen."""
    with contextlib.suppress(psutil.Error):
        everything = process.net_connections("tcp")
        return {(each.laddr.ip, each.laddr.port) for each in everything if each.status == psutil.CONN_LISTEN}
    return set()


def describe(process: psutil.Process) -> str:
    """For people: "prometheus (pid 12)"."""
    with contextlib.suppress(psutil.Error):
        return f"{process.name()} (pid {process.pid})"
    return f"pid {process.pid}"


def end(processes: Iterable[psutil.Process], *, grace: float | None) -> None:
    """Send SIGTERM, wait at most `grace` seconds, then send SIGKILL; None: SIGKILL at once. psutil compares pid and
    start time before each signal. Raises ObsctlError that names what still runs."""
    remaining = list(processes)
    steps = [] if grace is None else [(signal.SIGTERM, grace)]
    for number, seconds in (*steps, (signal.SIGKILL, KILL_GRACE)):
        for process in remaining:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        remaining = _wait_for_end(remaining, seconds)
        if not remaining:
            return
    raise ObsctlError(
        f"cannot end {', '.join(describe(process) for process in remaining)}",
        hint="if another user started it, run the command as that user",
    )


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _wait_for_end(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are still alive after so many seconds."""

    def alive() -> list[psutil.Process]:
        return [process for process in processes if is_alive(process)]

    with contextlib.suppress(DeadlineExceeded):
        wait_until(lambda: not alive(), timeout=seconds, failure="the processes did not end", hint="", interval=0.05)
    return alive()
