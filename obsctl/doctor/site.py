"""What the checks look at: the configuration, the rendered stack and the cluster, each read once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from obsctl import names
from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.clients.jobs import is_alive
from obsctl.clients.programs import Programs
from obsctl.clients.protocols import AgentApi, ConsulApi, NomadApi
from obsctl.config.schema import Config
from obsctl.config.versions import Version, parse
from obsctl.errors import Forbidden
from obsctl.model import Json
from obsctl.stack import storage
from obsctl.stack.observe import Desired, Resolve, desire, nodes_for
from obsctl.stack.render import Rendered, render
from obsctl.wait import SYSTEM_CLOCK, Clock

_HERE = ("127.", "[::1]", "localhost")


@dataclass(frozen=True, slots=True)
class Logins:
    """Clients of both servers. nomad, consul: by this token, or without one. The ACLs are asked by the operator's.

    by_certificate: nomad or consul, without a token, by the client certificate and the key in these files.
    """

    nomad: Callable[[str | None], NomadApi]
    consul: Callable[[str | None], ConsulApi]
    nomad_acl: NomadAcl
    consul_acl: ConsulAcl
    by_certificate: Callable[[str, str, str], AgentApi]


@dataclass(frozen=True)
class Site:
    """A stack and its cluster. Reading them may raise ObsctlError.

    agent: a client for the Nomad agent at this address, without a token. logins: by other tokens than the operator's.
    state: obsctl's state folder. path: the PATH of the Nomad client on this machine, None when that is not known.
    """

    config: Config
    root: Path
    nomad: NomadApi
    consul: ConsulApi
    programs: Programs
    resolve: Resolve
    agent: Callable[[str], NomadApi]
    logins: Logins
    state: Path
    path: str | None = None
    clock: Clock = SYSTEM_CLOCK

    def server(self, name: str) -> AgentApi:
        """nomad or consul."""
        return self.nomad if name == "nomad" else self.consul

    @cached_property
    def nomad_version(self) -> Version | None:
        """None where the token may not see it, of which the check of the version tells."""
        try:
            return parse(self.nomad.agent_version())
        except Forbidden:
            return None

    def oldest_version(self, name: str) -> str | None:
        """The oldest version of the server, as obsctl.yaml has it."""
        return (self.config.nomad if name == "nomad" else self.config.consul).version

    @cached_property
    def rendered(self) -> Rendered:
        return render(self.config, self.root)

    @cached_property
    def desired(self) -> Desired:
        return desire(self.rendered, self.nomad, self.resolve)

    @cached_property
    def jobs(self) -> list[Json]:
        """The desired jobs, as Nomad would be given them."""
        return [job.job for job in self.desired.jobs]

    @cached_property
    def nodes(self) -> list[Json]:
        return nodes_for(self.jobs, self.nomad)

    @cached_property
    def details(self) -> dict[str, Json]:
        """Id -> what Nomad knows of the node, for nodes that could take a job."""
        able = {node["ID"] for job in self.jobs for node in self.homes(job)}
        return {node_id: self.nomad.node(node_id) for node_id in sorted(able)}

    @cached_property
    def allocations(self) -> dict[str, list[Json]]:
        """Id of a node -> the allocations on it that are alive."""
        by_node = {node_id: self.nomad.watch_node(node_id, index=0, wait=0)[1] for node_id in self.details}
        return {node: list(filter(is_alive, all_)) for node, all_ in by_node.items()}

    def agent_on(self, node: Json) -> NomadApi:
        """A client for the Nomad agent of the node itself, without a token."""
        return self.agent(f"{'https' if node.get('TLSEnabled') else 'http'}://{node['HTTPAddr']}")

    def homes(self, job: Json) -> list[Json]:
        """The nodes that could take the job."""
        return storage.homes(self.nodes, job)

    def is_here(self, node_id: str) -> bool:
        """Whether the node is this machine, so that its folders and ports can be looked at."""
        node = self.details[node_id]
        named = (node.get("Attributes") or {}).get("unique.hostname")
        return str(node.get("HTTPAddr") or "").startswith(_HERE) or named == socket.gethostname()

    def names(self, node_ids: Sequence[str]) -> str:
        return ", ".join(sorted(self.details[node_id]["Name"] for node_id in node_ids))

    def component_of(self, job: Json) -> str:
        """The component's name, as it stands in obsctl.yaml."""
        return str(job["ID"]).removeprefix(names.job_id(self.config.stack, ""))
