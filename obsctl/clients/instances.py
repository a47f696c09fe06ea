"""What Consul's health API says of one instance of a service. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from obsctl import names
from obsctl.model import Json, host_and_port

_OF_NOMAD = re.compile(r"_nomad-task-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-")
"""The id that Nomad gives to what it registers in Consul begins so."""


def url(instance: Json) -> str:
    """Where it listens; an instance without an address of its own has its node's."""
    service, node = instance["Service"], instance["Node"]
    host = service["Address"] or node["Address"]
    return f"http://{host_and_port(host, service['Port'])}"


def passes(instance: Json) -> bool:
    """Whether every check of it, and of its node, passes."""
    return all(check["Status"] == "passing" for check in instance["Checks"])


def of_job(instances: Iterable[Json], allocations: Iterable[Json]) -> list[Json]:
    """Those that these allocations of one job registered, passing ones first.

    Any job may register a service of any name with any meta; Nomad alone says which allocations are whose.
    """
    own = {allocation["ID"] for allocation in allocations}
    return sorted((entry for entry in instances if allocation_id(entry) in own), key=passes, reverse=True)


def owner(instance: Json) -> str:
    """The stack that runs it; "" when none does."""
    return str((instance["Service"].get("Meta") or {}).get(names.STACK_META, ""))


def not_of_others(instance: Json, stack: str) -> bool:
    """Whether this stack runs it, or no stack does: what another runs under the same name does not count."""
    return owner(instance) in ("", stack)


def is_scraped(instance: Json, stack: str) -> bool:
    """Whether this stack scrapes it: a sidecar has the tags of its service, and another stack scrapes its own."""
    service = instance["Service"]
    tagged = names.SCRAPE_TAG in (service.get("Tags") or []) and service.get("Kind") != names.CONNECT_PROXY
    return tagged and not_of_others(instance, stack)


def allocation_id(instance: Json) -> str:
    """The Nomad allocation that registered it; "" when none did."""
    match = _OF_NOMAD.match(instance["Service"]["ID"])
    return match[1] if match else ""


def failing(instance: Json) -> str:
    """What its first check that does not pass says; "" when all pass."""
    for check in instance["Checks"]:
        if check["Status"] != "passing":
            name, output = check.get("Name") or check["CheckID"], check.get("Output") or ""
            return f"{name}: {output.strip() or check['Status']}"
    return ""
