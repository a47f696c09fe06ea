"""Finds the programs of the servers, or gets them: configured, PATH, cache, official release, Go build."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from obsctl import children, files
from obsctl.assets import shipped
from obsctl.config.catalog import PROGRAMS
from obsctl.config.environment import variable_of
from obsctl.config.releases import Program
from obsctl.config.versions import Version, parse, written
from obsctl.errors import ObsctlError
from obsctl.local.build import GoBuild
from obsctl.local.cache import Cache
from obsctl.local.download import Release
from obsctl.local.links import leads_through_a_cluster
from obsctl.local.source import Platform, Source, SourceFailed, StopCheck, go_on
from obsctl.model import Emit, Event, silent

VERSION_TIMEOUT = 20.0  # seconds; a cold disk is slow to load 130 MB


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A program that can be used. source: "configured", "PATH", "cache", "release" or "Go build"."""

    name: str
    path: Path
    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Search:
    """The result of a search. remarks: what was passed over, or used although it looks wrong, and why."""

    program: ProgramFile | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where programs are searched, and how those that are missing are got.

    configured: their paths by name, as in the config. environ: has OBSCTL_SERVERS__<NAME>, which comes before
    `configured`, PATH and the cache folder. toolchain: the pinned Go modules, by default those that obsctl ships.
    check: called again and again; raises to end the work. unreachable: hosts that gave no connection, and why; they
    are not tried again, and others are added.
    """

    configured: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    toolchain: Path | None = None
    emit: Emit = silent
    check: StopCheck = go_on
    unreachable: dict[str, str] = field(default_factory=dict)

    def search(self, name: str) -> Search:
        """Look at the configured path, then PATH, then the cache. Raises ObsctlError when a configured path is no
        program."""
        program = PROGRAMS[name]
        by_hand = self._by_hand(program)
        if by_hand.program:
            return by_hand
        remarks = by_hand.remarks
        for path in self._on_path(name):
            version, objection = _judge(program, path)
            if objection is None:
                return Search(ProgramFile(name, path, version, "PATH"), remarks)
            remarks = (*remarks, f"{path} is passed over: {objection}")
        cached = self._cached(program)
        return Search(cached.program, (*remarks, *cached.remarks))

    def provide(self, name: str) -> ProgramFile:
        """Search, and get the whole project when that finds nothing: its release, else a Go build.

        Only one run at a time gets a project; others wait, then use it. Raises ObsctlError that says what was tried.
        """
        program = PROGRAMS[name]
        result = self.search(name)
        for remark in result.remarks:
            self.emit(Event(name, "note", remark))
        if result.program:
            return result.program
        with self._cache.locked(program.project.release_name, self.emit, self.check):
            return self._cached(program).program or self._get(program, result.remarks)

    @property
    def _cache(self) -> Cache:
        return Cache.of(self.environ)

    def _by_hand(self, program: Program) -> Search:
        """What the environment or the config names."""
        variable = variable_of(("servers", program.name))
        key, value = f"servers.{program.name}", self.configured.get(program.name)
        if self.environ.get(variable):
            key, value = variable, self.environ[variable]
        if not value:
            return Search(None)
        path = files.expanded(value).absolute()
        if leads_through_a_cluster(path):
            link = "it is a link that obsctl made for a local cluster; name the program itself"
            return Search(None, (f"{path} is passed over although {key} names it: {link}",))
        if not (path.is_file() and os.access(path, os.X_OK)):
            flaw = "is not executable" if path.is_file() else "is not a file"
            raise ObsctlError(
                f"{key} names {value}, which {flaw}",
                hint=f"give the path of a {program.name} program, or leave {key} out and obsctl looks for one",
            )
        version, objection = _judge(program, path)
        remarks = (f"{path} is used because {key} names it, but {objection}",) if objection else ()
        return Search(ProgramFile(program.name, path, version, "configured"), remarks)

    def _on_path(self, name: str) -> Iterator[Path]:
        """Every program of that name on PATH, best first, because an old one must not hide a good one. The links of a
        local cluster are left out."""
        for folder in dict.fromkeys(self.environ.get("PATH", "").split(os.pathsep)):
            program = shutil.which(name, path=folder) if folder else None
            if program and not leads_through_a_cluster(Path(program).absolute()):
                yield Path(program).absolute()

    def _sources(self, program: Program) -> tuple[Source, ...]:
        project, platform = program.project, Platform.current()
        base = self.environ.get(project.publisher.mirror) or project.publisher.base
        return (
            Release(project, platform, base, check=self.check, unreachable=self.unreachable),
            GoBuild(project, platform, self.toolchain or shipped() / "toolchain", self.environ, self.check),
        )

    def _cached(self, program: Program) -> Search:
        """The one in the cache, unless somebody else could have put it there."""
        remarks: tuple[str, ...] = ()
        for source in self._sources(program):
            path = self._cache.program(source.entry, source.file(program.name))
            weakness = path and files.weakness(path)
            if weakness:
                remarks = (*remarks, f"{path} is passed over: {weakness}")
            elif path:
                return Search(ProgramFile(program.name, path, source.version, "cache"), remarks)
        return Search(None, remarks)

    def _get(self, program: Program, remarks: Sequence[str]) -> ProgramFile:
        """The program from the first source that works. For the holder of the project's lock."""
        project = program.project
        tried = [f"PATH: {remark}" for remark in remarks] or [f"PATH: there is no {program.name} on it"]
        tried.append(f"cache: nothing suitable in {self._cache.folder}")
        for source in self._sources(program):
            try:
                path = self._make(program, source)
            except SourceFailed as failure:
                self.emit(Event(project.name, "note", f"{source.title}: {failure.reason}"))
                tried.append("\n      ".join([f"{source.title}: {failure.reason}", *failure.detail.splitlines()]))
                continue
            self.emit(Event(project.name, "ok", f"{source.version} is ready ({source.title})"))
            return ProgramFile(program.name, path, source.version, source.title)
        raise _none_left(program, tried)

    def _make(self, program: Program, source: Source) -> Path:
        try:
            with self._cache.scratch(program.project.release_name) as scratch:
                programs = source.make(scratch, self.emit)
                for name in program.project.packages:
                    _, objection = _judge(PROGRAMS[name], programs / source.file(name))
                    if objection:
                        raise SourceFailed(f"{name} is there, but {objection}")
                return self._cache.place(programs, source.entry) / source.file(program.name)
        except OSError as error:
            raise SourceFailed(error.strerror or str(error)) from error


def find(
    name: str, configured: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """The program's path if it is already there. See `Binaries.search` for what it raises."""
    program = Binaries(configured=configured or {}, environ=environ).search(name).program
    return program.path if program else None


def version_of(name: str, path: Path) -> Version:
    """The version that the program prints; () when it prints none."""
    return _printed_version(name, path.resolve())


@cache
def _printed_version(name: str, path: Path) -> Version:
    return parse(_judge(PROGRAMS[name], path)[0])


def _judge(program: Program, path: Path) -> tuple[str, str | None]:
    """The program's version, "unknown" if it prints none, and why it should not be used, if there is a reason."""
    argument = program.project.version_argument
    try:
        answer = subprocess.run(
            [path, argument], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=VERSION_TIMEOUT, env=children.environment(), check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "unknown", f"it does not run: {error}"
    version = program.parse_version(answer.stdout.decode(errors="replace"))
    if version is None:
        return "unknown", f"`{program.name} {argument}` prints no version"
    if version < program.project.minimum:
        return written(version), f"it is {written(version)}, older than {written(program.project.minimum)}"
    return written(version), None


def _none_left(program: Program, tried: Sequence[str]) -> ObsctlError:
    name, publisher = program.name, program.project.publisher
    return ObsctlError(
        "\n    ".join([f"obsctl cannot get {name}. It tried:", *tried]),
        hint=f"put {name} {written(program.project.minimum)} or newer on PATH, or name one with "
        f"{variable_of(('servers', name))}=/path/to/{name}, or name a mirror of {publisher.base} with "
        f"{publisher.mirror}=URL, or install Go to build it",
    )
