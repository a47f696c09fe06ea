"""The URL and the health in Consul of each component, of the demo, and of everything else that is scraped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from obsctl import names
from obsctl.clients.instances import failing, is_scraped, of_job, owner, url
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.components import Component
from obsctl.config.schema import Config
from obsctl.errors import Rejected
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


def addresses(config: Config, nomad: NomadApi, consul: ConsulApi) -> list[Address]:
    """The components in the order of their start, then other services that are scraped, then Nomad and Consul."""
    components = config.enabled_components()
    listed = [address for component in components for address in _component(config.stack, component, nomad, consul)]
    scraped = {name for name, tags in consul.services().items() if names.SCRAPE_TAG in tags}
    for name in sorted(scraped - {component.row.name for component in components}):
        listed += _other(config, name, consul)
    return [*listed, *_servers(config)]


def _component(stack: str, component: Component, nomad: NomadApi, consul: ConsulApi) -> Iterator[Address]:
    row = component.row
    public_url = getattr(component, "root_url", None)
    instances = of_job(consul.health(row.name), nomad.job_allocations(names.job_id(stack, row.name)))
    for instance in instances:
        address = _address(row.name, row.shows, row.page, instance)
        yield replace(address, url=public_url) if public_url else address
    if not instances:
        hint = f"obsctl status says why; obsctl deploy {row.name} brings it up"
        yield Address(row.name, row.shows, "", "not running", hint)


def _other(config: Config, name: str, consul: ConsulApi) -> Iterator[Address]:
    """Instances of no stack, and those of this stack that are no component; of the latter there are only metrics."""
    try:
        instances = consul.health(name)
    except Rejected as error:  # others can give services whatever names
        yield Address(name, "scraped by Prometheus", "", "not running", error.message)
        return
    for instance in instances:
        if is_scraped(instance, config.stack):
            yield _address(name, "scraped by Prometheus", "/metrics" if owner(instance) else "/", instance)


def _address(name: str, what: str, path: str, instance: Json) -> Address:
    failure = failing(instance)
    return Address(name, what, url(instance) + path, "failing" if failure else "passing", failure)


def _servers(config: Config) -> Iterator[Address]:
    yield Address("nomad", "jobs and allocations", f"{config.nomad.address}/ui/", "")
    yield Address("consul", "services and keys", f"{config.consul.address}/ui/", "")
