"""Who needs which right in Nomad and Consul: one table, from which the policies of every role are made.

A row is what somebody does there, by which calls, and the smallest right that lets them. `obsctl policies` prints the
policies, `obsctl doctor` tries the rows of a deploy, and the error for a refused call names what it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import unquote

from obsctl import names

PEOPLE = {
    "deploy": "deploys the stack, and does all that the other people do",
    "plan": "sees what a deploy would change, and changes nothing",
    "drill": "drills services and puts back what a drill left behind",
    "read": "looks: status, logs, traces, reports",
}
PROGRAMS = {
    names.WARDEN: "puts back what a drill left behind",
    names.LOG_LINKS: "finds the logs of a node's allocations, in all namespaces",
    names.PROMETHEUS: "finds in Consul what it scrapes",
    "demo": "finds its neighbours in Consul, and reads its phrases",
    names.DOCTOR_PROBE: "reads Consul as templates do, for `obsctl doctor --probe`, and registers nothing",
    "tasks": "what Nomad reads and registers in Consul for the tasks of the stack",
}
ROLES = {**PEOPLE, **PROGRAMS}
"""Role -> what it is for."""
_TEMPLATES = frozenset({names.DOCTOR_PROBE, "tasks"})
"""Those by which Nomad reads what the templates of tasks ask for."""
_TITLES = {"nomad": "Nomad", "consul": "Consul"}


@dataclass(frozen=True, slots=True)
class Right:
    """One row. block, label: its place in a policy, like namespace "default" or key_prefix "obsctl/obs/".

    path: of Nomad Variables, within their namespace. grants: capabilities of Nomad, or "read" or "write". calls: like
    "GET /v1/job/*", where a star stands for any part of a path; none where the path does not tell what is needed.
    """

    what: str
    server: str
    block: str
    grants: tuple[str, ...]
    roles: frozenset[str]
    label: str = ""
    path: str = ""
    calls: tuple[str, ...] = ()

    def is_for(self, method: str, path: str) -> bool:
        """Whether it is the right for this call of its server; of keys and Variables, only for its own."""
        name = _name_in(path)
        star = "*" if self.block.endswith("_prefix") else ""
        if name and not fnmatchcase(name, self.path or self.label + star):
            return False
        return any(re.fullmatch(re.escape(call).replace(r"\*", ".+"), f"{method} {path}") for call in self.calls)

    def at(self, name: str) -> Right:
        """The same for one key or Variable alone."""
        return replace(self, path=name) if self.path else replace(self, block="key", label=name)

    def covers(self, other: Right) -> bool:
        """Whether its rule grants all that the other's does, for Nomad and Consul as they read policies."""
        keys = {"key", "key_prefix"}
        if self.server != other.server or (self.block != other.block and not {self.block, other.block} <= keys):
            return False
        star = "*" if self.block.endswith("_prefix") else ""
        there = fnmatchcase(other.path or other.label, (self.path or self.label) + star)
        more = {} if self.block == "namespace" else {"read": {"write"}, "mount-readonly": {"mount-readwrite"}}
        return there and all({grant, *more.get(grant, ())} & set(self.grants) for grant in other.grants)

    @property
    def rule(self) -> str:
        """The rule on one line, as it stands in a policy of its own."""
        return " ".join(_text(self.server, [self]).split())


@dataclass(frozen=True, slots=True)
class Policies:
    """The texts of a role's policies; "" where it needs nothing of that server."""

    nomad: str
    consul: str


def policies(role: str, stack: str, namespace: str, *, volumes: bool = False) -> Policies:
    """What this role needs, and no more.

    volumes: with the rights to make dynamic host volumes, whose names Nomad knows from 1.10 on.
    """
    return policies_of([right for right in rights(stack, namespace, volumes=volumes) if role in right.roles])


def policies_of(rows: list[Right]) -> Policies:
    """What these rows grant together."""
    return Policies(*(_text(server, [row for row in rows if row.server == server]) for server in _TITLES))


def rights(stack: str, namespace: str, *, volumes: bool = False) -> tuple[Right, ...]:
    """The table, for a stack in a namespace of Nomad."""
    return (*_nomad_rights(stack, namespace, volumes=volumes), *_consul_rights(stack))


def own_rights(role: str, stack: str, namespace: str, *, volumes: bool = False) -> list[Right]:
    """The rows of a role without those that another of its rows covers."""
    rows = [row for row in rights(stack, namespace, volumes=volumes) if role in row.roles]
    return [row for row in rows if not any(wider.covers(row) for wider in rows if wider is not row)]


def needed(server: str, method: str, path: str, namespace: str) -> list[str]:
    """The rules that this call takes, for its key or Variable alone; none where the table does not tell."""
    name = _name_in(path)
    rows = rights("*" if name else "STACK", namespace, volumes=True)
    own = [row.at(name) if name else row for row in rows if row.server == server and row.is_for(method, path)]
    return list(dict.fromkeys(row.rule for row in own))


def _name_in(path: str) -> str:
    """The key or the Variable that a call is about."""
    return unquote(path.partition("/v1/var/")[2] or path.partition("/v1/kv/")[2])


def _roles(*roles: str) -> frozenset[str]:
    return frozenset(roles)


_JOBS = ("GET /v1/job/*", "GET /v1/evaluation/*", "GET /v1/allocation/*", "GET /v1/allocations")
_LOGS = ("GET /v1/client/fs/logs/*", "GET /v1/client/fs/ls/*", "GET /v1/client/fs/stream/*")
_SUBMIT = (
    "POST /v1/jobs",
    "DELETE /v1/job/*",
    "POST /v1/job/*/plan",
    "POST /v1/jobs/parse",
    "POST /v1/job/*/evaluate",
)
_ALLOCATIONS = (
    "POST /v1/client/allocation/*/signal",
    "PUT /v1/client/allocation/*/restart",
    "POST /v1/allocation/*/stop",
)
_FAULTS = _roles("deploy", "drill", names.WARDEN)
_SESSIONS = ("PUT /v1/session/create", "PUT /v1/session/renew/*", "PUT /v1/session/destroy/*")
_GET_VAR, _PUT_VAR, _GET_KEY, _PUT_KEY = ("GET /v1/var/*",), ("PUT /v1/var/*",), ("GET /v1/kv/*",), ("PUT /v1/kv/*",)
_DELETE_VAR, _MAKE_VOLUME = ("DELETE /v1/var/*",), ("PUT /v1/volume/host/create",)
_INSTANCES = ("GET /v1/health/service/*", "GET /v1/catalog/services")
_SERVICES = (
    names.ALERT_SINK, names.ALERTMANAGER, names.GRAFANA, names.HELLO_SERVICE, names.JAEGER, names.LOG_LINKS,
    names.OTEL_AGENT, names.OTEL_GATEWAY, names.PROMETHEUS, names.RESPONSE_SERVICE, names.TRAFFIC, names.VICTORIALOGS,
    names.WARDEN, names.ALERTMANAGER_CLUSTER, names.JAEGER_OTLP, names.GATEWAY_GRPC, names.GATEWAY_METRICS,
)  # fmt: skip


def _nomad_rights(stack: str, namespace: str, *, volumes: bool) -> Iterable[Right]:
    def within(what: str, roles: frozenset[str], calls: tuple[str, ...], *grants: str) -> Right:
        return Right(what, "nomad", "namespace", grants, roles, namespace, calls=calls)

    people, agent = _roles(*PEOPLE), ("GET /v1/agent/self",)
    yield within("list jobs", people, ("GET /v1/jobs",), "list-jobs")
    yield within("read jobs and allocations", people | {names.WARDEN}, _JOBS, "read-job")
    yield within("read logs", people, _LOGS, "read-fs")
    yield within("submit jobs", _roles("deploy", "plan", "drill", names.WARDEN), _SUBMIT, "submit-job")
    yield within("signal, restart and stop allocations", _FAULTS, _ALLOCATIONS, "alloc-lifecycle")
    yield from _variables(stack, namespace)
    nodes = ("GET /v1/nodes", "GET /v1/node/*", "GET /v1/client/stats")
    yield Right("list nodes", "nomad", "node", ("read",), people | {names.LOG_LINKS}, calls=nodes)
    yield Right("read the version of Nomad", "nomad", "agent", ("read",), people, calls=agent)
    yield Right("find the allocations of a node", "nomad", "namespace", ("read-job",), _roles(names.LOG_LINKS), "*")
    yield from _mounts(stack)
    if volumes:
        yield within("list volumes", _roles("deploy", "plan"), ("GET /v1/volumes",), "host-volume-read")
        yield within("create volumes", _roles("deploy"), _MAKE_VOLUME, "host-volume-create")


def _variables(stack: str, namespace: str) -> Iterable[Right]:
    def variables(what: str, roles: frozenset[str], path: str, calls: tuple[str, ...], *grants: str) -> Right:
        return Right(what, "nomad", "namespace", grants, roles, namespace, path, calls)

    own, drill = f"{names.variable_path(names.job_id(stack, ''))}*", names.drill_variable(stack)
    key = names.variable_path(names.job_id(stack, names.WARDEN))
    yield variables(f"read {own}", _roles("deploy", "plan"), own, _GET_VAR, "read")
    yield variables(f"write {own}", _roles("deploy"), own, _PUT_VAR, "write")
    yield variables("sign the recipes of drills", _roles("deploy", "drill"), key, _GET_VAR, "read")
    yield variables("keep the job of a drill", _roles("deploy", "drill"), drill, _PUT_VAR, "write")
    both = _roles("deploy", "drill", names.WARDEN)
    yield variables("read the kept job", both, drill, _GET_VAR, "read")
    yield variables("forget the kept job", both, drill, _DELETE_VAR, "destroy")


def _mounts(stack: str) -> Iterable[Right]:
    """Nomad wants them of who submits a job with host volumes; a plan takes none."""

    def mounts(what: str, roles: frozenset[str], grant: str, name: str) -> Right:
        return Right(what, "nomad", "host_volume", (f"mount-{grant}",), roles, name, calls=("POST /v1/jobs",))

    yield mounts("mount host volumes", _roles("deploy"), "readwrite", f"{stack}-*")
    # log-links makes hard links to log files, which lie where their files do.
    for volume, grant in ((names.ALLOC_VOLUME, "readwrite"), (names.ROOT_VOLUME, "readonly")):
        yield mounts(f"mount {volume}", _roles("deploy"), grant, volume)
    yield mounts(
        "start a drilled job again, with its volumes", _roles("deploy", "drill", names.WARDEN), "readwrite", "*"
    )


def _consul_rights(stack: str) -> Iterable[Right]:
    def right(what: str, roles: frozenset[str], calls: tuple[str, ...], block: str, grant: str, label: str) -> Right:
        return Right(what, "consul", block, (grant,), roles, label, calls=calls)

    people, prefix, drills = _roles(*PEOPLE), f"{names.kv_prefix(stack)}/", f"{names.drills_folder(stack)}/"
    agent, session, lock = ("GET /v1/agent/self", "GET /v1/agent/metrics"), "session_prefix", names.lock_key(stack)
    finds, both = people | {names.WARDEN, names.PROMETHEUS, "demo", *_TEMPLATES}, _roles("deploy", "drill")
    yield right("list services", finds, _INSTANCES, "service_prefix", "read", "")
    yield right("list the nodes of services", finds, _INSTANCES, "node_prefix", "read", "")
    sees = people | {names.PROMETHEUS}
    yield right("read the version of Consul, and its metrics", sees, agent, "agent_prefix", "read", "")
    yield right(f"read {prefix}", people | _TEMPLATES, _GET_KEY, "key_prefix", "read", prefix)
    yield right(f"write {prefix}", _roles("deploy"), _PUT_KEY, "key_prefix", "write", prefix)
    yield right("hold the lock", both, _PUT_KEY, "key", "write", lock)
    yield right("read recipes", _roles(names.WARDEN), _GET_KEY, "key_prefix", "read", drills)
    yield right("keep recipes", both | {names.WARDEN}, _PUT_KEY, "key_prefix", "write", drills)
    yield right("create the session of a lock", both, _SESSIONS, session, "write", "")
    info = ("GET /v1/session/info/*",)
    yield right(
        "see whether a drill's session is alive", _roles(names.WARDEN, "read", "plan"), info, session, "read", ""
    )
    phrases = names.DEMO_PHRASES_KEY
    yield right("read the demo's phrases", _roles("plan", "read", "demo"), _GET_KEY, "key", "read", phrases)
    yield right("look for the demo's songs", _roles("demo"), _GET_KEY, "key", "read", names.DEMO_SONGS_KEY)
    yield right("write the demo's phrases", _roles("deploy"), _PUT_KEY, "key", "write", phrases)
    for service in _SERVICES:
        yield right(f"register {service}", _roles("tasks"), (), "service", "write", service)


def _text(server: str, rows: list[Right]) -> str:
    """One block for each place, with all that is granted there."""
    places: dict[tuple[str, str], list[Right]] = {}
    for row in rows:
        places.setdefault((row.block, row.label), []).append(row)
    blocks = [
        _block(server, *place, there)
        for place, there in sorted(places.items())
        if not any(_makes_needless(wider, place[1], there) for wider in rows)
    ]
    return "\n".join(blocks)


def _makes_needless(wider: Right, label: str, rows: list[Right]) -> bool:
    """Whether a longer prefix of Consul's keys adds nothing to a shorter one."""
    is_wider = wider.block == "key_prefix" and len(wider.label) < len(label) and label.startswith(wider.label)
    return is_wider and rows[0].block.startswith("key") and _highest(rows) in (*wider.grants, "read")


def _block(server: str, block: str, label: str, rows: list[Right]) -> str:
    # In Consul the empty prefix is written too: everything begins with it.
    head = f'{block} "{label}"' if label or server == "consul" else block
    body = _capabilities(rows) if block in ("namespace", "host_volume") else [f'policy = "{_highest(rows)}"']
    return "\n".join([f"{head} {{", *(f"  {line}" for line in body), "}", ""])


def _highest(rows: list[Right]) -> str:
    return "write" if any("write" in row.grants for row in rows) else "read"


def _capabilities(rows: list[Right]) -> list[str]:
    own = {grant for row in rows if not row.path for grant in row.grants}
    lines = [f"capabilities = {_list(own)}"] if own else []
    paths = _paths(rows)
    if paths:
        lines += ["variables {", *(f'  path "{path}" {{ capabilities = {_list(paths[path])} }}' for path in paths), "}"]
    return lines


def _paths(rows: list[Right]) -> dict[str, frozenset[str]]:
    """Path of Variables -> what is granted there. Nomad takes the most specific path alone, and what a wider one grants
    does not count there any more: so it is granted once more, and a path that adds nothing is left out."""
    granted = {
        row.path: frozenset(
            grant for other in rows if other.path and fnmatchcase(row.path, other.path) for grant in other.grants
        )
        for row in rows
        if row.path
    }
    return {
        path: grants
        for path, grants in sorted(granted.items())
        if not any(wider != path and fnmatchcase(path, wider) and granted[wider] == grants for wider in granted)
    }


def _list(grants: Iterable[str]) -> str:
    return json.dumps(sorted(grants))
