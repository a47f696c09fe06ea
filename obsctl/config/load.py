"""Finds obsctl.yaml, lays overlay and environment over it, and validates it: all errors at once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path

from obsctl import files
from obsctl.config import environment, problems
from obsctl.config.located import Located, Place, at, entries, merge, nearest, nested, parse, sources
from obsctl.config.schema import Config
from obsctl.config.shapes import KeyPath
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity

FILE_NAME = "obsctl.yaml"
SERVERS = ("nomad", "consul")


class ConfigError(ObsctlError):
    """The configuration is wrong. findings: every error with file, line and key, or with the variable."""

    def __init__(self, findings: Iterable[Finding], *, of: str = "the configuration") -> None:
        self.findings = tuple(findings)
        most = problems.MOST
        lines = [f"{finding.where}: {finding.what}".removeprefix(": ") for finding in self.findings]
        head = f"{of} has {len(lines)} errors" + (f", the first {most} are" if len(lines) > most else "")
        message = lines[0] if len(lines) == 1 else "\n  ".join([head, *lines[:most]])
        hints = {finding.hint for finding in self.findings} - {""}
        general = "`obsctl init DIR` writes a file that explains every key, `obsctl config schema` helps editors"
        super().__init__(message, hint="; ".join(sorted(hints)) or general)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The validated configuration and where it came from.

    path: the file, None when there is none and defaults apply. root: its folder, or the current one.
    document: all values with their places.
    """

    config: Config
    path: Path | None
    root: Path
    document: Located = field(repr=False)

    @property
    def sources(self) -> tuple[str, ...]:
        """The files and environment variables that were read."""
        return tuple(sources(self.document))

    def place(self, path: KeyPath) -> Place:
        """Where the value at this path comes from, or the nearest one above it."""
        return nearest(self.document, path)


def load(
    path: Path | None = None,
    *,
    env: str | None = None,
    environ: Mapping[str, str] = os.environ,
    settings: Mapping[KeyPath, bool] = {},
    cwd: Path | None = None,
    access: Path | None = None,
    running: Collection[str] = (),
) -> Loaded:
    """Read the configuration: `path`, or obsctl.yaml in `cwd` or the nearest folder above that has one.

    env: lay obsctl.<env>.yaml, which lies beside the file, over it. environ: the OBSCTL_ variables come over these.
    settings: what the command itself says, over everything else. access: how to reach the local cluster, a file in the
    form of obsctl.yaml; it counts below all others, and only when they mean that cluster. running: the addresses of its
    agents that run now, any of which means it: elsewhere somebody else may listen, and is given nothing but the call.
    Raises ConfigError.
    """
    cwd = cwd or Path.cwd()
    file = _chosen(path, cwd)
    paths = [file, *([_overlay(file, env, cwd)] if env else [])] if file else []
    if env and not file:
        raise _error("", f"--env {env} needs a {FILE_NAME}, and there is none", "`obsctl init` writes one")
    root = file.parent if file else cwd
    document, findings = _documents(paths, cwd)
    document, more = environment.lay_over(document, environ)
    document = _with_access(document, access, running, cwd)
    layers = [nested(path, Located(value, Place("this command"))) for path, value in settings.items()]
    document = reduce(merge, layers, document)
    result = problems.validate(entries(document, Config), root)
    if not isinstance(result, Config):
        more += problems.findings(result, document)
    if isinstance(result, Config) and not findings + more:
        return Loaded(result, file, root, document)
    raise ConfigError(findings + more)


def _with_access(document: Located, access: Path | None, running: Collection[str], cwd: Path) -> Located:
    """The document over the file of the local cluster's access, where both mean the same Nomad and Consul."""
    if access is None or not access.exists():
        return document
    below, findings = _document(access, cwd)
    if below is None or findings:
        raise ConfigError(findings)
    addresses = {server: _address(document, server) or _address(below, server) for server in SERVERS}
    if not all(address in {_address(below, server), *running} for server, address in addresses.items()):
        return document
    proven = {server for server, address in addresses.items() if address in running}
    return merge(_for(proven, below), document, keep=True)


def _for(proven: Collection[str], access: Located) -> Located:
    """The access without what is not for whoever listens in the place of a server that does not run. The programs'
    tokens go from one server to the other."""
    hidden = set() if set(SERVERS) <= set(proven) else {"tokens"}

    def may_go(server: str, key: str) -> bool:
        return key == "address" or (server in proven and key not in hidden)

    servers = access.value if isinstance(access.value, dict) else {}
    return Located({name: _filtered(server, partial(may_go, name)) for name, server in servers.items()}, access.place)


def _filtered(mapping: Located, keeps: Callable[[str], bool]) -> Located:
    entries = mapping.value if isinstance(mapping.value, dict) else {}
    return Located({key: value for key, value in entries.items() if keeps(key)}, mapping.place)


def _address(document: Located, server: str) -> str:
    """The one that the document has of this server, or ""."""
    address = at(document, (server, "address"))
    return "" if address is None or address.value is None else str(address.value).rstrip("/")


def _chosen(path: Path | None, cwd: Path) -> Path | None:
    """The given file, or the nearest one from here upwards; None when there is none."""
    if path is None:
        return _nearest(cwd)
    file = cwd / files.expanded(path)
    if not _is_there(file):
        raise _error(str(path), "there is no such file", "`obsctl init` writes one")
    return file


def _nearest(cwd: Path) -> Path | None:
    for folder in (cwd, *cwd.parents):
        if _is_there(folder / FILE_NAME):
            return folder / FILE_NAME
        other = folder / "obsctl.yml"
        if _is_there(other):
            raise _error(
                str(other), f"obsctl reads {FILE_NAME}", shlex.join(["mv", str(other), str(other.with_name(FILE_NAME))])
            )
    return None


def _overlay(file: Path, env: str, cwd: Path) -> Path:
    """obsctl.<env>.yaml beside obsctl.yaml."""
    overlay = file.parent / f"{file.stem}.{env}{file.suffix}"
    if overlay.parent == file.parent and _is_there(overlay):
        return overlay
    names = sorted(path.name for path in file.parent.glob(f"{file.stem}.*{file.suffix}"))
    there = f"overlays there are: {', '.join(names)}" if names else "there are no overlays beside it"
    raise _error(_shown(overlay, cwd), "there is no such file", f"{there}; --env takes the NAME in the middle")


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except PermissionError:
        return True  # reading it will say what is wrong
    except OSError:
        return False
    return True


def document(file: Path, cwd: Path) -> Located:
    """A YAML file that is a mapping, with its places. Raises ConfigError."""
    located, findings = _document(file, cwd)
    if located is None or findings:
        raise ConfigError(findings)
    return located


def _documents(paths: list[Path], cwd: Path) -> tuple[Located, list[Finding]]:
    """The files laid over each other, and what is wrong with their YAML. Raises ConfigError if one is not YAML."""
    read = [_document(file, cwd) for file in paths]
    findings = [finding for _, findings_of in read for finding in findings_of]
    documents = [document for document, _ in read if document]
    if len(documents) < len(paths):
        raise ConfigError(findings)
    return reduce(merge, documents) if documents else Located({}, Place("the defaults")), findings


def _document(file: Path, cwd: Path) -> tuple[Located | None, list[Finding]]:
    place = Place(_shown(file, cwd), 1)
    document, findings = parse(_text(file, cwd), place)
    if document and not isinstance(document.value, dict):
        what = "must be a mapping: lines of key: value, such as stack: obs"
        return None, [Finding(Severity.ERROR, document.place.of(()), what)]
    return document, findings


def _text(file: Path, cwd: Path) -> str:
    files.refuse_foreign(file)
    try:
        content = files.read(file)
    except IsADirectoryError:
        raise _error(_shown(file, cwd), "is a folder", f"give the file: {_shown(file, cwd)}/{FILE_NAME}") from None
    except OSError as error:
        raise _error(
            _shown(file, cwd), f"cannot be read: {error.strerror}", "check its permissions with ls -l"
        ) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise _error(f"{_shown(file, cwd)}:{line}", "is not UTF-8 text", "save it as UTF-8")


def _shown(file: Path, cwd: Path) -> str:
    return str(file.relative_to(cwd) if file.is_relative_to(cwd) else file)


def _error(where: str, what: str, hint: str) -> ConfigError:
    return ConfigError([Finding(Severity.ERROR, where, what, hint)])
