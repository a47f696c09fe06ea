"""Files that others may have put there: whose they are, of what kind, and how long.

As git does with a repository, obsctl takes a file only from the user, from root, or from whoever called sudo, and only
where not everybody can write to it. Who trusts more names those folders in OBSCTL_TRUST.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from obsctl import assets
from obsctl.errors import ObsctlError

TRUST = "OBSCTL_TRUST"
"""The variable with the folders whose files count whoever wrote them, absolute and separated by colons."""
LARGEST = 1_000_000
"""Bytes of a file that people write by hand."""
PRIVATE, SHARED = 0o600, 0o666
"""Modes of a new file: for its owner alone, or as the umask says."""


def refuse_foreign(path: Path, environ: Mapping[str, str] = os.environ, *, within: Path | None = None) -> None:
    """Raises ObsctlError when somebody else may have written the file, or may put another one in its place.

    A file that is missing is nobody's: whoever reads it will say so.
    within: the project's folder. Its author must not bring another file of this machine into it, by a link or a path.
    """
    if is_trusted(path, environ):
        return
    path = path.absolute()
    for place in (path.parent, path):
        objection = _objection(place)
        if objection:
            folder = path if path.is_dir() else path.parent
            raise ObsctlError(f"{place} {objection}, so obsctl does not use it", hint=way_to_trust(folder, environ))
    if within and not _real(path).is_relative_to(_real(within)):
        what = f"{path} is outside {within}: it is {_real(path)}"
        raise ObsctlError(what, hint=f"put the file itself there, or {way_to_trust(_real(path).parent, environ)}")


def is_trusted(path: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether it lies in a folder that OBSCTL_TRUST names, or beside obsctl's own code, which runs already."""
    named = [Path(folder) for folder in environ.get(TRUST, "").split(os.pathsep) if folder.startswith("/")]
    return any(_real(path).is_relative_to(_real(folder)) for folder in (*named, assets.shipped()))


def weakness(path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Who else could change what is at this path, or replace a folder above it; "" when nobody can."""
    if is_trusted(path, environ):
        return ""
    ways = (path.absolute(), _real(path))  # with its links, and without
    for place in dict.fromkeys(step for way in ways for step in (way, *way.parents)):
        objection = _objection(place, strict=True)
        if objection:
            return f"{place} {objection} ({way_to_trust(place if place.is_dir() else place.parent, environ)})"
    return ""


def expanded(path: str | Path) -> Path:
    """With the user's home folder for a `~` at its beginning. Raises ObsctlError where there is none."""
    text = os.path.expanduser(path)  # noqa: PTH111  Path.expanduser raises something else
    if str(text).startswith("~"):
        raise ObsctlError(f"{path}: there is no such home folder", hint="set HOME, or write the path without ~")
    return Path(text)


def read(path: Path, *, most: int = LARGEST) -> bytes:
    """The whole of a regular file. Raises OSError, whose strerror says what is wrong."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / 1e6:g} MB", str(path))
    return content


def opened(path: Path) -> BinaryIO:
    """A regular file, to be read. Raises OSError, whose strerror says what is wrong."""
    return open(path, "rb", opener=_regular)


def write(path: Path, text: str, *, mode: int = PRIVATE) -> None:
    """Write the whole file or nothing, in the place of what is there: a link is replaced, not followed."""
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(fresh, flags, mode), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def open_lock(path: Path) -> TextIO:
    """A file to lock, made if need be. Raises OSError for a link or anything else that is no regular file."""
    return open(path, "a+", encoding="utf-8", opener=open_own)


def open_own(path: str | Path, flags: int) -> int:
    """The descriptor of a regular file of ours, by these flags of os.open; a new one is for its owner alone.

    Raises OSError, also for a link that somebody put in its place.
    """
    try:
        return _regular(str(path), flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    raise OSError(errno.ELOOP, "it is a link", str(path))


def private_folder(path: Path) -> None:
    """Make the folder for its owner alone, and those above it that are missing."""
    for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(exist_ok=True)  # raises when it is a file


def _real(path: Path) -> Path:
    """Where links lead; a link to itself is not followed."""
    return Path(os.path.realpath(path))


def _regular(path: str, flags: int) -> int:
    """Opens it without waiting, as a FIFO would have it."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", path)
    raise OSError(errno.EINVAL, "it is no regular file", path)


def _objection(path: Path, *, strict: bool = False) -> str:
    """What speaks against the file or folder; "" when nothing does or when there is none.

    strict: a group with other members in it counts as everybody, and a folder where all may write but nobody may
    replace what another one put there, such as /tmp, does not.
    """
    known = _owners()
    with suppress(OSError):
        for status in _statuses(path):
            if status.st_uid not in known:
                return f"belongs to {_user(status.st_uid)}, and you are {_user(os.geteuid())}"
            if stat.S_ISLNK(status.st_mode) or (strict and stat.S_ISDIR(status.st_mode) and status.st_mode & 0o1000):
                continue
            if status.st_mode & stat.S_IWOTH:
                return "can be written by everybody"
            if strict and status.st_mode & stat.S_IWGRP and status.st_gid != status.st_uid:
                return "can be written by its group"
    return ""


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """Of the link, if it is one, and of what is there."""
    yield path.lstat()
    if path.is_symlink():
        yield path.stat()


def _owners() -> set[int]:
    """Whose files count: the user's, root's, and for root those of whoever called sudo."""
    user = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if user == 0 else ""
    return {0, user, *([int(caller)] if caller.isdecimal() else [])}


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def way_to_trust(folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """What to type."""
    before = f'"${TRUST}":' if environ.get(TRUST) else ""
    return f"if you trust everybody who can write there: export {TRUST}={before}{shlex.quote(str(folder))}"
