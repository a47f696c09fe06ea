"""The components, what they need, and which of them a config asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl import __version__
from obsctl.assets import shipped
from obsctl.config.catalog import PROGRAMS, ROWS, Components
from obsctl.config.components import OWN_UID
from obsctl.config.demo import Demo
from obsctl.stack import storage
from tests.world import DEMO, config


def test_one_service_of_the_demo_can_be_left_out() -> None:
    without = config(demo={"enabled": True, "traffic": {"enabled": False}})
    assert "traffic" not in {component.row.name for component in without.enabled_components()}


def test_the_key_of_each_is_the_name_in_its_row() -> None:
    keys = {field.alias or name for name, field in Components.model_fields.items()}
    keys |= {field.alias or name for name, field in Demo.model_fields.items()}
    assert keys >= set(ROWS)


def test_each_is_listed_after_what_it_needs_and_has_a_template() -> None:
    """So a plan shows them in this order, and none waits for one that waits for it."""
    seen: set[str] = set()
    for row in ROWS.values():
        assert set(row.needs) <= seen
        assert (shipped() / "jobs" / ("demo" if row.demo else "") / f"{row.name}.nomad.hcl.j2").is_file()
        seen.add(row.name)


@pytest.mark.parametrize(
    ("driver", "owner"), [("docker", 10001), ("podman", 10001), ("exec", 65534), ("raw_exec", None)]
)
def test_who_writes_its_data(driver: str, owner: int | None) -> None:
    for wanted in (config(driver=driver), config(components={"alert-sink": {"driver": driver}})):
        assert wanted.owner_of(wanted.components.alert_sink) == owner


def test_host_volumes_are_those_of_components_with_data_that_are_no_programs_of_the_node() -> None:
    off = {name: {"enabled": False} for name in ("victorialogs", "jaeger", "otel-gateway", "otel-agent")}
    keys = {"prometheus": {"storage": {"source": "samples"}}, "alertmanager": {"driver": "raw_exec"}}
    assert storage.host_volumes(config(components={**off, **keys})) == {"obs-alert-sink": 10001, "samples": 65534}
    ephemeral = {"alert-sink": {"storage": {"kind": "ephemeral"}}}
    assert storage.host_volumes(config(driver="exec", components={**off, **ephemeral})) == {
        "obs-alertmanager": 65534, "obs-prometheus": 65534,
    }  # fmt: skip


def test_each_has_settings_of_its_own() -> None:
    assert len({component.port for component in DEMO.all_components()}) == len(ROWS)


def test_obsctls_own_image_is_the_one_that_make_images_builds() -> None:
    root = Path(__file__).parents[2]
    assert f"USER {OWN_UID}:{OWN_UID}" in (root / "Dockerfile").read_text().splitlines()
    assert "IMAGE := obsctl/obsctl:$(VERSION)" in (root / "Makefile").read_text().splitlines()
    own = {component.image for component in DEMO.all_components() if component.command == "obsctl"}
    assert own == {f"obsctl/obsctl:{__version__}"}


def test_files_that_are_found_by_name_belong_to_a_component() -> None:
    folders = {folder.name for folder in (shipped() / "templates").iterdir()}
    rules = {file.stem for file in (shipped() / "alert-rules").glob("*.yml")}
    jobs = {file.name.removesuffix(".nomad.hcl.j2") for file in (shipped() / "jobs").rglob("[!_]*.j2")}
    assert folders | rules - {"stack"} <= jobs == set(ROWS)


def test_what_checks_a_file_and_what_a_component_runs_can_be_got() -> None:
    assert {row.check[0] for row in ROWS.values() if row.check} <= set(PROGRAMS)
    projects = {row.project.name for row in ROWS.values() if row.project}
    assert {program.project.name for program in PROGRAMS.values()} == projects | {"nomad", "consul"}
