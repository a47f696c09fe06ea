"""Servers built with Go from the pinned modules of toolchain/, where releases cannot be reached."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from obsctl.errors import DeadlineExceeded
from obsctl.local.servers import Platform, Project
from obsctl.local.source import SourceFailed
from obsctl.model import Emit, Event
from obsctl.wait import SYSTEM_CLOCK, wait_until

BUILD_TIMEOUT = 1800.0  # seconds
SHOWN_LINES = 12
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class GoBuild:
    """A build of a project's programs. toolchain: the folder that holds <project>/go.mod and go.sum."""

    project: Project
    platform: Platform
    toolchain: Path
    environ: Mapping[str, str]

    title = "Go build"

    @property
    def version(self) -> str:
        return self.project.built_version

    @property
    def entry(self) -> str:
        digest = hashlib.sha256()
        for file in sorted(self._modules.glob("*")):
            digest.update(f"{file.name}\n".encode() + file.read_bytes())
        platform = f"{self.platform.os}-{self.platform.arch}"
        return f"{self.project.name}-{self.version}-{platform}-go-{digest.hexdigest()[:12]}"

    def file(self, program: str) -> str:
        return program

    @property
    def _modules(self) -> Path:
        return self.toolchain / self.project.name

    def make(self, scratch: Path, emit: Emit) -> Path:
        """Build all programs of the project at once. Raises SourceFailed with Go's last lines."""
        if not self._modules.is_dir():
            raise SourceFailed(f"this installation has no {self._modules}")
        go = shutil.which("go", path=self.environ.get("PATH"))
        if go is None:
            raise SourceFailed("go is not on PATH")
        # A copy, because -mod=mod may write to go.mod and go.sum.
        modules = Path(shutil.copytree(self._modules, scratch / "modules"))
        programs = scratch / "programs"
        for folder in (programs, scratch / "tmp"):
            folder.mkdir()
        said = f"building {' and '.join(self.project.packages)} with {go}; a first build takes about"
        emit(Event(self.project.name, "start", f"{said} {self.project.build_time}"))
        self._run([go, *self._arguments(programs)], modules, scratch, emit)
        return programs

    def _arguments(self, programs: Path) -> list[str]:
        ldflags = "-s -w"
        if self.project.version_variable:
            text = self.project.version_text.format(version=self.version)
            ldflags += f" -X {self.project.version_variable}={text}"
        flags = ["-mod=mod", "-buildvcs=false", "-trimpath", "-ldflags", ldflags]
        return ["build", *flags, "-o", f"{programs}/", *self.project.packages.values()]

    def _run(self, command: list[str], modules: Path, scratch: Path, emit: Emit) -> None:
        # Go's own working folder lies in ours, so that nothing of it outlives a kill.
        environ = {**self.environ, "GOTMPDIR": str(scratch / "tmp"), "GOWORK": "off"}
        log = scratch / "go.log"
        # A Ctrl-C while it is being started waits until there is something to end: its process group.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=modules,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    preexec_fn=_in_child(mask),  # noqa: PLW1509 - only the child itself can ask for this
                )
            self._wait(process, mask, emit)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if process.returncode:
            # On a full disk there is no log either.
            silence = f"no output; {shutil.disk_usage(scratch).free / 1e6:.0f} MB are free for {scratch.parent}"
            lines = _last_lines(log) or [silence]
            raise SourceFailed(f"go build failed: {lines[-1]}", detail="\n".join(lines[:-1]))

    def _wait(self, process: subprocess.Popen[bytes], mask: set[int], emit: Emit) -> None:
        started = SYSTEM_CLOCK.monotonic()

        def ended() -> bool:
            elapsed = SYSTEM_CLOCK.monotonic() - started
            emit(Event(self.project.name, "progress", f"building, {elapsed:.0f} s"))
            return process.poll() is not None

        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            wait_until(
                ended,
                timeout=BUILD_TIMEOUT,
                what="the end of the build",
                hint="build it by hand",
                interval=0.5,
            )
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, DeadlineExceeded):
                raise SourceFailed(error.message) from error
            raise


def _last_lines(log: Path) -> list[str]:
    """The end of what Go said, without its list of downloads."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("go: downloading ")]
    return telling[-SHOWN_LINES:]


def _in_child(mask: set[int]) -> Callable[[], None]:
    """To run in the child: take the signals of this mask out again, and ask Linux to end it when obsctl ends, so that
    kill -9 leaves no build behind."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if prctl:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare
