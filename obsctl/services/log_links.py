"""log-links: names the log files of a node's allocations, and keeps everything else that lies there from the collector.

Nomad's log files tell the allocation and the task, but not the job. So this keeps a tree of links to them (log_tree.py)
that the collector reads: a new allocation needs no change of its configuration. Kubernetes does the same with
/var/log/pods. Level-triggered: each turn makes the tree what Nomad and the log folders say now.
"""

from __future__ import annotations

import logging
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from obsctl.clients import jobs
from obsctl.clients.protocols import NomadApi
from obsctl.model import Json
from obsctl.names import LOG_LINKS, LOGS_META, STACK_MARK
from obsctl.services import log_tree
from obsctl.services.log_files import Logs
from obsctl.services.log_tree import LogTree, tree_of
from obsctl.services.turns import Turns
from obsctl.wait import SYSTEM_CLOCK, Clock

STREAMS = {"all": frozenset({"stdout", "stderr"}), "stderr": frozenset({"stderr"}), "none": frozenset[str]()}
"""Which streams of a job are collected; its meta names.LOGS_META says it."""

PAUSE = 2.0
"""Seconds after a failure."""
LOOK = 0.5
"""Seconds between two looks at the log folders: as often as the collector looks at the tree."""
WAIT = 20.0
"""Seconds that Nomad may keep a question open while nothing changes."""
STALE = 60.0
_log = logging.getLogger("obsctl.log-links")


class Allocations(Turns):
    """The allocations of one node, as Nomad says."""

    def __init__(self, nomad: NomadApi, node_id: str, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__("log_links_nomad", registry, pause=PAUSE, stale=STALE, clock=clock)
        self._nomad = nomad
        self._node_id = node_id
        self._index = 0
        self.known: list[Json] | None = None

    def turn(self) -> bool:
        """Learn of a change at once. Raises ObsctlError."""
        self._index, self.known = self._nomad.watch_node(self._node_id, index=self._index, wait=WAIT)
        return True


class LogLinks(Turns):
    """The tree of one node. alloc_id: the allocation of log-links itself."""

    def __init__(
        self, nomad: Allocations, *, allocations: Path, alloc_id: str, registry: CollectorRegistry,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        super().__init__("log_links", registry, pause=PAUSE, stale=STALE, clock=clock)
        self._nomad = nomad
        self._allocations = allocations
        self._alloc_id = alloc_id
        self._tree = LogTree(allocations, alloc_id, registry)
        self._seen: list[Json] | None = None
        self._wanted: list[Logs] = []
        self._trees: list[Path] = []
        self._count = Gauge("log_links", "Allocations whose logs are collected.", registry=registry)

    def turn(self) -> bool:
        """Make the tree what it should be. Raises OSError."""
        known = self._nomad.known
        if known is not None:
            self._follow(known)
        self._clock.sleep(LOOK)
        return known is not None

    def _follow(self, known: list[Json]) -> None:
        if known is not self._seen:
            ours = [alloc for alloc in known if _stack(alloc) in ("", self._stack(known))]
            self._wanted = [logs for alloc in ours if (logs := logs_of(alloc)).streams]
            self._trees = [tree_of(self._allocations, alloc["ID"]) for alloc in known if _has_tree(alloc)]
            self._tree.keep_only(self._wanted)
            self._count.set(len(self._wanted))
        self._tree.look(self._wanted, self._trees, self._clock.monotonic())
        if known is not self._seen:
            for alloc in known:
                if _has_tree(alloc) and not jobs.may_run(alloc):
                    self._tree.remove(tree_of(self._allocations, alloc["ID"]))
            self._seen = known  # only now, so that a turn that fails is taken again

    def _stack(self, known: list[Json]) -> str:
        """Whose jobs it collects, beside those of no stack: another stack's agent is here for that stack's."""
        return next((_stack(alloc) for alloc in known if alloc["ID"] == self._alloc_id), "")


def _stack(alloc: Json) -> str:
    return str((alloc["Job"].get("Meta") or {}).get(STACK_MARK, ""))


def logs_of(alloc: Json) -> Logs:
    """A dispatched or periodic job counts as its parent, because each run has a name of its own."""
    job = alloc["Job"]
    word = (job.get("Meta") or {}).get(LOGS_META, "all")
    if word not in STREAMS:
        _log.warning("job %s: meta %s is %r, not one of %s", job["ID"], LOGS_META, word, ", ".join(STREAMS))
    names = alloc["Namespace"], job.get("ParentID") or alloc["JobID"], alloc["TaskGroup"], alloc["ID"]
    return Logs(alloc["ID"], Path(*map(_as_folder, names)), STREAMS.get(word, STREAMS["all"]), _tasks(alloc))


def _tasks(alloc: Json) -> dict[str, int]:
    """Task -> how many files Nomad keeps of each of its streams."""
    group = next((group for group in jobs.groups(alloc["Job"]) if group["Name"] == alloc["TaskGroup"]), {})
    return {task["Name"]: (task.get("LogConfig") or {}).get("MaxFiles") or 10 for task in group.get("Tasks") or []}


def _has_tree(alloc: Json) -> bool:
    """Whether it may be an agent, of any stack. A task called like the tree has its own folder in that place."""
    return LOG_LINKS in _tasks(alloc) and log_tree.NAME not in _tasks(alloc)


def _as_folder(name: str) -> str:
    """Nomad allows any name, "a/b" and ".." too. The collector reads it back (otel-agent.yml)."""
    quoted = name.replace("%", "%25").replace("/", "%2F")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def run(nomad: NomadApi, node_id: str, *, allocations: Path, alloc_id: str, bind: str, port: int) -> None:
    """Keep the tree until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    watch = Allocations(nomad, node_id, registry)
    program = LogLinks(watch, allocations=allocations, alloc_id=alloc_id, registry=registry)
    program.serve(registry, bind=bind, port=port, beside=[watch])
