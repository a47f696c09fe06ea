"""The machines of a local cluster: this one alone, or several that network namespaces stand for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from obsctl import names

CONSUL = "consul"
SERVER = "nomad-server"
CLIENT = names.NOMAD_CLIENT
AGENTS = (CONSUL, SERVER, CLIENT)

SERVERS = 3
MOST_CLIENTS = 50
HOST, FIRST_SERVER, FIRST_CLIENT = 1, 11, 21
"""The last numbers of addresses: of this machine on the cluster's network, of server-1, of client-1."""
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = str(ipaddress.IPv4Address(0))


@dataclass(frozen=True, slots=True)
class Machine:
    """One with agents of these kinds. name: "" for this machine itself. servers: the addresses of all servers."""

    name: str
    address: str
    kinds: tuple[str, ...]
    servers: tuple[str, ...]

    @property
    def is_server(self) -> bool:
        return SERVER in self.kinds

    @property
    def listen(self) -> str:
        """Where its APIs listen. In a namespace that is everywhere: nobody outside has a way to it."""
        return _EVERYWHERE if self.name else self.address

    @property
    def interface(self) -> str:
        """The network interface for tasks; "" for loopback, whatever that is called."""
        return "eth0" if self.name else ""

    @property
    def agents(self) -> tuple[Agent, ...]:
        return tuple(Agent(self, kind) for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent on its machine."""

    machine: Machine
    kind: str

    @property
    def name(self) -> str:
        """For people and files: "consul", "client-1/consul"."""
        return f"{self.machine.name}/{self.kind}" if self.machine.name else self.kind


def is_layout(clients: int, network: str) -> bool:
    """Whether a cluster may have so many, in this network."""
    try:
        ipaddress.IPv4Network(network)
    except ValueError:
        return False
    return 1 <= clients <= MOST_CLIENTS and network.endswith("/24")


HERE = Machine("", _LOOPBACK, AGENTS, (_LOOPBACK,))


@dataclass(frozen=True, slots=True)
class Layout:
    """So many client machines beside the servers, in a network such as "10.87.3.0/24"."""

    clients: int
    network: str

    def address(self, number: int) -> str:
        return str(ipaddress.ip_network(self.network)[number])

    @property
    def machines(self) -> tuple[Machine, ...]:
        servers = tuple(self.address(FIRST_SERVER + number) for number in range(SERVERS))
        clients = [self.address(FIRST_CLIENT + number) for number in range(self.clients)]
        return (
            *(Machine(f"server-{n}", own, (CONSUL, SERVER), servers) for n, own in enumerate(servers, 1)),
            *(Machine(f"client-{n}", own, (CONSUL, CLIENT), servers) for n, own in enumerate(clients, 1)),
        )
