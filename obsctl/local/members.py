"""What belongs to a local cluster: processes by a mark in their environment, containers by Nomad's label."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from obsctl import children
from obsctl.local import processes
from obsctl.wait import wait_until

# Agents have it, and all that they start inherits it. So tasks are found even when their agent was killed.
MARKER = "OBSCTL_DEV_CLUSTER"
MACHINE = "OBSCTL_DEV_MACHINE"
"""The same for the machine that they run on, where a cluster has several."""
HOLDER, RELAY = "OBSCTL_DEV_NAMESPACE", "OBSCTL_DEV_RELAY"
"""In the environment of a process of the network: the machine whose namespace it holds, or whose cable it delays."""
HERE = "here"
"""In the place of a machine: the namespace that stands for this one, and the mirror between the two."""
HELPERS = ("executor", "logmon", "docker_logger")
DOCKER_TIMEOUT = 20.0
SWEEP_TIMEOUT = 60.0
ALLOCATION_LABEL = "com.hashicorp.nomad.alloc_id"


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the network. mark: HOLDER or RELAY. machine: whose."""

    process: psutil.Process
    mark: str
    machine: str


def members(state: Path) -> list[psutil.Process]:
    """Every live process that the cluster of this state folder started."""
    return processes.marked(MARKER, str(state))


def of_machine(state: Path, name: str) -> list[psutil.Process]:
    """Those that run on this machine."""
    there = {process.pid for process in processes.marked(MACHINE, name)}
    return [process for process in members(state) if process.pid in there]


def of_network(state: Path) -> list[Part]:
    """Those of the network."""
    environments = [(process, processes.environment_of(process)) for process in members(state)]
    return [
        Part(process, mark, environment[mark])
        for process, environment in environments
        for mark in (HOLDER, RELAY)
        if mark in environment
    ]


def agent(state: Path, command: list[str]) -> psutil.Process | None:
    """The agent that was started with this command line."""
    return next((process for process in members(state) if processes.argv_of(process) == command), None)


def is_helper(process: psutil.Process) -> bool:
    """Whether it is one of the Nomad processes that hold the tasks and outlive the client on purpose.

    Its command line is like `nomad executor`.
    """
    return processes.argv_of(process)[1:2] in [[word] for word in HELPERS]


def is_of_network(process: psutil.Process) -> bool:
    return bool({HOLDER, RELAY} & processes.environment_of(process).keys())


def sweep(find: Callable[[], list[psutil.Process]], *, grace: float | None) -> int:
    """End what `find` gives, until it gives nothing: a process may start another while it ends. How many there were.

    grace: seconds from SIGTERM to SIGKILL; None for SIGKILL at once.
    """
    ended: list[psutil.Process] = []

    def is_done() -> bool:
        alive = find()
        processes.end(alive, grace=grace)
        ended.extend(alive)
        return not alive

    failure = "processes of the cluster come back as often as they are ended, and did not stop"
    hint = "end what starts them, then do the same again"
    wait_until(is_done, timeout=SWEEP_TIMEOUT, failure=failure, hint=hint, interval=0.01)
    return len(ended)


def containers(allocations: Path) -> list[str]:
    """Names of the containers, running or not, whose allocation has a folder in this one; none without Docker.

    Docker starts containers, so they do not inherit the mark.
    """
    if shutil.which("docker") is None or not allocations.is_dir():
        return []
    row = f'{{{{.Names}}}} {{{{.Label "{ALLOCATION_LABEL}"}}}}'
    listed = _docker(DOCKER_TIMEOUT, "ps", "--all", "--filter", f"label={ALLOCATION_LABEL}", "--format", row)
    rows = [line.split() for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return [name for name, allocation in rows if (allocations / allocation).is_dir()]


def remove_containers(names: Sequence[str], *, grace: float) -> None:
    """Ask them to end, kill those that still run after `grace` seconds, and remove them."""
    if names:
        _docker(DOCKER_TIMEOUT + grace, "stop", f"--time={grace:.0f}", *names)
        _docker(DOCKER_TIMEOUT, "rm", "--force", "--volumes", *names)


def _docker(timeout: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    hint = "Docker hangs: start it anew, then do the same again"
    return processes.run(["docker", *arguments], timeout=timeout, needs=children.DOCKER, hint=hint)
