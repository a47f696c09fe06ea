"""No program that obsctl starts gets a token; each gets what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from obsctl import children
from obsctl.errors import ObsctlError
from obsctl.local import members
from obsctl.local.binaries import Binaries, version_of
from obsctl.local.cluster import LocalCluster

CANARY = "c4nary-of-the-environment"
TOKENS = (
    "NOMAD_TOKEN", "CONSUL_HTTP_TOKEN", "OBSCTL_NOMAD__TOKEN", "REGISTRY_PASSWORD", "SLACK_URL", "NOMAD_CLIENT_KEY",
    "AWS_SECRET_ACCESS_KEY", "GOOGLE_OAUTH_ACCESS_TOKEN", "GITHUB_TOKEN", "VAULT_TOKEN", "SSH_AUTH_SOCK",
)  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with programs that write down their environment, which has tokens."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("go", "docker", "nomad"):
        (folder / name).write_text(f"#!/bin/sh\nenv >> {tmp_path}/ran\necho Nomad v0.1.0\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("GOPROXY", "https://proxy.example.org")
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker.example.org")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OBSCTL_RELEASES_HASHICORP", "http://127.0.0.1:1")
    for name in TOKENS:
        monkeypatch.setenv(name, CANARY)
    return folder


def build(programs: Path) -> None:
    toolchain = programs.parent / "toolchain"
    (toolchain / "nomad").mkdir(parents=True)
    (toolchain / "nomad" / "go.mod").write_text("module x\n")
    with suppress(ObsctlError):  # this go builds nothing
        Binaries(toolchain=toolchain).provide("nomad")


def ask_for_a_version(programs: Path) -> None:
    version_of("nomad", programs / "nomad")


def list_containers(programs: Path) -> None:
    members.containers(programs)


def remove_containers(programs: Path) -> None:
    members.remove_containers(["one"], grace=1)


@pytest.mark.parametrize(
    ("start", "needs"),
    [
        (build, "GOPROXY=https://proxy.example.org"),
        (ask_for_a_version, "PATH="),
        (list_containers, "DOCKER_HOST=tcp://docker.example.org"),
        (remove_containers, "DOCKER_HOST=tcp://docker.example.org"),
    ],
)
def test_a_program_gets_what_it_needs_and_no_token(programs: Path, start: Callable[[Path], None], needs: str) -> None:
    start(programs)
    environ = (programs.parent / "ran").read_text()
    assert CANARY not in environ
    assert needs in environ


@pytest.mark.usefixtures("programs")
def test_agents_and_so_all_tasks_get_no_token(tmp_path: Path) -> None:
    environ = LocalCluster(tmp_path / "state").control.environment()
    assert CANARY not in str(environ)
    assert environ["DOCKER_HOST"] == "tcp://docker.example.org"


def test_no_list_has_what_may_be_a_secret() -> None:
    listed = {*children.COMMON, *children.DOCKER, *children.GO, *children.BROWSER}
    assert [name for name in listed if re.search("TOKEN|SECRET|PASS|KEY|CREDENTIAL|OBSCTL", name)] == []
