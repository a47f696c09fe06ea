"""Deploys on the real cluster: nothing to do, drift, rules through Consul, failures that say why."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from obsctl.model import Json
from obsctl.wait import wait_until
from tests.deployed import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
WANTED_TARGETS = {"consul", "nomad", "hello-service", "response-service", "prometheus", "alertmanager"}


@pytest.fixture
def changed(stack: Stack) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Changes keys of obsctl.yaml for one test."""
    path = stack.folder / "obsctl.yaml"
    before = path.read_text()

    def change(keys: dict[str, Any]) -> None:
        path.write_text(json.dumps({**json.loads(before), **keys}))

    yield change
    path.write_text(before)
    stack.run("deploy", "--yes")


def indices(stack: Stack) -> dict[str, int]:
    return {job["ID"]: job["JobModifyIndex"] for job in stack.clients.nomad.jobs()}


def test_a_second_deploy_changes_nothing_and_says_so(stack: Stack) -> None:
    before = indices(stack)

    ended = stack.run("deploy", "--yes")

    assert "Nothing to change" in ended.stdout
    assert indices(stack) == before
    stack.run("plan", "--exit-code", code=0)


def test_after_a_deploy_the_doctor_finds_nothing_that_would_stop_the_next(stack: Stack) -> None:
    before = indices(stack)

    document = stack.json("doctor")

    assert document["counts"]["error"] == 0, document["findings"]
    fine = {finding["where"] for finding in document["findings"] if finding["severity"] == "info"}
    assert fine >= {"ports", "listeners", "placement", "volumes", "nomad metrics", "consul metrics"}
    assert indices(stack) == before


def test_prometheus_scrapes_everything_and_knows_where_it_runs(stack: Stack) -> None:
    stack.wait_all_up()
    targets = stack.programs.prometheus.targets()
    assert {target["labels"]["job"] for target in targets} >= WANTED_TARGETS
    response = next(target["labels"] for target in targets if target["labels"]["job"] == "response-service")
    assert response["namespace"] == "default"
    assert response["node"]
    allocation = stack.clients.nomad.allocation(response["allocation"])
    assert allocation["JobID"] == "obs-response-service"


def test_a_service_is_scraped_as_soon_as_it_has_the_tag(stack: Stack) -> None:
    port = int(stack.programs.sink.address.rsplit(":", 1)[1])
    registration = {"ID": "outsider", "Name": "outsider", "Port": port, "Address": "127.0.0.1",
                    "Tags": ["obsctl.scrape"], "Meta": {"metrics_path": "/metrics"}}  # fmt: skip
    consul_agent(stack, "PUT", "/v1/agent/service/register", registration)
    try:
        wait_until(lambda: is_up(stack, "outsider"), timeout=30, failure="no sign of the new target", hint="")
    finally:
        consul_agent(stack, "PUT", "/v1/agent/service/deregister/outsider", None)


def test_a_changed_rule_reaches_prometheus_and_touches_no_job(
    stack: Stack, changed: Callable[[dict[str, Any]], None]
) -> None:
    before = indices(stack)
    changed({"alerting": {"rules": {"InstanceDown": {"for": "17s", "severity": "info"}}}})

    ended = stack.run("deploy", "--yes")

    assert "obsctl/obs/rules/stack" in ended.stdout
    rule = rule_named(stack, "InstanceDown")
    assert (rule["duration"], rule["labels"]["severity"]) == (17, "info")
    assert indices(stack) == before


def test_a_job_changed_by_hand_is_drift_and_is_put_right(stack: Stack) -> None:
    nomad = stack.clients.nomad
    job = nomad.job("obs-traffic")
    job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] += 32
    nomad.register_job(job)

    plan = stack.json("plan", "--exit-code", code=4)
    change = next(change for change in plan["changes"] if change["name"] == "obs-traffic")
    assert (change["action"], change["reason"]) == ("update", "it was changed outside obsctl")
    assert any("MemoryMB: 160 → 128" in detail for detail in change["details"])

    stack.run("deploy", "--yes")
    stack.run("plan", "--exit-code", code=0)


def test_what_is_no_longer_wanted_is_stopped_and_comes_back_when_it_is(
    stack: Stack, changed: Callable[[dict[str, Any]], None]
) -> None:
    demo = json.loads((stack.folder / "obsctl.yaml").read_text())["demo"]
    changed({"demo": {**demo, "traffic": {**demo["traffic"], "enabled": False}}})

    assert "stop" in stack.run("plan").stdout
    stack.run("deploy", "--yes")

    assert stack.clients.nomad.job("obs-traffic")["Stop"] is True


def test_a_program_that_no_node_of_a_local_cluster_has_is_named_before_anything_changes(
    stack: Stack, changed: Callable[[dict[str, Any]], None]
) -> None:
    demo = json.loads((stack.folder / "obsctl.yaml").read_text())["demo"]
    changed({"demo": {**demo, "traffic": {**demo["traffic"], "command": "/usr/bin/no-such-program"}}})
    version = stack.clients.nomad.job("obs-traffic")["Version"]

    ended = stack.run("deploy", "--yes", "--timeout", "60", code=1)

    assert "no-such-program" in ended.stderr
    assert "Hint:" in ended.stderr
    assert stack.clients.nomad.job("obs-traffic")["Version"] == version


def test_a_task_that_cannot_start_is_explained(stack: Stack, changed: Callable[[dict[str, Any]], None]) -> None:
    demo = json.loads((stack.folder / "obsctl.yaml").read_text())["demo"]
    changed({"demo": {**demo, "traffic": {**demo["traffic"], "command": "/bin/false"}}})

    ended = stack.run("deploy", "--yes", "--timeout", "60", code=1)

    assert "ended with exit code 1" in ended.stderr
    assert "not changed, or not confirmed: obs-traffic" in ended.stderr
    assert "Hint:" in ended.stderr


def test_ctrl_c_names_what_was_and_was_not_changed(stack: Stack, changed: Callable[[dict[str, Any]], None]) -> None:
    components = json.loads((stack.folder / "obsctl.yaml").read_text())["components"]
    changed({"components": {**components, "warden": {**components["warden"], "resources": {"memory": 150}}}})
    version = stack.clients.nomad.job("obs-warden")["Version"]
    process = stack.start("deploy", "--yes")
    wait_until(
        lambda: stack.clients.nomad.job("obs-warden")["Version"] > version,
        timeout=30,
        failure="no sign of begun",
        hint="",
    )

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted" in err
    assert "not changed, or not confirmed: obs-warden" in err
    assert stack.clients.consul.get("obsctl/obs/lock") is None


def test_data_of_prometheus_survives_a_restart_of_its_job(stack: Stack) -> None:
    nomad = stack.clients.nomad
    oldest = oldest_sample(stack)
    nomad.stop_job("obs-prometheus")
    wait_until(
        lambda: nomad.job_allocations("obs-prometheus")[0]["ClientStatus"] == "complete",
        timeout=60, failure="no sign of its end", hint="",
    )  # fmt: skip
    # Its own last words: under load Nomad may lose an exit code (raw_exec says -1 where it could not wait for the end).
    ended = nomad.job_allocations("obs-prometheus")[0]["ID"]
    wait_until(
        lambda: "See you next time!" in nomad.task_logs(ended, "prometheus", stream="stderr"),
        timeout=10, failure="no sign of its last words: without them it was killed", hint="",
    )  # fmt: skip

    assert "it was stopped" in stack.run("deploy", "--yes").stdout

    assert oldest_sample(stack) == oldest


def oldest_sample(stack: Stack) -> str:
    """Of what the Prometheus that runs now has, as it says itself: when it begins."""
    allocation = stack.clients.nomad.job_allocations("obs-prometheus")[0]["ID"]
    query = f'prometheus_tsdb_lowest_timestamp_seconds{{allocation="{allocation}"}}'
    found = wait_until(
        lambda: stack.programs.prometheus.query(query), timeout=30, failure="no sign of its own scrape", hint=""
    )
    return str(found[0]["value"][1])


def test_an_unreachable_nomad_is_one_sentence_and_a_hint(stack: Stack) -> None:
    ended = stack.run("deploy", "--yes", code=1, OBSCTL_NOMAD__ADDRESS="http://127.0.0.1:9")

    assert "Nomad at http://127.0.0.1:9" in ended.stderr
    assert "obsctl dev up" in ended.stderr


def test_a_broken_config_shows_every_fault_and_changes_nothing(stack: Stack) -> None:
    before = indices(stack)
    (stack.folder / "obsctl.broken.yaml").write_text("timing: fst\ncomponents:\n  prometheus:\n    prot: 1\n")

    ended = stack.run("deploy", "--yes", "--env", "broken", code=1)

    assert "obsctl.broken.yaml:1 timing" in ended.stderr
    assert "obsctl.broken.yaml:4 components.prometheus.prot" in ended.stderr
    assert '"port"' in ended.stderr
    assert indices(stack) == before


def rule_named(stack: Stack, name: str) -> Json:
    groups = stack.programs.prometheus.rule_groups()
    return next(rule for group in groups for rule in group["rules"] if rule["name"] == name)


def is_up(stack: Stack, job: str) -> bool:
    targets = stack.programs.prometheus.targets()
    return any(target["labels"].get("job") == job and target["health"] == "up" for target in targets)


def consul_agent(stack: Stack, method: str, path: str, body: Json | None) -> None:
    stack.cluster.consul.session.request(method, path, json=body)
