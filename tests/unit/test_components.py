"""The components, what they need, and which of them a config asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl import __version__
from obsctl.assets import shipped
from obsctl.stack import components, storage
from tests.world import DEMO, config


def names(specs: tuple[components.ComponentSpec, ...]) -> list[str]:
    return [spec.name for spec in specs]


def test_one_service_of_the_demo_can_be_left_out() -> None:
    without = config(demo={"enabled": True, "traffic": {"enabled": False}})
    assert "traffic" not in names(components.enabled(without))


def test_each_is_listed_after_what_it_needs_and_has_a_template() -> None:
    """So a plan shows them in this order, and none waits for one that waits for it."""
    seen: set[str] = set()
    for spec in components.ALL:
        assert set(spec.needs) <= seen
        assert (shipped() / "jobs" / spec.template).is_file()
        seen.add(spec.name)


@pytest.mark.parametrize(
    ("driver", "owner"), [("docker", 10001), ("podman", 10001), ("exec", 65534), ("raw_exec", None)]
)
def test_who_writes_its_data(driver: str, owner: int | None) -> None:
    sink = components.named("alert-sink")
    assert sink.owner(config(driver=driver)) == owner
    assert sink.owner(config(components={"alert-sink": {"driver": driver}})) == owner


def test_host_volumes_are_those_of_components_with_data_that_are_no_programs_of_the_node() -> None:
    off = {name: {"enabled": False} for name in ("victorialogs", "jaeger", "otel-gateway", "otel-agent")}
    keys = {"prometheus": {"storage": {"source": "samples"}}, "alertmanager": {"driver": "raw_exec"}}
    assert storage.host_volumes(config(components={**off, **keys})) == {"obs-alert-sink": 10001, "samples": 65534}
    ephemeral = {"alert-sink": {"storage": {"kind": "ephemeral"}}}
    assert storage.host_volumes(config(driver="exec", components={**off, **ephemeral})) == {
        "obs-alertmanager": 65534, "obs-prometheus": 65534,
    }  # fmt: skip


def test_each_has_settings_of_its_own() -> None:
    assert len({spec.settings(DEMO).port for spec in components.ALL}) == len(components.ALL)


def test_obsctls_own_image_is_the_one_that_make_images_builds() -> None:
    root = Path(__file__).parents[2]
    assert f"USER {components.OWN_UID}:{components.OWN_UID}" in (root / "Dockerfile").read_text().splitlines()
    assert "IMAGE := obsctl/obsctl:$(VERSION)" in (root / "Makefile").read_text().splitlines()
    own = {image for spec in components.ALL if "obsctl/" in (image := spec.settings(DEMO).image)}
    assert own == {f"obsctl/obsctl:{__version__}"}
