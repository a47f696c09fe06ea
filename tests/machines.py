"""Machines for tests: network namespaces that vanish with the process which holds each, whatever listens elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from obsctl.local import namespaces
from tests.own_network import UNSHARE

_HOLD = ["sh", "-c", "echo there; exec sleep 600"]
_CONNECT = """
import socket, sys
here, there, port = sys.argv[1:]
socket.create_connection((there, int(port)), timeout=1, source_address=(here, 0)).close()
"""
_LISTEN = """
import socket, sys, time
kept = [socket.create_server(("0.0.0.0", int(port))) for port in sys.argv[1:]]
print("there", flush=True)
time.sleep(600)
"""


class Machine:
    """A network namespace. pid: of the process that holds it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def command(self, *argv: str) -> list[str]:
        return [*namespaces.enter(self.pid), *argv]

    def run(self, *argv: str, **environ: str) -> str:
        """What it prints. Raises CalledProcessError."""
        answer = subprocess.run(
            self.command(*argv), env={**os.environ, **environ}, capture_output=True, text=True, check=True
        )
        return answer.stdout

    @contextmanager
    def listening(self, ports: Sequence[int]) -> Iterator[None]:
        with _held(self.command(sys.executable, "-c", _LISTEN, *map(str, ports))):
            yield

    def connects(self, here: str, there: str, port: int) -> bool:
        """Whether a TCP connection from this address of the machine comes about within a second."""
        command = self.command(sys.executable, "-c", _CONNECT, here, there, str(port))
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextmanager
def machine() -> Iterator[Machine]:
    """One that has loopback alone."""
    with _held([*UNSHARE, *_HOLD]) as pid:
        made = Machine(pid)
        made.run("ip", "link", "set", "lo", "up")
        yield made


@contextmanager
def neighbours(here: Sequence[str], there: Sequence[str]) -> Iterator[tuple[Machine, Machine]]:
    """Two machines on one wire, with these addresses."""
    with ExitStack() as stack:
        one = stack.enter_context(machine())
        other = Machine(stack.enter_context(_held([*namespaces.new(one.pid), *_HOLD])))
        one.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(other.pid))
        for owner, own, far in ((one, here, there), (other, there, here)):
            owner.run("ip", "link", "set", "wire", "up")
            for address in own:
                owner.run("ip", "address", "add", f"{address}/32", "dev", "wire")
            for address in far:
                owner.run("ip", "route", "add", f"{address}/32", "dev", "wire")
        yield one, other


@contextmanager
def _held(argv: list[str]) -> Iterator[int]:
    """The process runs and has said its first word."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"there\n"
            yield process.pid
        finally:
            process.kill()
