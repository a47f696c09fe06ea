"""A fresh local cluster with the demo's stack, beside whatever else runs here, for commands that are timed on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obsctl.clients.protocols import ConsulApi, NomadApi
from obsctl.config.catalog import Components
from obsctl.config.demo import Demo
from obsctl.errors import DeadlineExceeded
from obsctl.local.binaries import Binaries
from obsctl.local.cluster import LocalCluster
from obsctl.model import Json
from obsctl.stack.health import is_passing
from obsctl.wait import SYSTEM_CLOCK, wait_until

OBSCTL = str(Path(sys.executable).parent / "obsctl")


@dataclass(frozen=True)
class Deployed:
    """folder: with obsctl.yaml. nomad_program: the command that is compared with."""

    folder: Path
    cluster: LocalCluster
    nomad_program: Path
    nomad: NomadApi
    consul: ConsulApi

    @property
    def environ(self) -> dict[str, str]:
        own = {
            **self.cluster.access.exports(self.cluster.addresses),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "NO_COLOR": "1",
        }
        return {**{name: value for name, value in os.environ.items() if not name.startswith("OBSCTL_")}, **own}

    @property
    def jobs(self) -> list[str]:
        return [stub["ID"] for stub in self.nomad.jobs()]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, command: list[str]) -> str:
        """What it says; it has to succeed."""
        process = self.start(command)
        said, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{said}")
        return said

    def write_jobs(self) -> dict[str, Path]:
        """Job -> its file, as it is registered: for `nomad job run -json` and `nomad job plan -json`."""
        files = {}
        for name in self.jobs:
            files[name] = self.folder / f"{name}.json"
            files[name].write_text(json.dumps({"Job": {**self.nomad.job(name), "Stop": False}}))
        return files

    def stop_all(self) -> None:
        """Returns when nothing of it runs any more."""
        for name in self.jobs:
            self.nomad.stop_job(name)
        self._wait("the end of all jobs", lambda name: not self._live(name))

    def wait_healthy(self) -> None:
        """What a deploy waits for, too: each job's deployment succeeded, and its checks pass in Consul."""
        self._wait("all jobs to be healthy", self._is_healthy)

    def _wait(self, what: str, holds: Callable[[str], bool]) -> None:
        left = list(self.jobs)

        def all_hold() -> bool:
            left[:] = [name for name in left if not holds(name)]
            return not left

        try:
            wait_until(all_hold, timeout=180, failure=f"no sign of {what}", hint="")
        except DeadlineExceeded as error:
            sys.exit(f"{error.message}: {', '.join(left)}")

    def _live(self, name: str) -> list[Json]:
        return [alloc for alloc in self.nomad.job_allocations(name) if alloc["ClientStatus"] in ("pending", "running")]

    def _is_healthy(self, name: str) -> bool:
        job, deployment = self.nomad.job(name), self.nomad.job_deployment(name)
        current = deployment if deployment and deployment["JobVersion"] == job["Version"] else None
        ended = current["Status"] == "successful" if current else job["Type"] == "system"
        live = self._live(name)
        return ended and bool(live) and is_passing(self.consul, job, live)


@contextlib.contextmanager
def deployed() -> Iterator[Deployed]:
    """Gone afterwards, with its folder."""
    folder = Path(tempfile.mkdtemp(prefix="obsctl-bench-", dir="/tmp"))  # short: Nomad's sockets lie below it
    cluster = LocalCluster(folder / "c")
    try:
        cluster.up(auto_ports=True)
        (folder / "obsctl.yaml").write_text(json.dumps(_config()))
        found = Deployed(
            folder,
            cluster,
            Binaries().provide("nomad").path,
            cluster.nomad,
            cluster.consul,
        )
        found.run([OBSCTL, "deploy", "--yes"])
        yield found
    finally:
        cluster.down(purge=True)
        shutil.rmtree(folder)


def _config() -> dict[str, Any]:
    """The repository's own, with free ports in the place of those that a running demo has."""
    components = {field.alias or name: _free_ports(field.annotation) for name, field in Components.model_fields.items()}
    demo = {
        field.alias or name: _free_ports(field.annotation)
        for name, field in Demo.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    }
    components["grafana"] = {"enabled": False}
    return {
        "stack": "obs",
        "driver": "raw_exec",
        "timing": "fast",
        "components": components,
        "demo": {"enabled": True, **demo},
    }


def _free_ports(settings: Any) -> dict[str, int]:
    return {name: _free_port() for name in settings.model_fields if name.endswith("port")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds(call: Callable[[], object]) -> float:
    started = SYSTEM_CLOCK.monotonic()
    call()
    return SYSTEM_CLOCK.monotonic() - started


def table(rows: Mapping[str, list[float]]) -> str:
    """The least, the median and all values of each row, in seconds."""
    lines = [f"{'seconds':40} {'least':>7} {'median':>7}   each round"]
    for name, values in rows.items():
        each = " ".join(f"{value:.2f}" for value in values)
        lines.append(f"{name:40} {min(values):7.2f} {statistics.median(values):7.2f}   {each}")
    return "\n".join(lines)


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def verdict(ours: Sequence[float], theirs: Sequence[float], *, limit: float) -> int:
    """Print how many times as long ours takes, and whether that is within the limit; the exit code."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{ratio:.2f} x of the medians, {min(ours) / min(theirs):.2f} x of the least; {load()}")
    print(f"aim: at most {limit:g} x: {'met' if ratio <= limit else 'MISSED'}")
    return 0 if ratio <= limit else 1
