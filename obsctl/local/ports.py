"""The ports of the local cluster: the well-known ones, or free ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import psutil

from obsctl.errors import ObsctlError

LOOPBACK = "127.0.0.1"
# Below the kernel's usual ephemeral range (32768 and up), so that no outgoing connection can take a port between
# the choice and the agent's start, and clear of Nomad's own dynamic ports (20000 to 32000).
QUIET_RANGE = range(10_000, 20_000, 10)


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port the three agents listen on. Gossip (serf) uses TCP and UDP, the others TCP."""

    consul_http: int = 8500
    consul_rpc: int = 8300
    consul_serf: int = 8301
    nomad_http: int = 4646
    nomad_rpc: int = 4647
    nomad_serf: int = 4648
    client_http: int = 5656

    def by_use(self) -> dict[str, int]:
        """{"consul http": 8500, ...}."""
        return {name.replace("_", " "): port for name, port in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Conflict:
    """A port that somebody else has. `holder` is for people: "nginx (pid 12)"."""

    use: str
    port: int
    holder: str

    def __str__(self) -> str:
        return f"port {self.port} ({self.use}) is taken by {self.holder}"


def conflicts(ports: Ports, uses: Iterable[str] | None = None) -> list[Conflict]:
    """The ports of `uses` (default: all, named as in `Ports.by_use`) that cannot be bound now."""
    wanted = ports.by_use()
    return [
        Conflict(use, wanted[use], holder(wanted[use]))
        for use in (wanted if uses is None else uses)
        if not _is_free(wanted[use], gossip=use.endswith("serf"))
    ]


def choose_free() -> Ports:
    """A random block of neighbouring ports that are all free; two clusters that start at once rarely meet."""
    for first in random.SystemRandom().sample(QUIET_RANGE, k=len(QUIET_RANGE)):
        ports = Ports(*range(first, first + len(fields(Ports))))
        if not conflicts(ports):
            return ports
    raise ObsctlError(
        f"between {QUIET_RANGE.start} and {QUIET_RANGE.stop} no {len(fields(Ports))} ports in a row are free",
        hint="end something that listens there: ss -ltnp",
    )


def holder(port: int) -> str:
    """Who has the port, as far as this user may see."""
    unknown = "a process that this user may not see"
    try:
        connections = psutil.net_connections(kind="inet")
    except psutil.AccessDenied:
        return unknown
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and not connection.raddr and connection.pid:
            return _describe(connection.pid)
    return unknown


def _describe(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def _is_free(port: int, *, gossip: bool) -> bool:
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if gossip else (socket.SOCK_STREAM,)
    return all(_can_bind(port, kind) for kind in kinds)


def _can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As servers do: a stopped agent's connections in TIME_WAIT do not make the port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
