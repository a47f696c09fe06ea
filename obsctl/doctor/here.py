"""What can be looked at on this machine: the programs of raw_exec, ports that something else has, the state folder."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from obsctl.clients.jobs import tasks
from obsctl.doctor.nodes import holds, static_ports
from obsctl.doctor.site import Site
from obsctl.model import Finding, Json, Severity

_PATIENCE = 0.5


def programs(site: Site) -> Iterator[Finding]:
    """Those that Nomad would start here. Elsewhere, and in the chroot of exec, they cannot be seen."""
    known = site.path is not None
    for job in site.jobs:
        if not any(site.is_here(node["ID"]) for node in site.homes(job)):
            continue
        for command in sorted(commands(job)):
            if shutil.which(command, path=site.path) is None:
                whose = "of the Nomad client" if known else "here"
                what = f"its program {command} is not on the PATH {whose}"
                hint = f"obsctl dev {'up' if known else 'binaries'} gets the servers"
                mend = f"{hint}; else install it, or set command in obsctl.yaml"
                yield Finding(Severity.ERROR if known else Severity.WARNING, job["ID"], what, mend)


def commands(job: Json) -> set[str]:
    """What its tasks with raw_exec name as their programs."""
    return {task["Config"]["command"] for task in tasks(job) if task.get("Driver") == "raw_exec"}


def listeners(site: Site) -> Iterator[Finding]:
    """A port of a job that something answers on, which is no allocation of Nomad: Nomad does not know of it."""
    for job in site.jobs:
        for node in site.homes(job):
            for label, port in static_ports(job) if site.is_here(node["ID"]) else ():
                known = any(holds(alloc, port) for alloc in site.allocations[node["ID"]])
                if not known and _answers(str(node["Address"]), port):
                    what = f"something that Nomad did not start listens on {node['Address']}:{port} ({label})"
                    hint = f"end it, or choose another port for {site.component_of(job)} in obsctl.yaml"
                    yield Finding(Severity.ERROR, job["ID"], what, hint)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def state_folder(site: Site) -> Iterator[Finding]:
    nearest = next((folder for folder in (site.state, *site.state.parents) if folder.exists()), Path("/"))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        what = f"{site.state} cannot be written: no drill can keep its journal"
        yield Finding(Severity.WARNING, "state folder", what, "set XDG_STATE_HOME, or drills.journal_dir")
