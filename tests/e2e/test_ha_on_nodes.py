"""Profile ha on three machines: all of a kind apart, and one of three machines killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from obsctl.errors import DeadlineExceeded, Unreachable
from obsctl.local.nodes import Nodes
from obsctl.model import Json, silent
from obsctl.wait import wait_until
from tests.deployed import DEMO, TELEMETRY, Stack, write_config
from tests.local_cluster import ON_MACHINES, running_nodes
from tests.senders import frozen, lost, traffic, wait_for_more
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.xdist_group("nodes"), ON_MACHINES]

# A new instance may need ten seconds to listen while three machines share two processors, and the next Alertmanager
# sends when the first has no answer within a sixth of the group_interval.
TIMING = {"profile": "fast", "for": "15s", "group_interval": "30s"}
KEEPER = "client-1"
"""The machine of everything that runs once and has data."""
OWNERS = ("node", "service")
"""The labels that say whose an alert is."""
SEVERAL = {"obs-prometheus": 2, "obs-alertmanager": 3, "obs-otel-gateway": 3, "obs-warden": 2, "obs-otel-agent": 3}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with running_nodes() as cluster:
        write_config(folder, cluster, components=(*ALERT_PATH, *TELEMETRY), profile="ha", timing=TIMING)
        stack = Stack(cluster, folder)
        keep_on(KEEPER, stack)
        stack.run("deploy", "--yes")
        yield stack


def keep_on(machine: str, stack: Stack) -> None:
    """What runs once is on this machine."""
    file = stack.folder / "obsctl.yaml"
    config = json.loads(file.read_text())
    where = {"constraints": [{"attribute": "${node.unique.name}", "value": machine}]}
    for section, names in (("components", ("alert-sink", "victorialogs", "jaeger")), ("demo", DEMO)):
        for name in names:
            config[section][name]["placement"] = where
    file.write_text(json.dumps(config))


def running(stack: Stack, job: str) -> list[Json]:
    return [one for one in stack.clients.nomad.job_allocations(job) if one["ClientStatus"] == "running"]


def test_all_of_a_kind_are_on_machines_of_their_own(stack: Stack) -> None:
    for job, count in SEVERAL.items():
        machines = [one["NodeName"] for one in running(stack, job)]
        assert len(set(machines)) == len(machines) == count, f"{job}: {machines}"
    for job in ("obs-alert-sink", "obs-victorialogs", "obs-jaeger"):
        assert [one["NodeName"] for one in running(stack, job)] == [KEEPER], job
    stack.wait_all_up()


@pytest.mark.campaign
def test_a_drill_is_proven(stack: Stack) -> None:
    stack.wait_steady()
    assert "PROVEN" in stack.run("drill", "stop", "response-service", "--yes").stdout


def test_one_of_three_machines_is_killed_under_traffic_and_nothing_is_lost(stack: Stack) -> None:
    """In the middle of a drill, and while gateways hold what the stores do not take at the moment."""
    stack.wait_steady()
    nodes, since, victim = Nodes(stack.cluster, silent), time.time(), a_replica(stack)
    with traffic(stack) as senders:
        wait_for_more(senders)
        drill = stack.start_drill("injected", "--hold", "45")  # until NodeDown has fired, too
        with frozen(stack, KEEPER, "jaeger", "victoria-logs"):
            wait_for_more(senders)
            nodes.kill(victim)
        down, up = ("NodeDown", "firing", victim), ("NodeDown", "resolved", victim)
        wait_until(lambda: down in stack.told(since, of=OWNERS), timeout=60, failure="no sign of NodeDown", hint="")
        wait_for_more([sender for sender in senders if sender.machine != victim])
        nodes.start(victim)
        wait_until(lambda: is_whole(stack), timeout=60, failure="no sign of all replicas", hint="")
        wait_for_more(senders)
        drill.communicate(timeout=180)
    with suppress(DeadlineExceeded):
        wait_until(lambda: not lost(stack, senders, since), timeout=60, failure="", hint="", interval=1)
    assert lost(stack, senders, since) == []
    wait_until(
        lambda: up in stack.told(since, of=OWNERS),
        timeout=60,
        failure="no sign of the end of NodeDown",
        hint="",
    )
    wanted = [down, up, *(("ServiceDown", status, "response-service") for status in ("firing", "resolved"))]
    found = stack.told(since, of=OWNERS)  # others may be among them: the freeze is a fault of its own
    assert [found.count(each) for each in wanted] == [1] * len(wanted), found
    verdict = stack.last_drill()["verdict"]
    assert (verdict["outcome"], "NodeDown" in str(verdict)) == ("COLLATERAL", True), verdict


def a_replica(stack: Stack) -> str:
    """A machine with a Prometheus and without what runs once."""
    return next(one["NodeName"] for one in running(stack, "obs-prometheus") if one["NodeName"] != KEEPER)


def is_whole(stack: Stack) -> bool:
    with suppress(Unreachable):  # a replica that has only just started
        return all(len(running(stack, job)) == count for job, count in SEVERAL.items()) and not stack.not_up()
    return False
