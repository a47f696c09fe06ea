"""Real programs, for tests that need one of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.errors import ApiError
from obsctl.local.binaries import Binaries
from obsctl.wait import wait_until
from tests.ports import free_port


def program(name: str) -> str:
    """The path of a server's program."""
    return str(Binaries().provide(name).path)


@contextmanager
def running(argv: list[str], folder: Path, log: str = "log", **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program runs in this folder, with these variables on top, and has ended afterwards."""
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, cwd=folder, env={**os.environ, **environ})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)  # a stopped process would not see the next one
            process.terminate()
            process.wait(timeout=30)


def task(*labels: str) -> dict[str, str]:
    """The environment that Nomad gives a task with these ports and those of its metrics, and its data folder."""
    ports = {label: free_port() for label in (*labels, "metrics", "telemetry")}
    environ = {"DATA_DIR": f"data-{ports['metrics']}"}
    for label, port in ports.items():
        environ[f"NOMAD_ADDR_{label}"] = f"127.0.0.1:{port}"
        environ |= {f"NOMAD_IP_{label}": "127.0.0.1", f"NOMAD_PORT_{label}": str(port)}
    return environ


def until_it_answers(probe: Callable[[], object], folder: Path) -> None:
    """Wait until the probe gives something true; its ApiErrors mean "not yet"."""

    def answers() -> bool:
        try:
            return bool(probe())
        except ApiError:
            return False

    wait_until(
        answers,
        timeout=30,
        interval=0.1,
        failure="no sign of the program's first answer",
        hint=f"read the log in {folder}",
    )


def answers(page: str) -> bool:
    """A probe for programs that have a page of their health."""
    try:
        return requests.get(page, timeout=5).ok
    except requests.RequestException:
        return False


def listens(port: int) -> bool:
    """A probe for those that have none."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def guarded_consul(folder: Path, token: str) -> Iterator[str]:
    """The address of a Consul that wants a token; this one may do everything."""
    off = dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1)
    ports = {**off, "http": free_port(), "server": free_port(), "serf_lan": free_port()}
    tokens = {"initial_management": token, "agent": token}
    acl = {"enabled": True, "default_policy": "deny", "tokens": tokens}
    (folder / "agent.json").write_text(json.dumps({"ports": ports, "acl": acl}))
    address = f"http://127.0.0.1:{ports['http']}"
    with running([program("consul"), "agent", "-dev", "-bind=127.0.0.1", "-config-file=agent.json"], folder):
        session = Session(Endpoint("Consul", address, down="wait", token=token, token_header="X-Consul-Token"))
        until_it_answers(lambda: session.get("/v1/catalog/nodes").json(), folder)
        yield address


@contextmanager
def guarded_nomad(folder: Path, token: str) -> Iterator[str]:
    """The address of a Nomad server that wants a token; this one may do everything."""
    ports = {"http": free_port(), "rpc": free_port(), "serf": free_port()}
    config = {
        "data_dir": str(folder / "data"),
        "bind_addr": "127.0.0.1",
        "advertise": dict.fromkeys(ports, "127.0.0.1"),
        "ports": ports,
        "acl": {"enabled": True},
        "consul": {"address": "127.0.0.1:1", "auto_advertise": False, "server_auto_join": False},
        "server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1},
    }
    (folder / "agent.json").write_text(json.dumps(config))
    address = f"http://127.0.0.1:{ports['http']}"
    with running([program("nomad"), "agent", "-config=agent.json"], folder):
        session = Session(Endpoint("Nomad", address, down="wait"))
        until_it_answers(lambda: session.post("/v1/acl/bootstrap", json={"BootstrapSecret": token}).ok, folder)
        yield address
