"""Two runs at once get a server only once; a killed run leaves nothing that counts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.local.cache import Cache
from obsctl.model import Event
from obsctl.wait import wait_until
from tests.release_site import NOMAD, ReleaseSite, start_provide


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    site = ReleaseSite()
    site.publish_nomad()
    yield site
    site.close()


@pytest.fixture
def environ(tmp_path: Path, site: ReleaseSite) -> dict[str, str]:
    return {"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "OBSCTL_RELEASES_HASHICORP": site.url}


def start(tmp_path: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    return start_provide("nomad", environ, tmp_path / "no-toolchain")


def finish(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    return output.splitlines()


def wait_for_half_a_download(site: ReleaseSite, folder: Path) -> None:
    wait_until(
        lambda: NOMAD in site.asked and any(folder.glob(f".nomad-*/{Path(NOMAD).name}")),
        timeout=30,
        failure="no sign of the download",
        hint="",
        interval=0.02,
    )


def folders(environ: dict[str, str]) -> list[str]:
    return sorted(path.name for path in Cache.of(environ).folder.iterdir() if path.is_dir())


def test_two_runs_download_once(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    site.answers[NOMAD] = site.stall
    first = start(tmp_path, environ)
    wait_for_half_a_download(site, Cache.of(environ).folder)
    second = start(tmp_path, environ)
    assert second.stdout is not None
    assert second.stdout.readline() == (f"note another obsctl (process {first.pid}) is getting it; waiting for that\n")
    site.go_on.set()
    made, used = finish(first)[-1], finish(second)[-1]
    assert (made.split()[0], used.split()[0]) == ("release", "cache")
    assert made.split()[1] == used.split()[1]
    assert site.asked.count(NOMAD) == 1


def test_a_killed_run_leaves_nothing_that_counts(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    site.answers[NOMAD] = site.stall
    killed = start(tmp_path, environ)
    wait_for_half_a_download(site, Cache.of(environ).folder)
    killed.kill()
    finish(killed)
    assert all(name.startswith(".") for name in folders(environ))

    del site.answers[NOMAD]
    lines = finish(start(tmp_path, environ))
    assert lines[-1].startswith("release ")
    assert folders(environ) == [Path(lines[-1].split()[1]).parent.name]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    site.answers[NOMAD] = site.stall
    process = start(tmp_path, environ)
    wait_for_half_a_download(site, Cache.of(environ).folder)
    process.send_signal(signal.SIGINT)
    finish(process)
    assert folders(environ) == []


def test_where_the_cache_is() -> None:
    assert Cache.of({"XDG_CACHE_HOME": "/x", "HOME": "/home/a"}).folder == Path("/x/obsctl/servers")
    assert Cache.of({"HOME": "/home/a"}).folder == Path("/home/a/.cache/obsctl/servers")


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    events: list[Event] = []
    with pytest.raises(ZeroDivisionError), cache.locked("nomad", events.append):
        raise ZeroDivisionError
    with cache.locked("nomad", events.append):
        assert events == []
