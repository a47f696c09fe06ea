"""Official releases: downloaded, checked against the publisher's checksum file, unpacked."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import requests

from obsctl.config.releases import Project
from obsctl.local.source import Platform, SourceFailed, StopCheck, go_on
from obsctl.model import Emit, Event

CHUNK = 1024 * 1024  # bytes; progress is reported after each
LARGEST = 1_000_000_000  # bytes of an archive


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for a connection, between two pieces of an answer, and for the first answer of a host together with the
    look-up of its name, which has no limit of its own."""

    connect: float = 5.0
    read: float = 30.0
    first: float = 10.0


@dataclass(frozen=True, slots=True)
class Release:
    """A project's official release for one platform. base: the publisher's URL, or a mirror's.

    check: called at every piece of a download; raises to end it. unreachable: hosts that gave no connection, and why.
    """

    project: Project
    platform: Platform
    base: str
    timeouts: Timeouts = Timeouts()
    check: StopCheck = go_on
    unreachable: dict[str, str] = field(default_factory=dict)

    title = "release"

    @property
    def version(self) -> str:
        return self.project.release_version

    @property
    def entry(self) -> str:
        return f"{self.project.release_name}-{self.version}-{self.platform.os}-{self.platform.arch}"

    def file(self, program: str) -> str:
        """Its name in the archive, so that two projects with one release find the same file."""
        return PurePosixPath(self._member(program)).name

    def make(self, scratch: Path, emit: Emit) -> Path:
        """Download, check and unpack. Raises SourceFailed when anything is not as published."""
        name = self._fill(self.project.publisher.archive)
        self._refuse_unreachable()
        emit(Event(self.project.name, "start", f"downloading {self._url(name)}"))
        published = self._published_checksum(name)
        archive = scratch / name
        received = self._fetch(self._url(name), archive, emit)
        if received != published:
            checksums = f"published {published[:12]}…, received {received[:12]}…"
            raise SourceFailed(f"the checksum of {name} is wrong: {checksums}")
        origin = self._url(self._fill(self.project.publisher.checksums))
        meaning = f"its checksum is the one in {origin}: damage on the way would show, a forgery there would not"
        emit(Event(self.project.name, "ok", meaning))
        return self._unpack(archive, scratch / "programs")

    def _fill(self, pattern: str, program: str = "") -> str:
        return pattern.format(
            project=self.project.release_name, version=self.version, program=program,
            os=self.platform.os, arch=self.platform.arch,
        )  # fmt: skip

    def _member(self, program: str) -> str:
        return self._fill(self.project.publisher.member, program)

    def _url(self, file: str) -> str:
        return f"{self.base.rstrip('/')}/{self._fill(self.project.publisher.folder)}/{file}"

    def _published_checksum(self, archive: str) -> str:
        url = self._url(self._fill(self.project.publisher.checksums))
        with self._get(url, within=self.timeouts.first) as response:
            lines = self._beginning(response).splitlines()
        for line in lines:
            checksum, _, name = line.partition(" ")
            if name.strip().removeprefix("*") == archive:
                return checksum.lower()
        raise SourceFailed(f"{url} has no checksum of {archive}")

    def _fetch(self, url: str, target: Path, emit: Emit) -> str:
        """Save the file and return its sha256. Emits progress where the server says how long the file is."""
        digest = hashlib.sha256()
        with self._get(url) as response, target.open("wb") as file:
            length = response.headers.get("Content-Length", "")
            size = int(length) if re.fullmatch("[0-9]{1,15}", length) else 0
            for chunk in response.iter_content(CHUNK):
                self.check()
                file.write(chunk)
                digest.update(chunk)
                if file.tell() > LARGEST:
                    raise SourceFailed(f"{url} is larger than {LARGEST / 1e9:g} GB, as no release is")
                if size:
                    text = f"downloading {size / 1e6:.0f} MB"
                    emit(Event(self.project.name, "progress", text, file.tell() / size))
        return digest.hexdigest()

    def _beginning(self, response: requests.Response) -> str:
        """The first part of a text: a file of checksums has no more."""
        return next(response.iter_content(CHUNK), b"").decode(errors="replace")

    @property
    def _host(self) -> str:
        return urlsplit(self.base).netloc or self.base

    def _refuse_unreachable(self) -> None:
        if self._host in self.unreachable:
            raise SourceFailed(f"{self._host}: {self.unreachable[self._host]}")

    @contextmanager
    def _get(self, url: str, within: float | None = None) -> Iterator[requests.Response]:
        """The answer; it must begin `within` so many seconds."""
        try:
            with _answer(url, self.timeouts, within) as response:
                if response.status_code != requests.codes.ok:
                    raise SourceFailed(f"{url} answers {response.status_code} {response.reason}")
                yield response
        except (requests.RequestException, TimeoutError) as error:
            if isinstance(error, requests.ConnectionError | TimeoutError):
                self.unreachable[self._host] = why(error)
            raise SourceFailed(f"{self._host}: {why(error)}") from error

    def _unpack(self, archive: Path, into: Path) -> Path:
        into.mkdir()
        try:
            with _opened(archive) as open_member:
                for program in self.project.packages:
                    unpacked = into / self.file(program)
                    with open_member(self._member(program)) as source, unpacked.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    unpacked.chmod(0o755)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, KeyError) as error:
            raise SourceFailed(f"{archive.name} cannot be unpacked: {error}") from error
        return into


def _answer(url: str, timeouts: Timeouts, within: float | None) -> requests.Response:
    """Asks in a thread of its own, because nothing else ends the look-up of a name that hangs."""
    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            as_published = {"Accept-Encoding": "identity"}  # else the checksum would not fit
            response = requests.get(url, stream=True, timeout=(timeouts.connect, timeouts.read), headers=as_published)
        except requests.RequestException as error:
            with suppress(InvalidStateError):
                answer.set_exception(error)
            return
        try:
            answer.set_result(response)
        except InvalidStateError:
            response.close()

    threading.Thread(target=ask, name="obsctl-download", daemon=True).start()
    try:
        return answer.result(within)
    finally:
        answer.cancel()


@contextmanager
def _opened(archive: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """A function that opens a member of a zip or tar.gz, or raises KeyError when there is no such file."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            yield zipped.open
        return
    with tarfile.open(archive, "r:gz") as tar:

        def open_member(name: str) -> IO[bytes]:
            file = tar.extractfile(name)
            if file is None:
                raise KeyError(f"{name} is not a file")
            return file

        yield open_member


def why(error: Exception) -> str:
    """A network error in a few words, because requests wraps the words of the system several times."""
    root: BaseException = error
    while inner := root.__cause__ or root.__context__:
        root = inner
    if isinstance(root, TimeoutError):
        return "no answer in time"
    if isinstance(root, http.client.IncompleteRead):
        return "the answer broke off"
    words = getattr(root, "strerror", None) or str(root) or type(root).__name__
    through = "through the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    return f"{through}{words}"
