"""Each role on real servers that deny by default: its policies are enough, and one right less is named."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from obsctl import names, rights
from obsctl.cli.wire import Clients
from obsctl.clients import connect
from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.clients.programs import Programs
from obsctl.config.api_servers import ConsulServer, NomadServer
from obsctl.errors import ApiError, Forbidden
from obsctl.rights import Right
from tests.agents import guarded_consul, guarded_nomad

pytestmark = pytest.mark.real
TOKEN = "5e1f0b52-26b5-4ac2-a4a1-4b8e3a2f5a01"
NOBODY = "00000000-0000-0000-0000-000000000000"
NEVER = 2**62
OWN, WARDEN, DRILL = "nomad/jobs/obs-prometheus", "nomad/jobs/obs-warden", names.drill_variable("obs")
JOB = (
    'job "obs-x" {\n group "g" {\n  %s\n  task "t" {\n driver = "raw_exec"\n config {\n command = "true"\n }\n }\n }\n}'
)
VOLUME = 'volume "v" {\n type = "host"\n source = "%s"\n read_only = %s\n }'
Call = Callable[[Clients], object]


def planned(clients: Clients) -> None:
    clients.nomad.plan_job(clients.nomad.parse_job(JOB % ""))


def registered(clients: Clients, volume: str, read_only: str = "false") -> None:
    """Never done: no job has that index."""
    clients.nomad.register_job(clients.nomad.parse_job(JOB % (VOLUME % (volume, read_only))), enforce_index=10**9)


CALLS: dict[str, Call] = {
    "list jobs": lambda to: to.nomad.jobs(),
    "read jobs and allocations": lambda to: to.nomad.job_evaluations("obs-x"),
    "submit jobs": planned,
    "read nomad/jobs/obs-*": lambda to: to.nomad.variable(OWN),
    "write nomad/jobs/obs-*": lambda to: to.nomad.put_variable(OWN, {"x": "x"}, cas=NEVER),
    "sign the recipes of drills": lambda to: to.nomad.variable(WARDEN),
    "keep the job of a drill": lambda to: to.nomad.put_variable(DRILL, {"x": "x"}, cas=NEVER),
    "read the kept job": lambda to: to.nomad.variable(DRILL),
    "forget the kept job": lambda to: to.nomad.delete_variable(DRILL),
    "list nodes": lambda to: to.nomad.nodes(),
    "read the version of Nomad": lambda to: to.nomad.agent_version(),
    "mount host volumes": partial(registered, volume="obs-data"),
    f"mount {names.ALLOC_VOLUME}": partial(registered, volume=names.ALLOC_VOLUME, read_only="true"),
    f"mount {names.ROOT_VOLUME}": partial(registered, volume=names.ROOT_VOLUME, read_only="true"),
    "start a drilled job again, with its volumes": partial(registered, volume="shop"),
    "list services": lambda to: to.consul.services(),
    "list the nodes of services": lambda to: to.consul.health("consul"),
    "read the version of Consul, and its metrics": lambda to: to.consul.agent_version(),
    "read obsctl/obs/": lambda to: to.consul.entries("obsctl/obs/rules/"),
    "write obsctl/obs/": lambda to: to.consul.put("obsctl/obs/x", b"x"),
    "hold the lock": lambda to: to.consul.put("obsctl/obs/lock", b"x"),
    "read recipes": lambda to: to.consul.entries("obsctl/obs/drills/"),
    "keep recipes": lambda to: to.consul.put("obsctl/obs/drills/x", b"x"),
    "create the session of a lock": lambda to: to.consul.destroy_session(to.consul.create_session("x", ttl=10)),
    "read the demo's phrases": lambda to: to.consul.get(names.DEMO_PHRASES_KEY),
    "look for the demo's songs": lambda to: to.consul.get(names.DEMO_SONGS_KEY),
    "write the demo's phrases": lambda to: to.consul.put(names.DEMO_PHRASES_KEY, b"x"),
}
SESSION = "see whether a drill's session is alive"
ELSEWHERE = {"read logs", "find the allocations of a node", "signal, restart and stop allocations"}
"""These take an allocation, and so a Nomad client: the deploys and drills of the e2e tests make them."""


@dataclass
class Cluster:
    nomad: NomadServer
    consul: ConsulServer
    nomad_acl: NomadAcl
    consul_acl: ConsulAcl
    session: str
    """One of somebody else."""

    @property
    def calls(self) -> dict[str, Call]:
        return {**CALLS, SESSION: lambda to: to.consul.session_exists(self.session)}

    def clients(self, rows: list[Right]) -> Clients:
        """Of somebody who has these rights and no others."""
        policies, name = rights.policies_of(rows), f"of-{uuid.uuid4().hex[:12]}"
        self.nomad_acl.put_policy(name, policies.nomad or 'agent {\n policy = "deny"\n}')
        self.consul_acl.put_policy(name, policies.consul)
        secret = str(uuid.uuid4())
        self.consul_acl.put_token(name, secret, (name,))
        nomad = connect.nomad(self.nomad, token=self.nomad_acl.put_token(name, (name,)))
        consul = connect.consul(self.consul, token=secret)
        return Clients(nomad, consul, Programs("obs", nomad, consul))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folders: list[Path] = [tmp_path_factory.mktemp(name) for name in ("nomad", "consul")]
    with guarded_nomad(folders[0], TOKEN) as nomad, guarded_consul(folders[1], TOKEN) as consul:
        servers = NomadServer(address=nomad), ConsulServer(address=consul)
        management = connect.consul(servers[1], token=TOKEN)
        acls = connect.nomad_acl(servers[0], token=TOKEN), connect.consul_acl(servers[1], token=TOKEN)
        for key in ("obsctl/obs/rules/x", "obsctl/obs/drills/x", names.DEMO_PHRASES_KEY, names.DEMO_SONGS_KEY):
            management.put(key, b"x")  # what Consul has not, it cannot hide
        yield Cluster(*servers, *acls, management.create_session("a drill", ttl=3600))


def rows_of(role: str) -> list[Right]:
    return [row for row in rights.rights("obs", "default") if role in row.roles]


def refusal(call: Call, clients: Clients) -> Forbidden | None:
    try:
        call(clients)
    except Forbidden as error:
        return error
    except ApiError:
        pass  # it was allowed, and could not be done
    return None


@pytest.mark.parametrize("role", [role for role in rights.ROLES if role != "tasks"])
def test_the_policies_of_a_role_are_enough_and_each_right_less_is_named(role: str, cluster: Cluster) -> None:
    rows, calls = rows_of(role), cluster.calls
    tried = [row for row in rows if row.what in calls]
    allowed = cluster.clients(rows)
    assert {row.what: str(refused) for row in tried if (refused := refusal(calls[row.what], allowed))} == {}
    for row in tried:
        less = cluster.clients([other for other in rows if not other.covers(row)])
        refused = refusal(calls[row.what], less)
        assert refused, f"{role} needs no right to {row.what}"
        named = row.rule.split("{")[0].split()[0].removesuffix("_prefix")
        assert named in refused.hint, f"{row.what}: {refused.hint}"
        assert all(f'"{grant}"' in refused.hint for grant in row.grants), f"{row.what}: {refused.hint}"


def test_every_right_is_tried() -> None:
    rows = [row for row in rights.rights("obs", "default") if row.block != "service"]
    assert {row.what for row in rows} == {*CALLS, SESSION} | ELSEWHERE
