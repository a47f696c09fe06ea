"""What can be seen on this machine: the programs of raw_exec, ports that other programs hold, the state folder."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from obsctl.clients.jobs import ports, tasks
from obsctl.doctor.nodes import static_ports
from obsctl.doctor.proof import BY_PROBE
from obsctl.doctor.site import Site
from obsctl.model import Finding, Json, Severity, host_and_port

_PATIENCE = 0.5


def programs(site: Site) -> Iterator[Finding]:
    """The programs that the local cluster would start. Those of other nodes, and of exec's chroot, cannot be seen."""
    if site.path is None:
        if any(commands(job) for job in site.jobs):
            what = "obsctl cannot see from here which programs the nodes have"
            yield Finding.unseen("programs", what, "obsctl doctor --probe lets each node look", settled_by=BY_PROBE)
        return
    for job in site.jobs:
        for command in sorted(commands(job)):
            if shutil.which(command, path=site.path) is None:
                what = f"its program {command} is not on the PATH of the Nomad client"
                hint = "obsctl dev up gets the servers; install others, or set command in obsctl.yaml"
                yield Finding.error(job["ID"], what, hint)


def reach(site: Site) -> Iterator[Finding]:
    """Whether programs find Nomad, Consul and other hosts at their addresses. On other machines that cannot be seen."""
    consul = site.config.consul
    if all(site.is_here(node) for node in site.details) and consul.from_nodes == consul.address:
        return
    what = f"obsctl cannot see from here whether nodes know every host, and Consul answers there at {consul.from_nodes}"
    yield Finding.unseen("from nodes", what, "obsctl doctor --probe lets each node try it", settled_by=BY_PROBE)


def commands(job: Json) -> set[str]:
    """The programs that its tasks name with raw_exec."""
    return {task["Config"]["command"] for task in tasks(job) if task.get("Driver") == "raw_exec"}


def listeners(site: Site) -> Iterator[Finding]:
    """Ports of a job on which a program answers that Nomad did not start."""
    for job in site.jobs:
        for node in site.homes(job):
            for label, port in static_ports(job) if site.is_here(node["ID"]) else ():
                known = any(port in ports(alloc) for alloc in site.allocations[node["ID"]])
                if not known and _answers(str(node["Address"]), port):
                    address = host_and_port(node["Address"], port)
                    what = f"a program that Nomad did not start listens on {address} ({label})"
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
        what = f"{site.state} cannot be written, so no drill can keep its journal"
        yield Finding(Severity.WARNING, "state folder", what, "set XDG_STATE_HOME, or drills.journal_dir")
