"""What a drill must know to put things back and may be secret, like the job: in a Nomad Variable, never in Consul.

A job's environment may hold secrets, and so may a key's value. Nomad encrypts Variables, and who may read them below
the warden's path may read the warden's tokens too. The Variable is there for as long as the drill is not over, and the
warden does nothing without it: an earlier state of an entry in Consul, which somebody writes again, is signed as well.
There is one Variable a stack, because no drill begins while another one is not over.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode, b64encode

from obsctl import names
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import ObsctlError
from obsctl.model import Json

MAX_BYTES = 65_000
"""A Nomad Variable holds 64 KiB, the names of its items included."""
MAX_JSON_BYTES = 16_000_000
_KEPT, _DRILL = "kept", "drill"


def digest_of(document: Json) -> str:
    """SHA-256 of what the document says. Two versions of a job with the same one run the same tasks."""
    return hashlib.sha256(_text(document)).hexdigest()


def require_room(document: Json, *, what: str) -> None:
    """Raises ObsctlError when it is too large to be kept. what: what it is, as in "the job web"."""
    size = len(_packed(document))
    if size > MAX_BYTES:
        raise ObsctlError(
            f"{what} is too large to be kept for its revert: {size} bytes compressed, of {MAX_BYTES}",
            hint="no drill starts without what puts things back; move the largest templates of a job into Consul KV",
        )


def keep(cluster: Cluster, recipe: Recipe, document: Json) -> None:
    path = names.drill_variable(cluster.stack)
    held = cluster.nomad.variable(path)  # of a drill that died before it began
    items = {_DRILL: recipe.drill, _KEPT: _packed(document)}
    cluster.nomad.put_variable(path, items, cas=held.modify_index if held else 0)


def read(cluster: Cluster, recipe: Recipe) -> Json | None:
    """What the recipe's signature covers; None when it is not kept any more, so the drill is over.

    Raises ObsctlError when something else is there.
    """
    variable = cluster.nomad.variable(names.drill_variable(cluster.stack))
    if variable is None or variable.items.get(_DRILL) != recipe.drill:
        return None
    document = _unpacked(variable.items.get(_KEPT, ""))
    if document is None or digest_of(document) != recipe.digest:
        what = f"the Nomad Variable {variable.path} does not hold what the drill kept of {recipe.job}"
        raise ObsctlError(what, hint=f"put {recipe.job} back by hand, then: nomad var purge {variable.path}")
    return document


def forget(cluster: Cluster, recipe: Recipe) -> None:
    path = names.drill_variable(cluster.stack)
    held = cluster.nomad.variable(path)
    if held is not None and held.items.get(_DRILL) == recipe.drill:
        cluster.nomad.delete_variable(path)


def _text(document: Json) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _packed(document: Json) -> str:
    return b64encode(zlib.compress(_text(document), 9)).decode()


def _unpacked(text: str) -> Json | None:
    try:
        document = json.loads(zlib.decompressobj().decompress(b64decode(text), MAX_JSON_BYTES))
    except (RecursionError, ValueError, zlib.error):
        return None
    return document if isinstance(document, dict) else None
