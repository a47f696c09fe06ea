"""The revert recipes in Consul KV: what obsctl and the warden tell each other about a running drill.

    obsctl/<stack>/drills/<id>/recipe    written by obsctl before anything is touched
    obsctl/<stack>/drills/<id>/ack       written by the warden: it has read the recipe and will act on it
    obsctl/<stack>/drills/<id>/outcome   written by the warden when it has put things back

The entries stand until the drill, or `obsctl drill recover`, has seen the service run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from obsctl.clients.protocols import ConsulApi, Json, KvPair
from obsctl.errors import ObsctlError

MAX_RECIPE_BYTES = 500_000
"""Consul's limit for a value is 512 KB."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to put a service back, without obsctl alive.

    job: the job as it ran. version: its Version then. session: the Consul session whose end means that obsctl
    is gone. deadline: Unix seconds after which the warden reverts, whoever is alive.
    """

    drill: str
    stack: str
    fault: str
    service: str
    job_id: str
    version: int
    job: Json
    session: str
    created_at: float
    deadline: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """What Consul holds about one drill. `recipe` is None when its text cannot be read: `fault` says why."""

    drill: str
    recipe: Recipe | None
    ack: Json | None
    outcome: Json | None
    fault: str = ""


def folder(stack: str) -> str:
    return f"obsctl/{stack}/drills/"


def write(consul: ConsulApi, recipe: Recipe) -> None:
    """Raises ObsctlError when the recipe is too large for Consul, Conflict when the drill exists already."""
    value = json.dumps(recipe.to_dict()).encode()
    if len(value) > MAX_RECIPE_BYTES:
        raise ObsctlError(
            f"the job {recipe.job_id} is too large ({len(value)} bytes) to keep its revert recipe in Consul",
            hint="a drill without a recipe does not start; move large templates out of the job",
        )
    consul.put(_key(recipe.stack, recipe.drill, "recipe"), value, cas=0)


def acknowledge(consul: ConsulApi, stack: str, drill: str, who: Json) -> None:
    consul.put(_key(stack, drill, "ack"), json.dumps(who).encode())


def record_outcome(consul: ConsulApi, stack: str, drill: str, outcome: Json) -> None:
    consul.put(_key(stack, drill, "outcome"), json.dumps(outcome).encode())


def remove(consul: ConsulApi, stack: str, drill: str) -> None:
    consul.delete_tree(f"{folder(stack)}{drill}/")


def read(consul: ConsulApi, stack: str) -> list[Entry]:
    """All drills that Consul knows of, by id."""
    return from_pairs(stack, consul.entries(folder(stack)))


def from_pairs(stack: str, pairs: Iterable[KvPair]) -> list[Entry]:
    """KV entries, grouped by drill."""
    drills: dict[str, dict[str, bytes]] = {}
    for pair in pairs:
        drill, _, part = pair.key.removeprefix(folder(stack)).partition("/")
        drills.setdefault(drill, {})[part] = pair.value
    return [_entry(drill, parts) for drill, parts in sorted(drills.items())]


def _entry(drill: str, parts: dict[str, bytes]) -> Entry:
    ack, outcome = _json(parts.get("ack")), _json(parts.get("outcome"))
    try:
        return Entry(drill, Recipe(**json.loads(parts["recipe"])), ack, outcome)
    except (KeyError, ValueError, TypeError) as error:
        return Entry(drill, None, ack, outcome, fault=f"its recipe cannot be read ({error!r})")


def _json(value: bytes | None) -> Json | None:
    try:
        document = json.loads(value) if value else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _key(stack: str, drill: str, part: str) -> str:
    return f"{folder(stack)}{drill}/{part}"
