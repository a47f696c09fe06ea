"""The processes of one local cluster, told from all others by a mark in their environment."""

from __future__ import annotations

from pathlib import Path

import psutil

from obsctl.local import processes

# The agents have it and all that they start inherits it, so that tasks are found even when their agent was killed.
MARKER = "OBSCTL_DEV_CLUSTER"
HELPERS = ("executor", "logmon", "docker_logger")


def members(state: Path) -> list[psutil.Process]:
    """Everything alive that the cluster of this state folder started."""
    return processes.marked(MARKER, str(state))


def agent(state: Path, command: list[str]) -> psutil.Process | None:
    """The agent that was started with this command line."""
    found = (process for process in members(state) if processes.argv_of(process) == command)
    return next(found, None)


def helpers(state: Path) -> list[psutil.Process]:
    """The Nomad processes that hold the tasks and outlive the client on purpose."""
    return [process for process in members(state) if _is_helper(process)]


def tasks(state: Path) -> list[psutil.Process]:
    """The processes of jobs, and whatever agents still run."""
    return [process for process in members(state) if not _is_helper(process)]


def _is_helper(process: psutil.Process) -> bool:
    """Is it called like `nomad executor`?"""
    return processes.argv_of(process)[1:2] in [[word] for word in HELPERS]
