"""verify, status and adopt on a real cluster."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from obsctl.model import Json
from obsctl.wait import wait_until
from tests.deployed import Stack
from tests.deployed_telemetry import Telemetry
from tests.ports import free_port
from tests.stub_server import StubServer, stub_server

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def outcomes(document: Json, suite: str) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in document["checks"] if check["suite"] == suite}


@pytest.fixture
def hook() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


@pytest.fixture
def with_people(stack: Stack, hook: StubServer) -> Iterator[dict[str, str]]:
    """Two receivers, one of which nobody can reach; gives the environment with their secrets."""
    path = stack.folder / "obsctl.yaml"
    before = path.read_text()
    receivers = [
        {"name": "on-call", "webhook": {"url": "env:ON_CALL"}, "severities": ["critical"]},
        {"name": "gone", "webhook": {"url": "env:GONE"}},
    ]
    path.write_text(json.dumps({**json.loads(before), "alerting": {"receivers": receivers}}))
    secrets = {"ON_CALL": f"{hook.address}/on-call", "GONE": f"http://127.0.0.1:{free_port()}/gone"}
    stack.run("deploy", "--yes", **secrets)
    yield secrets
    path.write_text(before)
    stack.run("deploy", "--yes")


def test_a_stack_that_works_passes(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "verify.xml"
    document = json.loads(stack.run("verify", "--json", "--wait", "30s", "--junit", str(file)).stdout)
    assert (document["passed"], document["counts"]["passed"]) == (True, len(document["checks"]))
    assert outcomes(document, "receivers") == {"alert-sink": "passed"}
    assert len(outcomes(document, "targets")) >= 7
    assert len(outcomes(document, "rules")) >= 7
    cases = list(ElementTree.parse(file).getroot().iter("testcase"))
    assert len(cases) == len({(case.get("classname"), case.get("name")) for case in cases}) == len(document["checks"])


def test_a_test_notification_goes_to_one_receiver_alone(
    stack: Stack, with_people: dict[str, str], hook: StubServer
) -> None:
    quiet = json.loads(stack.run("verify", "--json", "--wait", "30s", **with_people).stdout)
    assert outcomes(quiet, "receivers") == {"alert-sink": "passed", "on-call": "skipped", "gone": "skipped"}
    assert receivers_told(hook) == []

    paged = stack.json("verify", "--receivers", "--wait", "30s", code=1)
    assert outcomes(paged, "receivers") == {"alert-sink": "passed", "on-call": "passed", "gone": "failed"}
    assert set(receivers_told(hook)) == {"on-call"}
    [reason] = [check["text"] for check in paged["checks"] if check["name"] == "gone"]
    assert "requests failed in 30 s" in reason
    assert "127.0.0.1" not in reason, "the address is a secret"
    firing = [alert["labels"] for alert in stack.programs.alertmanager.alerts()]
    assert not any("obsctl_test" in labels for labels in firing), "it has ended"


def test_an_interrupted_test_leaves_no_alert(stack: Stack, with_people: dict[str, str]) -> None:
    def testing() -> list[str]:
        labels = [alert["labels"] for alert in stack.programs.alertmanager.alerts()]
        return [each["obsctl_test"] for each in labels if "obsctl_test" in each]

    verify = stack.start("verify", "--receivers")
    try:
        wait_until(lambda: testing() == ["gone"], timeout=60, failure="no sign of the test", hint="")
    finally:
        verify.send_signal(signal.SIGINT)
        verify.communicate(timeout=30)
    assert verify.returncode == 130
    assert testing() == []


def receivers_told(hook: StubServer) -> list[str]:
    """The receivers whose tests the hook got."""
    alerts = [alert for asked in hook.asked for alert in json.loads(asked.body)["alerts"]]
    return [alert["labels"]["obsctl_test"] for alert in alerts if "obsctl_test" in alert["labels"]]


def test_a_job_that_nobody_marked_is_taken_over(stack: Stack) -> None:
    nomad = stack.clients.nomad
    nomad.register_job({**nomad.job("obs-warden"), "Meta": None, "Priority": 55})
    refused = stack.run("deploy", "--yes", code=1)
    assert "obs-warden (not made by obsctl)" in refused.stderr
    assert "obsctl adopt obs-warden" in refused.stderr

    adopted = stack.run("adopt", "obs-warden", "--yes")

    assert "(obsctl takes it over)" in adopted.stdout
    assert "Priority: 55" in adopted.stdout, "Nomad's diff"
    assert nomad.job("obs-warden")["Meta"]["obsctl.stack"] == "obs"
    stack.run("plan", "--exit-code", code=0)
    assert "belongs to stack obs already" in stack.run("adopt", "obs-warden", "--yes", code=1).stderr


def test_status_sees_what_was_changed_and_what_was_stopped(stack: Stack) -> None:
    nomad = stack.clients.nomad
    assert {row["state"] for row in stack.json("status")["components"]} == {"healthy"}
    nomad.register_job({**nomad.job("obs-warden"), "Priority": 55})
    drifted = {row["component"]: row["drift"] for row in stack.json("status", code=None)["components"]}
    assert "job obs-warden: it was changed outside obsctl" in drifted.pop("warden")
    assert set(map(tuple, drifted.values())) == {()}
    watch = stack.start("status", "--watch")
    try:
        nomad.stop_job("obs-warden")
        assert watch.stdout
        line = next(line for line in watch.stdout if "warden: stopped" in line)
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert line.endswith("warden: stopped 0/1: somebody stopped its job\n")
    assert watch.returncode == 130


@pytest.mark.xdist_group("telemetry")
def test_backends_answer_the_queries_of_every_dashboard(telemetry: Telemetry) -> None:
    """Grafana itself cannot be built; its dashboards are rendered, and the backends are there."""
    shown = {"OBSCTL_COMPONENTS__GRAFANA__ENABLED": "true"}
    document = json.loads(telemetry.stack.run("verify", "--json", "--wait", "30s", code=1, **shown).stdout)
    assert [check["name"] for check in document["checks"] if check["outcome"] == "failed"] == ["grafana"]
    asked = outcomes(document, "dashboards")
    assert len(asked) > 100
    assert set(asked.values()) == {"passed"}
    assert outcomes(document, "telemetry") == dict.fromkeys(("metric", "trace", "log line"), "passed")


@pytest.mark.xdist_group("telemetry")
def test_a_program_that_crashes_beside_another_is_not_healthy(telemetry: Telemetry) -> None:
    stack = telemetry.stack
    [agent] = agents(stack)
    assert agent["note"] == ""
    for process in psutil.process_iter():
        try:
            is_meant = process.environ().get("NOMAD_ALLOC_ID") == agent["instances"][0]["allocation"]
            is_meant = is_meant and "log-links" in process.cmdline()
        except psutil.Error:
            continue
        if is_meant:
            os.kill(process.pid, signal.SIGKILL)
    wait_until(  # its check may fail before Nomad's servers hear of the crash
        lambda: agents(stack)[0]["note"].startswith("task log-links "),
        timeout=30,
        failure="no sign of the crash",
        hint="",
    )


def agents(stack: Stack) -> list[Json]:
    rows: list[Json] = stack.json("status", code=None)["components"]
    return [row for row in rows if row["component"] == "otel-agent"]
