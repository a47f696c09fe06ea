"""What is known of one allocation that is not healthy, as Nomad's and Consul's JSON has it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from obsctl.clients import jobs
from obsctl.model import Json

CRASHES = 2
"""So many crashes since the deploy show that it does not run. One may heal: its neighbour may not be there yet."""
_CLOCKS_DIFFER = 30 * 10**9
"""Nanoseconds by which a node's clock may be behind the server's."""
_NEEDS = re.compile(r"[\w.]+\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Cause:
    """certain: it does not heal by itself, so that waiting longer is no use."""

    sentence: str
    hint: str
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What a template waits for. kind: "key", "variable", "service" or "" for what obsctl cannot look up.

    A service that has no instance is nothing to wait for: its template has none in it.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        owners = {"key": "Consul's key", "variable": "the Nomad Variable", "service": "the service"}
        return f"{owners[self.kind]} {self.name}" if self.kind else self.name


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one allocation.

    logs: task -> the end of its log. there: for how many seconds obsctl has seen what a template waits for; None when
    it does not exist. checks: what its checks in Consul say that do not pass. holders: port -> the job that Nomad gave
    it to. unregistered: its services that Consul does not know. settled: whether it runs for so long that they should
    be there. now: Unix seconds, the server's clock.
    """

    job: Json
    allocation: Json
    now: float
    logs: Mapping[str, str] = field(default_factory=dict)
    there: Mapping[Need, float | None] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    holders: Mapping[int, str] = field(default_factory=dict)
    unregistered: tuple[str, ...] = ()
    settled: bool = False

    @property
    def node(self) -> str:
        return str(self.allocation.get("NodeName") or "?")

    @property
    def failed(self) -> bool:
        """Nomad has given the allocation up. One that was healthy before says nothing of this deploy."""
        of_now = self.job.get("Type") != "service" or unhealthy(self.allocation)
        return of_now and self.allocation["ClientStatus"] == "failed"

    def who(self, task: str = "") -> str:
        group = self.allocation.get("TaskGroup", "?")
        return f"{self.job['ID']}: {f'task {group}/{task}' if task else f'group {group}'} on {self.node}"

    def events(self, task: str, *kinds: str) -> list[Json]:
        """The task's events of these kinds since the job was registered: an update in place keeps older ones."""
        return self._of_now(event for event in jobs.task_events(self.allocation, task) if event["Type"] in kinds)

    def crashes(self, task: str) -> list[Json]:
        """Those since the job was registered; [] when it has run for a while since."""
        own = self._of_now(jobs.crashes(self.allocation, task))
        runs = jobs.task_state(self.allocation, task) == "running"
        if own and runs and self.now - own[-1].get("Time", 0) / 1e9 > jobs.CALM:
            return []
        return own

    def _of_now(self, events: Iterable[Json]) -> list[Json]:
        since = (self.job.get("SubmitTime") or 0) - _CLOCKS_DIFFER
        return [event for event in events if event.get("Time", since) >= since]

    def gave_up(self, task: str) -> bool:
        return self.failed or len(self.crashes(task)) >= CRASHES


def unhealthy(allocation: Json) -> bool:
    """Whether Nomad has waited for it to its deadline, or to its failure."""
    return (allocation.get("DeploymentStatus") or {}).get("Healthy") is False


def needs(allocation: Json, task: str) -> list[Need]:
    """What the task's templates wait for; [] when they do not wait."""
    events = [event for event in jobs.task_events(allocation, task) if event["Type"] != "Alloc Unhealthy"]
    if jobs.task_state(allocation, task) != "pending" or not events or events[-1]["Type"] != "Template":
        return []
    return [_need(text) for text in _NEEDS.findall(events[-1].get("DisplayMessage") or "")]


def _need(text: str) -> Need:
    kind, _, inner = text.rstrip(")").partition("(")
    kinds = {"kv.block": "key", "kv.get": "key", "nomad.var.block": "variable", "nomad.var.get": "variable",
             "health.service": "service"}  # fmt: skip
    if kind not in kinds:
        return Need("", text)
    name = inner.split("|")[0]
    if kinds[kind] == "key" and "@" in name:  # of another datacenter
        return Need("", text)
    return Need(kinds[kind], name.split("@")[0] if kinds[kind] == "variable" else name)
