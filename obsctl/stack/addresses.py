"""Where things are: each component, the demo, and what else is scraped, with its URL and its health in Consul."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from obsctl import names
from obsctl.clients.instances import failing, of_stack, owner, url
from obsctl.clients.protocols import ConsulApi
from obsctl.config.schema import Component, Config
from obsctl.model import Json


@dataclass(frozen=True, slots=True)
class Address:
    """Where one instance is. url: "" when it does not run. state: "passing", "failing" or "not running".

    state is "" for Nomad and Consul, which the configuration names. note: why it is not passing, and what to do.
    """

    name: str
    what: str
    url: str
    state: str
    note: str = ""


def addresses(config: Config, consul: ConsulApi) -> list[Address]:
    """The components in the order in which they start, then what is scraped besides, then Nomad and Consul."""
    components = config.enabled_components()
    found = [address for component in components for address in _component(config.stack, component, consul)]
    scraped = {name for name, tags in consul.services().items() if names.SCRAPE_TAG in tags}
    for name in sorted(scraped - {component.row.name for component in components}):
        found += _other(config, name, consul)
    return [*found, *_servers(config)]


def _component(stack: str, component: Component, consul: ConsulApi) -> Iterator[Address]:
    row = component.row
    public_url = getattr(component, "root_url", None)
    instances = of_stack(consul.health(row.name), stack)
    for instance in instances:
        address = _address(row.name, row.shows, row.page, instance)
        yield replace(address, url=public_url) if public_url else address
    if not instances:
        hint = f"obsctl status says why; obsctl deploy {row.name} brings it up"
        yield Address(row.name, row.shows, "", "not running", hint)


def _other(config: Config, name: str, consul: ConsulApi) -> Iterator[Address]:
    """Instances that are nobody's, or this stack's own without being a component: these have nothing but metrics."""
    for instance in consul.health(name):
        if owner(instance) in ("", config.stack):
            yield _address(name, "scraped by Prometheus", "/metrics" if owner(instance) else "/", instance)


def _address(name: str, what: str, path: str, instance: Json) -> Address:
    fault = failing(instance)
    return Address(name, what, url(instance) + path, "failing" if fault else "passing", fault)


def _servers(config: Config) -> Iterator[Address]:
    yield Address("nomad", "jobs and allocations", f"{config.nomad.address}/ui/", "")
    yield Address("consul", "services and keys", f"{config.consul.address}/ui/", "")
