"""Two gateways on one node: each agent keeps to one of them, and turns to the other when that one is gone.

With sampling agents choose by the trace, so that one gateway sees the whole of it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from obsctl.clients.instances import passes
from obsctl.clients.jobs import is_running
from obsctl.errors import Unreachable
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, wait_until
from tests.deployed import ALERT_PATH, Stack, write_config
from tests.local_cluster import running_cluster
from tests.otlp import send_spans, span

pytestmark = [pytest.mark.real, pytest.mark.campaign, pytest.mark.timeout(300)]

DECIDED = re.compile(r"otelcol_processor_tail_sampling_global_count_traces_sampled(?:_total)?\{.*\} (\d+)")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Traces alone, over two gateways; of all others there is one."""
    folder: Path = tmp_path_factory.mktemp("stack")
    parts = (*ALERT_PATH, "otel-gateway", "otel-agent", "jaeger")
    with running_cluster() as cluster:
        write_config(folder, cluster, components=parts, demo=())
        path = folder / "obsctl.yaml"
        config = json.loads(path.read_text())
        config["components"]["otel-gateway"] = {"count": 2}
        config["components"]["jaeger"]["storage"] = {"kind": "ephemeral"}
        for name in ("prometheus", "alertmanager"):
            config["components"][name]["count"] = 1
        path.write_text(json.dumps({**config, "profile": "ha-one-node"}))
        stack = Stack(cluster, folder)
        stack.run("deploy", "--yes")  # ends when a span of its own has come through
        yield stack


def gateways(stack: Stack) -> list[Json]:
    """The gateways in Consul, in the order in which agents count them."""
    return sorted(
        (entry["Service"] for entry in stack.clients.consul.health("otel-gateway")), key=lambda one: one["ID"]
    )


def test_both_are_scraped_and_so_are_the_metrics_that_they_make(deployed: Stack) -> None:
    deployed.wait_all_up()
    jobs = [target["labels"]["job"] for target in deployed.programs.prometheus.targets()]
    assert (jobs.count("otel-gateway"), jobs.count("otlp-metrics")) == (2, 2)


def test_a_span_that_was_sent_while_its_gateway_is_frozen_goes_through_the_other(deployed: Stack) -> None:
    node_id = deployed.clients.nomad.nodes()[0]["ID"]
    own = gateways(deployed)[zlib.adler32(node_id.encode()) % 2]
    agent, jaeger = deployed.programs.otel_agent, deployed.programs.jaeger

    with frozen(own["Port"]):
        trace_id = secrets.token_hex(16)
        agent.send_span("caller", "sent", trace_id=trace_id, span_id=secrets.token_hex(8), at=SYSTEM_CLOCK.now())
        wait_until(lambda: jaeger.trace(trace_id), timeout=120, failure="no sign of the span in Jaeger", hint="")

    deployed.run("deploy", "--yes")  # both are scraped again, and spans arrive


@pytest.fixture(scope="module")
def sampling(deployed: Stack) -> Stack:
    """The same stack, which from now on keeps traces with an error alone."""
    deployed.change("otel-gateway", sampling={"keep": 0, "wait": "2s"})
    deployed.run("deploy", "--yes")
    failure = "the agent does not send to both gateways"
    wait_until(lambda: knows_all_gateways(deployed), timeout=60, failure=failure, hint="")
    return deployed


def knows_all_gateways(stack: Stack) -> bool:
    """Whether the agent has started with a file that has their addresses as Consul has them now."""
    clients = stack.clients
    ports = [entry["Service"]["Port"] for entry in clients.consul.health("otel-gateway-grpc") if passes(entry)]
    [agent] = filter(is_running, clients.nomad.job_allocations("obs-otel-agent"))
    file = stack.cluster.folder.path / "alloc" / agent["ID"] / "otel-agent" / "local" / "gateway.yml"
    started = datetime.fromisoformat(agent["TaskStates"]["otel-agent"]["StartedAt"]).timestamp()
    knows = len(ports) == 2 and all(f":{port}" in file.read_text() for port in ports)
    return knows and started > file.stat().st_mtime


def test_each_trace_comes_to_one_gateway_whole_and_both_have_their_share(sampling: Stack) -> None:
    """Of a trace in two halves, the one without the error would be left out."""
    failed, ordinary = trace_ids(30), trace_ids(30)
    before = judged(sampling)

    for trace_id in failed:  # both halves before it is decided on
        send(sampling, [trace_id], span_id="a1")
        send(sampling, [trace_id], span_id="a2", parent="a1", error="refused")
    send(sampling, ordinary, span_id="a1")

    wait_until(
        lambda: all_whole(sampling, failed), timeout=60, failure="no sign of each trace with an error, whole", hint=""
    )
    wait_until(
        lambda: sum(judged(sampling)) - sum(before) >= len(failed) + len(ordinary),
        timeout=60, failure="no sign of a decision on every trace", hint="",
    )  # fmt: skip
    jaeger = sampling.programs.jaeger
    assert [jaeger.trace(trace_id) for trace_id in ordinary] == [[]] * len(ordinary)
    decided = [now - then for now, then in zip(judged(sampling), before, strict=True)]
    assert min(decided) > 0, decided


def test_no_span_is_lost_that_is_sent_while_a_gateway_is_frozen(sampling: Stack) -> None:
    """The agent keeps what the frozen one does not take, on disk while it is started anew with the other's address."""
    failed = trace_ids(10)
    with frozen(gateways(sampling)[0]["Port"]):
        send(sampling, failed, span_id="a1", error="refused")
        send(sampling, failed, span_id="a2", parent="a1", error="refused")
        wait_until(lambda: all_whole(sampling, failed), timeout=120, failure="no sign of every span", hint="")

    sampling.run("deploy", "--yes")


def trace_ids(count: int) -> list[str]:
    return [secrets.token_hex(16) for _ in range(count)]


def send(stack: Stack, trace_ids: list[str], **given: str) -> None:
    """One span of each trace to the agent, each by itself; again while it refuses, as senders do: it listens to nobody
    while it reads its configuration anew."""
    agent, now = stack.programs.otel_agent.address, time.time_ns()

    def taken(trace_id: str) -> bool:
        with suppress(Unreachable):
            send_spans(agent, [span("web", "GET /", trace_id=trace_id, start=now, **given)])
            return True
        return False

    for trace_id in trace_ids:
        wait_until(partial(taken, trace_id), timeout=10, failure="the agent takes no span", hint="")


def all_whole(stack: Stack, wanted: list[str]) -> bool:
    jaeger = stack.programs.jaeger
    return all(len(span_ids(jaeger.trace(trace_id))) == 2 for trace_id in wanted)


def span_ids(trace: list[Json]) -> set[str]:
    """A span may come twice, when its sender did not see that it had arrived."""
    scopes = [scope for group in trace for scope in group["scopeSpans"]]
    return {str(each["spanId"]) for scope in scopes for each in scope["spans"]}


def judged(stack: Stack) -> list[int]:
    """On how many traces each gateway has decided."""
    found = []
    for gateway in gateways(stack):
        page = f"http://{gateway['Address']}:{gateway['Meta']['metrics_port']}/metrics"
        found.append(sum(int(value) for value in DECIDED.findall(requests.get(page, timeout=10).text)))
    return found


@contextmanager
def frozen(port: int) -> Iterator[None]:
    [process] = [each for each in psutil.process_iter() if listens(each, port)]
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
