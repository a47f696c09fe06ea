"""The links to programs in the `bin` of a local cluster: makes them, and tells them from programs.

`eval "$(obsctl dev env)"` puts them on the PATH, so a search for programs finds them. It must not use them: such a link
may be replaced soon, and a link to it can end up leading to itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from obsctl import files

SCHEMA = "obsctl/dev-cluster/v1"
"""The mark of a cluster's state folder, in its CLUSTER_FILE."""
CLUSTER_FILE = "cluster.json"
BIN = "bin"
_MOST_HOPS = 40  # as many symbolic links as Linux follows


def leads_through_a_cluster(path: Path) -> bool:
    """Whether the path lies in the `bin` of a cluster's state folder, or is a link that leads there."""
    return any(_is_bin(hop.parent) for hop in _hops(path))


def make_link(at: Path, target: Path) -> None:
    """Put a link to a program in place, in one step instead of an older one. A link to itself is not made."""
    if next(_hops(at)) in _hops(target):
        return
    fresh = at.with_name(f".{at.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(at)


def _hops(path: Path) -> Iterator[Path]:
    """The path and each path that it leads to, all with their folders resolved."""
    for _ in range(_MOST_HOPS):
        path = Path(os.path.realpath(path.parent), path.name)
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _is_bin(folder: Path) -> bool:
    if folder.name != BIN:
        return False
    try:
        document = json.loads(files.read(folder.parent / CLUSTER_FILE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("schema") == SCHEMA
