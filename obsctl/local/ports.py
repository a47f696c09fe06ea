"""The ports of the local cluster: the well-known ones, or free ones."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import psutil

from obsctl.errors import ObsctlError
from obsctl.local.processes import describe

LOOPBACK = "127.0.0.1"
# Each cluster that chooses its ports has a block: the agents' ports, the claim, and the tasks' ports. Nomad hands out a
# random port without asking the kernel whether it is free, so two clusters on one machine must not share any.
# The blocks lie below the kernel's ephemeral range (32768 and up), so that no outgoing connection takes a port before
# the agent starts, and below the ports that other Nomad clients hand out (20000 to 32000).
BLOCK = 200
BLOCKS = range(10_000, 20_000, BLOCK)
CLAIM, FIRST_FOR_TASKS = 9, 10


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the three agents, and the first and last port that Nomad hands out to tasks.

    The defaults are Nomad's and Consul's own. Gossip (serf) uses TCP and UDP, the others TCP.
    """

    consul_http: int = 8500
    consul_rpc: int = 8300
    consul_serf: int = 8301
    nomad_http: int = 4646
    nomad_rpc: int = 4647
    nomad_serf: int = 4648
    client_http: int = 5656
    tasks_first: int = 20_000
    tasks_last: int = 32_000

    def by_use(self) -> dict[str, int]:
        """The agents' ports: {"consul http": 8500, ...}."""
        return {name.replace("_", " "): port for name, port in asdict(self).items() if not name.startswith("tasks")}


@dataclass(frozen=True, slots=True)
class PortInUse:
    """A port that another process holds. holder: "nginx (pid 12)"."""

    use: str
    port: int
    holder: str

    def __str__(self) -> str:
        return f"port {self.port} ({self.use}) is taken by {self.holder}"


def ports_in_use(ports: Ports, uses: Iterable[str] | None = None, host: str = LOOPBACK) -> list[PortInUse]:
    """The ports of these uses (default: of all, as in `Ports.by_use`) that cannot be bound now."""
    by_use = ports.by_use()
    return [
        PortInUse(use, by_use[use], holder(by_use[use]))
        for use in (by_use if uses is None else uses)
        if not is_free(by_use[use], host, gossip=use.endswith("serf"))
    ]


@contextlib.contextmanager
def free_block() -> Iterator[Ports]:
    """A random block of ports that are all free. No other obsctl gets it while the context lasts, which should be until
    the agents listen."""
    for first in random.SystemRandom().sample(BLOCKS, k=len(BLOCKS)):
        agents = Ports(*range(first, first + len(Ports().by_use())))
        ports = replace(agents, tasks_first=first + FIRST_FOR_TASKS, tasks_last=first + BLOCK - 1)
        of_tasks = range(ports.tasks_first, ports.tasks_last + 1)
        with socket.socket() as claim:
            if _binds(claim, first + CLAIM) and not ports_in_use(ports) and all(map(is_free, of_tasks)):
                yield ports
                return
    raise ObsctlError(
        f"no {BLOCK} ports in a row are free between {BLOCKS.start} and {BLOCKS.stop}",
        hint="end something that listens there; ss -ltnp shows it",
    )


def holder(port: int) -> str:
    """The process that holds the port, as far as this user may see it."""
    unknown = "a process that this user may not see"
    try:
        connections = psutil.net_connections(kind="inet")
    except psutil.AccessDenied:
        return unknown
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and not connection.raddr and connection.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                return describe(psutil.Process(connection.pid))
    return unknown


def is_free(port: int, host: str = LOOPBACK, *, gossip: bool = False) -> bool:
    """Whether a server could bind it now."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if gossip else (socket.SOCK_STREAM,)
    return all(_can_bind(port, host, kind) for kind in kinds)


def _can_bind(port: int, host: str, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As servers do: connections of a stopped agent in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(probe, port, host)


def _binds(probe: socket.socket, port: int, host: str = LOOPBACK) -> bool:
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True
