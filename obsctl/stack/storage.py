"""Where components keep their data: the volumes they need, where a new one is placed, and which data would be lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from obsctl import names
from obsctl.clients.constraints import constraints_of, meets
from obsctl.clients.jobs import is_system, takes_jobs, tasks
from obsctl.config.components import Component, Storage
from obsctl.config.schema import Config
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Json, Severity

PLUGIN = "mkdir"
"""The plugin that every Nomad client has built in: a volume is a folder below the client's `host_volumes_dir`."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A host volume that a component needs. uid: the user who writes to it. nodes: on how many nodes it is needed; a
    system job needs it on all."""

    name: str
    component: str
    uid: int
    nodes: int = 1

    def on(self, node: Json) -> str:
        """Its name in a plan: a volume stays on the node where it was created."""
        return f"{self.name} on {node['Name']}"

    def request(self, node_id: str) -> Json:
        """The request to Nomad. Only the user may enter the folder (mode 0700)."""
        return {
            "Name": self.name,
            "NodeID": node_id,
            "PluginID": PLUGIN,
            "RequestedCapabilities": [{"AccessMode": "single-node-writer", "AttachmentMode": "file-system"}],
            "Parameters": {"uid": str(self.uid), "mode": "0700"},
        }


def source_of(config: Config, component: Component) -> str:
    """The name of the component's host volume."""
    storage = component.data()
    return (storage.source if storage else None) or names.job_id(config.stack, component.row.name)


def volumes(config: Config) -> tuple[Volume, ...]:
    """The dynamic host volumes that this config asks for."""
    return tuple(_volumes(config, "dynamic"))


def host_volumes(config: Config) -> dict[str, int]:
    """The host volumes that a node must offer for this config -> the uid that writes to each."""
    return {volume.name: volume.uid for volume in _volumes(config, "host")}


def _volumes(config: Config, kind: str) -> Iterator[Volume]:
    for component in config.enabled_components():
        storage, uid = component.data(), config.owner_of(component)
        if storage and storage.kind == kind and uid is not None:
            yield Volume(source_of(config, component), component.row.name, uid, node_count(config, component))


def node_count(config: Config, component: Component) -> int:
    """On how many nodes the component runs, if it is no system job."""
    return 1 if config.shares_node(component) else config.count(component)


def homes(nodes: Sequence[Json], job: Json) -> list[Json]:
    """The nodes that could take the job now: ready, eligible, in its datacenters and node pool, with its drivers, and
    as its constraints want them."""
    constraints = list(constraints_of(job))
    drivers = {task["Driver"] for task in tasks(job) if "Driver" in task}
    return [
        node
        for node in nodes
        if takes_jobs(node)
        and any(fnmatchcase(node["Datacenter"], pattern) for pattern in job.get("Datacenters") or ["*"])
        and (job.get("NodePool") or "default") in ("all", node["NodePool"])
        and all((node.get("Drivers") or {}).get(driver, {}).get("Healthy") for driver in drivers)
        and all(meets(node, constraint) for constraint in constraints)
    ]


def has(node: Json, name: str) -> bool:
    """Whether the node offers a host volume of this name, of whatever origin."""
    return name in (node.get("HostVolumes") or {})


def is_read_only(node: Json, name: str) -> bool:
    """Whether the node offers the host volume, but no job may write to it."""
    return bool(((node.get("HostVolumes") or {}).get(name) or {}).get("ReadOnly"))


def holders(volume: Volume, nodes: Sequence[Json], dynamic: Sequence[Json]) -> list[Json]:
    """The nodes that have the volume, also those that do not answer now, because its data is there.

    dynamic: Nomad's dynamic host volumes; a node does not offer a new one at once.
    """
    created = {entry["NodeID"] for entry in dynamic if entry["Name"] == volume.name}
    return [node for node in nodes if node["ID"] in created or has(node, volume.name)]


def place(volume: Volume, job: Json, nodes: Sequence[Json], dynamic: Sequence[Json], busy: Sequence[str]) -> list[Json]:
    """The nodes that get the volume: for a system job every node without it, else one for each instance without it.

    busy: the ids of nodes, one for each volume of the stack on it; data is spread over the nodes.
    Raises ObsctlError when there are not enough nodes.
    """
    holding = holders(volume, nodes, dynamic)
    free = [node for node in homes(nodes, job) if node not in holding]
    if is_system(job):
        return sorted(free, key=lambda node: str(node["Name"]))
    lacking = max(0, volume.nodes - len(holding))
    if lacking > len(free):
        raise ObsctlError(
            f"no node can have the volume {volume.name} of {volume.component}: none is ready and eligible in"
            f" {', '.join(job.get('Datacenters') or ['*'])} with the driver of the job, and as its constraints want it",
            hint="`obsctl doctor` shows what the nodes lack",
        )
    return sorted(free, key=lambda node: (busy.count(node["ID"]), str(node["Name"])))[:lacking]


def losses(
    config: Config, replaced: set[str], stopped: set[str], jobs: Sequence[Json], nodes: Sequence[Json]
) -> list[Finding]:
    """Which components lose data, and when.

    replaced, stopped: the ids of jobs whose allocations the plan replaces or ends. jobs: the desired ones of the plan.
    nodes: [] when the token may not list them.
    """
    jobs_by_id = {job["ID"]: job for job in jobs}
    findings: list[Finding] = []
    for component in config.all_components():
        job_id, storage = names.job_id(config.stack, component.row.name), component.data()
        if storage and (job_id in jobs_by_id or job_id in stopped):
            findings += _loss(config, component, storage, replaced, jobs_by_id.get(job_id), nodes)
    return findings


def _loss(
    config: Config, component: Component, storage: Storage, replaced: set[str], job: Json | None, nodes: Sequence[Json]
) -> Iterator[Finding]:
    name, raw_exec = component.row.name, config.owner_of(component) is None
    if storage.kind == "ephemeral":
        what = "its data is lost when its allocation is replaced or rescheduled"
        if job is None or job["ID"] in replaced:
            what = f"this {'update' if job else 'stop'} loses its data"
        hint = f"components.{name}.storage.kind: {'host' if raw_exec else 'dynamic'} keeps it"
        yield Finding(Severity.WARNING, name, f"{what} (storage: ephemeral)", hint)
    elif storage.kind == "host" and job and not is_system(job):
        able = [node for node in homes(nodes, job) if raw_exec or has(node, source_of(config, component))]
        if len(able) > node_count(config, component):
            what = f"Nomad may place it on any of {len(able)} nodes, and on a new one its data is missing"
            other = "" if raw_exec else f", or set components.{name}.storage.kind: dynamic"
            yield Finding(
                Severity.WARNING, name, f"{what} (storage: host)", f"narrow components.{name}.placement{other}"
            )
