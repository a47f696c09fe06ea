"""What the local cluster's ACLs grant: to its agents, its operator, the programs of its stacks, and to other jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obsctl import files, names, rights
from obsctl.clients import connect
from obsctl.clients.acl import ConsulAcl, NomadAcl
from obsctl.config.versions import DYNAMIC_VOLUMES, IDENTITIES, Version
from obsctl.local.access import PROGRAMS, Access
from obsctl.local.agents import Addresses
from obsctl.local.machines import CONSUL, SERVER
from obsctl.setup import consul_identity, nomad_policies
from obsctl.setup.change import mark

CONSUL_AGENT, NOMAD_AGENT, OPERATOR = "obsctl-dev-consul-agent", "obsctl-dev-nomad-agent", "obsctl-dev-operator"
OTHER_JOBS = "obsctl-dev-other-jobs"
OTHER_TASKS, OTHER_SERVICES = "obsctl dev: tasks of other jobs", "obsctl dev: services of other jobs"
CONSUL_AGENT_RULES = 'node_prefix "" { policy = "write" } service_prefix "" { policy = "read" }'
NOMAD_AGENT_RULES = """
agent_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
service_prefix "" { policy = "write" }
"""
OTHER_JOBS_RULES = """
key_prefix "" { policy = "read" }
key_prefix "obsctl/" { policy = "deny" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
"""
"""Templates of other jobs find services, and read all keys but those of stacks."""
PERSON = "deploy"
"""The operator's role: it does all that people do."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A stack that is to have rights, and Nomad's namespace of its jobs."""

    stack: str = "obs"
    namespace: str = "default"


DEFAULT_TENANT = Tenant()


@dataclass(frozen=True, slots=True)
class Acls:
    """The ACLs of the servers at these addresses, by the management tokens."""

    access: Access
    addresses: Addresses

    def close(self, kind: str) -> None:
        """Make the tokens of an agent that has a leader. Raises ApiError."""
        if kind == CONSUL:
            self._close_consul()
        if kind == SERVER:
            self._nomad.bootstrap(self.access.nomad_management())

    def admit(self, tenant: Tenant, version: Version, keys: consul_identity.Keys) -> None:
        """Give its operator and programs what they need, beside what other stacks have. version: of Nomad.

        keys: of Nomad's signatures, where each Consul server finds them.
        """
        stack, namespace = tenant.stack, tenant.namespace
        stacks = sorted({*self.access.admitted, stack})
        self._consul.put_policy(OTHER_JOBS, OTHER_JOBS_RULES)
        for change in nomad_policies.changes(self._nomad, stack, namespace):
            change.apply()
        if version >= IDENTITIES.since:
            for change in consul_identity.changes(self._consul, stack, namespace, keys):
                change.apply()
            self._admit_other_jobs(stacks)
        else:
            for role in (*PROGRAMS, "tasks"):
                self._put_policy(role, tenant)
            self._give_programs_tokens(stacks)
        self._put_policy(PERSON, tenant, volumes=version >= DYNAMIC_VOLUMES.since)
        self._give_operator_tokens(_policies(PERSON, stacks))
        self.access.keep_admitted(stacks)

    @property
    def _nomad(self) -> NomadAcl:
        access = self.access
        return connect.nomad_acl(access.nomad_server(self.addresses), token=access.nomad_management())

    @property
    def _consul(self) -> ConsulAcl:
        access = self.access
        return connect.consul_acl(access.consul_server(self.addresses), token=access.consul_management())

    def _close_consul(self) -> None:
        acl, agent = self._consul, self.access.consul_token("agent")
        acl.put_policy(CONSUL_AGENT, CONSUL_AGENT_RULES)
        acl.put_policy(NOMAD_AGENT, NOMAD_AGENT_RULES)
        acl.put_token(CONSUL_AGENT, agent, (CONSUL_AGENT,))
        acl.use_as_agent_token(agent)
        if not self.access.admitted:  # from then on it has the rights of the stacks' tasks, too
            acl.put_token(NOMAD_AGENT, self.access.keys().nomad_agent, (NOMAD_AGENT,))

    def _admit_other_jobs(self, stacks: Sequence[str]) -> None:
        """Jobs that are no stack's own have identities too. Those of a stack have its roles alone."""
        own = "|".join(names.JOBS)
        others = f'value.nomad_job_id not matches "^({"|".join(stacks)})-({own})$"'
        acl, method = self._consul, consul_identity.METHOD
        acl.put_role(OTHER_JOBS, (OTHER_JOBS,))
        acl.put_binding_rule(method, "role", OTHER_JOBS, f"nomad_service not in value and {others}", OTHER_TASKS)
        service = f"nomad_service in value and {others}"
        acl.put_binding_rule(method, "service", "${value.nomad_service}", service, OTHER_SERVICES)

    def _give_programs_tokens(self, stacks: Sequence[str]) -> None:
        """This Nomad reads templates by the token of its own agents."""
        access, consul = self.access, self._consul
        files.write(access.warden_token, self._nomad.put_token(names.WARDEN, _policies(names.WARDEN, stacks)))
        for program in PROGRAMS:
            consul.put_token(program, access.consul_token(program), _policies(program, stacks))
        agents = (NOMAD_AGENT, OTHER_JOBS, *_policies("tasks", stacks))
        consul.put_token(NOMAD_AGENT, access.keys().nomad_agent, agents)

    def _give_operator_tokens(self, policies: tuple[str, ...]) -> None:
        access = self.access
        files.write(access.nomad_token, self._nomad.put_token(OPERATOR, policies))
        self._consul.put_token(OPERATOR, access.consul_token("operator"), policies)

    def _put_policy(self, role: str, tenant: Tenant, *, volumes: bool = False) -> None:
        texts = rights.policies(role, tenant.stack, tenant.namespace, volumes=volumes)
        name, text = f"{tenant.stack}-{role}", mark(tenant.stack, role)
        self._consul.put_policy(name, texts.consul, description=text)
        if role == PERSON:  # those of programs are bound to their tasks
            self._nomad.put_policy(name, texts.nomad, description=text)


def _policies(role: str, stacks: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{stack}-{role}" for stack in stacks)
