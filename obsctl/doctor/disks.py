"""Whether the disks of the nodes have room, by what each node measures now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from obsctl import names
from obsctl.config.components import Component
from obsctl.doctor.site import Site
from obsctl.errors import ApiError
from obsctl.model import Finding, Json
from obsctl.stack import storage

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system of a node. device: "" where the node does not say which one it is. free: bytes."""

    device: str
    free: int = field(compare=False)


def room(site: Site) -> Iterator[Finding]:
    """Whether each node has room for queues that fill while a backend is away, and for what VictoriaLogs wants free.

    What grows with time has limits of its own: retention, max_disk_percent.
    """
    for node_id, node in site.details.items():
        components = [each for each in _components(site, node_id) if each.disk()]
        if not components:
            continue
        try:
            stats = site.nomad.disk_stats(node_id)
        except ApiError as error:
            what = f"how much of its disk is free cannot be seen: {error.message}"
            yield Finding.unseen(node["Name"], what)
            continue
        needs: Counter[Disk] = Counter()
        for component in components:
            needs[disk_of(site, node, stats, component)] += component.disk()
        for disk, megabytes in needs.items():
            if disk.free < megabytes * _MEGABYTE:
                yield _lacking(node, disk, megabytes)


def _components(site: Site, node_id: str) -> list[Component]:
    """Those that may run there."""
    jobs = [job for job in site.jobs if any(home["ID"] == node_id for home in site.homes(job))]
    return [site.config.component(site.component_of(job)) for job in jobs]


def _lacking(node: Json, disk: Disk, megabytes: int) -> Finding:
    where = f" on {disk.device}" if disk.device else ""
    has = f"has {disk.free // _MEGABYTE} MB of disk free{where}"
    what = f"{has}, and the components that may keep something there want {megabytes} MB"
    return Finding.warning(node["Name"], what, "free some of it, or lower components.*.queue in obsctl.yaml")


def disk_of(site: Site, node: Json, stats: Json, component: Component) -> Disk:
    """Where the component's data lies on the node, by its disk_stats: below its folder there, or else in the folder of
    its allocation."""
    folder = _folder(site, node, component)
    mounted = [each for each in stats["DiskStats"] if folder and _is_below(folder, each["Mountpoint"])]
    nearest = max(mounted, key=lambda each: len(each["Mountpoint"])) if mounted else _of_allocations(stats)
    return Disk(nearest["Device"], int(nearest["Available"]))


def _folder(site: Site, node: Json, component: Component) -> str:
    """That of its host volume, or the one that replaces it with raw_exec; "" where there is none, or not yet."""
    data = component.data()
    if data is None or data.kind == "ephemeral":
        return ""
    if site.config.owner_of(component) is None:
        return (node.get("Meta") or {}).get(names.VOLUMES_META) or ""
    volume = (node.get("HostVolumes") or {}).get(storage.source_of(site.config, component)) or {}
    return volume.get("Path") or ""


def _is_below(folder: str, mountpoint: str) -> bool:
    return PurePosixPath(folder).is_relative_to(mountpoint)


def _of_allocations(stats: Json) -> Json:
    """Nomad does not say where that one is mounted: it is the one of its size that has as much free, or nearly so,
    since they are measured one after the other."""
    own: Json = stats["AllocDirStats"]
    alike = [each for each in stats["DiskStats"] if each["Size"] == own["Size"]]
    return min(alike, key=lambda each: abs(each["Available"] - own["Available"]), default=own)
