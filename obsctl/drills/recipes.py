"""The revert recipes in Consul KV: what obsctl and the warden tell each other about a running drill.

One entry a drill, obsctl/<stack>/drills/<id>, with three parts:

    recipe    written by obsctl before anything is touched
    ack       added by the warden: it has read the recipe and will act on it
    outcome   added by the warden when it has put things back

The drill, or `obsctl drill recover`, removes the entry when the service runs again. The warden adds its parts by
check-and-set, so it never brings a removed entry back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from obsctl import names
from obsctl.clients.protocols import ConsulApi, KvPair
from obsctl.drills import faults
from obsctl.errors import ObsctlError
from obsctl.model import Json

MAX_RECIPE_BYTES = 500_000
"""Consul's limit for a value is 512 KB; the warden's parts need room too."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to put a service back, without obsctl alive.

    session: the Consul session whose end means that obsctl is gone. deadline: Unix seconds after which the warden
    reverts, whoever is alive. data: what the fault has written down for its revert.
    """

    drill: str
    stack: str
    fault: str
    service: str
    session: str
    created_at: float
    deadline: float
    data: Json

    def to_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """What Consul holds about one drill. `recipe` is None when nobody here can act on it: `unreadable` says why.

    modify_index: of the KV entry; what the warden adds counts only while nobody else has changed it.
    """

    drill: str
    recipe: Recipe | None
    ack: Json | None
    outcome: Json | None
    modify_index: int
    unreadable: str = ""


def folder(stack: str) -> str:
    return f"{names.drills_folder(stack)}/"


def key(stack: str, drill: str) -> str:
    return f"{folder(stack)}{drill}"


def write(consul: ConsulApi, recipe: Recipe) -> None:
    """Raises ObsctlError when the recipe is too large for Consul, Conflict when the drill exists already."""
    value = _value(recipe)
    if len(value) > MAX_RECIPE_BYTES:
        raise ObsctlError(
            f"the recipe to put {recipe.service} back is too large for Consul ({len(value)} bytes)",
            hint="no drill starts without a recipe; move large templates out of the service's job",
        )
    consul.put(key(recipe.stack, recipe.drill), value, cas=0)


def amend(consul: ConsulApi, recipe: Recipe, entry: Entry, *, ack: Json | None, outcome: Json | None) -> None:
    """Write the warden's parts. Raises Conflict when the entry was changed or removed since it was read."""
    value = _value(recipe, ack=ack, outcome=outcome)
    consul.put(key(recipe.stack, recipe.drill), value, cas=entry.modify_index)


def remove(consul: ConsulApi, stack: str, drill: str) -> None:
    consul.delete(key(stack, drill))


def read(consul: ConsulApi, stack: str) -> list[Entry]:
    """All drills that Consul knows of, by id."""
    return from_pairs(stack, consul.entries(folder(stack)))


def from_pairs(stack: str, pairs: Iterable[KvPair]) -> list[Entry]:
    """KV entries as drills."""
    return [_entry(pair.key.removeprefix(folder(stack)), pair) for pair in pairs]


def _entry(drill: str, pair: KvPair) -> Entry:
    try:
        parts = json.loads(pair.value)
        recipe = Recipe(**parts["recipe"])
        if recipe.fault not in faults.NAMES:
            reason = f"this obsctl does not know the fault {recipe.fault}"
        elif not faults.named(recipe.fault).is_complete(recipe.data):
            reason = f"its recipe does not have what the fault {recipe.fault} needs"
        else:
            return Entry(drill, recipe, parts.get("ack"), parts.get("outcome"), pair.modify_index)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        reason = "its recipe is not one that this obsctl writes"
    return Entry(drill, None, None, None, pair.modify_index, unreadable=reason)


def _value(recipe: Recipe, *, ack: Json | None = None, outcome: Json | None = None) -> bytes:
    return json.dumps({"recipe": recipe.to_dict(), "ack": ack, "outcome": outcome}).encode()
