"""log-links: names the log files of a node's allocations.

Nomad's log files tell the allocation and the task, but not the job. So this keeps a tree of links to their folders,

    <links>/<streams>/<namespace>/<job>/<group>/<allocation id> -> <allocations>/<allocation id>/alloc/logs

which the collector follows: a new allocation needs no change of its configuration. Kubernetes does the same with
/var/log/pods. Level-triggered: each turn makes the tree what Nomad says now.
"""

from __future__ import annotations

import logging
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from obsctl.clients.protocols import NomadApi
from obsctl.model import Json
from obsctl.names import LOGS_META
from obsctl.services.turns import Turns
from obsctl.wait import SYSTEM_CLOCK, Clock

STREAMS = ("all", "stderr", "none")
"""Which streams of a job are collected; its meta names.LOGS_META says it."""

PAUSE = 2.0
"""Seconds after a failure."""
WAIT = 20.0
"""Seconds that Nomad may keep a question open while nothing changes."""
STALE = 60.0
_log = logging.getLogger("obsctl.log-links")


class LogLinks(Turns):
    """The tree of one node."""

    def __init__(
        self, nomad: NomadApi, node_id: str, *, allocations: Path, links: Path, registry: CollectorRegistry,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        super().__init__("log_links", registry, pause=PAUSE, stale=STALE, clock=clock)
        self._nomad = nomad
        self._node_id = node_id
        self._allocations = allocations
        self._links = links
        self._index = 0
        self._count = Gauge("log_links", "Allocations whose logs are collected.", registry=registry)

    def turn(self) -> bool:
        """Make the tree what it should be as soon as the node's allocations change. Raises ObsctlError, OSError."""
        index, allocations = self._nomad.watch_node(self._node_id, index=self._index, wait=WAIT)
        expected = {path: alloc["ID"] for alloc in allocations if (path := path_of(alloc)) is not None}
        for path, alloc_id in expected.items():
            self._link(self._links / path, self._allocations / alloc_id / "alloc" / "logs")
        for path in self._existing() - set(expected):
            (self._links / path).unlink()
        self._count.set(len(expected))
        self._index = index  # only now, so that a turn that fails is taken again at once
        return True

    def _link(self, link: Path, target: Path) -> None:
        if link.is_symlink():
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def _existing(self) -> set[Path]:
        return {link.relative_to(self._links) for link in self._links.glob("*/*/*/*/*") if link.is_symlink()}


def path_of(alloc: Json) -> Path | None:
    """Where the allocation's link is, relative to the tree; None when its job does not want its logs collected.

    A dispatched or periodic job counts as its parent, because each run has a name of its own.
    """
    job = alloc["Job"]
    streams = (job.get("Meta") or {}).get(LOGS_META, "all")
    if streams not in STREAMS:
        logging.getLogger("obsctl.log-links").warning(
            "job %s: meta %s is %r, not one of %s", job["ID"], LOGS_META, streams, ", ".join(STREAMS)
        )
        streams = "all"
    if streams == "none":
        return None
    names = alloc["Namespace"], job.get("ParentID") or alloc["JobID"], alloc["TaskGroup"], alloc["ID"]
    return Path(streams, *map(_as_folder, names))


def _as_folder(name: str) -> str:
    """Nomad allows any name, "a/b" and ".." too. The collector reads it back (otel-agent.yml)."""
    quoted = name.replace("%", "%25").replace("/", "%2F")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def run(nomad: NomadApi, node_id: str, *, allocations: Path, links: Path, bind: str, port: int) -> None:
    """Keep the tree until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    program = LogLinks(nomad, node_id, allocations=allocations, links=links, registry=registry)
    program.serve(registry, bind=bind, port=port)
