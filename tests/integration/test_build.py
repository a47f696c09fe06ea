"""The real Go, on a module that takes a second, and the real servers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries
from obsctl.model import Event

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]

MODULE = "module github.com/hashicorp/nomad\n\ngo 1.21\n"
MAIN = 'package main\n\nfunc main() { println("Nomad v1.11.2") }\n'


@pytest.fixture
def toolchain(tmp_path: Path) -> Path:
    folder = tmp_path / "toolchain" / "nomad"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(MODULE)
    (folder / "main.go").write_text(MAIN)
    return tmp_path / "toolchain"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """This machine, but with no server that is named, on PATH or in the cache, and no release within reach."""
    go = shutil.which("go")
    assert go, "this test needs Go on PATH"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").symlink_to(Path(go).resolve())
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OBSCTL_SERVERS__")},
        "PATH": str(tmp_path / "bin"),
        "GOPROXY": "off",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OBSCTL_RELEASES_HASHICORP": "http://127.0.0.1:1",
    }


def test_go_builds_what_a_release_does_not_give(toolchain: Path, environ: dict[str, str]) -> None:
    events: list[Event] = []
    found = Binaries(emit=events.append, environ=environ, toolchain=toolchain).provide("nomad")
    assert (found.source, found.version) == ("Go build", PROGRAMS["nomad"].project.built_version)
    assert found.path.read_bytes().startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe"))
    assert [event.text for event in events if event.state == "note"] == ["release: 127.0.0.1:1: Connection refused"]
    assert sorted(path.name for path in toolchain.glob("nomad/*")) == ["go.mod", "main.go"]


def test_a_build_that_fails_shows_the_compilers_words(toolchain: Path, environ: dict[str, str]) -> None:
    (toolchain / "nomad" / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(ObsctlError, match="undefined: missing"):
        Binaries(environ=environ, toolchain=toolchain).provide("nomad")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_server_can_be_had(name: str) -> None:
    found = Binaries().provide(name)
    assert found.path.is_file()
    assert tuple(int(part) for part in found.version.split(".")) >= PROGRAMS[name].project.minimum
