"""Finds the servers' programs, or gets them: configured, PATH, cache, official release, Go build."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from obsctl.assets import shipped
from obsctl.config.catalog import PROGRAMS
from obsctl.config.environment import variable_of
from obsctl.config.releases import Program, Project
from obsctl.config.versions import Version, parse, written
from obsctl.errors import ObsctlError
from obsctl.local.build import GoBuild
from obsctl.local.cache import Cache
from obsctl.local.download import Release
from obsctl.local.links import leads_through_a_cluster
from obsctl.local.source import Check, Platform, Source, SourceFailed, go_on
from obsctl.model import Emit, Event

__all__ = ["PROGRAMS", "Found", "Search", "find", "obtain", "provide", "search", "version_of"]

VERSION_TIMEOUT = 20.0  # seconds; a cold disk is slow to load 130 MB


@dataclass(frozen=True, slots=True)
class Found:
    """A program that can be used. source: "configured", "PATH", "cache", "release" or "Go build"."""

    name: str
    path: Path
    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to. remarks: what was passed over, or used although it looks wrong, and why."""

    found: Found | None
    remarks: tuple[str, ...] = ()


def find(name: str, configured: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Path | None:
    """The program's path if it is there already; changes nothing. See `search` for what it raises."""
    found = search(name, configured, environ).found
    return found.path if found else None


def obtain(name: str, configured: Mapping[str, str], *, emit: Emit, environ: Mapping[str, str] = os.environ) -> Path:
    """The program's path; it is downloaded or built first if need be. See `provide` for what it raises."""
    return provide(name, configured, emit=emit, environ=environ).path


def search(
    name: str,
    configured: Mapping[str, str],
    environ: Mapping[str, str] = os.environ,
    toolchain: Path | None = None,
) -> Search:
    """Look at the configured path, then PATH, then the cache; change nothing.

    configured: the config's `servers`. environ: for OBSCTL_SERVERS__<NAME>, which wins over `configured`,
    PATH and the cache folder. Raises ObsctlError when a configured path is no program.
    """
    program = PROGRAMS[name]
    by_hand = _configured(program, configured, environ)
    if by_hand.found:
        return by_hand
    remarks = list(by_hand.remarks)
    for path in _on_path(name, environ):
        version, objection = _judge(program, path)
        if objection is None:
            return Search(Found(name, path, version, "PATH"), tuple(remarks))
        remarks.append(f"{path} is passed over: {objection}")
    cache = Cache.of(environ)
    return Search(_cached(program, cache, _sources(program.project, environ, toolchain)), tuple(remarks))


def provide(
    name: str,
    configured: Mapping[str, str],
    *,
    emit: Emit,
    environ: Mapping[str, str] = os.environ,
    toolchain: Path | None = None,
    check: Check = go_on,
    unreachable: dict[str, str] | None = None,
) -> Found:
    """Search, and where that finds nothing get the whole project: the release, else a Go build.

    Only one run at a time gets a project; the others wait and then use what it got.
    toolchain: default what obsctl ships. check: called again and again; raises to end it early. unreachable: hosts
    that were tried in vain, and why: they are not tried again, and others are added.
    Raises ObsctlError that says what was tried and why it failed.
    """
    program = PROGRAMS[name]
    result = search(name, configured, environ, toolchain)
    for remark in result.remarks:
        emit(Event(name, "note", remark))
    if result.found:
        return result.found
    cache = Cache.of(environ)
    sources = _sources(program.project, environ, toolchain, check, unreachable)
    with cache.locked(program.project.release_name, emit, check):
        return _cached(program, cache, sources) or _get(program, cache, sources, result.remarks, emit)


def _configured(program: Program, configured: Mapping[str, str], environ: Mapping[str, str]) -> Search:
    variable = variable_of(("servers", program.name))
    key, value = f"servers.{program.name}", configured.get(program.name)
    if environ.get(variable):
        key, value = variable, environ[variable]
    if not value:
        return Search(None)
    path = Path(value).expanduser().absolute()
    if leads_through_a_cluster(path):
        link = "it is a link that obsctl made for a local cluster; name the program itself"
        return Search(None, (f"{path} is passed over although {key} names it: {link}",))
    if not (path.is_file() and os.access(path, os.X_OK)):
        what = "is not executable" if path.is_file() else "is no file"
        raise ObsctlError(
            f"{key} names {value}, which {what}",
            hint=f"give the path of a {program.name} program, or leave {key} out and obsctl looks for one",
        )
    version, objection = _judge(program, path)
    remarks = (f"{path} is used because {key} names it, but {objection}",) if objection else ()
    return Search(Found(program.name, path, version, "configured"), remarks)


def _on_path(name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Every program of that name on PATH, best first: an old one must not hide a good one. Links that a local cluster
    keeps for its jobs are none."""
    for folder in dict.fromkeys(environ.get("PATH", "").split(os.pathsep)):
        program = shutil.which(name, path=folder) if folder else None
        if program and not leads_through_a_cluster(Path(program).absolute()):
            yield Path(program).absolute()


def _judge(program: Program, path: Path) -> tuple[str, str | None]:
    """The program's version, "unknown" if it does not tell, and what speaks against it, if anything."""
    try:
        answer = subprocess.run(
            [path, program.project.version_argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "unknown", f"it does not run: {error}"
    version = program.parse_version(answer.stdout.decode(errors="replace"))
    if version is None:
        return "unknown", f"`{program.name} {program.project.version_argument}` does not tell a version"
    if version < program.project.minimum:
        return written(version), f"it is {written(version)}, older than {written(program.project.minimum)}"
    return written(version), None


def version_of(name: str, path: Path) -> Version:
    """The version that the program tells; () when it tells none."""
    return parse(_judge(PROGRAMS[name], path)[0])


def _sources(
    project: Project,
    environ: Mapping[str, str],
    toolchain: Path | None,
    check: Check = go_on,
    unreachable: dict[str, str] | None = None,
) -> tuple[Source, ...]:
    platform = Platform.current()
    base = environ.get(project.publisher.mirror) or project.publisher.base
    return (
        Release(project, platform, base, check=check, unreachable={} if unreachable is None else unreachable),
        GoBuild(project, platform, toolchain or shipped() / "toolchain", environ, check),
    )


def _cached(program: Program, cache: Cache, sources: Sequence[Source]) -> Found | None:
    for source in sources:
        path = cache.program(source.entry, source.file(program.name))
        if path is not None:
            return Found(program.name, path, source.version, "cache")
    return None


def _get(program: Program, cache: Cache, sources: Sequence[Source], remarks: Sequence[str], emit: Emit) -> Found:
    """The first source that works. For the holder of the project's lock."""
    project = program.project
    tried = [f"PATH: {remark}" for remark in remarks] or [f"PATH: there is no {program.name} on it"]
    tried.append(f"cache: nothing suitable in {cache.folder}")
    for source in sources:
        try:
            path = _make(program, cache, source, emit)
        except SourceFailed as failure:
            emit(Event(project.name, "note", f"{source.title}: {failure.reason}"))
            tried.append("\n      ".join([f"{source.title}: {failure.reason}", *failure.detail.splitlines()]))
            continue
        emit(Event(project.name, "ok", f"{source.version} is ready ({source.title})"))
        return Found(program.name, path, source.version, source.title)
    raise _none_left(program, tried)


def _make(program: Program, cache: Cache, source: Source, emit: Emit) -> Path:
    try:
        with cache.scratch(program.project.release_name) as scratch:
            made = source.make(scratch, emit)
            for name in program.project.packages:
                _, objection = _judge(PROGRAMS[name], made / source.file(name))
                if objection:
                    raise SourceFailed(f"{name} came, but {objection}")
            return cache.place(made, source.entry) / source.file(program.name)
    except OSError as error:
        raise SourceFailed(error.strerror or str(error)) from error


def _none_left(program: Program, tried: Sequence[str]) -> ObsctlError:
    name, publisher = program.name, program.project.publisher
    return ObsctlError(
        "\n    ".join([f"There is no {name}, and no source for it is left. Tried:", *tried]),
        hint=f"put {name} {written(program.project.minimum)} or newer on PATH, or name one with "
        f"{variable_of(('servers', name))}=/path/to/{name}, or name a mirror of {publisher.base} with "
        f"{publisher.mirror}=URL, or install Go to build it",
    )
