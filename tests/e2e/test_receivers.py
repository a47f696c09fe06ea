"""A receiver of the user's own: its address is a secret that is nowhere but in Nomad's Variables."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from obsctl.wait import wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
TOKEN = "s3cr3t-path-of-the-hook"


class Hook:
    """A webhook of the user's, at a path that is a secret."""

    def __init__(self) -> None:
        hook = self
        self.received: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Tests are quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def alerts(self, path: str) -> set[tuple[str, str]]:
        return {
            (alert["labels"]["alertname"], alert["status"])
            for seen, body in self.received
            if seen == path
            for alert in body["alerts"]
        }


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def with_receiver(stack: Stack) -> Iterator[Stack]:
    path = stack.folder / "obsctl.yaml"
    before = path.read_text()
    receiver = {"name": "ops-team", "webhook": {"url": "env:OPS_HOOK"}}
    path.write_text(json.dumps({**json.loads(before), "alerting": {"receivers": [receiver]}}))
    yield stack
    path.write_text(before)
    stack.run("deploy", "--yes")


def test_alerts_reach_the_users_receiver_and_its_secret_stays_in_nomad(with_receiver: Stack, hook: Hook) -> None:
    stack, secret = with_receiver, f"{hook.address}/{TOKEN}"

    refused = stack.run("deploy", "--yes", code=1)
    assert "OPS_HOOK" in refused.stderr

    plan = stack.run("plan", "--json", OPS_HOOK=secret)
    deploy = stack.run("deploy", "--yes", "-v", OPS_HOOK=secret)
    rendered = stack.run("render", OPS_HOOK=secret)
    for said in (plan, deploy, rendered):
        assert TOKEN not in said.stdout + said.stderr
    job = json.dumps(stack.clients.nomad.job("obs-alertmanager"))
    values = b"".join(pair.value for pair in stack.clients.consul.entries("obsctl/"))
    assert TOKEN not in job
    assert TOKEN.encode() not in values

    stack.clients.nomad.stop_job("obs-response-service")
    wait_until(
        lambda: ("ServiceDown", "firing") in hook.alerts(f"/{TOKEN}"),
        timeout=60,
        failure="no sign of the page",
        hint="",
    )
    stack.run("deploy", "--yes", OPS_HOOK=secret)
    wait_until(
        lambda: ("ServiceDown", "resolved") in hook.alerts(f"/{TOKEN}"),
        timeout=60,
        failure="no sign of its end",
        hint="",
    )
    assert not any(name == "Watchdog" for name, _ in hook.alerts(f"/{TOKEN}")), "people do not get the heartbeat"


def test_a_new_value_of_the_secret_is_used_without_a_restart(with_receiver: Stack, hook: Hook) -> None:
    stack = with_receiver
    stack.run("deploy", "--yes", OPS_HOOK=f"{hook.address}/old")
    before = stack.clients.nomad.job_allocations("obs-alertmanager")[0]["ID"]

    changed = stack.run("deploy", "--yes", OPS_HOOK=f"{hook.address}/new")

    assert "nomad/jobs/obs-alertmanager  (a value differs)" in changed.stdout
    stack.clients.nomad.stop_job("obs-response-service")
    wait_until(
        lambda: ("ServiceDown", "firing") in hook.alerts("/new"), timeout=60, failure="no sign of the page", hint=""
    )
    assert stack.clients.nomad.job_allocations("obs-alertmanager")[0]["ID"] == before
    stack.run("deploy", "--yes", OPS_HOOK=f"{hook.address}/new")
