"""The job of a drill, kept for the case that Nomad forgets it meanwhile: in a Nomad Variable, never in Consul.

A job's environment may hold secrets. Nomad encrypts Variables, and who may read them below the warden's path may read
the warden's tokens too. The Variable is there for as long as the drill is not over, and the warden does nothing without
it: an earlier state of an entry in Consul, which somebody writes again, is signed as well. There is one Variable a
stack, because no drill begins while another one is not over.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode, b64encode

from obsctl import names
from obsctl.clients import jobs
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import ObsctlError
from obsctl.model import Json

MAX_BYTES = 65_000
"""A Nomad Variable holds 64 KiB, the names of its items included."""
MAX_JSON_BYTES = 16_000_000
_JOB, _DRILL = "job", "drill"


def digest_of(job: Json) -> str:
    """What the job says, as SHA-256: two versions with the same one run the same tasks."""
    return hashlib.sha256(_text(job)).hexdigest()


def require_room(job: Json) -> None:
    """Raises ObsctlError when the job is too large to be kept."""
    size = len(_packed(job))
    if size > MAX_BYTES:
        raise ObsctlError(
            f"the job {job['ID']} is too large to be kept for its revert: {size} bytes compressed, of {MAX_BYTES}",
            hint="no drill starts without what puts the job back; move its largest templates into Consul KV",
        )


def keep(cluster: Cluster, recipe: Recipe, job: Json) -> None:
    path = names.drill_variable(cluster.stack)
    held = cluster.nomad.variable(path)  # of a drill that died before it began
    items = {_DRILL: recipe.drill, _JOB: _packed(job)}
    cluster.nomad.put_variable(path, items, cas=held.modify_index if held else 0)


def read(cluster: Cluster, recipe: Recipe) -> Json | None:
    """The job that the recipe's signature covers; None when it is not kept any more, so the drill is over.

    Raises ObsctlError when another job is there.
    """
    variable = cluster.nomad.variable(names.drill_variable(cluster.stack))
    if variable is None or variable.items.get(_DRILL) != recipe.drill:
        return None
    job = _unpacked(variable.items.get(_JOB, ""))
    if job is None or digest_of(job) != recipe.digest:
        what = f"the Nomad Variable {variable.path} does not hold the job {recipe.job} as the drill found it"
        raise ObsctlError(what, hint=f"start {recipe.job} by hand, then: nomad var purge {variable.path}")
    return job


def forget(cluster: Cluster, recipe: Recipe) -> None:
    path = names.drill_variable(cluster.stack)
    held = cluster.nomad.variable(path)
    if held is not None and held.items.get(_DRILL) == recipe.drill:
        cluster.nomad.delete_variable(path)


def _text(job: Json) -> bytes:
    return json.dumps(jobs.spec(job), sort_keys=True, separators=(",", ":")).encode()


def _packed(job: Json) -> str:
    return b64encode(zlib.compress(_text(job), 9)).decode()


def _unpacked(text: str) -> Json | None:
    try:
        job = json.loads(zlib.decompressobj().decompress(b64decode(text), MAX_JSON_BYTES))
    except (RecursionError, ValueError, zlib.error):
        return None
    return job if isinstance(job, dict) else None
