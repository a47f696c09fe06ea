"""The components' order, and which of them a config asks for."""

from __future__ import annotations

from obsctl.assets import shipped
from obsctl.stack import components
from tests.world import DEMO, config

STACK = {"alert-sink": 1, "warden": 1, "alertmanager": 2, "prometheus": 3}


def names(specs: tuple[components.ComponentSpec, ...]) -> list[str]:
    return [spec.name for spec in specs]


def test_without_the_demo_there_are_four() -> None:
    assert components.phases(components.enabled(config())) == STACK


def test_the_demo_comes_with_its_own_order() -> None:
    demo = {"response-service": 1, "hello-service": 2, "traffic": 3}
    assert components.phases(components.enabled(DEMO)) == {**STACK, **demo}


def test_one_that_is_left_out_is_not_waited_for() -> None:
    without = config(components={"alertmanager": {"enabled": False}})
    assert components.phases(components.enabled(without)) == {"alert-sink": 1, "warden": 1, "prometheus": 1}


def test_one_service_of_the_demo_can_be_left_out() -> None:
    without = config(demo={"enabled": True, "traffic": {"enabled": False}})
    assert "traffic" not in names(components.enabled(without))


def test_each_is_listed_after_what_it_needs_and_has_a_template() -> None:
    seen: set[str] = set()
    for spec in components.ALL:
        assert set(spec.needs) <= seen
        assert (shipped() / "jobs" / spec.template).is_file()
        seen.add(spec.name)


def test_each_has_settings_of_its_own() -> None:
    assert len({spec.settings(DEMO).port for spec in components.ALL}) == len(components.ALL)
