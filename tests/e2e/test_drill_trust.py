"""What others write gives no rights: entries of drills that nobody signed, old ones, jobs that only seem to be meant.

All on real servers, where anybody may write to Consul KV.
"""

from __future__ import annotations

import json
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
import requests

from obsctl.clients import jobs
from obsctl.drills import kept, recipes
from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.recipes import Recipe
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import Stack
from tests.local_cluster import as_manager

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

JOB = "obs-response-service"
FOLDER = "obsctl/obs/drills/"
TURNS = 5.0
"""Seconds in which the warden looks twice; it is what is being tried, not a wait for something."""
SERVER = """
job "%(job)s" {
  namespace = "%(namespace)s"
  group "web" {
    network {
      port "http" {}
    }
    service {
      name     = "%(service)s"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]
    }
    task "web" {
      driver = "raw_exec"
      config {
        command = "obsctl"
        args    = ["serve", "response-service", "--port=${NOMAD_PORT_http}", "--consul=%(consul)s"]
      }
      resources {
        cpu    = 20
        memory = 50
      }
    }
  }
}
"""


def a_recipe(stack: Stack, drill: str, **changes: Any) -> Recipe:
    """For response-service as it runs; its drill is dead, and its deadline over."""
    job = stack.clients.nomad.job(JOB)
    facts = {
        "drill": drill, "stack": "obs", "namespace": "default", "fault": "stop", "service": "response-service",
        "job": JOB, "version": job["Version"], "digest": kept.digest_of(jobs.spec(job)),
        "session": "00000000-0000-0000-0000-000000000000", "created_at": 0.0, "deadline": 0.0, "data": {},
    }  # fmt: skip
    return Recipe(**{**facts, **changes})


def forge(stack: Stack, key: str, value: bytes | str) -> None:
    """As a transaction, which takes any key."""
    text = value if isinstance(value, str) else value.decode()
    body = [{"KV": {"Verb": "set", "Key": key, "Value": b64encode(text.encode()).decode()}}]
    stack.cluster.consul.session.put("/v1/txn", json=body)


def warden(stack: Stack) -> dict[str, float]:
    """Its metrics, and that it is healthy."""
    [entry] = stack.clients.consul.health("warden")
    url = f"http://{entry['Service']['Address']}:{entry['Service']['Port']}"
    assert requests.get(f"{url}/health", timeout=10).status_code == 200
    lines = [line for line in requests.get(f"{url}/metrics", timeout=10).text.splitlines() if line.startswith("warden")]
    return {name: float(value) for name, value in (line.split(" ") for line in lines)}


@pytest.fixture
def clean(stack: Stack) -> Iterator[Stack]:
    """What a test forges is gone after it."""
    yield stack
    stack.cluster.consul.session.delete(f"/v1/kv/{FOLDER}", params={"recurse": "true"})
    stack.clients.nomad.delete_variable("nomad/jobs/obs-warden/drill")
    stack.run("deploy", "--yes")


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    """An operator stops the job, whose service no drill touches."""
    stack.clients.nomad.stop_job(JOB)
    yield
    assert stack.clients.nomad.job(JOB)["Stop"] is True, "an operator's stop was undone"


def test_forged_entries_start_nothing_leave_consul_alone_and_are_named(clean: Stack) -> None:
    """With fields as the warden's own; with the former form, which held a whole job; and with a path for an id."""
    consul, nomad = clean.clients.consul, clean.clients.nomad
    recipe = asdict(a_recipe(clean, "forged"))
    evil = {
        "ID": "evil",
        "Type": "batch",
        "TaskGroups": [{"Name": "x", "Tasks": [{"Name": "x", "Driver": "raw_exec"}]}],
    }
    parts = {"format": recipes.FORMAT, "recipe": recipe, "ack": None, "outcome": None}
    old = {"recipe": {**recipe, "data": {"job": {**evil, "Version": 0}}}, "ack": None, "outcome": None}
    keys = [f"{FOLDER}{name}" for name in ("forged", "old", "../../../agent/leave", "deep", "of another type")]
    texts = ["0" * 64 + "\n" + json.dumps(parts), json.dumps(old), json.dumps(old), "[" * 100_000, '{"recipe": 7}']
    with stopped(clean):
        for key, text in zip(keys, texts, strict=True):
            forge(clean, key, text)
        written = {pair.key: pair.modify_index for pair in consul.entries(FOLDER)}
        SYSTEM_CLOCK.sleep(TURNS)
    assert {pair.key: pair.modify_index for pair in consul.entries(FOLDER)} == written
    assert consul.leader()
    assert "evil" not in [job["ID"] for job in nomad.jobs()]
    metrics = warden(clean)
    assert (metrics["warden_entries_left"], metrics["warden_recipes"], metrics["warden_failures_total"]) == (5, 0, 0)

    recovered = clean.json("drill", "recover")
    assert recovered["recovered"] == []
    assert sorted(item["key"] for item in recovered["left"]) == sorted(keys)
    clean.run("deploy", "--yes")
    clean.wait_steady()  # they keep no drill from starting
    for item in recovered["left"]:
        command = ["sh", "-c", item["remove"]]
        environ = {
            **clean.cluster.access.exports(clean.cluster.addresses),
            "PATH": f"{clean.cluster.folder.bin}:/usr/bin:/bin",
        }
        subprocess.run(command, env=environ, check=True, capture_output=True)
    assert consul.entries(FOLDER) == []
    assert consul.leader()


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "still there"])
def test_an_old_entry_that_is_written_again_undoes_no_operators_stop(clean: Stack, removed: bool) -> None:
    """A drill died before its fault. Then an operator stops the job, as that fault would have done."""
    world, consul = clean.world, clean.clients.consul
    recipe = a_recipe(clean, "20260101T000000Z-stop-response-service-00000000")
    key = recipes.key("obs", recipe.drill)
    kept.keep(world, recipe, jobs.spec(clean.clients.nomad.job(JOB)))
    recipes.write(world, recipe)
    pair = consul.get(key)
    assert pair
    wait_until(lambda: kept.read(world, recipe) is None, timeout=30, failure="no sign of the end", hint="")
    if removed:
        clean.run("drill", "recover")
        assert consul.get(key) is None
    with stopped(clean):
        forge(clean, key, pair.value)
        SYSTEM_CLOCK.sleep(TURNS)


def test_a_job_that_is_purged_during_a_drill_comes_back_as_the_drill_had_found_it(clean: Stack) -> None:
    """And obsctl is killed, so the warden does it."""
    nomad = clean.clients.nomad
    before = kept.digest_of(jobs.spec(nomad.job(JOB)))
    process = clean.start_drill("injected", "--hold", "60")
    process.kill()
    process.communicate(timeout=10)
    clean.cluster.nomad.session.delete(f"/v1/job/{JOB}", params={"purge": "true"})

    def back() -> bool:
        jobs = {job["ID"]: job for job in nomad.jobs()}
        return JOB in jobs and not jobs[JOB]["Stop"]

    wait_until(back, timeout=60, failure="no sign of the job", hint="")
    assert kept.digest_of(jobs.spec(nomad.job(JOB))) == before
    assert "Nomad had forgotten the job" in clean.run("drill", "recover").stdout
    assert nomad.variable("nomad/jobs/obs-warden/drill") is None


def test_no_part_of_a_job_is_in_consul_or_in_the_journal_of_a_drill(clean: Stack) -> None:
    process = clean.start_drill("armed")
    try:
        [entry] = clean.clients.consul.entries(FOLDER)
        [journal] = (clean.folder / "state/obsctl/drills/obs").glob("*.jsonl")
        for text in (entry.value.decode(), journal.read_text()):
            assert JOB in text
            assert "TaskGroups" not in text
            assert "Env" not in text
    finally:
        process.terminate()
        process.communicate(timeout=90)


def register(stack: Stack, job: str, service: str, namespace: str = "default") -> None:
    hcl = SERVER % {"job": job, "service": service, "namespace": namespace, "consul": stack.clients.consul.address}
    parsed = stack.clients.nomad.parse_job(hcl)
    requests.put(
        f"{stack.cluster.addresses.nomad}/v1/jobs",
        json={"Job": parsed},
        headers=as_manager(stack.cluster),
        timeout=10,
    ).raise_for_status()


def purge(stack: Stack, job: str, namespace: str = "default") -> None:
    params = {"namespace": namespace}
    url = f"{stack.cluster.addresses.nomad}/v1/job/{job}"
    requests.delete(url, params=params, headers=as_manager(stack.cluster), timeout=10).raise_for_status()


@contextmanager
def watched(stack: Stack, service: str, job: str) -> Iterator[None]:
    """The service has its rules, and Prometheus scrapes it."""
    file = stack.folder / "obsctl.yaml"
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), "services": {service: {"job": job}}}))
    try:
        stack.run("deploy", "--yes")
        wait_until(
            lambda: any(target["labels"]["job"] == service for target in stack.programs.prometheus.targets()),
            timeout=60, failure=f"no sign of the target {service}", hint="",
        )  # fmt: skip
        yield
    finally:
        file.write_text(before)


def test_a_service_of_another_namespace_is_refused_and_the_job_of_that_name_in_ours_runs_on(clean: Stack) -> None:
    nomad = clean.clients.nomad
    clean.cluster.nomad.session.put("/v1/namespace", json={"Name": "team"})
    register(clean, "api", "billing")
    register(clean, "api", "checkout", "team")
    try:
        wait_until(lambda: clean.clients.consul.health("checkout"), timeout=30, failure="no sign of it", hint="")
        with watched(clean, "checkout", "api"):
            refused = clean.run("drill", "stop", "checkout", "--yes", code=1)
            all_seen = {"OBSCTL_NOMAD__TOKEN": "env:ALL", "ALL": clean.cluster.access.nomad_management()}
            told = clean.run("drill", "stop", "checkout", "--yes", code=1, **all_seen)
        assert "which Nomad does not know or does not show" in refused.stderr
        assert "in another namespace than default, which the token may not read" in refused.stderr
        assert "checkout is the job api in namespace team, and a drill acts in default alone" in told.stderr
        assert nomad.job("api")["Version"] == 0
    finally:
        purge(clean, "api")
        purge(clean, "api", "team")


def test_a_service_that_two_jobs_run_is_not_steady(clean: Stack) -> None:
    register(clean, "blue", "shop")
    register(clean, "green", "shop")
    try:
        wait_until(
            lambda: len(clean.clients.consul.health("shop")) == 2, timeout=30, failure="no sign of both", hint=""
        )
        with watched(clean, "shop", "blue"):
            refused = clean.json("drill", "stop", "shop", "--yes", code=20)
        assert "the job green in namespace default registers it too" in refused["verdict"]["reason"]
        assert clean.clients.nomad.job("blue")["Version"] == 0
    finally:
        purge(clean, "blue")
        purge(clean, "green")


def test_a_stop_whose_recipe_is_signed_is_put_back(clean: Stack) -> None:
    """The other tests of this file could pass because nothing is ever put back."""
    world, nomad = clean.world, clean.clients.nomad
    recipe = a_recipe(clean, "20260101T000000Z-stop-response-service-00000001", deadline=SYSTEM_CLOCK.now() + 60)
    kept.keep(world, recipe, jobs.spec(nomad.job(JOB)))
    STOP.inject(world, recipe)
    recipes.write(world, recipe)
    wait_until(lambda: not nomad.job(JOB)["Stop"], timeout=30, failure="no sign of the job", hint="")
    clean.run("drill", "recover")


@pytest.mark.campaign
def test_a_drill_waits_until_all_is_steady_when_it_is_told_to(clean: Stack) -> None:
    """Right after the service was away. Ctrl-C leaves nothing while it waits."""
    clean.clients.nomad.stop_job(JOB)
    journals = clean.folder / "state/obsctl/drills/obs"
    before = set(journals.glob("*"))
    waiting = clean.start("drill", "stop", "response-service", "--yes", "--wait", "2m")
    assert any("not steady yet" in line for line in waiting.stdout or ())
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130, out + err
    assert set(journals.glob("*")) == before
    assert clean.clients.consul.get("obsctl/obs/lock") is None

    waiting = clean.start("drill", "stop", "response-service", "--yes", "--wait", "2m")
    clean.run("deploy", "--yes")
    out, err = waiting.communicate(timeout=200)
    assert waiting.returncode in (0, 13), out + err
    assert "not steady yet" in out
