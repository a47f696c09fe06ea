"""Finds, starts and stops the agents of a local cluster, each on its machine."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import psutil

from obsctl import children, files
from obsctl.clients import connect
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.errors import ObsctlError
from obsctl.local import binaries, members, processes, readiness
from obsctl.local.access import Access
from obsctl.local.acls import Acls
from obsctl.local.agents import Addresses, command, config_text
from obsctl.local.folder import Folder
from obsctl.local.logs import last_lines
from obsctl.local.machines import CLIENT, HERE, SERVER, Agent, Machine
from obsctl.local.network import CUT, OFF, Network
from obsctl.local.ports import Ports
from obsctl.model import Emit, Event
from obsctl.wait import SYSTEM_CLOCK

AGENT_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """pid and uptime (seconds) are None when the agent does not run. link: as Network.links has it for its machine."""

    name: str
    address: str
    pid: int | None = None
    uptime: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The agents of the cluster in this folder."""

    folder: Folder
    access: Access

    @property
    def machines(self) -> tuple[Machine, ...]:
        layout = self.folder.layout()
        return layout.machines if layout else (HERE,)

    @property
    def agents(self) -> list[Agent]:
        return [agent for machine in self.machines for agent in machine.agents]

    @property
    def network(self) -> Network:
        return Network(self.folder.path)

    @property
    def ports(self) -> Ports:
        return self.folder.ports() or Ports()

    @property
    def addresses(self) -> Addresses:
        """Those of the first server and the first client."""
        server = self.addresses_of(next(machine for machine in self.machines if machine.is_server))
        client = self.addresses_of(next(machine for machine in self.machines if CLIENT in machine.kinds))
        return Addresses(server.consul, server.nomad, client.nomad_client)

    def addresses_of(self, machine: Machine) -> Addresses:
        return Addresses.of(self.ports, self._scheme, machine.address)

    @property
    def own_addresses(self) -> Addresses:
        """Where each machine finds its own agents."""
        return Addresses.of(self.ports, self._scheme)

    @property
    def nomad(self) -> NomadApi:
        """A Nomad server that runs and can be reached, by the management token."""
        return self._nomad_of(self._server.machine)

    @property
    def links(self) -> dict[str, str]:
        """As Network.links has them; none where this machine is alone."""
        names = [machine.name for machine in self.machines if machine.name]
        return self.network.links(names) if names else {}

    def process(self, agent: Agent) -> psutil.Process | None:
        """The agent's process. An `up` that was killed wrote no file of it, so then it is found by its mark."""
        started = self.folder.process(agent.name)
        return (started and processes.find(started)) or members.agent(self.folder.path, self._command(agent))

    def running(self) -> set[str]:
        """The addresses of the agents that run by the files of their processes: nobody else listens there. With either
        scheme, as an `up` that was to change it may have ended before it did."""
        started = [(agent, self.folder.process(agent.name)) for agent in self.agents]
        running = [agent for agent, process in started if process and processes.find(process)]
        return {
            Addresses.of(self.ports, scheme, agent.machine.address).of_agent(agent.kind)
            for agent in running
            for scheme in ("http", "https")
        }

    def status(self, agent: Agent, link: str = "") -> AgentStatus:
        address = self.addresses_of(agent.machine).of_agent(agent.kind)
        process = self.process(agent)
        if process is None:
            return AgentStatus(agent.name, address, link=link)
        return AgentStatus(agent.name, address, process.pid, SYSTEM_CLOCK.now() - process.create_time(), link)

    def environment(self, machine: Machine = HERE) -> dict[str, str]:
        """The environment of the agents, which tasks inherit."""
        inherited = children.environment(children.DOCKER)
        path = f"{self.folder.bin}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        own = {"PATH": path, "TMPDIR": str(self.folder.tmp), members.MARKER: str(self.folder.path)}
        return {**inherited, **own, **({members.MACHINE: machine.name} if machine.name else {})}

    def start(self, chosen: Sequence[Agent], emit: Emit) -> None:
        """Start these agents side by side, and wait for all of them, also for those that already run."""
        launched = [agent for agent in chosen if not self.process(agent)]
        before = self._registrations() if any(agent.kind == CLIENT for agent in launched) else {}
        running = {agent: self.process(agent) or self._launch(agent, emit) for agent in chosen}
        for agent, process in running.items():
            registered = before if agent in launched else {}  # one that ran before does not register anew
            self._await(agent, registered, functools.partial(self._check_alive, agent, process))
            emit(Event(agent.name, "ok", f"{self.status(agent).address} (pid {process.pid})"))

    def stop_outdated(self, emit: Emit) -> None:
        """Stop agents that were started with another configuration. Tasks outlive a client."""
        for agent in filter(self.process, self.agents):
            if files.read(self.folder.config(agent.name)).decode() != self._config_text(agent):
                emit(Event(agent.name, "note", "its configuration has changed"))
                self.stop([agent], emit)

    def stop(self, chosen: Sequence[Agent], emit: Emit) -> None:
        """Stop them side by side."""
        running = {agent: process for agent in chosen if (process := self.process(agent))}
        processes.end(running.values(), grace=AGENT_GRACE)
        for agent, process in running.items():
            emit(Event(agent.name, "ok", f"stopped (pid {process.pid})"))
        for agent in chosen:
            self.folder.forget_process(agent.name)

    def _launch(self, agent: Agent, emit: Emit) -> psutil.Process:
        emit(Event(agent.name, "start", "starting"))
        files.write(self.folder.config(agent.name), self._config_text(agent))
        log = self.folder.log(agent.name)
        files.open_lock(log).close()  # a new file, or one that was there; nothing else
        argv = [*self.network.run_on(agent.machine.name), *self._command(agent)]
        started = processes.launch(argv, env=self.environment(agent.machine), log=log)
        self.folder.keep_process(agent.name, started)
        return processes.find(started) or self._fail(agent)

    def _command(self, agent: Agent) -> list[str]:
        return command(agent.kind, self.folder.bin, self.folder.config(agent.name))

    def _config_text(self, agent: Agent) -> str:
        machine = agent.machine
        versions = {program: binaries.version_of(program, self.folder.bin / program) for program in ("nomad", "consul")}
        return config_text(
            agent.kind, self.folder.of_machine(machine.name), self.ports, self.access.keys(),
            self.folder.host_volumes(machine.name), versions, self.access.certificate(agent), machine,
        )  # fmt: skip

    def _registrations(self) -> dict[str, int]:
        server = self._server
        nomad = self._nomad_of(server.machine)
        return readiness.ask(server.name, lambda: readiness.registrations(nomad), lambda: None)

    def _await(self, agent: Agent, before: Mapping[str, int], check_alive: Callable[[], None]) -> None:
        """Wait until it is ready; the tokens of one that has a leader are made then."""
        if agent.kind == CLIENT:
            nomad = self.nomad
            not_placeable = functools.partial(readiness.not_placeable, nomad, before, agent.machine.name)
            readiness.wait_ready(agent.name, not_placeable, check_alive)
            return
        api = self._nomad_of(agent.machine) if agent.kind == SERVER else self.consul_of(agent.machine)
        readiness.wait_ready(agent.name, lambda: readiness.no_leader(api), check_alive)
        acls = Acls(self.access, self.addresses_of(agent.machine))
        readiness.ask(agent.name, lambda: acls.close(agent.kind), check_alive)

    @property
    def _server(self) -> Agent:
        """The first Nomad server that runs and can be reached; the first of all where there is none."""
        servers, links = [agent for agent in self.agents if agent.kind == SERVER], self.links
        reachable = [agent for agent in servers if links.get(agent.machine.name) not in (OFF, CUT)]
        return next(filter(self.process, reachable), servers[0])

    def _nomad_of(self, machine: Machine) -> NomadApi:
        server = self.access.nomad_server(self.addresses_of(machine))
        return connect.nomad(server, token=self.access.nomad_management())

    def consul_of(self, machine: Machine) -> ConsulApi:
        """The Consul agent of that machine, by the management token."""
        server = self.access.consul_server(self.addresses_of(machine))
        return connect.consul(server, token=self.access.consul_management())

    def _check_alive(self, agent: Agent, process: psutil.Process) -> None:
        if not processes.is_alive(process):
            self._fail(agent)

    def _fail(self, agent: Agent) -> NoReturn:
        first = f"{agent.name} ended as soon as it was started. The end of its log:"
        lines = [first, *last_lines(self.folder.log(agent.name), 10)]
        raise ObsctlError("\n  ".join(lines), hint=f"obsctl dev logs {agent.name} shows more")

    @property
    def _scheme(self) -> str:
        return "https" if self.access.authority.exists else "http"
