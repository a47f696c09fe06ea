"""Whether there is a place for the data of each component, and whether its user may write there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from obsctl import names
from obsctl.clients.jobs import groups, is_system
from obsctl.doctor.site import Site
from obsctl.model import Finding, Json, Severity
from obsctl.stack import storage

_OF_THE_NODE = {
    names.ALLOC_VOLUME: "with the client's alloc_dir as path and read_only = false",
    names.ROOT_VOLUME: "with / as path and read_only = true",
}
"""The host volumes through which an agent in a container gets at the logs of all allocations and the disks."""


def offered(site: Site) -> Iterator[Finding]:
    """Host volumes that a job mounts, and the folder that replaces them with raw_exec."""
    dynamic = {volume.name for volume in site.desired.volumes}
    for job in site.jobs:
        for source, writes in sorted(_sources(job).items()):
            if source not in dynamic:
                yield from _offered(site, job, source, writes=writes)
    yield from _folders(site)


def _offered(site: Site, job: Json, source: str, *, writes: bool) -> Iterator[Finding]:
    homes = site.homes(job)
    lacking = [node for node in homes if not storage.has(node, source)]
    frozen = [node for node in homes if writes and storage.is_read_only(node, source)]
    component = site.config.component(site.component_of(job))
    required = len(homes) if is_system(job) else storage.node_count(site.config, component)
    if len(homes) - len(lacking) - len(frozen) >= required:
        return
    hint = _declaration(site, job, source)
    for what, nodes in (("is missing", lacking), ("is read-only", frozen)):
        if nodes:
            where = ", ".join(sorted(node["Name"] for node in nodes))
            yield Finding(Severity.ERROR, job["ID"], f"the host volume {source} {what} on {where}", hint)


def _declaration(site: Site, job: Json, source: str) -> str:
    """What the Nomad client has to be told of it."""
    declared = f'client {{ host_volume "{source}" {{ path = … }} }} in the configuration of the Nomad client'
    if source in _OF_THE_NODE:
        return f"{declared}, {_OF_THE_NODE[source]}"
    if source == site.config.components.grafana.plugins_volume:
        return f"{declared}, with the folder that holds the plugin as path and read_only = true"
    return f"{declared}, or components.{site.component_of(job)}.storage.kind: dynamic, which a deploy makes"


def _sources(job: Json) -> dict[str, bool]:
    """The host volumes that a job mounts, and whether it writes to each."""
    requests = [request for group in groups(job) for request in (group.get("Volumes") or {}).values()]
    return {request["Source"]: not request.get("ReadOnly") for request in requests if request["Type"] == "host"}


def _folders(site: Site) -> Iterator[Finding]:
    """With raw_exec the data lies below a folder that the node names."""
    jobs = {job["ID"]: job for job in site.jobs}
    keeping = [
        jobs[names.job_id(site.config.stack, component.row.name)]
        for component in site.config.enabled_components()
        if (storage_of := component.data()) and storage_of.kind == "host" and site.config.owner_of(component) is None
    ]
    lacking = {
        node["ID"]
        for job in keeping
        for node in site.homes(job)
        if not (site.details[node["ID"]].get("Meta") or {}).get(names.VOLUMES_META)
    }
    if lacking:
        what = f"{site.names(list(lacking))} has no folder for data (the meta {names.VOLUMES_META})"
        hint = f'client {{ meta {{ {names.VOLUMES_META} = "/some/folder" }} }} in the configuration of the Nomad client'
        yield Finding(Severity.ERROR, "raw_exec", what, hint)


def writable(site: Site) -> Iterator[Finding]:
    """The folders of a node that is this machine. Those of others cannot be seen from here."""
    unseen = set()
    for name, uid in storage.host_volumes(site.config).items():
        for node_id, node in site.details.items():
            path = ((node.get("HostVolumes") or {}).get(name) or {}).get("Path")
            if path and not site.is_here(node_id):
                unseen.add(f"{name} on {node['Name']} (uid {uid})")
            elif path:
                yield from _writable(name, Path(path), uid)
    if unseen:
        what = f"obsctl cannot see from here whether these can be written: {', '.join(sorted(unseen))}"
        yield Finding.unseen("volumes", what, settled_by="obsctl doctor run on each of their nodes")


def _writable(name: str, path: Path, uid: int) -> Iterator[Finding]:
    try:
        status = path.stat()
    except OSError as error:
        hint = f"install -d -o {uid} {path}, then restart the Nomad client"
        yield Finding(Severity.ERROR, name, f"its folder {path} cannot be looked at: {error.strerror}", hint)
        return
    if not may_write(status, uid):
        what = f"its folder {path} belongs to uid {status.st_uid}, and the component's uid {uid} cannot write to it"
        yield Finding(Severity.ERROR, name, what, f"chown -R {uid} {path}")


def may_write(status: os.stat_result, uid: int) -> bool:
    """Whether this user may make files in the folder, without the help of a group."""
    required = 0o300 if status.st_uid == uid else 0o003
    return uid == 0 or status.st_mode & required == required
