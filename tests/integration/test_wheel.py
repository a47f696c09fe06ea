"""The wheel, built and installed into an empty environment, works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from obsctl import __version__
from obsctl.config.catalog import ROWS
from obsctl.config.schema import Config
from tests.goldens import FOLDER, rendered

pytestmark = pytest.mark.real  # it asks the package index for what obsctl depends on

ROOT = Path(__file__).parents[2]
# The folders beside obsctl/ that are part of it, without what only tests and we ourselves build.
SHIPPED = ("jobs", "templates", "dashboards", "alert-rules", "toolchain")
NOT_SHIPPED = (":(exclude,glob)toolchain/*", ":(exclude)toolchain/*opentofu*")


def call(*argv: str | Path, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OBSCTL_", "PYTHON"))}
    ended = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{argv}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The obsctl of an environment that has the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    call(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    return folder / "bin" / "obsctl"


def test_it_carries_what_git_has_and_nothing_else(wheel: Path) -> None:
    tracked = call("git", "ls-files", "--", *SHIPPED, *NOT_SHIPPED, cwd=ROOT).splitlines()
    bundle = "obsctl/_bundle/"
    inside = [name.removeprefix(bundle) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(bundle)]
    assert sorted(inside) == sorted(tracked)


def test_its_modules_are_those_that_git_has(wheel: Path) -> None:
    tracked = call("git", "ls-files", "--", "obsctl", cwd=ROOT).splitlines()
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name for name in names if name.startswith("obsctl/") and "/_bundle/" not in name) == sorted(tracked)


def test_it_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert __version__ in call(installed, "--version", cwd=tmp_path)
    call(installed, "init", cwd=tmp_path)
    assert (tmp_path / "obsctl.yaml").is_file()
    assert f"valid: {len(Config().enabled_components())} jobs" in call(installed, "validate", cwd=tmp_path)
    call(installed, "render", "-o", "out", cwd=tmp_path)
    jobs = {file.name for file in (tmp_path / "out" / "jobs").iterdir()}
    assert jobs == {f"obs-{row.name}.nomad.hcl" for row in ROWS.values() if not row.demo}


def test_what_it_renders_is_what_the_checkout_renders(installed: Path, tmp_path: Path) -> None:
    call(installed, "--config", FOLDER / "laptop" / "obsctl.yaml", "render", "-o", "out", cwd=tmp_path)
    assert below(tmp_path / "out") == {path: text.encode() for path, text in rendered("laptop").files().items()}


def below(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
