"""Builds programs with Go from the pinned modules of toolchain/, where releases cannot be reached."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from obsctl import children
from obsctl.config.releases import Project
from obsctl.errors import DeadlineExceeded
from obsctl.local.source import Platform, SourceFailed, StopCheck, go_on
from obsctl.local.supervised import supervised
from obsctl.model import Emit, Event
from obsctl.wait import SYSTEM_CLOCK, wait_until

BUILD_TIMEOUT = 3600.0  # seconds
VERSION_TIMEOUT = 10.0
SHOWN_LINES = 12
OLDEST_GO = 21  # of Go 1: the first that fetches the toolchain which a go.mod names


@dataclass(frozen=True, slots=True)
class GoBuild:
    """A build of a project's programs. toolchain: the folder that holds <project>/go.mod and go.sum.

    check: called several times a second; raises to end the build.
    """

    project: Project
    platform: Platform
    toolchain: Path
    environ: Mapping[str, str]
    check: StopCheck = go_on

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
    def _environ(self) -> dict[str, str]:
        return children.environment(children.GO, self.environ)

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
        packages, time = " and ".join(self.project.packages), self.project.build_time
        text = f"building {packages} with {go}, by the checksums in obsctl's go.sum; a first build takes about {time}"
        emit(Event(self.project.name, "start", text))
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
        # Go's working folder lies in ours, so that nothing of it is left after a kill.
        environ = {**self._environ, "GOTMPDIR": str(scratch / "tmp"), "GOWORK": "off"}
        log = scratch / "go.log"
        with log.open("wb") as output, supervised(command, cwd=modules, env=environ, output=output) as process:
            self._wait(process, emit)
        if process.returncode:
            # There is no log when the disk is full.
            free = f"no output; {shutil.disk_usage(scratch).free / 1e6:.0f} MB are free for {scratch.parent}"
            lines = _last_lines(log) or [free]
            lines += self._obstacles(command[0])
            raise SourceFailed(f"go build failed: {lines[-1]}", detail="\n".join(lines[:-1]))

    def _obstacles(self, go: str) -> Iterator[str]:
        """Known reasons why a build fails, which Go says in other words or not at all."""
        version = re.fullmatch(r"go1\.(\d+)\S*", self._go_version(go))
        if version and int(version[1]) < OLDEST_GO:
            yield f"{go} is {version[0]}; the build needs 1.{OLDEST_GO} or newer, which fetches the Go that it asks for"
        if self.project.has_c and not shutil.which(self.environ.get("CC", "gcc"), path=self.environ.get("PATH")):
            yield "a part of it is C, and there is no C compiler (on Debian: apt-get install gcc libc6-dev)"

    def _go_version(self, go: str) -> str:
        """As Go prints it: "go1.26.8"; empty when it prints none."""
        try:
            answer = subprocess.run(
                [go, "env", "GOVERSION"], env=self._environ, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=VERSION_TIMEOUT, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return answer.stdout.decode(errors="replace").strip()

    def _wait(self, process: subprocess.Popen[bytes], emit: Emit) -> None:
        started = SYSTEM_CLOCK.monotonic()

        def ended() -> bool:
            self.check()
            elapsed = SYSTEM_CLOCK.monotonic() - started
            emit(Event(self.project.name, "progress", f"building, {elapsed:.0f} s"))
            return process.poll() is not None

        try:
            wait_until(
                ended, timeout=BUILD_TIMEOUT, failure="the build did not end", hint="build it by hand", interval=0.2
            )
        except DeadlineExceeded as error:
            raise SourceFailed(error.message) from error


def _last_lines(log: Path) -> list[str]:
    """The last lines that Go printed, without its list of downloads."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("go: downloading ")][-SHOWN_LINES:]
