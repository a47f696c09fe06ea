"""What other people's files make obsctl do: nothing, until somebody says that they are trusted."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries
from obsctl.model import Event
from tests.command import Obsctl
from tests.foreign import give_away
from tests.release_site import ReleaseSite
from tests.world import OTHERS_OFF

TOKENS = {"NOMAD_TOKEN": "n0mad", "CONSUL_HTTP_TOKEN": "c0nsul", "REGISTRY_PASSWORD": "r3gistry"}


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """obsctl.yaml names a promtool of its own, which writes down its environment."""
    program = folder / "promtool"
    program.write_text(f"#!/bin/sh\nenv > {folder}/ran\necho 'promtool, version 3.14.0 (branch: HEAD)'\n")
    program.chmod(0o755)
    config = {"stack": "obs", "components": OTHERS_OFF, "servers": {"promtool": "./promtool"}}
    (folder / "obsctl.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_program_that_obsctl_yaml_names_is_not_run(project: Path, obsctl: Obsctl) -> None:
    for command in ("validate", "render", "plan"):
        ran = obsctl(command)
        assert "servers.promtool: only `obsctl dev` runs programs that obsctl.yaml names" in ran.err
        assert f"export OBSCTL_TRUST={project}" in ran.err
    assert not (project / "ran").exists()


def test_it_is_run_where_the_file_is_trusted_and_gets_no_token(
    project: Path, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSCTL_TRUST", str(project))
    ran = obsctl("validate")
    assert ran.code == 0
    assert "servers.promtool" not in ran.err
    environ = (project / "ran").read_text()
    assert "PATH=/usr/bin:/bin" in environ
    assert not [name for name, value in TOKENS.items() if name in environ or value in environ]


def test_it_is_run_where_the_users_own_environment_names_it(
    project: Path, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSCTL_SERVERS__PROMTOOL", str(project / "promtool"))
    ran = obsctl("validate")
    assert "only `obsctl dev`" not in ran.err
    assert (project / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["obsctl.yaml", ".", "rules.yml", "dashboards/mine.json", "jobs/warden.nomad.hcl.j2", "obsctl.lock.yaml"],
)
def test_a_file_of_another_user_stops_the_command(
    project: Path, obsctl: Obsctl, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"stack": "obs", "components": {"grafana": {"enabled": True}}, "alerting": {"rule_files": ["rules.yml"]}}
    (project / "obsctl.yaml").write_text(json.dumps(config))
    contents = {
        "rules.yml": "groups: [{name: own, rules: [{record: r, expr: up}]}]",
        "dashboards/mine.json": '{"title": "Mine", "uid": "mine", "schemaVersion": 39, "panels": []}',
        "jobs/warden.nomad.hcl.j2": "x",
        "obsctl.lock.yaml": "images: {}",
    }
    for file, text in contents.items():
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).write_text(text)
    assert obsctl("render", "-q").code == 0
    give_away(project / name, monkeypatch)
    ran = obsctl("render")
    assert ran.code == 1
    assert ran.out == ""
    assert "belongs to" in ran.err
    assert "export OBSCTL_TRUST=" in ran.err.splitlines()[-1]
    monkeypatch.setenv("OBSCTL_TRUST", str(project))
    assert obsctl("render", "-q").code == 0


def test_an_overlay_of_another_user(project: Path, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "obsctl.prod.yaml").write_text("timing: fast")
    assert obsctl("--env", "prod", "config", "show").code == 0
    give_away(project / "obsctl.prod.yaml", monkeypatch)
    assert "belongs to" in obsctl("--env", "prod", "config", "show").err


class TestCachedPrograms:
    @pytest.fixture
    def environ(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        monkeypatch.delenv("OBSCTL_TRUST", raising=False)
        return {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    @pytest.fixture
    def cached(self, environ: dict[str, str]) -> Path:
        """A nomad that was downloaded before."""
        events: list[Event] = []
        with closing(ReleaseSite()) as site:
            site.publish_nomad()
            mirror = {"OBSCTL_RELEASES_HASHICORP": site.url}
            program = Binaries(environ={**environ, **mirror}, emit=events.append).provide("nomad")
            assert any(f"its checksum is the one in {site.url}/nomad/" in event.text for event in events)
        return program.path

    def test_it_is_used(self, environ: dict[str, str], cached: Path) -> None:
        found = Binaries(environ=environ).search("nomad")
        assert (found.program and found.program.path, found.remarks) == (cached, ())

    @pytest.mark.parametrize("above", range(4))
    def test_what_others_can_write_or_replace_is_passed_over(
        self, environ: dict[str, str], cached: Path, above: int
    ) -> None:
        [cached, *cached.parents][above].chmod(0o777)
        found = Binaries(environ=environ).search("nomad")
        assert found.program is None
        assert f"{cached} is passed over: " in found.remarks[0]
        assert "can be written by everybody" in found.remarks[0]

    def test_what_another_user_put_there_is_passed_over(
        self, environ: dict[str, str], cached: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_away(cached, monkeypatch)
        assert "belongs to" in Binaries(environ=environ).search("nomad").remarks[0]

    def test_nothing_is_put_into_a_folder_that_others_can_write(self, environ: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "cache" / "obsctl").mkdir(parents=True)
        (tmp_path / "cache" / "obsctl").chmod(0o777)
        with pytest.raises(ObsctlError, match=r"servers cannot be used: .*obsctl can be written by everybody"):
            Binaries(environ=environ).provide("nomad")

    def test_the_umask_lets_nobody_else_write(self, environ: dict[str, str], request: pytest.FixtureRequest) -> None:
        before = os.umask(0)
        try:
            request.getfixturevalue("cached")
        finally:
            os.umask(before)
        assert Binaries(environ=environ).search("nomad").program
