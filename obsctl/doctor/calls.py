"""A call for each right, which needs it and changes nothing: so a token's rights are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial

from obsctl import names
from obsctl.clients.jobs import groups, is_alive
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.doctor.site import Site
from obsctl.errors import ApiError, Conflict, Forbidden, ObsctlError, Rejected
from obsctl.model import Json
from obsctl.rights import Right, own_rights

NEVER = 2**62
"""A check-and-set with this index always fails, but only after the rights were checked."""
_NOBODY = "00000000-0000-0000-0000-000000000000"
_ANY = "doctor"
"""A name where a star of the row stands, and of a task that there is not."""
_ACTIONS = "signal, restart and stop allocations"
Call = Callable[[], object]
Calls = dict[str, Call]
"""What a row of obsctl.rights says -> the call."""


def lacking(server: str, role: str, site: Site, calls: Calls) -> Iterator[tuple[Right, Forbidden]]:
    """The rights of this role that are refused. For the others a program or an allocation must be there first."""
    config = site.config
    for right in own_rights(role, config.stack, config.nomad.namespace, volumes=bool(site.rendered.volumes)):
        if right.server == server and right.what in calls:
            try:
                calls[right.what]()
            except Forbidden as error:
                yield right, error
            except ApiError:
                pass  # it was allowed and could not be done, as intended


def of_nomad(site: Site, nomad: NomadApi) -> Calls:
    """nomad: a client with the token that is tried."""
    stack = site.config.stack
    paths = sorted(item.path for item in site.rendered.secrets)
    own, drill = names.variable_path(names.job_id(stack, "*")), names.drill_variable(stack)
    alive = _alive(site)
    return {
        "list jobs": nomad.jobs,
        "read jobs and allocations": partial(nomad.job_evaluations, names.job_id(stack, names.WARDEN)),
        **({"read logs": partial(nomad.log_files, alive[0]["ID"])} if alive else {}),
        **({_ACTIONS: partial(nomad.signal_allocation, alive[0]["ID"], _ANY, "SIGCONT")} if alive else {}),
        "submit jobs": partial(_plan_one, site, nomad),
        f"read {own}": lambda: [nomad.variable(path) for path in paths],
        f"write {own}": partial(_write, nomad, *paths),
        "read the kept job": partial(nomad.variable, drill),
        "forget the kept job": partial(nomad.delete_variable, drill, cas=NEVER),
        "list nodes": nomad.nodes,
        **_mounts(site, nomad),
        "list volumes": nomad.volumes,
        "create volumes": lambda: [nomad.create_volume(each.request(_NOBODY)) for each in site.rendered.volumes[:1]],
    }


def of_consul(site: Site, consul: ConsulApi) -> Calls:
    """consul: a client with the token that is tried."""
    stack = site.config.stack
    prefix, drills = f"{names.kv_prefix(stack)}/", f"{names.drills_folder(stack)}/"
    return {
        "list services": consul.services,
        "list the nodes of services": partial(consul.health, "consul"),
        "read the version of Consul, and its metrics": consul.agent_version,
        f"read {prefix}": partial(consul.entries, prefix),
        f"write {prefix}": partial(consul.put, f"{prefix}{_ANY}", b"", cas=NEVER),
        "read recipes": partial(consul.entries, drills),
        "keep recipes": partial(consul.put, f"{drills}{_ANY}", b"", cas=NEVER),
        "create the session of a lock": partial(_session, consul, lambda _: True),
        "see whether a drill's session is alive": partial(_session, site.consul, consul.session_exists),
        "read the demo's phrases": partial(consul.get, names.DEMO_PHRASES_KEY),
        "look for the demo's songs": partial(consul.get, names.DEMO_SONGS_KEY),
        "write the demo's phrases": partial(consul.put, names.DEMO_PHRASES_KEY, b"", cas=NEVER),
    }


def _write(nomad: NomadApi, *paths: str) -> None:
    for path in paths:
        with suppress(Conflict):  # as intended: it was allowed
            nomad.put_variable(path, {"x": "x"}, cas=NEVER)


def _plan_one(site: Site, nomad: NomadApi) -> None:
    """The first job, without its secrets: they need other rights."""
    for job in site.rendered.jobs[:1]:
        with suppress(Rejected):  # the check of the jobs says why
            nomad.plan_job(site.nomad.parse_job(job.hcl))


def _mounts(site: Site, nomad: NomadApi) -> Calls:
    """Those of the volumes that jobs have, and of whatever job is drilled. No job has that index, so none starts."""
    config, used = site.config, _volumes(site)
    rows = own_rights("deploy", config.stack, config.nomad.namespace)
    return {
        row.what: partial(nomad.register_job, _mounting(site, row), enforce_index=NEVER)
        for row in rows
        if row.block == "host_volume" and (row.label == "*" or any(fnmatchcase(name, row.label) for name in used))
    }


def _volumes(site: Site) -> set[str]:
    """The host volumes of the stack's jobs."""
    try:
        blocks = [group.get("Volumes") or {} for job in site.jobs for group in groups(job)]
    except ObsctlError:  # the check of the jobs says why they cannot be read
        return set()
    return {volume["Source"] for block in blocks for volume in block.values() if volume.get("Type") == "host"}


def _mounting(site: Site, row: Right) -> Json:
    job_id = names.job_id(site.config.stack, f"{_ANY}-volume")
    volume = {
        "Name": _ANY, "Type": "host", "Source": row.label.replace("*", _ANY), "ReadOnly": "mount-readonly" in row.grants
    }  # fmt: skip
    task = {"Name": _ANY, "Driver": "raw_exec", "Config": {"command": "true"}}
    return {
        "ID": job_id, "Name": job_id, "Type": "service", "Namespace": site.config.nomad.namespace, "Datacenters": ["*"],
        "TaskGroups": [{"Name": _ANY, "Volumes": {_ANY: volume}, "Tasks": [task]}],
    }  # fmt: skip


def _alive(site: Site) -> list[Json]:
    """Allocations of the stack's namespace."""
    try:
        everything = site.nomad.allocations()
    except Forbidden:
        return []
    return [each for each in everything if each.get("Namespace") == site.config.nomad.namespace and is_alive(each)]


def _session(maker: ConsulApi, look: Callable[[str], object]) -> None:
    """Only one that is there shows whether it may be seen, and only making one whether that is allowed. It is ended at
    once."""
    session = maker.create_session("obsctl doctor", ttl=10)
    try:
        look(session)
    finally:
        maker.destroy_session(session)
