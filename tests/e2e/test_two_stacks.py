"""Two stacks with demos on one cluster: neither sees the other's targets, series, log lines, alerts or drills."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import requests

from obsctl.clients.instances import of_job, url
from obsctl.local.acls import Tenant
from obsctl.wait import wait_until
from tests.deployed import Stack, write_config
from tests.local_cluster import running_cluster
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("two-stacks")]
COMPONENTS = (*ALERT_PATH, "victorialogs", "otel-gateway", "otel-agent")
DEMO = ("hello-service", "response-service")
Pair = tuple[Stack, Stack]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_cluster() as cluster:
        stacks = []
        for name in ("obs", "lab"):
            folder = tmp_path_factory.mktemp(name)
            write_config(folder, cluster, stack=name, components=COMPONENTS, demo=DEMO)
            stacks.append(Stack(cluster, folder))
            if name == "lab":
                assert "given the stack lab no rights" in stacks[-1].run("plan", code=1).stderr
                cluster.up(tenant=Tenant(name))
            stacks[-1].run("deploy", "--yes")
        yield stacks[0], stacks[1]


def name_of(stack: Stack) -> str:
    return stack.loaded.config.stack


def address(stack: Stack, component: str) -> str:
    clients = stack.clients
    allocations = clients.nomad.job_allocations(f"{name_of(stack)}-{component}")
    return url(of_job(clients.consul.health(component), allocations)[0])


def jobs_in_logs(stack: Stack) -> set[str]:
    query = {"query": "_time:1h | uniq by (nomad.job)"}
    answer = requests.post(f"{address(stack, 'victorialogs')}/select/logsql/query", data=query, timeout=10)
    return {job for line in answer.text.splitlines() if (job := json.loads(line).get("nomad.job"))}


def test_targets_are_ones_own_and_those_of_the_cluster(both: Pair) -> None:
    ours, theirs = ({(target["labels"]["job"], target["labels"]["instance"])
                     for target in stack.programs.prometheus.targets()} for stack in both)  # fmt: skip
    assert {job for job, _ in ours} == {job for job, _ in theirs}
    assert {job for job, _ in ours & theirs} == {"nomad", "consul"}
    assert [stack.not_up() for stack in both] == [[], []]


def test_what_programs_send_and_write_comes_to_their_own_stack_alone(both: Pair) -> None:
    for stack in both:
        requests.get(f"{address(stack, 'hello-service')}/hello", timeout=10).raise_for_status()
    metric = 'count by (nomad_job) (traces_span_metrics_calls_total{nomad_job!=""})'

    def jobs_in_series(stack: Stack) -> set[str]:
        return {each["metric"]["nomad_job"] for each in stack.programs.prometheus.query(metric)}

    for stack in both:
        own = {f"{name_of(stack)}-{name}" for name in DEMO}
        wait_until(lambda own=own, stack=stack: own <= jobs_in_series(stack) and own <= jobs_in_logs(stack),
                   timeout=60, failure=f"no sign of {own}", hint="")  # fmt: skip
    for stack in both:
        assert {job.partition("-")[0] for job in jobs_in_series(stack)} == {name_of(stack)}
        assert {job.partition("-")[0] for job in jobs_in_logs(stack)} == {name_of(stack)}


def test_a_drill_of_one_is_nothing_to_the_other(both: Pair) -> None:
    ours, theirs = both
    for stack in both:
        stack.wait_steady()
    begun = time.time()
    ours.run("drill", "stop", "response-service", "--yes")
    assert ours.last_drill()["verdict"]["outcome"] in ("PROVEN", "LATE")
    # That something of their own was slow once, and nothing fired, is not the drill's.
    drilled = "|".join(one["ID"] for one in ours.clients.nomad.job_allocations("obs-response-service"))
    for which in ('alertstate="firing"', f'allocation=~"{drilled}"'):
        alerts = f'max_over_time(ALERTS{{alertname!="Watchdog",{which}}}[{int(time.time() - begun)}s])'
        assert theirs.programs.prometheus.query(alerts) == []
    assert theirs.not_steady() == []


def test_a_deploy_of_one_leaves_nothing_to_do_for_the_other(both: Pair) -> None:
    for stack in both:
        counts = stack.json("plan")["counts"]
        assert counts["none"] == sum(counts.values())
        assert {row["state"] for row in stack.json("status")["components"]} == {"healthy"}
