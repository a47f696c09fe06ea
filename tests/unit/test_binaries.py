"""Where a server's program comes from: configured, PATH, cache, release, Go build, in this order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries, Search, find
from obsctl.local.folder import Folder
from obsctl.model import Event
from tests.release_site import NOMAD, NOMAD_SUMS, OTELCOL, OTELCOL_SUMS, VERSION_LINES, VERSIONS, ReleaseSite, install

FAKE_GO = """#!/bin/sh
while [ "$1" != "-o" ]; do shift; done
printf '#!/bin/sh\\necho "Nomad v1.11.2"\\n' > "$2/nomad"
chmod +x "$2/nomad"
"""


@pytest.fixture
def site() -> Iterator[ReleaseSite]:
    site = ReleaseSite()
    yield site
    site.close()


@pytest.fixture
def environ(tmp_path: Path, site: ReleaseSite) -> dict[str, str]:
    """A machine with an empty PATH, an empty cache, and the release site as the only one there is."""
    return {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        **{server.project.publisher.mirror: site.url for server in PROGRAMS.values()},
    }


class Events(list[Event]):
    def notes(self) -> list[str]:
        return [event.text for event in self if event.state == "note"]


def with_fake_go(tmp_path: Path) -> Path:
    """Puts a fake go on PATH and returns a toolchain folder for it."""
    install(tmp_path / "bin", "go", "").write_text(FAKE_GO)
    (tmp_path / "toolchain" / "nomad").mkdir(parents=True)
    (tmp_path / "toolchain" / "nomad" / "go.mod").write_text("module x\n")
    return tmp_path / "toolchain"


@pytest.mark.parametrize(
    ("name", "output", "version"),
    [
        ("nomad", "Nomad v1.11.2\nBuildDate 2026-02-11", (1, 11, 2)),
        ("nomad", "Nomad v2.0.5+ent", (2, 0, 5)),
        ("consul", "Consul v1.21.0\nRevision 4e96098f", (1, 21, 0)),
        ("prometheus", "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 1)", (2, 42, 0)),
        ("prometheus", "prometheus, version  (branch: , revision: unknown)", None),
        ("prometheus", "level=warn msg=odd\nprometheus, version 3.15.0 (branch: )", (3, 15, 0)),
        ("consul", "Nomad v1.11.2", None),
        ("amtool", "", None),
        ("victoria-logs", "victoria-logs-20260710-100000-tags-v1.52.1-0-g1234567", (1, 52, 1)),
        ("victoria-logs", "victoria-metrics-v1.52.1", None),
        ("jaeger", "jaeger version git-commit=, git-version=2.0.0, build-date=", (2, 0, 0)),
        ("jaeger", "2026/07/19 10:00:00 application version: …\njaeger version v2.20.0", (2, 20, 0)),
        ("jaeger", "jaeger version git-commit=, git-version=, build-date=", None),
        ("otelcol", "otelcol-contrib version 0.165.0", (0, 165, 0)),
        ("otelcol", "otelcol version 0.165.0", (0, 165, 0)),
        ("otelcol", "jaeger version v2.20.0", None),
    ],
)
def test_version_as_programs_tell_it(name: str, output: str, version: tuple[int, int, int] | None) -> None:
    assert PROGRAMS[name].parse_version(output) == version


def test_configured_path_comes_first(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    mine = install(tmp_path / "mine", "nomad-of-mine", "Nomad v1.10.5")
    found = Binaries(configured={"nomad": str(mine)}, environ=environ).search("nomad").program
    assert found is not None
    assert (found.path, found.version, found.source) == (mine, "1.10.5", "configured")


def test_a_dash_is_written_as_an_underscore_in_a_variable(tmp_path: Path, environ: dict[str, str]) -> None:
    mine = install(tmp_path / "mine", "logs", VERSION_LINES["victoria-logs"])
    environ["OBSCTL_SERVERS__VICTORIA_LOGS"] = str(mine)
    assert find("victoria-logs", {}, environ) == mine


def test_the_environment_wins_over_the_config(tmp_path: Path, environ: dict[str, str]) -> None:
    mine = install(tmp_path / "mine", "nomad", VERSION_LINES["nomad"])
    environ["OBSCTL_SERVERS__NOMAD"] = str(mine)
    assert find("nomad", {"nomad": "/nowhere/nomad"}, environ) == mine


@pytest.mark.parametrize(("key", "by_environment"), [("servers.nomad", False), ("OBSCTL_SERVERS__NOMAD", True)])
def test_a_configured_path_that_is_not_there_is_an_error(
    environ: dict[str, str], key: str, by_environment: bool
) -> None:
    configured = {"nomad": "/nowhere/nomad"}
    if by_environment:
        environ[key] = configured.pop("nomad")
    with pytest.raises(ObsctlError, match=f"{key} names /nowhere/nomad, which is not a file"):
        find("nomad", configured, environ)


def test_a_configured_path_that_cannot_be_run_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "nomad").write_text("text")
    with pytest.raises(ObsctlError, match=r"servers\.nomad names .*, which is not executable"):
        find("nomad", {"nomad": str(tmp_path / "nomad")}, environ)


def test_a_configured_old_version_is_used_and_remarked(tmp_path: Path, environ: dict[str, str]) -> None:
    old = install(tmp_path / "mine", "nomad", "Nomad v1.4.0")
    events = Events()
    assert Binaries(configured={"nomad": str(old)}, emit=events.append, environ=environ).provide("nomad").path == old
    assert events.notes() == [
        f"{old} is used because servers.nomad names it, but it is 1.4.0, older than 1.6",
    ]


@pytest.fixture
def cluster_bin(tmp_path: Path) -> Path:
    """The `bin` of a local cluster's state folder, with a nomad that works."""
    folder = Folder(tmp_path / "state")
    folder.claim(lambda event: None)
    folder.link("nomad", install(tmp_path / "gone-tomorrow", "nomad", VERSION_LINES["nomad"]))
    return folder.bin


@pytest.mark.parametrize("way", ["itself", "a link to it", "a link to its folder"])
def test_links_of_a_local_cluster_are_no_programs(
    tmp_path: Path, environ: dict[str, str], cluster_bin: Path, way: str
) -> None:
    on_path = {
        "itself": lambda: cluster_bin,
        "a link to it": lambda: linked(tmp_path / "mine" / "nomad", cluster_bin / "nomad").parent,
        "a link to its folder": lambda: linked(tmp_path / "mine" / "programs", cluster_bin),
    }
    environ["PATH"] = f"{on_path[way]()}:{environ['PATH']}"
    assert Binaries(environ=environ).search("nomad") == Search(None)
    good = install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    assert find("nomad", {}, environ) == good


def test_a_configured_link_of_a_local_cluster_is_passed_over(
    tmp_path: Path, environ: dict[str, str], cluster_bin: Path
) -> None:
    good = install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    result = Binaries(configured={"nomad": str(cluster_bin / "nomad")}, environ=environ).search("nomad")
    assert result.program is not None
    assert result.program.path == good
    [remark] = result.remarks
    assert remark.startswith(f"{cluster_bin / 'nomad'} is passed over although servers.nomad names it: ")


def test_a_folder_that_is_called_like_a_clusters_is_none(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "cluster.json").write_text('{"schema": "another/v1"}')
    program = install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    assert find("nomad", {}, environ) == program


def linked(link: Path, target: Path) -> Path:
    link.parent.mkdir()
    link.symlink_to(target)
    return link


def test_an_old_program_on_path_does_not_hide_a_good_one(tmp_path: Path, environ: dict[str, str]) -> None:
    old = install(tmp_path / "old", "prometheus", "prometheus, version 2.42.0+ds (branch: debian/sid)")
    good = install(tmp_path / "good", "prometheus", VERSION_LINES["prometheus"])
    environ["PATH"] = f"{tmp_path / 'old'}:{tmp_path / 'good'}"
    result = Binaries(environ=environ).search("prometheus")
    assert result.program is not None
    assert (result.program.path, result.program.source) == (good, "PATH")
    assert result.remarks == (f"{old} is passed over: it is 2.42.0, older than 3.12.0",)


@pytest.mark.parametrize("content", [b"\x7fELF, but not really", b"#!/bin/sh\nexit 1\n"])
def test_a_program_that_tells_no_version_is_passed_over(
    tmp_path: Path, environ: dict[str, str], content: bytes
) -> None:
    install(tmp_path / "bin", "consul", "").write_bytes(content)
    result = Binaries(environ=environ).search("consul")
    assert result.program is None
    assert len(result.remarks) == 1


def test_search_changes_nothing(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    assert find("nomad", {}, environ) is None
    assert site.asked == []
    assert list(tmp_path.iterdir()) == []


def test_path_is_enough(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    program = install(tmp_path / "bin", "nomad", VERSION_LINES["nomad"])
    events = Events()
    assert Binaries(emit=events.append, environ=environ).provide("nomad").path == program
    assert (site.asked, events) == ([], [])


def test_a_release_is_downloaded_once(environ: dict[str, str], site: ReleaseSite) -> None:
    site.publish_nomad()
    first = Binaries(environ=environ).provide("nomad")
    again = Binaries(environ=environ).provide("nomad")
    assert (first.source, again.source) == ("release", "cache")
    assert first.path == again.path == find("nomad", {}, environ)
    assert site.asked == [NOMAD_SUMS, NOMAD]


def test_one_download_gives_every_program_of_a_project(environ: dict[str, str], site: ReleaseSite) -> None:
    site.publish_prometheus()
    prometheus = Binaries(environ=environ).provide("prometheus").path
    assert find("promtool", {}, environ) == prometheus.with_name("promtool")


def test_the_release_of_the_collector_has_another_name(environ: dict[str, str], site: ReleaseSite) -> None:
    site.publish_otelcol()
    found = Binaries(environ=environ).provide("otelcol")
    assert (found.version, found.source, found.path.name) == (VERSIONS["otelcol"], "release", "otelcol-contrib")
    assert site.asked == [OTELCOL_SUMS, OTELCOL]


def test_the_releases_of_other_publishers(environ: dict[str, str], site: ReleaseSite) -> None:
    site.publish_jaeger()
    site.publish_logs()
    for name in ("jaeger", "victoria-logs"):
        found = Binaries(environ=environ).provide(name)
        assert (found.version, found.source) == (VERSIONS[name], "release")
        assert find(name, {}, environ) == found.path


def test_a_deleted_program_is_had_again(environ: dict[str, str], site: ReleaseSite) -> None:
    site.publish_prometheus()
    promtool = Binaries(environ=environ).provide("promtool").path
    promtool.unlink()
    assert Binaries(environ=environ).provide("promtool").path == promtool
    assert promtool.exists()
    assert promtool.with_name("prometheus").exists()


def test_without_a_release_go_builds(tmp_path: Path, environ: dict[str, str], site: ReleaseSite) -> None:
    toolchain = with_fake_go(tmp_path)
    events = Events()
    found = Binaries(emit=events.append, environ=environ, toolchain=toolchain).provide("nomad")
    assert (found.source, found.version) == ("Go build", PROGRAMS["nomad"].project.built_version)
    assert events.notes() == [f"release: {site.url}/{NOMAD_SUMS} answers 404 Not Found"]
    assert find_again(environ, toolchain) == ("cache", found.path)


def test_changed_modules_are_built_anew(tmp_path: Path, environ: dict[str, str]) -> None:
    toolchain = with_fake_go(tmp_path)
    Binaries(environ=environ, toolchain=toolchain).provide("nomad")
    (toolchain / "nomad" / "go.sum").write_text("another\n")
    assert Binaries(environ=environ, toolchain=toolchain).search("nomad").program is None


def test_a_release_that_does_not_run_here_is_not_kept(
    tmp_path: Path, environ: dict[str, str], site: ReleaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VERSION_LINES, "nomad", "Nomad v0.9.0")
    site.publish_nomad()
    events = Events()
    found = Binaries(emit=events.append, environ=environ, toolchain=with_fake_go(tmp_path)).provide("nomad")
    assert found.source == "Go build"
    assert events.notes() == ["release: nomad is there, but it is 0.9.0, older than 1.6"]
    assert kept(tmp_path) == [found.path.parent.name]


def test_no_source_left_says_what_was_tried_and_what_to_do(
    tmp_path: Path, environ: dict[str, str], site: ReleaseSite
) -> None:
    old = install(tmp_path / "bin", "nomad", "Nomad v1.4.0")
    environ["PATH"] = str(tmp_path / "bin")
    toolchain = tmp_path / "toolchain"
    (toolchain / "nomad").mkdir(parents=True)
    with pytest.raises(ObsctlError) as caught:
        Binaries(environ=environ, toolchain=toolchain).provide("nomad")
    assert caught.value.message.splitlines() == [
        "obsctl cannot get nomad. It tried:",
        f"    PATH: {old} is passed over: it is 1.4.0, older than 1.6",
        f"    cache: nothing suitable in {tmp_path}/cache/obsctl/servers",
        f"    release: {site.url}/{NOMAD_SUMS} answers 404 Not Found",
        "    Go build: go is not on PATH",
    ]
    for way in ("on PATH", "OBSCTL_SERVERS__NOMAD=/path/to/nomad", "OBSCTL_RELEASES_HASHICORP=URL", "install Go"):
        assert way in caught.value.hint
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ObsctlError, match=r"the cache folder .* cannot be used: Not a directory") as caught:
        Binaries(environ=environ).provide("nomad")
    assert "XDG_CACHE_HOME" in caught.value.hint


def find_again(environ: dict[str, str], toolchain: Path) -> tuple[str, Path]:
    found = Binaries(environ=environ, toolchain=toolchain).search("nomad").program
    assert found is not None
    return found.source, found.path


def kept(tmp_path: Path) -> list[str]:
    """The folders of the cache, unfinished ones too."""
    return [path.name for path in (tmp_path / "cache" / "obsctl" / "servers").iterdir() if path.is_dir()]
