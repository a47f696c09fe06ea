"""A node with a part of the stack is lost or drained, and comes back: who is told, what goes on, what is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from obsctl.drills.world import passing
from obsctl.errors import DeadlineExceeded
from obsctl.local.nodes import Nodes
from obsctl.model import Json, silent
from obsctl.wait import wait_until
from tests.deployed import DEMO, TELEMETRY, Stack, write_config
from tests.local_cluster import ON_MACHINES, as_manager, running_nodes
from tests.senders import Sender, frozen, lost, traffic, wait_for_more
from tests.world import ALERT_PATH

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.xdist_group("nodes"), ON_MACHINES]

PLACES = {"client-1": ALERT_PATH, "client-2": TELEMETRY[:3], "client-3": DEMO}
"""What each node runs, the second that alone, as where a volume is; the agents are on all of them."""
ALERTS, BACKENDS, SERVICES = PLACES
NOISE = ("Watchdog", "ObsctlTest")
"""Heartbeats, and tests of verify."""
WISHED = {**{name: {node} for node, names in PLACES.items() for name in names}, "otel-agent": set(PLACES)}
BACK_WITHIN = 90.0
"""An obsctl that is dead, the end of its lease, and Nomad's replacement of a warden."""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with running_nodes() as cluster:
        write_config(folder, cluster, components=(*ALERT_PATH, *TELEMETRY))
        place(folder / "obsctl.yaml")
        stack = Stack(cluster, folder)
        stack.run("deploy", "--yes")
        yield stack


def place(file: Path) -> None:
    config = json.loads(file.read_text())
    for node, names in PLACES.items():
        this = {"attribute": "${node.unique.name}", "value": node}
        placement = {"constraints": [this]} if node == BACKENDS else {"affinities": [{**this, "weight": 100}]}
        for name in names:
            config["demo" if name in DEMO else "components"][name]["placement"] = placement
    file.write_text(json.dumps(config, indent=2))


@pytest.fixture
def stack(deployed: Stack) -> Stack:
    """The stack, with each part on its node, all targets up and no alert."""
    quiet = [("Watchdog", "firing", "")]
    send_home(deployed)
    wait_for(lambda: is_home(deployed), "each part on its node")
    deployed.wait_all_up(within=90)
    wait_for(lambda: active(deployed) == quiet, "quiet")
    return deployed


@pytest.fixture
def nodes(deployed: Stack) -> Iterator[Nodes]:
    """What is done to a node is undone, where the test has not come so far."""
    yield Nodes(deployed.cluster, silent)
    deployed.cluster.up(nodes=3)


def send_home(stack: Stack) -> None:
    """What Nomad has started elsewhere ends there: for its affinity it starts on its own node."""
    for node, names in PLACES.items():
        for name in names:
            for one in stack.clients.nomad.job_allocations(f"obs-{name}"):
                if one["ClientStatus"] == "running" and one["NodeName"] != node:
                    as_operator(stack, f"allocation/{one['ID']}/stop", {})


def as_operator(stack: Stack, path: str, body: Json) -> None:
    """What no client of obsctl does."""
    address, headers = stack.cluster.addresses.nomad, as_manager(stack.cluster)
    requests.post(f"{address}/v1/{path}", json=body, headers=headers, timeout=10).raise_for_status()


def active(stack: Stack) -> list[tuple[str, str, str]]:
    """Name, state and node of each alert in Prometheus."""
    alerts = stack.programs.prometheus.alerts()
    return [(each["labels"]["alertname"], each["state"], each["labels"].get("node", "")) for each in alerts]


def wait_told(stack: Stack, since: float, expected: list[tuple[str, str, str]]) -> None:
    def is_told() -> bool:
        found = stack.told(since, but=NOISE)
        assert found == expected[: len(found)]
        return found == expected

    wait_until(is_told, timeout=60, failure=f"no sign of {expected[-1]}", hint="")


def components(stack: Stack) -> dict[str, Json]:
    """As `obsctl status` has them."""
    return {row["component"]: row for row in stack.json("status", code=None)["components"]}


def nodes_of(row: Json) -> set[str]:
    return {each["node"] for each in row["instances"]} if row["state"] == "healthy" else set()


def wait_for(probe: Callable[[], object], what: str, seconds: float = 90) -> None:
    wait_until(probe, timeout=seconds, failure=f"no sign of {what}", hint="")


def places(stack: Stack) -> dict[str, set[str]]:
    return {name: nodes_of(row) for name, row in components(stack).items()}


def is_home(stack: Stack) -> bool:
    found = places(stack)
    return all(found[name] >= nodes for name, nodes in WISHED.items())


def nomad_status(stack: Stack, name: str) -> str:
    return next(str(node["Status"]) for node in stack.clients.nomad.nodes() if node["Name"] == name)


def drain(stack: Stack, name: str, *, enable: bool) -> None:
    """As `nomad node drain -enable`, and -disable, which opens it to new work again."""
    [node] = [each["ID"] for each in stack.clients.nomad.nodes() if each["Name"] == name]
    spec = {"DrainSpec": {"Deadline": 60 * 10**9}} if enable else {"DrainSpec": None, "MarkEligible": True}
    as_operator(stack, f"node/{node}/drain", spec)


def wait_found(stack: Stack, senders: list[Sender], since: float) -> None:
    """All that agents have taken is in the stores."""
    with suppress(DeadlineExceeded):
        wait_until(lambda: not lost(stack, senders, since), timeout=90, failure="", hint="", interval=1)
    assert lost(stack, senders, since) == []


def failed_checks(stack: Stack, *options: str) -> dict[str, str]:
    document = stack.json("verify", *options, code=None)
    return {check["name"]: check["text"] for check in document["checks"] if check["outcome"] == "failed"}


def test_a_lost_node_is_one_page_and_what_ran_there_is_replaced(stack: Stack, nodes: Nodes) -> None:
    begun = time.time()
    nodes.kill(SERVICES)
    down = ("NodeDown", "firing", SERVICES)
    wait_told(stack, begun, [down])
    wait_for(lambda: nodes_of(components(stack)["hello-service"]) & {ALERTS, BACKENDS}, "the service elsewhere")
    now = components(stack)
    replaced, agents = now["hello-service"]["replaced"], now["otel-agent"]
    assert [(each["node"], each["note"]) for each in replaced] == [(SERVICES, f"node {SERVICES} is down")]
    assert (agents["state"], agents["running"], agents["wanted"]) == ("healthy", 2, 2)
    assert list(failed_checks(stack)) == [f"node {SERVICES}"]
    assert f"nothing answers on {SERVICES}, which has " in stack.run("status", code=1).stdout

    nodes.start(SERVICES)
    wait_told(stack, begun, [down, ("NodeDown", "resolved", SERVICES)])
    assert failed_checks(stack, "--wait", "60s") == {}
    assert components(stack)["hello-service"]["replaced"] == []
    assert stack.told(begun, but=NOISE) == [down, ("NodeDown", "resolved", SERVICES)]


@pytest.mark.campaign
def test_what_agents_take_waits_for_backends_that_are_cut_off(stack: Stack, nodes: Nodes) -> None:
    """Their data is on that node alone, so Nomad starts them nowhere else. Agents take again soon, on a machine that
    does nothing else: one that starts needs the processor."""
    assert max(cut_backends_off(stack, nodes)) < 15  # a request ends after 5 s, and then it starts


def cut_backends_off(stack: Stack, nodes: Nodes) -> list[float]:
    """For how many seconds each agent elsewhere took nothing. What they took is there at the end."""
    since = time.time()
    with traffic(stack) as senders:
        others = [sender for sender in senders if sender.machine != BACKENDS]
        wait_for_more(senders)
        nodes.cut(BACKENDS)
        wait_for(lambda: nomad_status(stack, BACKENDS) == "down", "the node's loss")
        row = components(stack)["victorialogs"]
        assert (row["state"], row["running"]) == ("unhealthy", 0)
        wait_for(lambda: all(sender.refused > 1 for sender in others), "agents that start anew without a gateway")
        wait_for_more(others)
        nodes.join(BACKENDS)
        wait_for(lambda: places(stack)["otel-gateway"] == {BACKENDS}, "the gateway")
        wait_for_more(senders)
    wait_found(stack, senders, since)
    return [sender.refused for sender in others]


@pytest.mark.campaign
def test_a_drained_node_pages_nobody_also_when_it_goes(stack: Stack, nodes: Nodes) -> None:
    """On a machine that is so busy that a service needs longer than `for` to start elsewhere, ServiceDown is true."""
    begun = time.time()
    drain(stack, SERVICES, enable=True)
    wait_for(lambda: all(places(stack)[name] & {ALERTS, BACKENDS} for name in DEMO), "the services elsewhere")
    wait_for(lambda: SERVICES not in places(stack)["otel-agent"], "the end of the drain")
    nodes.kill(SERVICES)
    wait_for(lambda: nomad_status(stack, SERVICES) == "down", "the node's end")
    assert stack.told(begun, of=("node", "service"), but=NOISE) == []
    wait_for(lambda: not failed_checks(stack), "checks that all pass without the node")
    assert f"No fault: nothing answers on {SERVICES}, which has " in stack.run("status").stdout

    nodes.start(SERVICES)
    drain(stack, SERVICES, enable=False)
    wait_for(lambda: places(stack)["otel-agent"] == set(PLACES), "an agent on each node")
    assert stack.told(begun, but=NOISE) == []


@pytest.mark.campaign
def test_what_agents_took_is_there_when_the_node_of_the_backends_is_back(stack: Stack, nodes: Nodes) -> None:
    """What the gateway held, too: it is on the disk of that node. The stores take nothing before the loss: what they
    took last may be in their memory alone."""
    since = time.time()
    with frozen(stack, BACKENDS, "jaeger", "victoria-logs"), traffic(stack) as senders:
        wait_for_more(senders)
        nodes.kill(BACKENDS)
        wait_for(lambda: nomad_status(stack, BACKENDS) == "down", "the node's loss")
        wait_for_more([sender for sender in senders if sender.machine != BACKENDS])
        nodes.start(BACKENDS)
        wait_for(lambda: is_home(stack), "all of it")
        wait_for_more(senders)
    wait_found(stack, senders, since)


@pytest.mark.campaign
@pytest.mark.parametrize("count", [2, 1])
def test_a_warden_puts_the_service_back_when_obsctl_and_a_wardens_node_die(
    count: int, stack: Stack, nodes: Nodes
) -> None:
    """Of two the other one; the only one as soon as Nomad has started it elsewhere."""
    stack.change("warden", count=count)
    stack.run("deploy", "--yes")
    stack.wait_steady()
    drill = stack.start_drill("injected", "--hold", "60")
    drill.kill()
    drill.communicate()
    assert stack.clients.nomad.job("obs-response-service")["Stop"]
    nodes.kill(ALERTS)
    begun = time.time()

    def is_back() -> bool:
        stopped = stack.clients.nomad.job("obs-response-service")["Stop"]
        return not stopped and passing(stack.world, "response-service") == 1

    wait_for(is_back, "the service", seconds=BACK_WITHIN)
    print(f"{count} wardens: back {time.time() - begun:.1f} s after the node of one was killed")
    nodes.start(ALERTS)
    stack.run("drill", "recover")
    assert stack.clients.consul.entries("obsctl/obs/drills/") == []
