"""A Docker of the tests' own: private folders, a private socket, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from obsctl.wait import wait_until
from tests.ends_with_us import ends_with_us

_END = """
from tests.docker_daemon import end
end(folder)
"""


@dataclass(frozen=True)
class Docker:
    """A running daemon. environ: what points docker, and Nomad's docker driver, at it."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.folder}/docker.sock", "DOCKER_CONFIG": str(self.folder / "config")}

    def run(self, *argv: str | Path, code: int | None = 0) -> str:
        """`docker ARGV`, which must end with this exit code (None: any); gives what it printed."""
        ended = subprocess.run(
            ["docker", *argv], env={**os.environ, **self.environ}, capture_output=True, text=True, check=False
        )
        assert code is None or ended.returncode == code, f"docker {argv}: {ended.stdout}{ended.stderr}"
        return ended.stdout.strip()

    def inspect(self, *names: str) -> list[dict[str, object]]:
        """What Docker knows of these containers or images."""
        found: list[dict[str, object]] = json.loads(self.run("inspect", *names)) if names else []
        return found

    def containers(self) -> list[str]:
        """The names of all that there are, running or not."""
        return self.run("ps", "--all", "--format", "{{.Names}}").split()

    def answers(self) -> bool:
        return bool(self.run("version", "--format", "{{.Server.Version}}", code=None))


@contextmanager
def daemon() -> Iterator[Docker]:
    """Runs as long as the context. No bridge, no firewall rules: containers use the host's network or none."""
    assert shutil.which("dockerd"), "dockerd is missing; on Debian: apt-get install docker.io"
    folder = Path(tempfile.mkdtemp(prefix="obsctl-docker-", dir="/tmp"))
    (folder / "config").mkdir()
    (folder / "daemon.json").write_text("{}")
    docker = Docker(folder)
    argv = [
        "dockerd", f"--config-file={folder}/daemon.json", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid", f"--host=unix://{folder}/docker.sock", "--bridge=none", "--iptables=false",
        "--ip6tables=false", "--ip-masq=false",
    ]  # fmt: skip
    with shared_root(), ends_with_us(folder, _END), running_daemon(argv, folder, docker):
        yield docker


@contextmanager
def shared_root() -> Iterator[None]:
    """As systemd makes it; Docker takes no volume of / without."""
    told = subprocess.run(["findmnt", "-n", "-o", "PROPAGATION", "/"], capture_output=True, text=True, check=True)
    if "shared" in told.stdout:
        yield
        return
    subprocess.run(["mount", "--make-shared", "/"], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", f"--make-{told.stdout.strip().split(',')[0]}", "/"], check=True)


@contextmanager
def running_daemon(argv: list[str], folder: Path, docker: Docker) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        wait_until(
            lambda: _check(process, folder) and docker.answers(), timeout=60, failure="no sign of dockerd", hint=""
        )
        yield
    finally:
        if process.poll() is None:
            # After Ctrl-C it is ending already, and does not answer.
            for container in docker.run("ps", "--all", "--quiet", code=None).split():
                docker.run("rm", "--force", "--volumes", container, code=None)
        end(folder)
        process.wait()


def end(folder: Path) -> None:
    """End the daemon that runs there, which ends its containers, and remove what it kept."""
    for process in _processes(folder):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "dockerd":
                process.terminate()
    wait_until(lambda: not _processes(folder), timeout=60, failure="no sign of the end of Docker's processes", hint="")
    for partition in psutil.disk_partitions(all=True):  # the network namespace of containers that use the host's
        if Path(partition.mountpoint).is_relative_to(folder):
            subprocess.run(["umount", partition.mountpoint], check=True)
    shutil.rmtree(folder)


def _check(process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, "dockerd ended:\n" + (folder / "log").read_text()[-3000:]
    return True


def _processes(folder: Path) -> list[psutil.Process]:
    """dockerd, containerd and its shims: they are called with paths of the folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"].startswith(("dockerd", "containerd"))
        and any(str(folder) in word for word in process.info["cmdline"] or ())
    ]
