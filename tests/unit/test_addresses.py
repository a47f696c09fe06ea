"""Where things are."""

from __future__ import annotations

from obsctl.config.catalog import ROWS
from obsctl.config.schema import Config
from obsctl.stack.addresses import Address, addresses
from tests.world import World, config


def listed(world: World, wanted: Config | None = None) -> list[Address]:
    return addresses(wanted or config(), world.nomad, world.consul)


def test_everything_that_can_be_had_has_a_line_that_says_what_it_is() -> None:
    found = listed(World(), Config.model_validate({"demo": {"enabled": True}}))
    assert [item.name for item in found] == [*ROWS, "nomad", "consul"]
    assert [item.name for item in found if not item.what] == []


def test_each_instance_has_its_address_the_one_that_passes_first() -> None:
    world = World()
    world.consul.register("prometheus", instance=world.nomad.place("obs-prometheus"), port=1, status="critical")
    world.consul.register("prometheus", instance=world.nomad.place("obs-prometheus"), port=2)
    world.consul.register("prometheus", instance=world.nomad.place("impostor"), port=3, meta={"obsctl_stack": "obs"})
    found = [item for item in listed(world) if item.name == "prometheus"]
    assert [(item.url, item.state) for item in found] == [
        ("http://127.0.0.1:2/", "passing"),
        ("http://127.0.0.1:1/", "failing"),
    ]


def test_grafana_is_where_people_find_it() -> None:
    world = World()
    world.consul.register("grafana", instance=world.nomad.place("obs-grafana"), port=3000)
    for grafana, url in (({}, "http://127.0.0.1:3000/"), ({"root_url": "https://g.example/"}, "https://g.example/")):
        wanted = config(components={"grafana": {"enabled": True, **grafana}})
        assert next(item.url for item in listed(world, wanted) if item.name == "grafana") == url


def test_only_what_this_stack_scrapes_is_said_to_be_scraped() -> None:
    """A sidecar has the tags of its service in Consul, and another stack's programs are scraped there."""
    world, tags = World(), ("obsctl.scrape",)
    world.consul.register("shop", tags=tags)
    world.consul.register("shop-sidecar-proxy", tags=tags, kind="connect-proxy")
    world.consul.register("hello-service", tags=tags, meta={"obsctl_stack": "other"})
    found = [item.name for item in listed(world) if item.what == "scraped by Prometheus"]
    assert found == ["shop"]


def test_a_service_whose_name_nobody_can_ask_for_hides_no_other() -> None:
    world = World()
    for name in ("..", "shop"):
        world.consul.register(name, tags=("obsctl.scrape",))
    found = {item.name: item.state for item in listed(world)}
    assert (found[".."], found["shop"]) == ("not running", "passing")
