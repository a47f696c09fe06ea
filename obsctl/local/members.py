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


def agents(state: Path) -> list[psutil.Process]:
    return [process for process in members(state) if _subcommand(process) == "agent"]


def helpers(state: Path) -> list[psutil.Process]:
    """The Nomad processes that hold the tasks and outlive the agent on purpose."""
    return [process for process in members(state) if _subcommand(process) in HELPERS]


def tasks(state: Path) -> list[psutil.Process]:
    """The processes of jobs."""
    return [process for process in members(state) if _subcommand(process) not in ("agent", *HELPERS)]


def _subcommand(process: psutil.Process) -> str:
    """The word after the program's name, as in `nomad executor`."""
    return next(iter(processes.argv_of(process)[1:]), "")
