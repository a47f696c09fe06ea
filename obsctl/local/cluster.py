"""A real cluster on this machine: Nomad and Consul agents that are processes of their own.

By default there is one of each on 127.0.0.1; with machines of its own, it has them on each of those. Each can be
stopped and started alone, and keeps its state below one folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from obsctl import files
from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.versions import IDENTITIES, Version
from obsctl.errors import Interrupted, ObsctlError
from obsctl.local import binaries, members, namespaces, network, processes, programs
from obsctl.local.access import Access
from obsctl.local.acls import DEFAULT_TENANT, Acls, Tenant
from obsctl.local.agents import Addresses, uses_of
from obsctl.local.control import AgentStatus, Control
from obsctl.local.folder import Folder
from obsctl.local.gather import Gathering
from obsctl.local.machines import CLIENT, CONSUL, HERE, SERVER, Layout, Machine
from obsctl.local.ports import Ports, free_block, ports_in_use
from obsctl.model import Emit, Event, silent
from obsctl.setup import consul_identity

TASK_GRACE = 20.0  # Prometheus needs some seconds to write out what it has in memory
HELPER_GRACE = 3.0


class LocalCluster:
    """The cluster whose state is in `state_dir`."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = Folder(files.expanded(state_dir).resolve())
        self.access = Access(self.folder.path)
        self.control = Control(self.folder, self.access)

    @property
    def addresses(self) -> Addresses:
        """Where the agents listen, or will when they are started."""
        return self.control.addresses

    def up(
        self,
        *,
        servers: Mapping[str, str] | None = None,
        host_volumes: Mapping[str, int] | None = None,
        auto_ports: bool = False,
        tenant: Tenant = DEFAULT_TENANT,
        tls: bool = False,
        nodes: int | None = None,
        emit: Emit = silent,
    ) -> Addresses:
        """Start what does not run, and return when a job can be placed.

        Programs that only jobs need are got while the cluster already runs.
        servers: paths of programs by name, as in the config. host_volumes: name -> uid of the user who writes to it.
        tenant: the stack that gets rights; those that had some keep them. auto_ports: choose free ports when none are
        kept or when those are taken. tls: talk by TLS from now on.
        nodes: the number of client machines beside the servers; None for what the cluster has, at first this machine.
        Raises ObsctlError when an agent cannot start, and Interrupted, which names what runs. Neither stops what runs.
        """
        source = binaries.Binaries(configured=servers or {}, emit=emit)
        if nodes or self.folder.layout():
            namespaces.check_allowed()
        with self.errors_in_words():
            self.folder.claim(emit)
            self._settle_layout(nodes, emit)
            there = programs.at_hand(source)
            missing = [name for name in (*programs.NEEDED, *programs.FOR_JOBS) if name not in there]
            with self.folder.filled(), Gathering(missing, source) as coming:
                there |= {name: coming.program(name).path for name in programs.NEEDED if name in missing}
                if tls:
                    others = [machine.address for machine in self.control.machines if machine is not HERE]
                    self.access.authority.make(there[CONSUL], others)
                self._start_all(there, host_volumes or {}, auto_ports, tenant, emit)
                self._link_what_comes(coming, [name for name in missing if name not in there], emit)
        return self.addresses

    def await_programs(self, names: Iterable[str], emit: Emit = silent) -> None:
        """Wait for programs that an `up` is still getting. Raises ObsctlError when one is missing and none gets it."""
        programs.wait_until_there(names, self.client_path(), self.folder, emit)

    def down(self, emit: Emit = silent, *, purge: bool = False) -> None:
        """Stop the agents and everything they started, and nothing else.

        The state stays, and `up` brings the jobs back. purge: remove the state folder too.
        """
        with self.errors_in_words(), self._locked_if_ours(emit):
            if purge:
                self.folder.check_removable()
            self.access.withdraw()
            self.stop_machines(self.control.machines, emit)
            self.control.network.remove()
            self.folder.clear_tmp()
            if purge:
                self.folder.remove()

    def stop_machines(self, machines: Sequence[Machine], emit: Emit) -> None:
        """Stop what runs on them, side by side."""
        # Nomad goes first. A client would start ended tasks again, and a server would give up the allocations of a
        # silent client; the next `up` is to find them as they were.
        for kind in (CLIENT, SERVER):
            self._stop(machines, kind, emit)
        _sweep("tasks", lambda: self._tasks(machines), TASK_GRACE, emit)
        _sweep("executors", lambda: list(filter(members.is_helper, self._members(machines))), HELPER_GRACE, emit)
        # A client that leaves tells the servers so.
        self._stop([machine for machine in machines if not machine.is_server], CONSUL, emit)
        self._stop([machine for machine in machines if machine.is_server], CONSUL, emit)
        # A Docker that hangs keeps nothing else running.
        members.remove_containers(self._containers(machines), grace=TASK_GRACE)

    def kill_machine(self, machine: Machine) -> None:
        """End what runs on it at once, as if it lost its power."""
        members.sweep(lambda: self._members([machine]), grace=None)
        for agent in machine.agents:
            self.folder.forget_process(agent.name)
        members.remove_containers(self._containers([machine]), grace=0)

    def start_machines(self, machines: Sequence[Machine], emit: Emit, *, led: Callable[[], None] | None = None) -> None:
        """Start their agents. led: what to do once the servers have leaders, before clients start tasks."""
        cables = self.control.network
        for machine in machines:
            if machine.name:
                cables.plug_in(machine)
        chosen = [agent for machine in machines for agent in machine.agents]
        self.control.start([agent for agent in chosen if agent.kind != CLIENT], emit)
        if led:
            led()
        self.control.start([agent for agent in chosen if agent.kind == CLIENT], emit)

    def status(self) -> list[AgentStatus]:
        links = self.control.links
        return [self.control.status(agent, links.get(agent.machine.name, "")) for agent in self.control.agents]

    def is_up(self) -> bool:
        """Whether an `up` came to its end, and all agents run, but for those of machines that are off."""
        expected = [agent for agent in self.status() if agent.link != network.OFF]
        return self.access.overlay.exists() and bool(expected) and all(agent.pid for agent in expected)

    def leftovers(self) -> list[str]:
        """Everything alive that this cluster started: "prometheus (pid 12)"."""
        alive = [processes.describe(process) for process in members.members(self.folder.path)]
        return alive + [f"container {name}" for name in self._containers(self.control.machines)]

    def client_path(self) -> str:
        """The PATH of the Nomad clients, or the one that they would get if they were started now."""
        clients = [agent for agent in self.control.agents if agent.kind == CLIENT]
        running = [process for agent in clients if (process := self.control.process(agent))]
        its_own = processes.environment_of(running[0]) if running else {}
        return its_own.get("PATH") or self.control.environment()["PATH"]

    @property
    def nomad(self) -> NomadApi:
        """Its Nomad, by the management token."""
        return self.control.nomad

    @property
    def consul(self) -> ConsulApi:
        """Its Consul, by the management token."""
        return self.control.consul_of(self.control.machines[0])

    def _settle_layout(self, nodes: int | None, emit: Emit) -> None:
        """How many machines the cluster has is said at its first start."""
        with self.folder.locked(emit):
            there = self.folder.layout()
            if nodes is None or (there and there.clients == nodes):
                return
            if self.folder.ports() is not None:
                size = f"{there.clients} client machines" if there else "this machine alone"
                raise ObsctlError(
                    f"the cluster in {self.folder.path} has {size}, and --nodes {nodes} asks for another one",
                    hint="remove it by obsctl dev down --purge, or choose another folder with --state-dir",
                )
            self.folder.keep_layout(Layout(nodes, network.free_network(self.folder.path)))

    def _settled_ports(self, auto_ports: bool) -> contextlib.AbstractContextManager[Ports]:
        """The kept ports, at first the well-known ones; free ports where they are asked for and needed."""
        last_ports = self.folder.ports()
        if self.folder.layout():  # machines of our own have all ports for themselves
            return contextlib.nullcontext(Ports())
        if last_ports is None and auto_ports:
            return free_block()
        stopped = [agent.kind for agent in HERE.agents if not self.control.process(agent)]
        ports = last_ports or Ports()
        taken = ports_in_use(ports, [use for name in stopped for use in uses_of(name)])
        if not taken:
            return contextlib.nullcontext(ports)
        if auto_ports and len(stopped) == len(HERE.agents):
            return free_block()
        hint = "end that process, or let obsctl choose other ports: obsctl dev up --auto-ports"
        if self.leftovers():
            hint = "a part of this cluster runs: first obsctl dev down, then obsctl dev up --auto-ports"
        raise ObsctlError("; ".join(map(str, taken)), hint=hint)

    def _start_all(
        self, paths: Mapping[str, Path], volumes: Mapping[str, int], auto_ports: bool, tenant: Tenant, emit: Emit
    ) -> None:
        with self.folder.locked(emit), self._settled_ports(auto_ports) as ports:
            for name, path in paths.items():
                self.folder.link(name, path)
            self.folder.keep_ports(ports)
            for machine in self.control.machines:
                self._prepare(machine, volumes)
            self.control.stop_outdated(emit)
            if layout := self.folder.layout():
                self.control.network.raise_up(layout)
            version = binaries.version_of("nomad", self.folder.bin / "nomad")
            self.start_machines(self.control.machines, emit, led=lambda: self._admit(tenant, version))
            own = self.control.own_addresses
            self.access.publish(self.addresses, own, identities=version >= IDENTITIES.since)

    def _admit(self, tenant: Tenant, version: Version) -> None:
        # Each Consul server asks the Nomad server of its own machine.
        keys = consul_identity.Keys.of(self.control.own_addresses.nomad, self.access.authority.ca_text())
        Acls(self.access, self.addresses).admit(tenant, version, keys)

    def _prepare(self, machine: Machine, volumes: Mapping[str, int]) -> None:
        self.folder.prepare(machine.name)
        if CLIENT in machine.kinds:
            for name, owner in volumes.items():
                self.folder.keep_host_volume(name, owner, machine.name)

    def _link_what_comes(self, coming: Gathering, names: Sequence[str], emit: Emit) -> None:
        """The cluster runs. A job finds a program as soon as that is linked."""
        if names:
            emit(Event("cluster", "ok", f"runs; obsctl still gets programs for jobs: {', '.join(names)}"))
        for name in names:
            try:
                program = coming.program(name)
            except ObsctlError as error:
                emit(Event(name, "note", f"jobs cannot use it: {error.message}"))
                continue
            with self.folder.locked(emit):
                self.folder.link(name, program.path)

    def _stop(self, machines: Sequence[Machine], kind: str, emit: Emit) -> None:
        self.control.stop([agent for machine in machines for agent in machine.agents if agent.kind == kind], emit)

    def _members(self, machines: Sequence[Machine]) -> list[psutil.Process]:
        """The processes on these machines, those of the network left out."""
        alive = members.members(self.folder.path)
        if len(machines) < len(self.control.machines):
            alive = [process for machine in machines for process in members.of_machine(self.folder.path, machine.name)]
        return [process for process in alive if not members.is_of_network(process)]

    def _tasks(self, machines: Sequence[Machine]) -> list[psutil.Process]:
        agents = [self.control.process(agent) for machine in machines for agent in machine.agents]
        alive = self._members(machines)
        return [process for process in alive if process not in agents and not members.is_helper(process)]

    def _containers(self, machines: Sequence[Machine]) -> list[str]:
        folders = [self.folder.of_machine(machine.name) / "alloc" for machine in machines]
        return [name for folder in folders for name in members.containers(folder)]

    @contextlib.contextmanager
    def _locked_if_ours(self, emit: Emit) -> Iterator[None]:
        """Processes can be ended without a folder too: it may have been removed while they ran."""
        with self.folder.locked(emit) if self.folder.is_ours() else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def errors_in_words(self) -> Iterator[None]:
        """Turns what can happen at any moment into an error in words: Ctrl-C, a full disk, a folder of another user."""
        try:
            yield
        except KeyboardInterrupt:
            alive = ", ".join(self.leftovers())
            state = f"still running: {alive}" if alive else "nothing of the cluster runs"
            hint = "obsctl dev up goes on, obsctl dev down stops everything"
            raise Interrupted(f"interrupted; {state}", hint=hint) from None
        except OSError as error:
            raise ObsctlError(
                f"the cluster's state in {self.folder.path} cannot be used: {error.strerror} ({error.filename})",
                hint="choose a folder that you may write to, with --state-dir or OBSCTL_DEV_STATE_DIR",
            ) from error


def _sweep(what: str, find: Callable[[], list[psutil.Process]], grace: float, emit: Emit) -> None:
    """End what `find` gives, until it gives nothing."""
    count = members.sweep(find, grace=grace)
    if count:
        emit(Event(what, "ok", f"{count} ended"))
