"""Programs as processes of their own on free ports of 127.0.0.1: those of `obsctl serve`, and a Consul agent."""

import json
import os
import signal
import subprocess
import sys
import time

import requests

from obsctl.wait import wait_until
from tests.agents import program
from tests.ports import free_port


def freeze(process):
    """Stop it with SIGSTOP, and wait until it stands still: some of its threads may run on for a moment."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def answers(url):
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Program:
    """`obsctl serve ...` on a free port, or again on the port of an earlier one."""

    def __init__(self, log, *args, port=None, env=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        command = [sys.executable, "-m", "obsctl", "serve", *args, "--port", str(self.port)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=env)

    def wait_alive(self):
        self.wait_for("/alive")
        return self

    def wait_for(self, path):
        def answered():
            assert self.process.poll() is None, self.log.read_text()
            return answers(self.url + path)

        wait_until(answered, timeout=30, failure=f"no sign of {self.url}{path}", hint=str(self.log), interval=0.05)

    def get(self, path):
        return requests.get(self.url + path, timeout=10)

    def metric(self, name):
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def end(self, number=signal.SIGTERM):
        """Send the signal; the exit code and how long it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout=30), time.monotonic() - started

    def cleanup(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)


class Consul:
    """A Consul agent in development mode, on its own ports."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = [f"-{name}-port={free_port()}" for name in ("server", "serf-lan", "serf-wan")]
        closed = [f"-{name}-port=-1" for name in ("dns", "grpc", "grpc-tls")]
        command = [program("consul"), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={self.port}"]
        with (folder / "consul.log").open("wb") as output:
            self.process = subprocess.Popen([*command, *ports, *closed], stdout=output, stderr=output, cwd=folder)

    def put(self, path, value):
        body = value if isinstance(value, str) else json.dumps(value)
        requests.put(f"{self.url}/v1/{path}", data=body, timeout=10).raise_for_status()

    def register(self, name, program):
        """With an HTTP check on /health, as Nomad would."""
        check = {"HTTP": f"{program.url}/health", "Interval": "200ms", "Timeout": "1s"}
        service = {"Name": name, "Address": "127.0.0.1", "Port": program.port, "Check": check}
        self.put("agent/service/register", service)

    def passing(self, name):
        return requests.get(f"{self.url}/v1/health/service/{name}?passing=1", timeout=10).json()
