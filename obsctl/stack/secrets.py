"""The secrets that a stack keeps in Nomad Variables: their names, and a value on request."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl.clients.protocols import NomadApi
from obsctl.config.schema import Config
from obsctl.config.secrets import Secret
from obsctl.errors import NotFound
from obsctl.stack.render import secret_items


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One item of a Nomad Variable. origin: the reference it comes from, or "generated"."""

    name: str
    variable: str
    item: str
    origin: str


def stored(config: Config) -> tuple[StoredSecret, ...]:
    """Every secret that this config puts into Nomad Variables."""
    return tuple(
        StoredSecret(_name(component.row.name, item), items_of.path, item, origin)
        for component in config.enabled_components()
        if (items_of := secret_items(config, component)) is not None
        for item, origin in [*dict.fromkeys(items_of.generated, "generated").items(), *items_of.items.items()]
    )


def reveal(secret: StoredSecret, nomad: NomadApi) -> Secret:
    """Its value as Nomad holds it. Raises NotFound before the first deploy, Forbidden for lack of rights."""
    variable = nomad.variable(secret.variable)
    if variable is None or secret.item not in variable.items:
        raise NotFound(
            f"{secret.name} does not exist yet: the Nomad Variable {secret.variable} has no item {secret.item}",
            hint="obsctl deploy creates it",
        )
    return Secret(variable.items[secret.item])


def _name(component: str, item: str) -> str:
    """The name for people: "grafana-admin" for the item admin_password of grafana."""
    return f"{component}-{item.removesuffix('_password').replace('_', '-')}"
