"""Whether the nodes can run every job: drivers, ports, room, and what Nomad's scheduler says."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl.clients.constraints import constraints_of
from obsctl.clients.jobs import groups, is_system, job_of, placement_failures, tasks
from obsctl.clients.jobs import ports as ports_of
from obsctl.doctor.site import Site
from obsctl.model import Finding, Json, Severity

_DRIVER_HINTS = {
    "raw_exec": 'plugin "raw_exec" { config { enabled = true } } in the configuration of the Nomad clients',
    "docker": "install and start Docker on a node, or set driver in obsctl.yaml",
    "podman": "install Podman and nomad-driver-podman on a node, or set driver in obsctl.yaml",
    "exec": "run the Nomad client as root on Linux, or set driver in obsctl.yaml",
}
_NO_VOLUME = "missing compatible host volumes"  # the check of volumes has a better hint


def readable(site: Site) -> Iterator[Finding]:
    """Raises ObsctlError that says what is wrong with the configuration or a job."""
    if not site.jobs:
        yield Finding(Severity.WARNING, "jobs", "the configuration enables no component", "enable one in obsctl.yaml")


def drivers(site: Site) -> Iterator[Finding]:
    """Each job's own, on the nodes that its datacenters, node pool and constraints leave; what is wrong for several is
    said once."""
    yield from _homeless(site)
    yield from dict.fromkeys(finding for job in site.jobs for finding in _drivers(site, job))


def _homeless(site: Site) -> Iterator[Finding]:
    """The jobs for which not even a node is left."""
    jobs: dict[str, list[str]] = {}
    for job in site.jobs:
        if _drivers_of(job) and not _homes(site, job):
            where = f"{', '.join(job.get('Datacenters') or ['*'])}, node pool {job.get('NodePool') or 'default'}"
            where += " and meets the constraints" if any(constraints_of({**job, "TaskGroups": []})) else ""
            jobs.setdefault(where, []).append(job["ID"])
    for where, ids in jobs.items():
        whose = "" if len(ids) == len(site.jobs) else f": {', '.join(ids)} cannot run"
        hint = "`nomad node status` shows them; nomad.datacenters and nomad.placement in obsctl.yaml choose"
        yield Finding(Severity.ERROR, "nodes", f"no node is ready and eligible in {where}{whose}", hint)


def _drivers_of(job: Json) -> set[str]:
    return {task["Driver"] for task in tasks(job) if "Driver" in task}


def _homes(site: Site, job: Json) -> list[Json]:
    """The nodes that the job itself allows, whatever its groups want."""
    return site.homes({**job, "TaskGroups": []})


def _drivers(site: Site, job: Json) -> Iterator[Finding]:
    nodes = _homes(site, job)
    for driver in sorted(_drivers_of(job)) if nodes else ():
        states = {node["Name"]: (node.get("Drivers") or {}).get(driver, {}) for node in nodes}
        if not any(state.get("Healthy") for state in states.values()):
            reasons = "; ".join(f"{name}: {_unfit(state)}" for name, state in sorted(states.items()))
            yield Finding(Severity.ERROR, driver, f"no node can run it ({reasons})", _DRIVER_HINTS.get(driver, ""))


def _unfit(state: Json) -> str:
    return state.get("HealthDescription") or ("not healthy" if state.get("Detected") else "not found")


def ports(site: Site) -> Iterator[Finding]:
    """Ports that other jobs hold. Jobs of this stack release theirs when they are updated."""
    ours = _ours(site)
    for job in site.jobs:
        homes = {node["ID"] for node in site.homes(job)}
        for label, port in static_ports(job):
            taken = {node: holder for node in homes if (holder := _holder(site, node, port)) and holder not in ours}
            if taken and (is_system(job) or len(taken) == len(homes)):
                by = ", ".join(f"{job_id} (namespace {namespace})" for namespace, job_id in sorted(set(taken.values())))
                what = f"port {port} ({label}) is held by the job {by} on {site.names(list(taken))}"
                hint = f"choose another port for {site.component_of(job)} in obsctl.yaml, or stop that job"
                yield Finding(Severity.ERROR, job["ID"], what, hint)


def static_ports(job: Json) -> Iterator[tuple[str, int]]:
    """Label and number of each port that the job needs on its node."""
    for group in groups(job):
        for network in group.get("Networks") or []:
            yield from ((port["Label"], port["Value"]) for port in network.get("ReservedPorts") or [])


def _holder(site: Site, node_id: str, port: int) -> tuple[str, str] | None:
    """Namespace and id of the job."""
    return next((job_of(alloc) for alloc in site.allocations[node_id] if port in ports_of(alloc)), None)


def _ours(site: Site) -> set[tuple[str, str]]:
    return {(site.config.nomad.namespace, job["ID"]) for job in site.jobs}


def room(site: Site) -> Iterator[Finding]:
    """Whether all jobs fit together. Whether each finds a node is for the scheduler to say."""
    ours = _ours(site)
    for kind, unit, reserved, keys in (
        ("cpu", "MHz", "CPU", ("Cpu", "CpuShares")),
        ("memory", "MB", "MemoryMB", ("Memory", "MemoryMB")),
    ):
        needed = sum(_needed(site, job, reserved) for job in site.jobs)
        free = sum(_free(site, node_id, ours, *keys) for node_id in site.details)
        if needed > free:
            what = f"the stack needs {needed} {unit} of {kind}, and the nodes have {free} {unit} for it"
            yield Finding(Severity.ERROR, "room", what, "lower components.*.resources in obsctl.yaml, or add a node")


def _needed(site: Site, job: Json, key: str) -> int:
    copies = len(site.homes(job)) if is_system(job) else 1
    return copies * sum(
        (group.get("Count") or 0) * ((task.get("Resources") or {}).get(key) or 0)
        for group in groups(job)
        for task in group.get("Tasks") or []
    )


def _free(site: Site, node_id: str, ours: set[tuple[str, str]], *keys: str) -> int:
    """What the jobs of others leave of the node."""
    node = site.details[node_id]
    others = [alloc for alloc in site.allocations[node_id] if job_of(alloc) not in ours]
    tasks = [task for alloc in others for task in ((alloc.get("AllocatedResources") or {}).get("Tasks") or {}).values()]
    used = [node.get("ReservedResources") or {}, *tasks]
    return _amount(node.get("NodeResources") or {}, *keys) - sum(_amount(resources, *keys) for resources in used)


def _amount(resources: Json, kind: str, key: str) -> int:
    return int((resources.get(kind) or {}).get(key) or 0)


def placement(site: Site) -> Iterator[Finding]:
    """What Nomad's scheduler says of each job alone."""
    for job in site.jobs:
        for reason in placement_failures(site.nomad.plan_job(job)):
            if _NO_VOLUME not in reason:
                hint = "give a node what is missing, or change driver, resources or datacenters in obsctl.yaml"
                yield Finding(Severity.ERROR, job["ID"], f"cannot be placed: {reason}", hint)
