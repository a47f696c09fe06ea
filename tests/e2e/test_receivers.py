"""A receiver of the user's own: its address is a secret that is nowhere but in Nomad's Variables."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from obsctl.stack import quoting
from obsctl.wait import wait_until
from tests.deployed import Stack
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
TOKEN = "s3cr3t-path-of-the-hook"


class Hook:
    """A webhook of the user's, at a path that is a secret."""

    def __init__(self) -> None:
        hook = self
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.headers: dict[str, dict[str, str]] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((self.path, json.loads(body)))
                hook.headers[self.path] = dict(self.headers)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"ok": true, "result": {}}')  # what Telegram answers

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


WORDS = "a\"b'c\n${x} %{y} \U0001f600 \u2028"


def many_receivers(hook: Hook) -> dict[str, Any]:
    """Receivers of many types, all of which end at the stub: some for every alert, some for none."""
    at = hook.address
    every = {
        "webhook": {
            "url": "env:HOOK_URL",
            "http_config": {
                "authorization": {"credentials": "env:HOOK_TOKEN"},
                "http_headers": {"X-Team": {"secrets": ["env:HOOK_HEADER"]}},
            },
        },
        "slack": {"api_url": "env:SLACK_URL", "channel": WORDS},
        "msteams": {"webhook_url": "env:TEAMS_URL"},
        "discord": {"webhook_url": "env:DISCORD_URL"},
        "opsgenie": {"api_key": "env:OPSGENIE_KEY", "api_url": f"{at}/opsgenie/"},
        "alertmanager": {
            "telegram_configs": [{"bot_token": "env:TELEGRAM_TOKEN", "chat_id": 1, "api_url": f"{at}/telegram"}],
            "victorops_configs": [
                {"api_key": "env:VICTOROPS_KEY", "routing_key": "ops", "api_url": f"{at}/victorops/"}
            ],
            "pagerduty_configs": [
                {"routing_key": "env:PAGERDUTY_KEY", "url": f"{at}/pagerduty", "details": {"x": WORDS}}
            ],
        },
    }
    days = ["sunday:saturday"]
    return {
        "receivers": [
            {"name": "24x7", "matchers": ['service="response-service"', 'severity=~"crit.*"'], **every},
            {"name": "asleep", "webhook": {"url": "env:ASLEEP_URL"}, "mute_time_intervals": ["0-always"]},
            {"name": "others", "webhook": {"url": "env:OTHERS_URL"}, "matchers": ['service="nobody"']},
            {"name": "awake", "webhook": {"url": "env:AWAKE_URL"}, "active_time_intervals": ["0-always"]},
        ],
        "time_intervals": {"0-always": [{"weekdays": days, "location": "Europe/Berlin"}]},
    }


def their_secrets(hook: Hook) -> dict[str, str]:
    urls = ("HOOK", "SLACK", "TEAMS", "DISCORD", "ASLEEP", "OTHERS", "AWAKE")
    keys = ("HOOK_TOKEN", "HOOK_HEADER", "OPSGENIE_KEY", "TELEGRAM_TOKEN", "VICTOROPS_KEY", "PAGERDUTY_KEY")
    at = {f"{name}_URL": f"{hook.address}/{name.lower()}/{TOKEN}" for name in urls}
    return at | {name: f"{TOKEN}-{name.lower().replace('_', '-')}" for name in keys}


@contextmanager
def with_alerting(stack: Stack, **alerting: Any) -> Iterator[None]:
    path = stack.folder / "obsctl.yaml"
    before = path.read_text()
    path.write_text(quoting.yaml({**json.loads(before), "alerting": alerting}))
    try:
        yield
    finally:
        path.write_text(before)
        stack.run("deploy", "--yes")


@pytest.fixture
def with_many(stack: Stack, hook: Hook) -> Iterator[Stack]:
    with with_alerting(stack, **many_receivers(hook)):
        yield stack


@pytest.fixture
def with_an_unreachable_one(stack: Stack) -> Iterator[Stack]:
    names = {"ops-team": "env:OPS_HOOK", "unreachable": "env:DEAD_HOOK"}
    with with_alerting(stack, receivers=[{"name": name, "webhook": {"url": url}} for name, url in names.items()]):
        yield stack


@pytest.fixture
def with_receiver(stack: Stack) -> Iterator[Stack]:
    with with_alerting(stack, receivers=[{"name": "ops-team", "webhook": {"url": "env:OPS_HOOK"}}]):
        yield stack


def test_alerts_reach_the_users_receiver_and_its_secret_stays_in_nomad(
    with_an_unreachable_one: Stack, hook: Hook
) -> None:
    """A drill says who got its alert, and who did not."""
    stack = with_an_unreachable_one
    urls = {"OPS_HOOK": f"{hook.address}/{TOKEN}", "DEAD_HOOK": f"http://127.0.0.1:{free_port()}/{TOKEN}"}

    refused = stack.run("deploy", "--yes", code=1)
    assert "OPS_HOOK" in refused.stderr

    plan = stack.run("plan", "--json", **urls)
    deploy = stack.run("deploy", "--yes", "-v", **urls)
    rendered = stack.run("render", **urls)
    stack.wait_steady()
    drill = stack.run("--json", "drill", "stop", "response-service", "--yes", code=11)
    for said in (plan, deploy, rendered, drill):
        assert TOKEN not in said.stdout + said.stderr
    job = json.dumps(stack.clients.nomad.job("obs-alertmanager"))
    values = b"".join(pair.value for pair in stack.clients.consul.entries("obsctl/"))
    assert TOKEN not in job
    assert TOKEN.encode() not in values

    report = json.loads(drill.stdout)
    rows = {(row["receiver"], row["stage"]): row for row in report["receivers"]}
    assert report["verdict"]["outcome"] == "UNDELIVERED"
    assert "not delivered to unreachable (webhook): " in report["verdict"]["reason"]
    assert report["verdict"]["reason"].endswith("connect: connection refused")
    assert [rows["ops-team", stage]["state"] for stage in ("delivered", "resolved")] == ["sent", "sent"]
    assert ("unreachable", "resolved") not in rows
    assert hook.alerts(f"/{TOKEN}") >= {("ServiceDown", "firing"), ("ServiceDown", "resolved")}
    assert not any(name == "Watchdog" for name, _ in hook.alerts(f"/{TOKEN}")), "people do not get the heartbeat"

    lost = [{"labels": {"alertname": "NodeDown", "severity": "critical", "node": node}} for node in ("far", "near")]
    stack.programs.alertmanager.post(lost)
    groups = [{"alertname": "NodeDown", "node": node} for node in ("far", "near")]
    wait_until(
        lambda: all(group in [body["groupLabels"] for _, body in hook.received] for group in groups),
        timeout=60,
        failure="no sign of a notification for each lost node",
        hint="",
    )


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


def test_every_type_is_notified_with_its_secret_by_its_labels_and_times(with_many: Stack, hook: Hook) -> None:
    """The name 24x7 begins with a digit, and texts have all kinds of characters."""
    stack, secrets = with_many, their_secrets(hook)
    stack.run("deploy", "--yes", **secrets)
    values = b"".join(pair.value for pair in stack.clients.consul.entries("obsctl/"))
    assert TOKEN not in json.dumps(stack.clients.nomad.job("obs-alertmanager"))
    assert TOKEN.encode() not in values
    assert stack.not_steady() == [], "a receiver that is silent keeps no drill from starting"

    expected = {
        f"/hook/{TOKEN}",
        f"/slack/{TOKEN}",
        f"/teams/{TOKEN}",
        f"/discord/{TOKEN}",
        "/opsgenie/v2/alerts",
        f"/telegram/bot{TOKEN}-telegram-token/sendMessage",
        f"/victorops/{TOKEN}-victorops-key/ops",
        "/pagerduty",
        f"/awake/{TOKEN}",
    }
    stack.clients.nomad.stop_job("obs-response-service")
    wait_until(
        lambda: expected <= {path for path, _ in hook.received},
        timeout=60,
        failure="no sign of all notifications",
        hint=str({path for path, _ in hook.received}),
    )
    assert {path for path, _ in hook.received} == expected
    bodies = dict(hook.received)
    assert hook.headers[f"/hook/{TOKEN}"]["Authorization"] == f"Bearer {TOKEN}-hook-token"
    assert hook.headers[f"/hook/{TOKEN}"]["X-Team"] == f"{TOKEN}-hook-header"
    assert hook.headers["/opsgenie/v2/alerts"]["Authorization"] == f"GenieKey {TOKEN}-opsgenie-key"
    assert bodies[f"/slack/{TOKEN}"]["channel"] == WORDS
    assert bodies["/pagerduty"]["routing_key"] == f"{TOKEN}-pagerduty-key"
    assert bodies["/pagerduty"]["payload"]["custom_details"]["x"] == WORDS
    stack.run("deploy", "--yes", **secrets)


def test_the_heartbeat_goes_outside_and_its_silence_is_told_there(stack: Stack, hook: Hook) -> None:
    secrets = {"OUTSIDE": f"{hook.address}/{TOKEN}-outside", "SILENCE": f"{hook.address}/{TOKEN}-silence"}
    keys = {"outside_url": "env:OUTSIDE", "silence_webhook": "env:SILENCE"}
    silence = f"/{TOKEN}-silence"
    with with_alerting(stack, heartbeat=keys):
        said = stack.run("deploy", "--yes", **secrets)
        assert TOKEN not in said.stdout + said.stderr
        wait_until(
            lambda: ("Watchdog", "firing") in hook.alerts(f"/{TOKEN}-outside"),
            timeout=60,
            failure="no sign of the heartbeat outside",
            hint="",
        )
        stack.clients.nomad.stop_job("obs-alertmanager")
        wait_until(
            lambda: ("AlertPathSilent", "firing") in hook.alerts(silence),
            timeout=90,
            failure="no sign of the silence",
            hint="",
        )
        stack.run("deploy", "--yes", **secrets)
        wait_until(
            lambda: ("AlertPathSilent", "resolved") in hook.alerts(silence),
            timeout=60,
            failure="no sign of its end",
            hint="",
        )
    values = b"".join(pair.value for pair in stack.clients.consul.entries("obsctl/"))
    jobs = json.dumps([stack.clients.nomad.job(f"obs-{name}") for name in ("alertmanager", "alert-sink")])
    assert TOKEN.encode() not in values
    assert TOKEN not in jobs
