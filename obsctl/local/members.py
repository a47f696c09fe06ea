"""What belongs to a local cluster: processes by a mark in their environment, containers by Nomad's label."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from obsctl import children
from obsctl.local import processes

# Agents have it, and all that they start inherits it. So tasks are found even when their agent was killed.
MARKER = "OBSCTL_DEV_CLUSTER"
HELPERS = ("executor", "logmon", "docker_logger")
ALLOCATION_LABEL = "com.hashicorp.nomad.alloc_id"


def members(state: Path) -> list[psutil.Process]:
    """Every live process that the cluster of this state folder started."""
    return processes.marked(MARKER, str(state))


def agent(state: Path, command: list[str]) -> psutil.Process | None:
    """The agent that was started with this command line."""
    return next((process for process in members(state) if processes.argv_of(process) == command), None)


def helpers(state: Path) -> list[psutil.Process]:
    """The Nomad processes that hold the tasks and outlive the client on purpose."""
    return [process for process in members(state) if _is_helper(process)]


def tasks(state: Path) -> list[psutil.Process]:
    """The processes of jobs, and the agents that still run."""
    return [process for process in members(state) if not _is_helper(process)]


def containers(allocations: Path) -> list[str]:
    """Names of the containers, running or not, whose allocation has a folder in this one; none without Docker.

    Docker starts containers, so they do not inherit the mark.
    """
    docker = shutil.which("docker")
    if docker is None or not allocations.is_dir():
        return []
    row = f'{{{{.Names}}}} {{{{.Label "{ALLOCATION_LABEL}"}}}}'
    listed = subprocess.run(
        [docker, "ps", "--all", "--filter", f"label={ALLOCATION_LABEL}", "--format", row],
        capture_output=True, text=True, env=children.environment(children.DOCKER), check=False,
    )  # fmt: skip
    rows = [line.split() for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return [name for name, allocation in rows if (allocations / allocation).is_dir()]


def remove_containers(names: Sequence[str], *, grace: float) -> None:
    """Ask them to end, kill those that still run after `grace` seconds, and remove them."""
    for command in (["stop", f"--time={grace:.0f}"], ["rm", "--force", "--volumes"]):
        if names:
            environ = children.environment(children.DOCKER)
            subprocess.run(["docker", *command, *names], capture_output=True, env=environ, check=False)


def _is_helper(process: psutil.Process) -> bool:
    """Whether its command line is like `nomad executor`."""
    return processes.argv_of(process)[1:2] in [[word] for word in HELPERS]
