"""The network of a cluster of several machines: network namespaces, each with a cable to a switch.

The switch is a bridge in a namespace of its own, with one more cable to this machine, so nothing is routed or
translated and nobody outside has a way to it. A namespace lasts as long as the process that holds it, and a cable as
long as the namespaces at its ends. So all of it vanishes with processes that carry the cluster's mark.

Who is not root has all namespaces in a user namespace, with one more that stands for this machine (HERE); `mirror`
makes the bridge from there to this machine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from obsctl import children
from obsctl.errors import ObsctlError
from obsctl.local import members, mirror, namespaces, processes, relay
from obsctl.local.machines import HOST, Layout, Machine
from obsctl.local.members import HERE, HOLDER, RELAY
from obsctl.wait import wait_until

SWITCH, UPLINK, INTERFACE = "switch", "uplink", "eth0"
OFF, CUT, DELAYED = "off", "cut off", "delayed"
TIMEOUT = 10.0
AGAIN = "obsctl dev down, then obsctl dev up"
ROUTE_LOOPBACK = "/proc/sys/net/ipv4/conf/all/route_localnet"


def free_network(state: Path) -> str:
    """A range of private addresses to which this machine has no route yet; without root one of loopback addresses."""
    if namespaces.is_rootless():
        return f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.0/24"
    routes = json.loads(_run(["ip", "-json", "-4", "route", "show", "table", "all"], ""))
    taken = [
        ipaddress.ip_network(route["dst"], strict=False) for route in routes if route.get("dst", "default") != "default"
    ]
    first = int.from_bytes(_digest(state)[:2])
    for step in range(2**16):  # each cluster begins elsewhere
        network = ipaddress.ip_network(f"10.{(first + step) // 256 % 256}.{(first + step) % 256}.0/24")
        if not any(network.overlaps(other) for other in taken):
            return str(network)
    raise ObsctlError("no network below 10.0.0.0/8 is free", hint="ip route shows what this machine has routes to")


@dataclass(frozen=True, slots=True)
class Network:
    """The network of the cluster whose state folder this is."""

    state: Path
    _holders: dict[str, psutil.Process] = field(default_factory=dict, repr=False, compare=False)
    """Machine -> who holds its namespace, as far as it is known: to look through all processes takes a while."""

    def raise_up(self, layout: Layout) -> None:
        """Make what is missing of the switch, and plug this machine in.

        Raises ObsctlError when another program of this machine listens where the mirror is to.
        """
        here = HERE if namespaces.is_rootless() else ""
        apis = mirror.bind(machine.address for machine in layout.machines) if here and not self._is_mirrored() else []
        with contextlib.ExitStack() as ours:
            for server in apis:
                ours.enter_context(server)
            holder = self._hold(here) if here else None
            self._plug_this_machine_in(here, layout.address(HOST))
            if holder and apis:
                self._start_mirror(holder, apis)

    def foreign_ports(self) -> list[str]:
        """Addresses at which another program of this machine answers in the place of a machine's."""
        return [f"{address}:{port}" for address, port in mirror.foreign(self.state)] if self._is_mirrored() else []

    def _is_mirrored(self) -> bool:
        return bool(self._all(RELAY, HERE))

    def _plug_this_machine_in(self, here: str, address: str) -> None:
        switch = self._hold(SWITCH)
        if SWITCH not in self._ports():
            self._ip(SWITCH, f"link add {SWITCH} type bridge")
        if UPLINK not in self._ports():
            self._ip(here, f"link add {self.host_link} type veth peer name {UPLINK} netns {switch.pid}")
        self._route_loopback(here)
        self._ip(here, *_address(self.host_link, address))
        self._ip(
            SWITCH, f"link set {UPLINK} master {SWITCH}", *(f"link set {end} up" for end in ("lo", SWITCH, UPLINK))
        )

    def _start_mirror(self, holder: psutil.Process, apis: list[socket.socket]) -> None:
        """It inherits the sockets, so that nobody else can bind their ports in between."""
        for server in apis:
            server.set_inheritable(True)
        numbers = [str(server.fileno()) for server in apis]
        argv = [sys.executable, "-I", "-m", f"{__package__}.mirror", str(self.state), str(holder.pid), *numbers]
        self._launch(argv, {RELAY: HERE})

    def plug_in(self, machine: Machine) -> None:
        """Make its namespace and its cable, as far as they are missing; a cut is mended."""
        holder = self._hold(machine.name)
        hardware = "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.ip_address(machine.address).packed)
        if machine.name not in self._ports():
            ends = f"link add {machine.name} type veth peer name {INTERFACE} address {hardware} netns {holder.pid}"
            self._ip(SWITCH, ends, f"link set {machine.name} master {SWITCH}")
        self._route_loopback(machine.name)
        up = _address(INTERFACE, machine.address)
        self._ip(machine.name, "link set lo up", f"link set {INTERFACE} addrgenmode none", *up)
        self.join(machine.name)

    def is_on(self, name: str) -> bool:
        """Whether the machine, or the switch, has its namespace."""
        return self._holder(name) is not None

    def enter(self, name: str) -> list[str]:
        """What stands before a command that runs there."""
        if not name:
            return []
        holder = self._holder(name)
        if holder is None:
            raise ObsctlError(f"{name} is off", hint=f"obsctl dev node start {name}")
        return namespaces.enter(holder.pid)

    def run_on(self, name: str) -> list[str]:
        """The same for a command that is to run as the user who started the cluster, not as root of the namespace."""
        return [*self.enter(name), *(namespaces.as_user() if name else [])]

    def cut(self, name: str) -> None:
        self._ip(SWITCH, f"link set {name} down")

    def join(self, name: str) -> None:
        if not self._all(RELAY, name):
            self._end_delay(name)  # what an interrupted command has left of one
        self._ip(SWITCH, f"link set {name} up")

    def delay(self, name: str, milliseconds: int) -> None:
        """From now on each frame from it and to it takes so much longer; 0: no longer."""
        self._end_delay(name)
        if not milliseconds:
            return
        near, far = _ends(name)
        self._ip(
            SWITCH,
            f"link add {near} type veth peer name {far}",
            *(f"link set {device} arp off addrgenmode none" for device in (name, near)),  # or the switch would answer
            f"link set {name} nomaster",
            f"link set {far} master {SWITCH}",
            f"link set {far} up",
        )
        argv = [sys.executable, "-I", "-S", relay.__file__, name, near, str(milliseconds / 1000)]
        self._launch([*self.enter(SWITCH), *argv], {RELAY: name})
        self._wait(lambda: "UP" in self._ports().get(near, []), f"the relay of {name} did not start")

    def links(self, names: Iterable[str]) -> dict[str, str]:
        """Machine -> OFF, CUT or DELAYED; "" for one that is joined as it should be."""
        ports, parts = self._ports(), members.of_network(self.state)
        held = {part.machine for part in parts if part.mark == HOLDER}
        delayed = {part.machine for part in parts if part.mark == RELAY}

        def link_of(name: str) -> str:
            if name not in held:
                return OFF
            has_way = (_ends(name)[0] in ports) == (name in delayed)
            if "UP" not in ports.get(name, []) or not has_way:
                return CUT
            return DELAYED if name in delayed else ""

        return {name: link_of(name) for name in names}

    def unplug(self, name: str) -> None:
        """Remove its cable."""
        self._end_delay(name)
        if name in self._ports():
            self._ip(SWITCH, f"link delete {name}")

    def switch_off(self, name: str) -> None:
        """Remove its namespace, in which nobody runs any more, and its cable."""
        # The cable would stay for minutes: the kernel keeps the namespace while it tries to send what was not received.
        self.unplug(name)
        processes.end(self._all(HOLDER, name), grace=None)

    def remove(self) -> None:
        """All of it, also what an interrupted command left behind."""
        processes.end([*self._all(RELAY), *self._all(HOLDER)], grace=None)
        self._wait(lambda: self.host_link not in psutil.net_if_stats(), f"the link {self.host_link} stayed")

    @property
    def host_link(self) -> str:
        """The name of this machine's end, by which everybody sees whose it is."""
        return f"obsctl-{_digest(self.state).hex()[:8]}"

    def _end_delay(self, name: str) -> None:
        processes.end(self._all(RELAY, name), grace=None)
        ports, (near, _) = self._ports(), _ends(name)
        back = [f"link set {name} master {SWITCH}", f"link set {name} arp on"] if name in ports else []
        if near in ports:
            self._ip(SWITCH, *back, f"link delete {near}")

    def _route_loopback(self, name: str) -> None:
        """Without root the addresses are loopback ones, which the kernel sends over no cable until it is told to."""
        if namespaces.is_rootless():
            _run([*self.enter(name), "tee", ROUTE_LOOPBACK], "1")

    def _ports(self) -> dict[str, list[str]]:
        """The devices of the switch, each with its flags; none when it is off."""
        switch = self._holder(SWITCH)
        if switch is None:
            return {}
        links = json.loads(_run([*namespaces.enter(switch.pid), "ip", "-json", "link", "show"], ""))
        return {link["ifname"]: link["flags"] for link in links}

    def _ip(self, name: str, *commands: str) -> None:
        _ip(self.enter(name), *commands)

    def _all(self, mark: str, name: str = "") -> list[psutil.Process]:
        parts = members.of_network(self.state)
        return [part.process for part in parts if part.mark == mark and name in ("", part.machine)]

    def _holder(self, name: str) -> psutil.Process | None:
        if name not in self._holders or not processes.is_alive(self._holders[name]):
            self._holders.clear()
            parts = members.of_network(self.state)
            self._holders.update({part.machine: part.process for part in parts if part.mark == HOLDER})
        return self._holders.get(name)

    def _hold(self, name: str) -> psutil.Process:
        """The process that holds its namespace, which is there."""
        holder = self._holder(name)
        if holder is None:
            here = self._holder(HERE) if namespaces.is_rootless() else None
            holder = self._launch([*namespaces.new(here.pid if here else None), *namespaces.hold()], {HOLDER: name})
        if holder is None:
            raise namespaces.not_allowed()
        self._wait(functools.partial(namespaces.is_held, holder), "no network namespace was made")
        self._holders[name] = holder
        return holder

    def _launch(self, argv: list[str], marks: dict[str, str]) -> psutil.Process | None:
        environment = {**children.environment(), members.MARKER: str(self.state), **marks}
        log = self.state / "logs" / "network.log"
        return processes.find(processes.launch(argv, env=environment, log=log))

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        hint = f"{self.state / 'logs' / 'network.log'} may say why"
        wait_until(condition, timeout=TIMEOUT, failure=failure, hint=hint, interval=0.02)


def _address(device: str, address: str) -> list[str]:
    """Commands that give the device its address. A loopback address has a route of its own already, to `lo`."""
    commands = [f"address replace {address}/24 dev {device} scope global", f"link set {device} up"]
    network = ipaddress.ip_interface(f"{address}/24").network
    own = [f"route replace {network} dev {device} table local scope link src {address}"]
    return [*commands, *(own if network.is_loopback else [])]


def _ends(name: str) -> tuple[str, str]:
    """The devices of a delay: the relay's, and the switch's, which stands in the place of the cable's."""
    return f"{name}-near", f"{name}-far"


def _digest(state: Path) -> bytes:
    return hashlib.sha256(os.fsencode(state)).digest()


def _ip(enter: list[str], *commands: str) -> None:
    _run([*enter, "ip", "-batch", "-"], "\n".join(commands) + "\n")


def _run(argv: list[str], commands: str) -> str:
    ended = processes.run(argv, timeout=TIMEOUT, hint=AGAIN, commands=commands)
    if "Operation not permitted" in ended.stderr:
        raise namespaces.not_allowed()
    if ended.returncode:
        words = " ".join(ended.stderr.split())
        raise ObsctlError(f"the cluster's network cannot be made: {words}", hint=AGAIN)
    return ended.stdout
