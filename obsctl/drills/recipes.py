"""The revert recipes in Consul KV: what obsctl and the warden tell each other about a running drill.

One entry a drill, obsctl/<stack>/drills/<id>, with three parts:

    recipe    written by obsctl before anything is touched
    ack       added by the warden: it has read the recipe and will act on it
    outcome   added by the warden when it has put things back

The drill, or `obsctl drill recover`, removes the entry when the service runs again. The warden adds its parts by
check-and-set, so it never brings a removed entry back.

Others can write to Consul KV. So an entry counts only if its first line is the signature of the second one, for this
key and for the very creation of this entry: an old entry that is written again has another CreateIndex.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from obsctl import names
from obsctl.clients.protocols import KvPair, NomadApi
from obsctl.config.secrets import Secret
from obsctl.drills import faults
from obsctl.drills.world import Cluster
from obsctl.errors import Conflict
from obsctl.model import Json

FORMAT = 4
"""Which parts an entry has, and what they mean."""


_UNSIGNED = "it is not signed: forged, or of an obsctl before signatures"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to put a service back, without obsctl alive.

    job, version: what Nomad runs in the namespace; digest: what is kept of it (see kept).
    session: the Consul session whose end means that obsctl is gone. deadline: Unix seconds after which the warden
    reverts, whoever is alive. data: what the fault has written down for its revert.
    """

    drill: str
    stack: str
    namespace: str
    fault: str
    service: str
    job: str
    version: int
    digest: str
    session: str
    created_at: float
    deadline: float
    data: Json

    def to_dict(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """What Consul holds below the folder of drills.

    recipe: None when nobody here acts on the entry: `trouble` says why. is_genuine: whether it is signed. One that is
    not starts nothing and blocks nothing. is_reserved: a drill is about to write its recipe, or died just then.
    """

    pair: KvPair
    recipe: Recipe | None = None
    ack: Json | None = None
    outcome: Json | None = None
    is_genuine: bool = False
    is_reserved: bool = False
    trouble: str = ""

    @property
    def drill(self) -> str:
        return self.pair.key.rpartition("/")[2]


def secret(nomad: NomadApi, stack: str) -> Secret:
    """The key of the signatures, which the warden has too. Raises NotFound before the first deploy."""
    from obsctl.stack.secrets import StoredSecret, reveal

    variable = names.variable_path(names.job_id(stack, names.WARDEN))
    return reveal(StoredSecret("warden-recipe-key", variable, names.RECIPE_KEY, "generated"), nomad)


def folder(stack: str) -> str:
    return f"{names.drills_folder(stack)}/"


def key(stack: str, drill: str) -> str:
    return f"{folder(stack)}{drill}"


def write(cluster: Cluster, recipe: Recipe) -> None:
    """Raises Conflict when the drill exists already. The entry is made first: only then its CreateIndex is known."""
    place = key(recipe.stack, recipe.drill)
    cluster.consul.put(place, _reservation(cluster, place), cas=0)
    pair = cluster.consul.get(place)
    if pair is None or pair.value != _reservation(cluster, place):
        raise Conflict(f"somebody else changed {place} in Consul", hint="run the drill again")
    amend(cluster, recipe, Entry(pair), ack=None, outcome=None)


def amend(cluster: Cluster, recipe: Recipe, entry: Entry, *, ack: Json | None, outcome: Json | None) -> None:
    """Write the warden's parts. Raises Conflict when the entry was changed or removed since it was read."""
    pair, parts = entry.pair, {"format": FORMAT, "recipe": recipe.to_dict(), "ack": ack, "outcome": outcome}
    body = json.dumps(parts).encode()
    value = _signed(cluster, pair.key, pair.create_index, body)
    cluster.consul.put(pair.key, value, cas=pair.modify_index)


def remove(cluster: Cluster, drill: str) -> None:
    cluster.consul.delete(key(cluster.stack, drill))


def read(cluster: Cluster) -> list[Entry]:
    """All that Consul has below the folder of drills, by key."""
    return from_pairs(cluster, cluster.consul.entries(folder(cluster.stack)))


def from_pairs(cluster: Cluster, pairs: Iterable[KvPair]) -> list[Entry]:
    return [_entry(cluster, pair) for pair in pairs]


def _entry(cluster: Cluster, pair: KvPair) -> Entry:
    """What is not signed is not even parsed: it may be nested without end."""
    if hmac.compare_digest(pair.value, _reservation(cluster, pair.key)):
        return Entry(pair, is_reserved=True)
    body = pair.value.partition(b"\n")[2]
    if not hmac.compare_digest(pair.value, _signed(cluster, pair.key, pair.create_index, body)):
        return Entry(pair, trouble=_UNSIGNED)
    try:
        parts = json.loads(body)
        if parts["format"] != FORMAT:
            return Entry(pair, is_genuine=True, trouble="another version of obsctl wrote it")
        recipe = Recipe(**parts["recipe"])
    except (KeyError, TypeError, ValueError):
        return Entry(pair, is_genuine=True, trouble="its recipe is not one that this obsctl writes")
    trouble = _why_not_ours(cluster, recipe)
    acts_on = None if trouble else recipe
    return Entry(pair, acts_on, parts["ack"], parts["outcome"], is_genuine=True, trouble=trouble)


def _why_not_ours(cluster: Cluster, recipe: Recipe) -> str:
    if recipe.namespace != cluster.namespace:
        return f"its job is in namespace {recipe.namespace}, and obsctl.yaml has nomad.namespace: {cluster.namespace}"
    if recipe.fault not in faults.NAMES:
        return f"this obsctl does not know the fault {recipe.fault}"
    return ""


def _reservation(cluster: Cluster, key: str) -> bytes:
    """What an entry holds before its CreateIndex is known; 0 is that of none."""
    return _signed(cluster, key, 0, b"")


def _signed(cluster: Cluster, key: str, create_index: int, body: bytes) -> bytes:
    """A line with the signature, in hexadecimal digits, and a line with what is signed."""
    place = json.dumps([key, create_index]).encode()
    signature = hmac.new(cluster.secret.reveal().encode(), place + b"\n" + body, hashlib.sha256).hexdigest()
    return signature.encode() + b"\n" + body
