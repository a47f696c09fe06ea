"""What stands between this machine and the machines of a cluster that a user who is not root has made."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from obsctl import children
from obsctl.local import members
from obsctl.local.folder import Folder
from obsctl.local.machines import Layout
from obsctl.model import silent
from obsctl.wait import wait_until
from tests.local_cluster import ON_MACHINES

pytestmark = [pytest.mark.real, ON_MACHINES]
LAYOUT = Layout(1, f"127.77.{os.getpid() % 256}.0/24")
PLACE = (LAYOUT.machines[-1].address, 9000)
ECHO = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))
server = socket.create_server(("0.0.0.0", 9000))
print("listens", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(connection.recv(100))
    connection.close()
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[int]:
    """client-1, on which a program listens that sends back what it gets. The process that holds its namespace."""
    Folder(tmp_path).claim(silent)
    Folder(tmp_path).keep_layout(LAYOUT)
    marks = {members.MARKER: str(tmp_path), members.HOLDER: "client-1"}
    command = ["unshare", "--user", "--map-root-user", "--net", "--", sys.executable, "-c", ECHO]
    with subprocess.Popen(command, env={**children.environment(), **marks}, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"listens\n"
        yield process.pid
        process.kill()


@pytest.fixture
def mirror(tmp_path: Path, machine: int) -> Iterator[psutil.Process]:
    """The process that listens outside, which does."""
    command = [sys.executable, "-m", "obsctl.local.mirror", str(tmp_path), str(machine)]
    with subprocess.Popen(command, env=children.environment()) as process:
        wait_until(answers, timeout=10, failure="nobody listens", hint="")
        yield psutil.Process(process.pid)
        process.kill()


def answers() -> bool:
    try:
        with socket.create_connection(PLACE, timeout=5) as connection:
            connection.sendall(b"word")
            return connection.recv(100) == b"word"
    except ConnectionError:
        return False


def test_it_outlives_a_moment_in_which_it_can_open_nothing(mirror: psutil.Process) -> None:
    before = resource.prlimit(mirror.pid, resource.RLIMIT_NOFILE)
    highest = max(int(file.name) for file in Path(f"/proc/{mirror.pid}/fd").iterdir())
    resource.prlimit(mirror.pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    with socket.create_connection(PLACE, timeout=2) as connection:
        connection.sendall(b"word")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        resource.prlimit(mirror.pid, resource.RLIMIT_NOFILE, before)
        assert connection.recv(100) == b"word"


def test_it_ends_with_the_process_inside(mirror: psutil.Process) -> None:
    """Then a command that needs it starts both anew."""
    [inside] = mirror.children()
    inside.kill()
    mirror.wait(timeout=5)
