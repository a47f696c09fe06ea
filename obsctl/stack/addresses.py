"""Where things are: each component, the demo, and what else is scraped, with its URL and its health in Consul."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from obsctl import names
from obsctl.clients.instances import failing, of_stack, owner, url
from obsctl.clients.protocols import ConsulApi
from obsctl.config.schema import Config
from obsctl.model import Json
from obsctl.stack import components

# What there is to see, and under which path. What is not here is shown at its root.
_PAGES = {
    names.ALERT_SINK: ("the notifications that were delivered", "/"),
    names.ALERTMANAGER: ("alerts and silences", "/"),
    names.GRAFANA: ("dashboards", "/"),
    names.HELLO_SERVICE: ("demo: asks response-service for a phrase", "/hello"),
    names.JAEGER: ("traces; in the terminal: obsctl trace", "/"),
    names.VICTORIALOGS: ("log lines; in the terminal: obsctl logs", "/select/vmui/"),
    names.OTEL_AGENT: ("takes OTLP from the applications of its node", "/"),
    names.OTEL_GATEWAY: ("takes OTLP from the agents", "/"),
    names.PROMETHEUS: ("metrics, targets and rules", "/"),
    names.RESPONSE_SERVICE: ("demo: gives a phrase", "/phrase"),
    names.TRAFFIC: ("demo: calls hello-service", "/health"),
    names.WARDEN: ("puts back what a drill left behind", "/health"),
}


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
    specs = components.enabled(config)
    found = [address for spec in specs for address in _component(config, spec.name, consul)]
    others = sorted(
        name
        for name, tags in consul.services().items()
        if names.SCRAPE_TAG in tags and name not in {s.name for s in specs}
    )
    found += [address for name in others for address in _other(config, name, consul)]
    return [*found, *_servers(config)]


def _component(config: Config, name: str, consul: ConsulApi) -> Iterator[Address]:
    what, path = _PAGES.get(name, ("", "/"))
    instances, root_url = of_stack(consul.health(name), config.stack), config.components.grafana.root_url
    for instance in instances:
        found = _address(name, what, path, instance)
        yield replace(found, url=root_url) if name == names.GRAFANA and root_url else found
    if not instances:
        yield Address(name, what, "", "not running", f"obsctl status says why; obsctl deploy {name} brings it up")


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
