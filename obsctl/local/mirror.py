"""Lets this machine reach what listens on the machines of a cluster that a user who is not root has made.

Only root may plug this machine in. But everybody may listen on all of 127.0.0.0/8, so those machines have addresses
from there, and this program listens on the same addresses and ports outside. A second process of it, which has entered
the namespace that stands for this machine, makes the connections to them.

Everybody on this machine may do the same. So the ports of the machines' APIs, to which tokens are sent, are bound
before the cluster starts and stay bound while a machine is off: nobody else can take one and be sent a token.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from obsctl.errors import ObsctlError
from obsctl.local import members, processes
from obsctl.local.folder import Folder
from obsctl.local.members import HERE, HOLDER, RELAY
from obsctl.local.ports import PortInUse, Ports, holder, is_free

INTERVAL = 0.5
"""Seconds until a new port is seen."""
LISTENS = "0A"
LOOPBACKS = ("0100007F", "00000000000000000000000001000000")
"""127.0.0.1 and ::1 as the kernel lists them: who listens there listens for its own machine."""
APIS = ("consul http", "nomad http", "client http")
"""The ports to which tokens are sent."""
_LONGEST_PLACE = 64
_CHUNK = 65_536

Place = tuple[str, int]


def bind(addresses: Iterable[str]) -> list[socket.socket]:
    """Listen on the ports of the APIs of machines with these addresses, for `run`.

    Raises ObsctlError that names one that another program has.
    """
    bound: list[socket.socket] = []
    for place, use in ((address, use) for address in addresses for use in APIS):
        port = Ports().by_use()[use]
        try:
            bound.append(socket.create_server((place, port)))
        except OSError as error:
            for server in bound:
                server.close()
            taken = PortInUse(use, port, holder(port))
            hint = "end that process, or run the cluster as root: who listens there would be sent its tokens"
            raise ObsctlError(f"{place}: {taken}", hint=hint) from error
    return bound


def run(state: Path, here: int, apis: list[socket.socket]) -> None:
    """here: a process in the namespace that stands for this machine. apis: what `bind` gave."""
    outside, inside = socket.socketpair(type=socket.SOCK_SEQPACKET)
    if os.fork():
        outside.close()
        _listen(state, inside, {server.getsockname(): server for server in apis})
    else:
        inside.close()
        for server in apis:
            server.close()
        _enter(here)
        asyncio.run(_connect(outside))


def _listen(state: Path, inside: socket.socket, apis: dict[Place, socket.socket]) -> None:
    """Listen where the machines do, and hand what is accepted to the process inside, as long as that is there.

    apis: those that stay, where a caller hears the end of the connection while nobody listens on the machine.
    """
    machines = Machines(state)
    places: set[Place] = set()
    servers = dict(apis)
    with selectors.DefaultSelector() as selector:
        selector.register(inside, selectors.EVENT_READ)
        for place, server in servers.items():
            _watch(selector, place, server)
        while True:
            with suppress(OSError):  # nothing can be opened at this moment
                places = machines.places()
                _follow(places | apis.keys(), servers, selector)
            until = time.monotonic() + INTERVAL
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is inside:  # which says nothing: it has ended
                        return
                    _accept(servers[key.data], key.data, inside if key.data in places else None)


def _watch(selector: selectors.BaseSelector, place: Place, server: socket.socket) -> None:
    server.setblocking(False)
    selector.register(server, selectors.EVENT_READ, place)


def foreign(state: Path) -> list[Place]:
    """Where programs of the machines listen, and on this machine another program does, which gets their callers."""
    mirrors = [part.process for part in members.of_network(state) if (part.mark, part.machine) == (RELAY, HERE)]
    ours = {place for process in mirrors for place in processes.listening(process)}
    there = Machines(state).places() - ours if mirrors else set()
    return sorted((address, port) for address, port in there if not is_free(port, address))


def _follow(places: set[Place], servers: dict[Place, socket.socket], selector: selectors.BaseSelector) -> None:
    """Listen there and nowhere else."""
    for gone in servers.keys() - places:
        selector.unregister(servers[gone])
        servers.pop(gone).close()
    for place in places - servers.keys():
        with suppress(OSError):  # another program of this machine has the port: `foreign` tells
            servers[place] = socket.create_server(place)
            _watch(selector, place, servers[place])


class Machines:
    """The machines of this cluster, and who holds their namespaces."""

    def __init__(self, state: Path) -> None:
        self._state = state
        layout = Folder(state).layout()
        self._address_of = {machine.name: machine.address for machine in layout.machines} if layout else {}
        self._holders: dict[str, psutil.Process] = {}

    def places(self) -> set[Place]:
        """Where programs of them listen. All processes are looked through only while a machine is off."""
        if self._holders.keys() != self._address_of.keys() or not all(map(processes.is_alive, self._holders.values())):
            holders = [part for part in members.of_network(self._state) if part.mark == HOLDER]
            self._holders = {part.machine: part.process for part in holders if part.machine in self._address_of}
        return {(self._address_of[name], port) for name, holder in self._holders.items() for port in _ports(holder.pid)}


def _ports(pid: int) -> Iterator[int]:
    """Where somebody listens for others in the network namespace of this process."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError), Path(f"/proc/{pid}/net/{name}").open(encoding="ascii") as table:  # it may have ended
            next(table, None)
            for line in table:
                _, local, _, state, *_ = line.split()
                if state != LISTENS:  # those who listen come first
                    break
                host, port = local.split(":")
                if host not in LOOPBACKS:
                    yield int(port, 16)


def _accept(server: socket.socket, place: Place, inside: socket.socket | None) -> None:
    """inside: who makes the connection; None where nobody listens there."""
    with suppress(OSError):  # the caller has given up, or nothing can be opened at this moment
        connection, _ = server.accept()
        with connection:
            if inside:
                socket.send_fds(inside, [f"{place[0]} {place[1]}".encode()], [connection.fileno()])


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("user", "net"):
        with Path(f"/proc/{pid}/ns/{kind}").open("rb") as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), "no way into the namespace", namespace.name)


async def _connect(outside: socket.socket) -> None:
    """Make the connections, until the process outside ends."""
    ended = asyncio.Event()
    running: set[asyncio.Task[None]] = set()

    def receive() -> None:
        place, descriptors, _, _ = socket.recv_fds(outside, _LONGEST_PLACE, 1)
        if not place:
            ended.set()
            return
        for descriptor in descriptors:  # none when this process may open no more
            task = asyncio.create_task(_join(socket.socket(fileno=descriptor), place.decode()))
            running.add(task)
            task.add_done_callback(running.discard)

    asyncio.get_running_loop().add_reader(outside, receive)
    await ended.wait()


async def _join(accepted: socket.socket, place: str) -> None:
    """Copy both ways between the connection that was accepted and a new one to the place."""
    host, port = place.split()
    near, back = await asyncio.open_connection(sock=accepted)
    with suppress(OSError):
        far, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(near, forth), _copy(far, back))
        forth.close()
    back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), [socket.socket(fileno=int(number)) for number in sys.argv[3:]])
