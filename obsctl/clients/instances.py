"""What Consul's health API says of one instance of a service. Pure."""

from __future__ import annotations

from obsctl.clients.protocols import Json


def url(instance: Json) -> str:
    """Where it listens; an instance without an address of its own has its node's."""
    service, node = instance["Service"], instance["Node"]
    return f"http://{service['Address'] or node['Address']}:{service['Port']}"


def passes(instance: Json) -> bool:
    """Whether every check of it, and of its node, passes."""
    return all(check["Status"] == "passing" for check in instance["Checks"])
