"""obsctl lock as a user types it: what it writes, what it says, and how it exits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from obsctl.cli import wire
from obsctl.cli.root import cli
from obsctl.stack.images import LOCK_FILE
from tests.fakes import FakeRegistry
from tests.world import OTHERS_OFF

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an obsctl.yaml whose stack has three images."""
    for name in [name for name in os.environ if name.startswith("OBSCTL_")]:
        monkeypatch.delenv(name)
    components = {**OTHERS_OFF, "prometheus": {"image": "prom/prometheus:v3"}}
    (tmp_path / "obsctl.yaml").write_text(json.dumps({"components": components}))
    (tmp_path / "obsctl.new.yaml").write_text("components: {prometheus: {image: 'prom/prometheus:v4'}}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """The only registry there is."""
    digests = {"prom/prometheus:v3": ONE, "prom/prometheus:v4": TWO, "prom/alertmanager:v0.34.0": TWO}
    registry = FakeRegistry({**digests, "obsctl/obsctl:0.1.0": THREE})
    monkeypatch.setattr(wire, "registries", lambda config: {"docker.io": registry}.__getitem__)
    return registry


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--json", "lock", *arguments], standalone_mode=False)


def run_in(environment: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--env", environment, "lock", *arguments], standalone_mode=False)


def locked(folder: Path) -> dict[str, str]:
    return dict(yaml.safe_load((folder / LOCK_FILE).read_text())["images"])


def message(result: Result) -> str:
    """What it fails with, beside the one JSON document on stdout."""
    assert (result.exception, result.return_value) == (None, 1)
    assert json.loads(result.stdout)["schema"] == "obsctl/lock/v1"
    return result.stderr.partition("Error: ")[2].partition("\nHint: ")[0]


@pytest.mark.usefixtures("hub")
def test_it_writes_the_digest_of_every_image(folder: Path) -> None:
    result = run()
    assert result.exception is None
    images = {"obsctl/obsctl:0.1.0": THREE, "prom/alertmanager:v0.34.0": TWO, "prom/prometheus:v3": ONE}
    document = json.loads(result.stdout)
    assert (document["schema"], document["images"]) == ("obsctl/lock/v1", images)
    assert set(document["states"].values()) == {"new"}
    assert locked(folder) == images


@pytest.mark.usefixtures("folder")
def test_a_table_for_people(hub: FakeRegistry) -> None:
    run()
    hub.digests["prom/prometheus:v3"] = THREE
    result = CliRunner().invoke(cli, ["-q", "lock"], standalone_mode=False)
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["IMAGE", "DIGEST"],
        ["obsctl/obsctl:0.1.0", THREE, "as", "before"],
        ["prom/alertmanager:v0.34.0", TWO, "as", "before"],
        ["prom/prometheus:v3", THREE, "changed"],
    ]


def test_check_says_what_is_out_of_date_and_writes_nothing(folder: Path, hub: FakeRegistry) -> None:
    assert message(run("--check")).startswith("obsctl.lock.yaml is out of date: obsctl/obsctl:0.1.0 (new), ")
    assert not (folder / LOCK_FILE).exists()
    run()
    assert run("--check").exception is None
    hub.digests["prom/prometheus:v3"] = THREE
    assert message(run("--check")) == "obsctl.lock.yaml is out of date: prom/prometheus:v3 (changed)"
    assert locked(folder)["prom/prometheus:v3"] == ONE


def test_an_image_without_an_answer_keeps_its_digest_and_the_others_are_written(
    folder: Path, hub: FakeRegistry
) -> None:
    run()
    del hub.digests["obsctl/obsctl:0.1.0"]
    hub.digests["prom/prometheus:v3"] = TWO
    assert message(run()).splitlines() == [
        "not every image has a digest",
        "  obsctl/obsctl:0.1.0: the registry has no image obsctl/obsctl:0.1.0",
    ]
    assert locked(folder)["obsctl/obsctl:0.1.0"] == THREE
    assert locked(folder)["prom/prometheus:v3"] == TWO


@pytest.mark.usefixtures("hub")
def test_images_of_another_environment_stay_with_keep_alone(folder: Path) -> None:
    run()
    assert run_in("new", "--keep").exception is None
    assert {"prom/prometheus:v3", "prom/prometheus:v4"} < set(locked(folder))
    assert run("--check").exception is None
    run()
    assert "prom/prometheus:v4" not in locked(folder)


def test_programs_of_the_nodes_need_no_registry(folder: Path, hub: FakeRegistry) -> None:
    (folder / "obsctl.yaml").write_text(json.dumps({"driver": "raw_exec", "components": OTHERS_OFF}))
    result = CliRunner().invoke(cli, ["lock"], standalone_mode=False)
    assert (result.exception, result.stdout) == (None, "No image to lock.\n")
    assert hub.asked == []
    assert not (folder / LOCK_FILE).exists()
