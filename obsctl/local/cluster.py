"""A real one-node cluster on 127.0.0.1: a Consul agent, a Nomad server and a Nomad client.

Each is its own process, can be stopped and started alone, and keeps its state below one folder.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from obsctl import children, files
from obsctl.clients import connect
from obsctl.clients.protocols import NomadApi
from obsctl.config.api_servers import ConsulServer, NomadServer
from obsctl.errors import Interrupted, ObsctlError
from obsctl.local import binaries, members, processes, programs, readiness
from obsctl.local.agents import AGENTS, CLIENT, CONSUL, SERVER, Addresses, command, config_text, uses_of
from obsctl.local.folder import Folder
from obsctl.local.gather import Gathering
from obsctl.local.logs import last_lines
from obsctl.local.ports import Ports, free_block, ports_in_use
from obsctl.model import Emit, Event, silent
from obsctl.wait import SYSTEM_CLOCK

AGENT_GRACE = 10.0
TASK_GRACE = 20.0  # Prometheus needs some seconds to write out what it has in memory
HELPER_GRACE = 3.0


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """pid and uptime (seconds) are None when the agent does not run."""

    name: str
    address: str
    pid: int | None = None
    uptime: float | None = None


class LocalCluster:
    """The cluster whose state is in `state_dir`."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = Folder(files.expanded(state_dir).resolve())

    @property
    def addresses(self) -> Addresses:
        """Where the agents listen, or will when they are started."""
        return Addresses.of(self._ports)

    def up(
        self,
        *,
        servers: Mapping[str, str] | None = None,
        host_volumes: Mapping[str, int] | None = None,
        auto_ports: bool = False,
        emit: Emit = silent,
    ) -> Addresses:
        """Start what does not run, and return when a job can be placed.

        Programs that only jobs need are got while the cluster already runs.
        servers: paths of programs by name, as in the config. host_volumes: name -> uid of the user who writes to it.
        auto_ports: choose free ports when none are kept or when those are taken.
        Raises ObsctlError when an agent cannot start, and Interrupted, which names what runs. Neither stops what runs.
        """
        source = binaries.Binaries(configured=servers or {}, emit=emit)
        with self._errors_in_words():
            self.folder.claim(emit)
            there = programs.at_hand(source)
            missing = [name for name in (*programs.NEEDED, *programs.FOR_JOBS) if name not in there]
            with self.folder.filled(), Gathering(missing, source) as coming:
                there |= {name: coming.program(name).path for name in programs.NEEDED if name in missing}
                self._start_all(there, host_volumes or {}, auto_ports, emit)
                self._link_what_comes(coming, [name for name in missing if name not in there], emit)
        return self.addresses

    def await_programs(self, names: Iterable[str], emit: Emit = silent) -> None:
        """Wait for programs that an `up` is still getting. Raises ObsctlError when one is missing and none gets it."""
        programs.wait_until_there(names, self.client_path(), self.folder, emit)

    def down(self, emit: Emit = silent, *, purge: bool = False) -> None:
        """Stop the agents and everything they started, and nothing else.

        The state stays, and `up` brings the jobs back. purge: remove the state folder too.
        """
        with self._errors_in_words(), self._locked_if_ours(emit):
            if purge:
                self.folder.check_removable()
            # Nomad goes first. A client would start ended tasks again, and a server would give up the allocations of a
            # silent client; the next `up` is to find them as they were.
            self._stop(CLIENT, emit)
            self._stop(SERVER, emit)
            self._sweep("tasks", self._tasks, TASK_GRACE, emit)
            members.remove_containers(self._containers(), grace=TASK_GRACE)
            self._sweep("executors", lambda: members.helpers(self.folder.path), HELPER_GRACE, emit)
            self._stop(CONSUL, emit)
            self.folder.clear_tmp()
            if purge:
                self.folder.remove()

    def status(self) -> list[AgentStatus]:
        return [self._status_of(name) for name in AGENTS]

    def leftovers(self) -> list[str]:
        """Everything alive that this cluster started: "prometheus (pid 12)"."""
        alive = [processes.describe(process) for process in members.members(self.folder.path)]
        return alive + [f"container {name}" for name in self._containers()]

    def environment(self) -> dict[str, str]:
        """The environment of the agents, which tasks inherit."""
        inherited = children.environment(children.DOCKER)
        path = f"{self.folder.bin}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        own = {"PATH": path, "TMPDIR": str(self.folder.tmp), members.MARKER: str(self.folder.path)}
        return {**inherited, **own}

    def client_path(self) -> str:
        """The PATH of the Nomad client, or the one that it would get if it were started now."""
        process = self._process(CLIENT)
        its_own = processes.environment_of(process) if process else {}
        return its_own.get("PATH") or self.environment()["PATH"]

    @property
    def _ports(self) -> Ports:
        return self.folder.ports() or Ports()

    @property
    def _nomad(self) -> NomadApi:
        return connect.nomad(NomadServer(address=self.addresses.nomad))

    def _process(self, name: str) -> psutil.Process | None:
        """The agent's process. An `up` that was killed wrote no file of it, so then it is found by its mark."""
        started = self.folder.process(name)
        return (started and processes.find(started)) or members.agent(self.folder.path, self._command(name))

    def _command(self, name: str) -> list[str]:
        return command(name, self.folder.bin, self.folder.config(name))

    def _status_of(self, name: str) -> AgentStatus:
        address = self.addresses.of_agent(name)
        process = self._process(name)
        if process is None:
            return AgentStatus(name, address)
        return AgentStatus(name, address, process.pid, SYSTEM_CLOCK.now() - process.create_time())

    def _settled_ports(self, auto_ports: bool) -> contextlib.AbstractContextManager[Ports]:
        """The kept ports, at first the well-known ones; free ports where they are asked for and needed."""
        last_ports = self.folder.ports()
        if last_ports is None and auto_ports:
            return free_block()
        stopped = [name for name in AGENTS if not self._process(name)]
        ports = last_ports or Ports()
        taken = ports_in_use(ports, [use for name in stopped for use in uses_of(name)])
        if not taken:
            return contextlib.nullcontext(ports)
        if auto_ports and len(stopped) == len(AGENTS):
            return free_block()
        hint = "end that process, or let obsctl choose other ports: obsctl dev up --auto-ports"
        if self.leftovers():
            hint = "a part of this cluster runs: first obsctl dev down, then obsctl dev up --auto-ports"
        raise ObsctlError("; ".join(map(str, taken)), hint=hint)

    def _start_all(self, paths: Mapping[str, Path], volumes: Mapping[str, int], auto_ports: bool, emit: Emit) -> None:
        with self.folder.locked(emit), self._settled_ports(auto_ports) as ports:
            for name, path in paths.items():
                self.folder.link(name, path)
            self.folder.keep_ports(ports)
            for name, owner in volumes.items():
                self.folder.keep_host_volume(name, owner)
            self._start((CONSUL, SERVER), emit)
            self._stop_if_outdated(CLIENT, emit)
            self._start((CLIENT,), emit)

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

    def _start(self, names: tuple[str, ...], emit: Emit) -> None:
        """Start these agents side by side, and wait for all of them, also for one that already runs."""
        launches_client = CLIENT in names and not self._process(CLIENT)
        before = readiness.registrations(self._nomad) if launches_client else {}
        running = {name: self._process(name) or self._launch(name, emit) for name in names}
        for name, process in running.items():
            check_alive = functools.partial(self._check_alive, name, process)
            readiness.wait_ready(name, self._missing(name, before), check_alive)
            emit(Event(name, "ok", f"{self.addresses.of_agent(name)} (pid {process.pid})"))

    def _launch(self, name: str, emit: Emit) -> psutil.Process:
        emit(Event(name, "start", "starting"))
        files.write(self.folder.config(name), self._config_text(name))
        files.open_lock(self.folder.log(name)).close()  # a new file, or one that was there; nothing else
        started = processes.launch(self._command(name), env=self.environment(), log=self.folder.log(name))
        self.folder.keep_process(name, started)
        return processes.find(started) or self._fail(name)

    def _config_text(self, name: str) -> str:
        version = binaries.version_of(CONSUL, self.folder.bin / CONSUL) if name == CONSUL else ()
        return config_text(name, self.folder.path, self._ports, self.folder.host_volumes(), version)

    def _stop_if_outdated(self, name: str, emit: Emit) -> None:
        """Stop an agent that was started with another configuration. Tasks outlive a client."""
        if self._process(name) and files.read(self.folder.config(name)).decode() != self._config_text(name):
            emit(Event(name, "note", "its configuration has changed"))
            self._stop(name, emit)

    def _missing(self, name: str, before: Mapping[str, int]) -> Callable[[], str]:
        """A function that says what the agent still lacks."""
        nomad = self._nomad
        if name == CLIENT:
            return lambda: readiness.not_placeable(nomad, before)
        api = nomad if name == SERVER else connect.consul(ConsulServer(address=self.addresses.consul))
        return lambda: readiness.no_leader(api)

    def _check_alive(self, name: str, process: psutil.Process) -> None:
        if not processes.is_alive(process):
            self._fail(name)

    def _fail(self, name: str) -> NoReturn:
        lines = [f"{name} ended as soon as it was started. The end of its log:", *last_lines(self.folder.log(name), 10)]
        raise ObsctlError("\n  ".join(lines), hint=f"obsctl dev logs {name} shows more")

    def _stop(self, name: str, emit: Emit) -> None:
        process = self._process(name)
        if process:
            processes.end([process], grace=AGENT_GRACE)
            emit(Event(name, "ok", f"stopped (pid {process.pid})"))
        self.folder.forget_process(name)

    def _tasks(self) -> list[psutil.Process]:
        agents = [self._process(name) for name in AGENTS]
        return [process for process in members.tasks(self.folder.path) if process not in agents]

    def _containers(self) -> list[str]:
        return members.containers(self.folder.path / "alloc")

    def _sweep(self, what: str, find: Callable[[], list[psutil.Process]], grace: float, emit: Emit) -> None:
        """End what `find` gives, until it gives nothing: a process may start another while it ends."""
        count = 0
        while alive := find():
            processes.end(alive, grace=grace)
            count += len(alive)
        if count:
            emit(Event(what, "ok", f"{count} ended"))

    @contextlib.contextmanager
    def _locked_if_ours(self, emit: Emit) -> Iterator[None]:
        """Processes can be ended without a folder too: it may have been removed while they ran."""
        with self.folder.locked(emit) if self.folder.is_ours() else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def _errors_in_words(self) -> Iterator[None]:
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
