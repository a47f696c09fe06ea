"""Where things are."""

from __future__ import annotations

from obsctl.config.catalog import ROWS
from obsctl.config.schema import Config
from obsctl.stack.addresses import addresses
from tests.world import World, config


def test_everything_that_can_be_had_has_a_line_that_says_what_it_is() -> None:
    found = addresses(Config.model_validate({"demo": {"enabled": True}}), World().consul)
    assert [item.name for item in found] == [*ROWS, "nomad", "consul"]
    assert [item.name for item in found if not item.what] == []


def test_each_instance_has_its_address_the_one_that_passes_first() -> None:
    world, mine = World(), {"obsctl_stack": "obs"}
    world.consul.register("prometheus", instance="one", port=1, meta=mine, status="critical")
    world.consul.register("prometheus", instance="two", port=2, meta=mine)
    found = [item for item in addresses(config(), world.consul) if item.name == "prometheus"]
    assert [(item.url, item.state) for item in found] == [
        ("http://127.0.0.1:2/", "passing"),
        ("http://127.0.0.1:1/", "failing"),
    ]


def test_grafana_is_where_people_find_it() -> None:
    world = World()
    world.consul.register("grafana", instance="one", port=3000, meta={"obsctl_stack": "obs"})
    for grafana, url in (({}, "http://127.0.0.1:3000/"), ({"root_url": "https://g.example/"}, "https://g.example/")):
        wanted = config(components={"grafana": {"enabled": True, **grafana}})
        assert next(item.url for item in addresses(wanted, world.consul) if item.name == "grafana") == url


def test_only_what_this_stack_scrapes_is_said_to_be_scraped() -> None:
    """A sidecar has the tags of its service in Consul, and another stack's programs are scraped there."""
    world, tags = World(), ("obsctl.scrape",)
    world.consul.register("shop", tags=tags)
    world.consul.register("shop-sidecar-proxy", tags=tags, kind="connect-proxy")
    world.consul.register("hello-service", tags=tags, meta={"obsctl_stack": "other"})
    found = [item.name for item in addresses(config(), world.consul) if item.what == "scraped by Prometheus"]
    assert found == ["shop"]
