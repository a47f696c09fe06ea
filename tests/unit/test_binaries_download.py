"""Releases from a site with the publishers' layouts: sound, wrong, broken off, missing, silent, gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import Interrupted
from obsctl.local.download import CHUNK, Release, Timeouts
from obsctl.local.source import SourceFailed
from obsctl.model import Event
from tests.ports import free_port
from tests.release_site import (
    NOMAD,
    NOMAD_SUMS,
    PLATFORM,
    PROMETHEUS,
    VERSION_LINES,
    ReleaseSite,
    checksum_line,
    nomad_zip,
    program,
    truncate,
)


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    site = ReleaseSite()
    yield site
    site.close()


def release(base: str, name: str = "nomad", read: float = 30.0) -> Release:
    return Release(PROGRAMS[name].project, PLATFORM, base, Timeouts(connect=5.0, read=read))


def failure(release: Release, scratch: Path) -> str:
    with pytest.raises(SourceFailed) as caught:
        release.make(scratch, lambda event: None)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def test_zip_is_checked_and_unpacked(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    programs = release(site.url).make(tmp_path, lambda event: None)
    assert [path.name for path in programs.iterdir()] == ["nomad"]
    assert (programs / "nomad").read_bytes() == program(VERSION_LINES["nomad"])
    assert (programs / "nomad").stat().st_mode & 0o777 == 0o755
    assert site.asked == [NOMAD_SUMS, NOMAD]


def test_tar_gives_every_program_of_the_project(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_prometheus()
    programs = release(site.url, "promtool").make(tmp_path, lambda event: None)
    assert sorted(path.name for path in programs.iterdir()) == ["prometheus", "promtool"]
    assert (programs / "promtool").read_bytes() == program(VERSION_LINES["promtool"])


def test_a_mirror_may_end_in_a_slash(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    assert release(f"{site.url}/").make(tmp_path, lambda event: None).is_dir()


def test_progress_grows_to_the_whole(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad(nomad_zip(padding=3 * CHUNK))
    events: list[Event] = []
    release(site.url).make(tmp_path, events.append)
    fractions = [event.fraction for event in events if event.fraction is not None]
    assert len(fractions) > 3
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_wrong_checksum(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    site.files[NOMAD_SUMS] = checksum_line(b"something else", NOMAD).encode()
    assert f"the checksum of {Path(NOMAD).name} is wrong" in failure(release(site.url), tmp_path)


def test_truncated(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    site.answers[NOMAD] = truncate
    assert failure(release(site.url), tmp_path).endswith("the answer broke off")


@pytest.mark.parametrize("length", ["x", "-1", "1" * 5000])
def test_a_length_that_is_none_tells_no_progress(site: ReleaseSite, tmp_path: Path, length: str) -> None:
    def lie(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(content)

    site.publish_nomad()
    site.answers[NOMAD] = lie
    with suppress(SourceFailed):
        release(site.url).make(tmp_path, lambda event: None)


@pytest.mark.parametrize("missing", [NOMAD, NOMAD_SUMS])
def test_not_found(site: ReleaseSite, tmp_path: Path, missing: str) -> None:
    site.publish_nomad()
    del site.files[missing]
    assert failure(release(site.url), tmp_path) == f"{site.url}/{missing} answers 404 Not Found"


def test_a_checksum_file_that_does_not_list_the_archive(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    site.files[NOMAD_SUMS] = b"<html>Please log in</html>"
    assert failure(release(site.url), tmp_path) == f"{site.url}/{NOMAD_SUMS} has no checksum of {Path(NOMAD).name}"


@pytest.mark.parametrize(
    "archive", [nomad_zip(member="nomad.exe"), b"no zip at all"], ids=["another program", "no archive"]
)
def test_an_archive_that_is_not_what_it_should_be(site: ReleaseSite, tmp_path: Path, archive: bytes) -> None:
    site.publish_nomad(archive)
    assert f"{Path(NOMAD).name} cannot be unpacked" in failure(release(site.url), tmp_path)


def test_a_damaged_tar(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_prometheus()
    cut = site.files[PROMETHEUS][:-60]
    site.files[PROMETHEUS] = cut
    site.files[str(Path(PROMETHEUS).parent / "sha256sums.txt")] = checksum_line(cut, PROMETHEUS).encode()
    assert "cannot be unpacked" in failure(release(site.url, "prometheus"), tmp_path)


def test_stalled(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad()
    site.answers[NOMAD] = site.stall
    assert failure(release(site.url, read=0.2), tmp_path).endswith("no answer in time")


def test_refused(tmp_path: Path) -> None:
    port = free_port()
    assert failure(release(f"http://127.0.0.1:{port}"), tmp_path) == f"127.0.0.1:{port}: Connection refused"


def test_proxy_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    reason = failure(release("http://releases.example.org"), tmp_path)
    assert reason == "releases.example.org: through the proxy: Connection refused"


def test_no_such_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reason = failure(release("https://releases.example.org"), tmp_path)
    assert reason == "releases.example.org: Name or service not known"


def test_a_name_that_nobody_looks_up_costs_little_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up, answered = [], threading.Event()

    def silent(*args: object, **kwargs: object) -> None:
        looked_up.append(args[0])
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    unreachable: dict[str, str] = {}
    for name in ("nomad", "consul"):
        tried = replace(release("https://releases.example.org", name), unreachable=unreachable)
        tried = replace(tried, timeouts=Timeouts(first=0.1))
        assert failure(tried, tmp_path) == "releases.example.org: no answer in time"
    answered.set()
    assert looked_up == ["releases.example.org"]


def test_a_host_that_has_no_release_is_asked_for_the_next(site: ReleaseSite, tmp_path: Path) -> None:
    unreachable: dict[str, str] = {}
    for name in ("nomad", "consul"):
        failure(replace(release(site.url, name), unreachable=unreachable), tmp_path)
    assert len(site.asked) == 2


def test_a_download_ends_when_it_is_told_to(site: ReleaseSite, tmp_path: Path) -> None:
    site.publish_nomad(nomad_zip(padding=3 * CHUNK))

    def check() -> None:
        raise Interrupted("interrupted", hint="")

    with pytest.raises(Interrupted):
        replace(release(site.url), check=check).make(tmp_path, lambda event: None)


def test_tls_that_is_none(site: ReleaseSite, tmp_path: Path) -> None:
    reason = failure(release(site.url.replace("http:", "https:")), tmp_path)
    assert "SSL" in reason
    assert len(reason) < 120
